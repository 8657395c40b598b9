"""The waiting room: who has to go when, and who stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from proxy.protocol.budget import Budget
from proxy.served_session import ServedSession
from proxy.session import Session
from proxy.waiting_room import ALL_FULL, LOOK_EVERY, SHORT, TOO_LONG, USER_FULL, Patience, WaitingRoom, held_by
from tests.pair import Pair

if TYPE_CHECKING:
    from trio.testing import MockClock

ANNA, BERT, CARL = b"anna....", b"bert....", b"carl...."
A_LOOK = 1.5 * LOOK_EVERY  # there is one within that time
PATIENCE = Patience(seconds=60.0, user_bytes=1000, all_bytes=2000)


class Guests:
    """A waiting room, and what became of the sessions in it."""

    def __init__(self, patience: Patience = PATIENCE) -> None:
        self.budget = Budget()
        self.room = WaitingRoom(patience, self._end, self.budget)
        self.ended: list[tuple[ServedSession, str]] = []
        self.gives_back = 0  # to the budget, whoever goes
        self._pairs: dict[ServedSession, Pair] = {}

    def _end(self, served: ServedSession, why: str) -> None:
        self.ended.append((served, why))
        self.budget.held -= self.gives_back
        served.session.lost(why)

    def make(self, key_id: bytes, size: int) -> ServedSession:
        """A session that keeps so many bytes for a stream; none has no stream."""
        pair = Pair()
        served = ServedSession(key_id, Session(pair.exit))
        self._pairs[served] = pair
        if size:
            pair.open()
            self.flows_in(served, size - pair.exit.kept)
        assert held_by(pair.exit) == size
        return served

    def flows_in(self, served: ServedSession, size: int) -> None:
        pair = self._pairs[served]
        pair.exit.write(next(iter(pair.exit.streams.values())), bytes(size), pair.now)

    def come(self, key_id: bytes, size: int) -> ServedSession:
        self.room.enter(served := self.make(key_id, size))
        return served


async def test_nobody_waits_longer_than_allowed(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    guests = Guests()
    nursery.start_soon(guests.room.run)
    first = guests.come(ANNA, 10)
    await trio.sleep(30)
    second = guests.come(ANNA, 0)
    await trio.sleep(29)
    assert guests.ended == []
    await trio.sleep(1 + A_LOOK)
    assert guests.ended == [(first, TOO_LONG)]
    await trio.sleep(30)
    assert guests.ended == [(first, TOO_LONG), (second, TOO_LONG)]
    third = guests.come(BERT, 0)  # after it was empty
    await trio.sleep(60 + A_LOOK)
    assert guests.ended[2:] == [(third, TOO_LONG)]


async def test_who_has_left_does_not_wait(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    guests = Guests()
    nursery.start_soon(guests.room.run)
    served = guests.come(ANNA, 10)
    assert served in guests.room
    guests.room.leave(served)
    guests.room.leave(served)
    assert served not in guests.room
    await trio.sleep(100)
    assert guests.ended == []


async def test_over_the_users_share_those_go_first_that_have_waited_longest() -> None:
    guests = Guests()
    empty, oldest, old = guests.come(ANNA, 0), guests.come(ANNA, 400), guests.come(ANNA, 400)
    other = guests.come(BERT, 900)
    assert guests.ended == []
    new = guests.come(ANNA, 700)
    assert guests.ended == [(oldest, USER_FULL), (old, USER_FULL)]
    assert all(served in guests.room for served in (empty, other, new))
    assert guests.room.held == 1600
    assert oldest.is_over


async def test_one_that_is_over_the_share_alone_has_to_go() -> None:
    guests = Guests()
    large = guests.come(ANNA, 1001)
    assert guests.ended == [(large, USER_FULL)]
    assert large not in guests.room


async def test_over_everybodys_share_the_one_goes_that_has_waited_longest() -> None:
    guests = Guests()
    anna, bert, carl = guests.come(ANNA, 800), guests.come(BERT, 800), guests.come(CARL, 401)
    assert guests.ended == [(anna, ALL_FULL)]
    assert bert in guests.room
    assert carl in guests.room


async def test_while_memory_is_short_those_go_first_that_have_waited_longest_until_there_is_relief(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    guests = Guests(Patience(seconds=600.0, user_bytes=10**9, all_bytes=10**9))
    nursery.start_soon(guests.room.run)
    empty, first, second, third = (guests.come(ANNA, size) for size in (0, 400, 400, 400))
    guests.gives_back = guests.budget.limit // 16 + 1
    guests.budget.held = guests.budget.limit
    await trio.sleep(A_LOOK)
    assert guests.ended == [(first, SHORT), (second, SHORT)]
    assert guests.budget.relief
    await trio.sleep(A_LOOK)
    assert empty in guests.room
    assert third in guests.room


async def test_what_flows_in_meanwhile_counts(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    guests = Guests()
    nursery.start_soon(guests.room.run)
    old, new = guests.come(ANNA, 300), guests.come(ANNA, 300)
    await trio.sleep(10)
    guests.flows_in(new, 400)
    await trio.sleep(A_LOOK)
    assert guests.ended == []
    guests.flows_in(new, 1)
    await trio.sleep(A_LOOK)
    assert guests.ended == [(old, USER_FULL)]
    assert new in guests.room


async def test_other_rules_hold_for_those_that_wait(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    guests = Guests()
    nursery.start_soon(guests.room.run)
    first, second = guests.come(ANNA, 300), guests.come(ANNA, 400)
    await trio.sleep(10)
    guests.room.change(Patience(seconds=600.0, user_bytes=500, all_bytes=2000))
    await trio.sleep(A_LOOK)
    assert guests.ended == [(first, USER_FULL)]
    guests.room.change(Patience(seconds=10.0, user_bytes=500, all_bytes=2000))
    await trio.sleep(A_LOOK)
    assert guests.ended[1:] == [(second, TOO_LONG)]


@pytest.mark.parametrize(("sizes", "expected"), [((5, 0, 0), 1), ((5, 5, 5), 0), ((), None)])
async def test_least_missed_is_one_without_streams_and_then_the_oldest(
    sizes: tuple[int, ...], expected: int | None
) -> None:
    guests = Guests()
    guests.come(BERT, 0)
    mine = [guests.come(ANNA, size and size + 100) for size in sizes]
    assert guests.room.least_missed(ANNA) is (None if expected is None else mine[expected])


def test_everything_counts_that_is_kept() -> None:
    pair = Pair()
    local, there = pair.open()
    before = held_by(pair.exit)
    pair.local.write(local, bytes(100), pair.now)
    pair.settle()  # 100 bytes that the destination has not taken
    kept = pair.exit.kept
    pair.exit.write(there, bytes(1000), pair.now)
    pair.take(pair.exit)  # on its way, not acknowledged
    assert pair.exit.kept > kept + 1000
    pair.exit.write(there, bytes(10_000), pair.now)  # not on its way
    assert held_by(pair.exit) == pair.exit.kept + 10_000 + 100
    pair.exit.session_lost("")
    assert held_by(pair.exit) == pair.exit.kept
    assert before == kept
