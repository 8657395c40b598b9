"""Sessions over memory streams: trio's conformance checks, carriers that clog, break and are replaced."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import (
    MemoryReceiveStream,
    MemorySendStream,
    check_half_closeable_stream,
    memory_stream_pair,
    wait_all_tasks_blocked,
)

from proxy.errors import OpenError, Reason
from proxy.protocol.event import Code
from proxy.protocol.mux import Mux
from proxy.protocol.stream import INITIAL_CREDIT
from proxy.session import Session
from proxy.session_stream import SessionStream, Wakeup
from tests.pair import ADDRESS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Carrier = trio.StapledStream[MemorySendStream, MemoryReceiveStream]


class Ends:
    """Both sides of a session, driven by trio."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.opened: list[SessionStream] = []
        self.local = Session(Mux(opens=True, now=trio.current_time()))
        self.exit = Session(Mux(opens=False, now=trio.current_time()), self.opened.append)
        self.carriers: tuple[Carrier, Carrier] | None = None
        self.ended: list[str] = []
        self.first_end = trio.Event()

    def connect(self) -> tuple[Carrier, Carrier]:
        """A new carrier in place of the last one, if there was one."""
        mux, now = self.local.mux, trio.current_time()
        received, sending = mux.carrier_made(now)
        early = b""
        while data := mux.data_to_send(65536, now):
            early += data
        first = 0 if self.carriers is None else self.exit.mux.resumed(received, sending, now)
        mux.welcomed(self.exit.mux.received, first, now)
        self.carriers = memory_stream_pair()
        self.nursery.start_soon(self._run, self.local, self.carriers[0], b"")
        self.nursery.start_soon(self._run, self.exit, self.carriers[1], early)
        return self.carriers

    async def _run(self, session: Session, carrier: Carrier, first: bytes) -> None:
        self.ended.append(await session.run_carrier(carrier, first))
        self.first_end.set()

    async def cut(self) -> None:
        await self.local.detach()
        await self.exit.detach()

    async def open(self) -> tuple[SessionStream, SessionStream]:
        stream = self.local.open(ADDRESS)
        while not self.opened:
            await wait_all_tasks_blocked()
        other = self.opened.pop()
        other.accept()
        await stream.wait_accepted()
        return stream, other


@asynccontextmanager
async def two_ends() -> AsyncIterator[Ends]:
    with trio.fail_after(600):  # of virtual time: pings would keep a test alive that waits for nothing
        async with trio.open_nursery() as nursery:
            ends = Ends(nursery)
            ends.connect()
            yield ends
            nursery.cancel_scope.cancel()


async def exchange(one: SessionStream, other: SessionStream, data: bytes = b"hello") -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.send_all, data)
        got = b""
        while len(got) < len(data):
            got += await other.receive_some()
    assert got == data


async def test_a_stream_keeps_trios_contract(autojump_clock: trio.testing.MockClock) -> None:
    async with two_ends() as ends:
        await check_half_closeable_stream(ends.open, None)


async def test_a_clogged_stream_keeps_trios_contract(autojump_clock: trio.testing.MockClock) -> None:
    """Credit clogs it: nobody reads at the other end."""
    async with two_ends() as ends:

        async def clogged() -> tuple[SessionStream, SessionStream]:
            one, other = await ends.open()
            for sender in (one, other):
                with trio.move_on_after(1):
                    while True:
                        await sender.send_all(bytes(INITIAL_CREDIT))
            return one, other

        one, other = await clogged()
        with trio.move_on_after(1) as scope:
            await one.send_all(b"x")
        assert scope.cancelled_caught
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.send_all, b"last")
            got = 0
            while got < INITIAL_CREDIT * 2 + 5:
                got += len(await other.receive_some())


async def test_two_tasks_on_one_end_are_a_bug() -> None:
    async with two_ends() as ends:
        one, _ = await ends.open()
        with pytest.RaisesGroup(trio.BusyResourceError):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.receive_some)
                nursery.start_soon(one.receive_some)


async def test_streams_survive_their_carrier(autojump_clock: trio.testing.MockClock) -> None:
    async with two_ends() as ends:
        one, other = await ends.open()
        await exchange(one, other)
        await ends.cut()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(exchange, one, other, b"up" * 200_000)
            nursery.start_soon(exchange, other, one, b"down" * 200_000)
            for _ in range(3):
                await trio.sleep(1)
                await ends.cut()
                ends.connect()


