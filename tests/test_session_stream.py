"""Streams of a session: trio's conformance checks, resets, closes and ends."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import (
    check_half_closeable_stream,
    wait_all_tasks_blocked,
)

from proxy.errors import OpenError, Reason
from proxy.protocol.budget import ASKED, LARGEST, LEAST, LIMIT, STREAM
from proxy.protocol.stream import INITIAL_CREDIT
from proxy.session_stream import Wakeup
from tests.ends import two_ends
from tests.pair import ADDRESS

if TYPE_CHECKING:
    from proxy.session_stream import SessionStream


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


async def test_who_is_stuck_in_sending_is_told_of_a_reset() -> None:
    async with two_ends() as ends:
        one, other = await ends.open()
        raised: list[trio.BrokenResourceError] = []

        async def send() -> None:
            with pytest.raises(trio.BrokenResourceError, match="nobody reads any more") as caught:
                await one.send_all(bytes(LARGEST * 4))
            raised.append(caught.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await wait_all_tasks_blocked()
            assert not raised
            other.reset(Reason.FAILED, "nobody reads any more")
        assert raised


async def test_what_the_caller_changes_later_is_not_what_is_sent() -> None:
    async with two_ends() as ends:
        one, other = await ends.open()
        data = bytearray(b"before")
        await one.send_soon(data)  # it is queued, and nobody had a turn yet
        data[:] = b"after!"
        assert await other.receive_some() == b"before"


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


async def test_what_an_app_was_given_counts_until_it_comes_back() -> None:
    async with two_ends() as ends:
        one, other = await ends.open()
        mux = ends.exit.mux
        await one.send_all(bytes(1000))
        assert await other.receive_some() == bytes(1000)
        assert mux.budget.held == STREAM + mux.kept + 1000
        ends.nursery.start_soon(other.receive_some)
        await wait_all_tasks_blocked()
        assert mux.budget.held == STREAM + mux.kept


async def test_where_memory_is_short_little_is_given_at_once() -> None:
    async with two_ends() as ends:
        one, other = await ends.open()
        ends.exit.mux.budget.held += 2 * LIMIT
        await one.send_all(bytes(1300))
        assert len(await other.receive_some()) == LEAST
        assert other.appetite() == LEAST
        ends.exit.mux.budget.held -= 2 * LIMIT
        assert len(await other.receive_some()) == 1300 - LEAST


@pytest.mark.parametrize(("streams", "appetite"), [(1, LARGEST), (16, LARGEST), (2000, int(ASKED * LIMIT) // 2000)])
async def test_the_more_streams_the_less_each_likes(streams: int, appetite: int) -> None:
    async with two_ends() as ends:
        made = [ends.local.open(ADDRESS) for _ in range(streams)]
        assert made[0].appetite() == appetite


# ---- handed on without a task in between


class Socket:
    """Takes so many bytes at once, then none until there is `room` again; `broken`: raises as a socket does that was reset."""

    def __init__(self, room: float = math.inf) -> None:
        self.room = room
        self.taken = bytearray()
        self.broken = False

    def take(self, pieces: list[bytes]) -> int:
        if self.broken:
            raise trio.BrokenResourceError
        data = b"".join(pieces)
        size = int(min(len(data), self.room))
        self.room -= size
        self.taken += data[:size]
        return size


async def waiting_for(stream: SessionStream, nursery: trio.Nursery) -> list[bytes]:
    """What a task that has begun to wait gets."""
    got: list[bytes] = []

    async def wait() -> None:
        got.append(await stream.receive_some())

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    return got


@pytest.mark.parametrize("size", [1, 4096, 65_535, 65_536, 65_537, 262_144, 524_289])
async def test_what_comes_is_handed_on_and_its_end_wakes(size: int, autojump_clock: trio.testing.MockClock) -> None:
    data = random.Random(size).randbytes(size)
    async with two_ends() as ends:
        one, other = await ends.open()
        socket = Socket()
        other.hand_on(socket.take)
        got = await waiting_for(other, ends.nursery)
        await one.send_all(data)
        await trio.sleep(5)
        assert socket.taken == data
        assert got == []
        assert ends.exit.mux.budget.held == STREAM + ends.exit.mux.kept  # nothing is kept for it
        await one.send_eof()
        await wait_all_tasks_blocked()
        assert got == [b""]


@pytest.mark.parametrize("room", [0, 1, 4095, 65_536, 99_999])
async def test_what_is_not_taken_comes_first_and_whole(room: int, autojump_clock: trio.testing.MockClock) -> None:
    data = random.Random(room).randbytes(100_000)
    async with two_ends() as ends:
        one, other = await ends.open()
        socket = Socket(room)
        other.hand_on(socket.take)
        got = await waiting_for(other, ends.nursery)
        await one.send_all(data)
        await trio.sleep(5)
        socket.room = math.inf
        await one.send_all(b"more")  # nobody waits: it must not overtake the rest
        await one.send_eof()
        await trio.sleep(5)
        assert socket.taken == data[:room]
        socket.taken += b"".join(got)  # who receives a rest sends it before the next
        while piece := await other.receive_some(10_000):
            socket.taken += piece
        assert socket.taken == data + b"more"


@pytest.mark.parametrize("room", [0, 1, 99_999, math.inf])
async def test_exactly_what_is_handed_on_is_counted(room: float, autojump_clock: trio.testing.MockClock) -> None:
    """The rest is for who receives it to count."""
    async with two_ends() as ends:
        one, other = await ends.open()
        counts: list[tuple[int, float]] = []
        socket = Socket(room)
        other.hand_on(socket.take, lambda size, now: counts.append((size, now)))
        got = await waiting_for(other, ends.nursery)
        await trio.sleep(5)
        begun = trio.current_time()
        await one.send_all(bytes(100_000))
        await trio.sleep(5)
        assert sum(size for size, _ in counts) == len(socket.taken) == min(room, 100_000)
        assert all(size and begun <= now <= begun + 5 for size, now in counts)
        assert bool(got) is (room < 100_000)


async def test_a_socket_that_breaks_leaves_everything_to_who_waits() -> None:
    async with two_ends() as ends:
        one, other = await ends.open()
        socket = Socket()
        socket.broken = True
        other.hand_on(socket.take)
        got = await waiting_for(other, ends.nursery)
        await one.send_all(b"data")
        await wait_all_tasks_blocked()
        assert got == [b"data"]


@pytest.mark.parametrize("room", [0, 1, 70_000, math.inf])
async def test_nothing_is_handed_on_before_somebody_receives(room: float) -> None:
    data = random.Random(room).randbytes(100_000)
    async with two_ends() as ends:
        one, other = await ends.open()
        socket = Socket(room)
        other.hand_on(socket.take)
        await one.send_all(data)
        await one.send_eof()
        await wait_all_tasks_blocked()
        assert not socket.taken
        rest = b"".join([piece async for piece in other])
        assert socket.taken + rest == data
        assert len(socket.taken) == min(room, len(data))


class Called:
    """How often, in place of who would receive."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


