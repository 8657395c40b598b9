"""Turns in virtual time: how many read in each round of the event loop, and who waits for whom."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import trio

from proxy.protocol.datagrams import CALL
from proxy.protocol.schedule import HALF_LIFE
from proxy.turns import MOST_LITTLE, MOST_MUCH, Reader, Turns

if TYPE_CHECKING:
    from trio.testing import MockClock


def flooded() -> Reader:
    reader = Reader()
    reader.has_read(100 * CALL)
    return reader


class Round:
    """Readers that all have something at the same time. `counts` has how many had their turn after each round."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.done: list[Reader] = []
        self.counts = [0]

    async def read(self, reader: Reader) -> None:
        await self.turns.take(reader)
        self.done.append(reader)

    async def run(self, readers: list[Reader]) -> None:
        async with trio.open_nursery() as nursery:
            for reader in readers:
                nursery.start_soon(self.read, reader)
            while len(self.done) < len(readers):
                await trio.lowlevel.checkpoint()
                self.counts.append(len(self.done))

    @property
    def most_at_once(self) -> int:
        return max(after - before for before, after in itertools.pairwise(self.counts))


async def test_few_floods_are_read_in_each_round(autojump_clock: MockClock) -> None:
    seen = Round()
    with trio.fail_after(1):
        await seen.run([flooded() for _ in range(500)])
    assert seen.most_at_once <= 2 * MOST_MUCH  # tasks run in any order, so a look may be early, and the next one late


async def test_so_many_calls_are_a_flood_as_well(autojump_clock: MockClock) -> None:
    seen = Round()
    with trio.fail_after(1):
        await seen.run([Reader() for _ in range(500)])
    assert seen.most_at_once <= 2 * MOST_LITTLE


async def test_a_call_does_not_wait_for_floods(autojump_clock: MockClock) -> None:
    seen, call = Round(), Reader()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(seen.run, [flooded() for _ in range(500)])
        while len(seen.done) < 100:
            await trio.lowlevel.checkpoint()
        before = len(seen.done)
        await seen.turns.take(call)
        assert len(seen.done) - before <= 4 * MOST_MUCH


async def test_what_was_a_flood_is_forgotten(autojump_clock: MockClock) -> None:
    reader = Reader()
    assert reader.reads_little(trio.current_time())
    for _ in range(4):
        reader.has_read(CALL)
    assert not reader.reads_little(trio.current_time())
    await trio.sleep(HALF_LIFE * 2.1)
    assert reader.reads_little(trio.current_time())
    assert reader.reads_little(trio.current_time())


async def test_who_gives_up_takes_nobodys_turn(autojump_clock: MockClock) -> None:
    """Neither while it waits nor while it has one."""
    seen = Round()
    for rounds in range(6):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                for _ in range(10 * MOST_MUCH):
                    nursery.start_soon(seen.read, flooded())
                for _ in range(rounds):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
    seen.done.clear()
    seen.counts = [0]
    with trio.fail_after(1):
        await seen.run([flooded() for _ in range(100)])
    assert len(seen.counts) <= 3 * 100 / MOST_MUCH  # as fast as before