async def test_a_broken_carrier_says_why(autojump_clock: trio.testing.MockClock) -> None:
    async with two_ends() as ends:
        await ends.open()
        assert ends.carriers is not None
        await ends.carriers[1].send_stream.aclose()
        await wait_all_tasks_blocked()
        assert "the other side closed it" in ends.ended


async def test_a_silent_carrier_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    async with two_ends() as ends:
        one, _ = await ends.open()
        assert ends.carriers is not None
        # From here on nothing of the local side arrives, as behind a firewall that drops.
        ends.carriers[0].send_stream.send_all_hook = None
        start = trio.current_time()
        await one.send_all(b"anybody there?")
        await ends.first_end.wait()
        assert "nothing was heard" in ends.ended[0]
        assert 5 <= trio.current_time() - start <= 8


async def test_reset_reaches_both_directions() -> None:
    async with two_ends() as ends:
        one, other = await ends.open()
        one.reset(Reason.CANCELLED, "the app went away")
        with pytest.raises(trio.BrokenResourceError, match="the app went away"):
            await other.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await other.send_all(b"x")
        with pytest.raises(trio.ClosedResourceError):
            await one.receive_some()


async def test_reset_cancels_who_works_for_the_stream() -> None:
    async with two_ends() as ends:
        one, other = await ends.open()
        with other.until_reset() as scope:
            one.reset(Reason.CANCELLED)
            await trio.sleep_forever()
        assert scope.cancelled_caught
        with other.until_reset() as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught


async def test_an_open_that_is_refused() -> None:
    async with two_ends() as ends:
        stream = ends.local.open(ADDRESS)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def refuse() -> None:
                while not ends.opened:
                    await wait_all_tasks_blocked()
                ends.opened[0].reset(Reason.REFUSED, "nobody listens")

            with pytest.raises(OpenError, match="nobody listens") as caught:
                await stream.wait_accepted()
        assert caught.value.reason is Reason.REFUSED


async def test_a_forced_close_resets() -> None:
    async with two_ends() as ends:
        one, other = await ends.open()
        await trio.aclose_forcefully(one)
        with pytest.raises(trio.BrokenResourceError):
            await other.receive_some()


async def test_data_for_an_app_that_has_gone_is_answered_with_a_reset() -> None:
    async with two_ends() as ends:
        one, other = await ends.open()
        await one.aclose()
        assert await other.receive_some() == b""
        await other.send_all(b"too late")
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BrokenResourceError):
            await other.send_all(b"x")
        assert not ends.local.mux.streams
        assert not ends.exit.mux.streams


async def test_close_with_unread_data_resets() -> None:
    async with two_ends() as ends:
        one, other = await ends.open()
        await other.send_all(b"never read")
        await wait_all_tasks_blocked()
        await one.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await other.receive_some()


async def test_a_lost_session_ends_everything() -> None:
    async with two_ends() as ends:
        one, _ = await ends.open()
        ends.local.lost("the exit was restarted")
        with pytest.raises(trio.BrokenResourceError, match="restarted"):
            await one.receive_some()
        assert ends.local.over.is_set()
        with pytest.raises(OpenError):
            ends.local.open(ADDRESS)
        await ends.local.detach()


async def test_a_peer_that_breaks_the_protocol_is_told(autojump_clock: trio.testing.MockClock) -> None:
    async with two_ends() as ends:
        assert ends.carriers is not None
        ends.carriers[1].receive_stream.put_data(b"\x3f\x00\x00\x00\x00\x00\x00\x00")
        await ends.local.over.wait()
        assert ends.local.mux.over is not None
        assert ends.local.mux.over.code is Code.PROTOCOL_ERROR
        await wait_all_tasks_blocked()
        assert len(ends.ended) == 2
        assert all("type 0x3f" in why for why in ends.ended)


async def test_wakeup_is_for_one() -> None:
    wakeup = Wakeup()
    wakeup.wake()  # nobody waits: lost
    with trio.move_on_after(0) as scope:
        await wakeup.wait()
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wakeup.wait)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await wakeup.wait()
        wakeup.wake()


async def test_repr_shows_the_state() -> None:
    async with two_ends() as ends:
        one, _ = await ends.open()
        assert repr(ends.local).startswith("<Session on a carrier")
        assert "open" in repr(one)
        assert one.address == ADDRESS