@pytest.mark.parametrize("size", [1, 65_536, 262_144, 524_289])
@pytest.mark.parametrize("before", [False, True])
async def test_nobody_needs_to_receive_until_the_end(
    size: int, before: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """`before`: data is there already when it is asked for."""
    data = random.Random(size).randbytes(size)
    async with two_ends() as ends:
        one, other = await ends.open()
        socket, called = Socket(), Called()
        if before:
            await one.send_all(data[:100_000])
            await trio.sleep(5)
        other.hand_on(socket.take, None, called)
        await one.send_all(data[100_000 * before :])
        await trio.sleep(5)
        assert socket.taken == data
        assert (called.times, other.at_end) == (0, False)
        assert ends.exit.mux.budget.held == STREAM + ends.exit.mux.kept
        await one.send_eof()
        await trio.sleep(5)
        assert (called.times, other.at_end) == (1, True)
        assert await other.receive_some() == b""
        assert not other.let_go()


@pytest.mark.parametrize("room", [0, 1, 65_536, 99_999])
async def test_a_rest_calls_for_somebody_once(room: int, autojump_clock: trio.testing.MockClock) -> None:
    data = random.Random(room).randbytes(100_000)
    async with two_ends() as ends:
        one, other = await ends.open()
        socket, called = Socket(room), Called()
        other.hand_on(socket.take, None, called)
        await one.send_all(data)
        await trio.sleep(5)
        assert (called.times, bytes(socket.taken)) == (1, data[:room])
        socket.room = math.inf
        await one.send_all(b"more")
        await one.send_eof()
        await trio.sleep(5)
        assert (called.times, other.at_end, len(socket.taken)) == (1, False, room)
        async for piece in other:
            socket.taken += piece
        assert socket.taken == data + b"more"
        assert other.at_end


@pytest.mark.parametrize("room", [0, 1, 5, 9])
async def test_a_rest_that_the_end_came_with_is_not_the_end(room: int, autojump_clock: trio.testing.MockClock) -> None:
    """Or the app would get a part, and a clean end."""
    data = b"0123456789"
    async with two_ends() as ends:
        one, other = await ends.open()
        socket, called = Socket(room), Called()
        other.hand_on(socket.take, None, called)
        await one.send_all(data)
        await one.send_eof()
        await trio.sleep(5)
        assert (called.times, other.at_end, bytes(socket.taken)) == (1, False, data[:room])
        assert await other.receive_some() == data[room:]
        assert other.at_end


async def test_an_end_that_was_there_before_calls_at_once() -> None:
    async with two_ends() as ends:
        one, other = await ends.open()
        await one.send_eof()
        await wait_all_tasks_blocked()
        called = Called()
        other.hand_on(Socket().take, None, called)
        assert (called.times, other.at_end) == (1, True)


async def test_what_was_there_before_gives_credit(autojump_clock: trio.testing.MockClock) -> None:
    async with two_ends() as ends:
        one, other = await ends.open()
        socket = Socket()
        ends.nursery.start_soon(one.send_all, bytes(3 * INITIAL_CREDIT))
        await trio.sleep(5)
        begun = trio.current_time()
        other.hand_on(socket.take, None, Called())
        await wait_all_tasks_blocked()
        assert len(socket.taken) == 3 * INITIAL_CREDIT
        assert trio.current_time() == begun


async def test_who_waits_for_the_exit_is_told_all_the_same(autojump_clock: trio.testing.MockClock) -> None:
    async with two_ends() as ends:
        stream = ends.local.open(ADDRESS)
        stream.hand_on(Socket().take, None, Called())
        ends.nursery.start_soon(stream.wait_accepted)
        await wait_all_tasks_blocked()
        ends.opened.pop().accept()
        await trio.sleep(5)
        assert not stream._readable.awaited


async def test_who_lets_go_receives_himself() -> None:
    async with two_ends() as ends:
        one, other = await ends.open()
        socket, called = Socket(), Called()
        other.hand_on(socket.take, None, called)
        assert other.let_go()
        assert not other.let_go()
        await one.send_all(b"data")
        await one.send_eof()
        await wait_all_tasks_blocked()
        assert not socket.taken
        assert await other.receive_some() == b""
        assert socket.taken == b"data"
        assert called.times == 0


async def test_nobody_is_called_for_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """That the exit is connected is no data, and a reset cancels who works for the stream."""
    async with two_ends() as ends:
        stream = ends.local.open(ADDRESS)
        called = Called()
        scope = stream.until_reset()
        stream.hand_on(Socket().take, None, called)
        await wait_all_tasks_blocked()
        other = ends.opened.pop()
        other.accept()
        await trio.sleep(5)
        assert called.times == 0
        other.reset(Reason.FAILED)
        await trio.sleep(5)
        assert (called.times, stream.at_end, scope.cancel_called) == (0, False, True)


async def test_who_closes_with_something_left_resets() -> None:
    async with two_ends() as ends:
        one, other = await ends.open()
        other.hand_on(Socket(1).take)
        got: list[bytes] = []

        async def read_one_byte() -> None:
            got.append(await other.receive_some(1))
            await other.aclose()

        ends.nursery.start_soon(read_one_byte)
        await wait_all_tasks_blocked()
        await one.send_all(b"four")  # one is taken, one is read, and two are left
        with pytest.raises(trio.BrokenResourceError, match="the connection was reset"):
            await one.receive_some()
        assert got == [b"o"]
