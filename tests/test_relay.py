"""Two streams joined: halves that end, sides that break, cancellation, and errors of our own."""

from __future__ import annotations

import random
import weakref
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

from proxy.address import Address
from proxy.connections import BY_HAND, DIRECT, AppProtocol, Connections, State
from proxy.errors import Reason
from proxy.idleness import IDLE_TEXT, LEAST_IDLE_TIME, LOOK_EVERY, end_idle
from proxy.relay import EACH, READ_SIZE, RUSH, abort, relay
from proxy.shortcut import shortcut
from tests.ends import two_ends

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from trio.testing import MockClock

    from proxy.connections import ConnectionView
    from proxy.session_stream import SessionStream

    Close = Callable[[], Coroutine[None, None, None]]


class Side(trio.abc.HalfCloseableStream):
    """A side of the relay on memory streams, which remembers how it was closed."""

    def __init__(self, inner: trio.abc.HalfCloseableStream) -> None:
        self.inner = inner
        self.closed = ""
        self.fault: Exception | None = None
        self.eofs = 0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self.inner.receive_some(max_bytes)
        if data == b"fault" and self.fault is not None:
            raise self.fault
        return data

    async def send_eof(self) -> None:
        self.eofs += 1
        await self.inner.send_eof()

    async def aclose(self) -> None:
        try:
            await self.inner.aclose()
        except trio.Cancelled:
            self.closed = self.closed or "aborted"
            raise
        self.closed = self.closed or "closed"


class Joined:
    """app - a | relay | b - site."""

    def __init__(self) -> None:
        self.app, a = trio.testing.memory_stream_pair()
        b, self.site = trio.testing.memory_stream_pair()
        self.a, self.b = Side(a), Side(b)

    @property
    def closed(self) -> tuple[str, str]:
        return self.a.closed, self.b.closed


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    return b"".join([bytes(piece) async for piece in stream])


async def test_both_ways_at_once() -> None:
    joined = Joined()
    up, down = bytes(range(256)) * 4096, bytes(reversed(range(256))) * 4096
    results: list[bytes] = []

    async def end(stream: trio.abc.HalfCloseableStream, data: bytes) -> None:
        await stream.send_all(data)
        await stream.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay, joined.a, joined.b)
        nursery.start_soon(end, joined.app, up)
        nursery.start_soon(end, joined.site, down)
        results = [await read_all(joined.site), await read_all(joined.app)]
    assert results == [up, down]
    assert joined.closed == ("closed", "closed")


@pytest.mark.parametrize("app_first", [True, False])
async def test_half_close_leaves_the_other_direction(
    autojump_clock: MockClock, app_first: bool, nursery: trio.Nursery
) -> None:
    joined = Joined()
    first, second = (joined.app, joined.site) if app_first else (joined.site, joined.app)
    done = trio.Event()

    async def run() -> None:
        await relay(joined.a, joined.b)
        done.set()

    nursery.start_soon(run)
    await first.send_all(b"request")
    await first.send_eof()
    assert await read_all(second) == b"request"
    assert not done.is_set()
    for number in range(3):
        await trio.sleep(100)
        await second.send_all(b"answer %d" % number)
        assert await first.receive_some() == b"answer %d" % number
    assert not done.is_set()
    await second.send_eof()
    assert await read_all(first) == b""
    await done.wait()
    assert joined.closed == ("closed", "closed")
    assert (joined.a.eofs, joined.b.eofs) == (1, 1)


@pytest.mark.parametrize("broken_side", ["a", "b"])
async def test_a_side_that_cannot_be_written_to_ends_both(autojump_clock: MockClock, broken_side: str) -> None:
    joined = Joined()
    broken, sender = (joined.app, joined.site) if broken_side == "a" else (joined.site, joined.app)
    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay, joined.a, joined.b)
            await broken.receive_stream.aclose()
            await sender.send_all(b"for nobody")
    assert joined.closed == ("aborted", "aborted")


@pytest.mark.parametrize("error", [trio.BrokenResourceError, trio.ClosedResourceError])
@pytest.mark.parametrize("side", ["a", "b"])
async def test_a_side_that_breaks_ends_both(autojump_clock: MockClock, side: str, error: type[Exception]) -> None:
    joined = Joined()
    getattr(joined, side).fault = error("reset")
    peer, other = (joined.app, joined.site) if side == "a" else (joined.site, joined.app)
    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay, joined.a, joined.b)
            await trio.testing.wait_all_tasks_blocked()
            await peer.send_all(b"fault")
            assert await other.receive_some() == b""
    assert joined.closed == ("aborted", "aborted")
    assert (joined.a.eofs, joined.b.eofs) == (0, 0)  # a truncation is no end


@pytest.mark.parametrize("sides", ["a", "b", "ab"])
async def test_an_error_of_ours_comes_out_alone(sides: str) -> None:
    joined = Joined()
    for side in sides:
        getattr(joined, side).fault = ZeroDivisionError(side)
    await joined.app.send_all(b"fault")
    await joined.site.send_all(b"fault")
    with pytest.raises(ZeroDivisionError):  # not a group
        await relay(joined.a, joined.b)
    assert joined.closed == ("aborted", "aborted")


async def test_cancellation_aborts_both_and_goes_on(autojump_clock: MockClock) -> None:
    joined = Joined()
    caught: list[BaseException] = []
    with trio.move_on_after(5) as scope:
        try:
            await relay(joined.a, joined.b)
        except BaseException as exc:
            caught.append(exc)
            raise
    assert scope.cancelled_caught
    assert [type(exc) for exc in caught] == [trio.Cancelled]
    assert joined.closed == ("aborted", "aborted")


async def test_a_cancelled_close_still_closes_the_other() -> None:
    joined = Joined()
    await joined.app.send_eof()
    await joined.site.send_eof()
    with trio.CancelScope() as scope:
        joined.b.send_eof = cancelling(scope, joined.b.send_eof)  # type: ignore[method-assign]
        await relay(joined.a, joined.b)
    assert all(joined.closed)
    with pytest.raises(trio.ClosedResourceError):
        await joined.a.inner.receive_some()
    with pytest.raises(trio.ClosedResourceError):
        await joined.b.inner.receive_some()


def cancelling(scope: trio.CancelScope, call: Close) -> Close:
    async def wrapped() -> None:
        await call()
        scope.cancel()

    return wrapped


async def test_errors_of_a_clean_close_are_nobodys_concern() -> None:
    joined = Joined()

    async def broken() -> None:
        raise trio.BrokenResourceError

    joined.a.aclose = broken  # type: ignore[method-assign]
    await joined.app.send_eof()
    await joined.site.send_eof()
    await relay(joined.a, joined.b)
    assert joined.b.closed == "closed"


async def test_a_reader_that_has_stopped_stops_its_sender_only(autojump_clock: MockClock) -> None:
    app, a = trio.testing.lockstep_stream_pair()
    b, site = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay, a, b)
        await site.send_all(bytes(3 * READ_SIZE))  # the app does not read
        await app.send_all(b"still")
        assert await site.receive_some() == b"still"
        with trio.move_on_after(60) as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught
        received = 0
        while received < 3 * READ_SIZE:
            received += len(await app.receive_some(READ_SIZE))
        nursery.cancel_scope.cancel()


async def test_abort_closes_within_a_cancelled_scope() -> None:
    side = Side(trio.testing.memory_stream_pair()[0])
    with trio.CancelScope() as scope:
        scope.cancel()
        await abort(side)  # and it returns, so that the error that brought us here goes on
    assert not scope.cancelled_caught
    assert side.closed == "aborted"


async def socket_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        stream = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        return stream, await listener.accept()


async def test_sockets_end_as_they_did() -> None:
    app, a = await socket_pair()
    b, site = await socket_pair()
    async with trio.open_nursery() as nursery, app, site:
        nursery.start_soon(relay, a, b)
        await app.send_all(b"request")
        await app.send_eof()
        assert await read_all(site) == b"request"
        await site.send_all(b"answer")
        await site.send_eof()
        assert await read_all(app) == b"answer"
    assert a.socket.fileno() == b.socket.fileno() == -1


async def test_a_reset_comes_out_as_a_reset() -> None:
    app, a = await socket_pair()
    b, site = await socket_pair()
    async with trio.open_nursery() as nursery, app:
        nursery.start_soon(relay, a, b)
        await site.send_all(b"half an answer")
        assert await app.receive_some() == b"half an answer"
        await abort(site)
        with pytest.raises(trio.BrokenResourceError) as caught:
            await app.receive_some()
    assert isinstance(caught.value.__cause__, ConnectionResetError)


async def test_a_cancelled_relay_resets() -> None:
    app, a = await socket_pair()
    b, site = await socket_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay, a, b)
        await app.send_all(b"x")
        assert await site.receive_some() == b"x"
        nursery.cancel_scope.cancel()
    async with app, site:
        for stream in (app, site):
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()


@pytest.mark.parametrize("shorter", [False, True])
async def test_abort_of_what_is_closed_already(shorter: bool) -> None:
    app, a = await socket_pair()
    stream = shortcut(a) if shorter else a
    await stream.aclose()
    await abort(stream)
    assert await app.receive_some() == b""
    await app.aclose()


async def test_abort_of_the_shorter_way_is_a_reset() -> None:
    app, a = await socket_pair()
    async with app:
        await abort(shortcut(a))
        with pytest.raises(trio.BrokenResourceError):
            await app.receive_some()


async def test_a_side_that_likes_little_is_given_little() -> None:
    """A stream of the tunnel says how much: many of them share a budget of memory."""

    class Picky(Side):
        given: list[int]

        def appetite(self) -> int:
            return 1000

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            self.given.append(len(data))
            await super().send_all(data)

    app, near = trio.testing.memory_stream_pair()
    far, picky_inner = trio.testing.memory_stream_pair()
    picky = Picky(picky_inner)
    picky.given = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay, near, picky)
        await app.send_all(bytes(10_000))
        await app.send_eof()
        assert len(await read_all(far)) == 10_000
        await far.send_eof()
        await read_all(app)
    assert max(picky.given) <= 1000


# ---- what the table of connections is told


class Entry:
    """The entry of an app, and the table that it stands in."""

    def __init__(self) -> None:
        self.table = Connections()
        self.connection = self.table.opened(AppProtocol.SOCKS5, Address("a.example", 443), trio.current_time())
        self.connection.reached()

    @property
    def open(self) -> ConnectionView:
        (view,) = self.table.snapshot(trio.current_time()).open
        return view

    @property
    def closed(self) -> ConnectionView:
        (view,) = self.table.snapshot(trio.current_time()).closed
        return view


async def test_each_byte_is_counted_when_it_comes(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    joined, entry = Joined(), Entry()
    begun = trio.current_time()
    nursery.start_soon(relay, joined.a, joined.b, entry.connection)
    await joined.app.send_all(b"four")
    assert await joined.site.receive_some() == b"four"
    await trio.sleep(10)
    assert (entry.open.bytes_up, entry.open.last_up, entry.open.waiting_since) == (4, begun, begun)
    await joined.site.send_all(bytes(100_000))
    received = 0
    while received < 100_000:
        received += len(await joined.app.receive_some())
    assert (entry.open.bytes_down, entry.open.last_down, entry.open.waiting_since) == (100_000, begun + 10, None)
    assert entry.open.state is State.OPEN


@pytest.mark.parametrize("app_first", [True, False])
async def test_half_closed_and_closed(autojump_clock: MockClock, app_first: bool, nursery: trio.Nursery) -> None:
    joined, entry = Joined(), Entry()
    first, second = (joined.app, joined.site) if app_first else (joined.site, joined.app)
    nursery.start_soon(relay, joined.a, joined.b, entry.connection)
    await first.send_eof()
    assert await second.receive_some() == b""
    await trio.sleep(100)
    assert entry.open.state is State.HALF_CLOSED
    await second.send_all(b"late")
    assert await first.receive_some() == b"late"
    await second.send_eof()
    await trio.sleep(1)
    assert (entry.closed.state, entry.closed.reason) == (State.CLOSED, "")
    assert entry.closed.bytes_up + entry.closed.bytes_down == 4


@pytest.mark.parametrize("side", ["a", "b"])
async def test_a_break_is_told(side: str) -> None:
    joined, entry = Joined(), Entry()
    getattr(joined, side).fault = trio.BrokenResourceError("reset")
    await (joined.app if side == "a" else joined.site).send_all(b"fault")
    await relay(joined.a, joined.b, entry.connection)
    assert entry.closed.reason == "the app or the destination broke it off"


async def test_ended_by_hand_aborts_both(autojump_clock: MockClock) -> None:
    joined, entry = Joined(), Entry()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay, joined.a, joined.b, entry.connection)
        await trio.sleep(100)
        assert entry.table.close(entry.connection.id)
    assert joined.closed == ("aborted", "aborted")
    assert entry.closed.reason == BY_HAND


async def test_a_cancelled_relay_closes_its_entry(autojump_clock: MockClock) -> None:
    joined, entry = Joined(), Entry()
    with trio.move_on_after(5):
        await relay(joined.a, joined.b, entry.connection)
    assert entry.closed.closed_at == trio.current_time()


async def test_an_idle_direct_connection_is_reset(autojump_clock: MockClock) -> None:
    """Not before half an hour, within a minute or so after it, and what has said something stays."""
    entry, sockets, busy_entry, busy = Entry(), await socket_pair(), Entry(), Joined()
    busy_entry.table = entry.table
    (b, site), (app, a) = await socket_pair(), sockets
    entry.connection.chosen(DIRECT)
    busy_entry.connection = entry.table.opened(AppProtocol.SOCKS5, Address("b.example", 443), trio.current_time())
    busy_entry.connection.chosen(DIRECT)
    begun = trio.current_time()
    async with trio.open_nursery() as nursery, app, site:
        nursery.start_soon(end_idle, lambda: LEAST_IDLE_TIME, entry.table.end_idle)
        nursery.start_soon(relay, a, b, entry.connection)
        nursery.start_soon(relay, busy.a, busy.b, busy_entry.connection)
        for _ in range(3):
            await trio.sleep(600)
            await busy.site.send_all(b"x")
        with pytest.raises(trio.BrokenResourceError):
            await app.receive_some()
        assert LEAST_IDLE_TIME <= trio.current_time() - begun <= LEAST_IDLE_TIME + LOOK_EVERY
        assert entry.closed.reason == IDLE_TEXT
        assert [view.id for view in entry.table.snapshot(trio.current_time()).open] == [busy_entry.connection.id]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("size", [1, 65_536, 1_000_000, 5_000_000])
async def test_what_goes_past_the_task_is_counted_once(size: int) -> None:
    """From the tunnel into the app's socket at once, and by the task where the socket is full."""
    async with two_ends() as ends:
        tunnel, site = await ends.open()
        (app, local), entry = await socket_pair(), Entry()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay, local, tunnel, entry.connection)
            await wait_all_tasks_blocked()

            @nursery.start_soon
            async def answer() -> None:
                await site.send_all(bytes(size))
                await site.send_eof()
                assert await read_all(site) == b"thanks"

            await wait_all_tasks_blocked()
            assert len(await read_all(app)) == size
            assert entry.open.bytes_down == size
            assert entry.open.state is State.HALF_CLOSED
            await app.send_all(b"thanks")
            await app.send_eof()
        await app.aclose()
        assert (entry.closed.bytes_up, entry.closed.bytes_down, entry.closed.reason) == (6, size, "")


async def test_the_text_of_a_reset_is_told() -> None:
    async with two_ends() as ends:
        tunnel, site = await ends.open()
        (app, local), entry = await socket_pair(), Entry()
        async with trio.open_nursery() as nursery, app:
            nursery.start_soon(relay, local, tunnel, entry.connection)
            await wait_all_tasks_blocked()
            site.reset(Reason.TIMED_OUT, IDLE_TEXT)
            with pytest.raises(trio.BrokenResourceError):
                await app.receive_some()
        assert f"timed_out ({IDLE_TEXT})" in entry.closed.reason


async def test_an_app_that_breaks_it_off_is_named() -> None:
    async with two_ends() as ends:
        tunnel, _ = await ends.open()
        (app, local), entry = await socket_pair(), Entry()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay, local, tunnel, entry.connection)
            await abort(app)
        assert entry.closed.reason == "the app broke it off"


# ---- a socket and a stream of the tunnel


class Tunneled:
    """near - relay - tunnel ~ far. `at_exit`: the relay has the tunnel's end first, as an exit does."""

    def __init__(
        self,
        near: trio.SocketStream,
        relayed: trio.SocketStream,
        tunnel: SessionStream,
        far: SessionStream,
        at_exit: bool,
    ) -> None:
        self.near, self.far = near, far
        self.sides = (tunnel, relayed) if at_exit else (relayed, tunnel)
        self.scope = trio.CancelScope()

    async def run(self) -> None:
        with self.scope:
            await relay(*self.sides)


@asynccontextmanager
async def tunneled(at_exit: bool) -> AsyncIterator[Tunneled]:
    async with two_ends() as ends:
        tunnel, far = await ends.open()
        near, relayed = await socket_pair()
        async with near, far:
            joined = Tunneled(near, relayed, tunnel, far, at_exit)
            ends.nursery.start_soon(joined.run)
            await wait_all_tasks_blocked()
            yield joined


orientations = pytest.mark.parametrize("at_exit", [False, True])
SIZES = [1, 65_535, 65_536, 65_537, 524_288, 524_289, 3_000_000]


@orientations
@pytest.mark.parametrize("size", SIZES)
async def test_the_same_bytes_and_ends_both_ways(at_exit: bool, size: int) -> None:
    data = random.Random(size).randbytes(size)
    async with tunneled(at_exit) as joined:

        async def send(stream: trio.abc.HalfCloseableStream) -> None:
            await stream.send_all(data)
            await stream.send_eof()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, joined.near)
            nursery.start_soon(send, joined.far)
            results: list[bytes] = []

            async def read(stream: trio.abc.HalfCloseableStream) -> None:
                results.append(await read_all(stream))

            nursery.start_soon(read, joined.near)
            nursery.start_soon(read, joined.far)
        assert [len(each) for each in results] == [size, size]
        assert results == [data, data]


@orientations
@pytest.mark.parametrize("tunnel_first", [False, True])
async def test_an_end_leaves_the_other_way_open(at_exit: bool, tunnel_first: bool) -> None:
    async with tunneled(at_exit) as joined:
        first, second = (joined.far, joined.near) if tunnel_first else (joined.near, joined.far)
        await first.send_all(b"request")
        await first.send_eof()
        assert await read_all(second) == b"request"
        for word in (b"an", b"swer"):
            await second.send_all(word)
            assert await first.receive_some() == word
        await second.send_eof()
        assert await read_all(first) == b""


@orientations
async def test_messages_to_and_fro_in_order(at_exit: bool) -> None:
    async with tunneled(at_exit) as joined:
        for number in range(200):
            one, other = (joined.near, joined.far) if number % 2 else (joined.far, joined.near)
            message = b"%d" % number * (number % 7 + 1)
            await one.send_all(message)
            assert await other.receive_some() == message


@orientations
async def test_who_does_not_read_for_a_while_misses_nothing(at_exit: bool) -> None:
    """The socket is full again and again: each time somebody has to wait for it."""
    data = random.Random(7).randbytes(20_000_000)
    async with tunneled(at_exit) as joined, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send() -> None:
            await joined.far.send_all(data)
            await joined.far.send_eof()

        got = bytearray()
        while piece := await joined.near.receive_some(300_000):
            got += piece
            if len(got) % 7 == 0:
                await wait_all_tasks_blocked()
        assert got == data


@orientations
@pytest.mark.parametrize("stuck", [False, True])
async def test_cancelled_while_data_comes(at_exit: bool, stuck: bool) -> None:
    """What comes after that calls nobody in a nursery that is closed, and both are told."""
    async with tunneled(at_exit) as joined:
        if stuck:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(joined.far.send_all, bytes(20_000_000))
                await wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
        joined.scope.cancel()
        with suppress(trio.BrokenResourceError):
            await joined.far.send_all(b"late")
            await joined.far.send_eof()
        with pytest.raises(trio.BrokenResourceError):
            await read_all(joined.near)
        with pytest.raises(trio.BrokenResourceError):
            await read_all(joined.far)


@orientations
async def test_one_that_is_cancelled_before_it_begins_sends_nothing(at_exit: bool) -> None:
    async with two_ends() as ends:
        tunnel, far = await ends.open()
        near, relayed = await socket_pair()
        async with near:
            await far.send_all(b"whole")
            await far.send_eof()
            await wait_all_tasks_blocked()
            with trio.CancelScope() as scope:
                scope.cancel()
                await relay(*((tunnel, relayed) if at_exit else (relayed, tunnel)))
            with pytest.raises(trio.BrokenResourceError):
                await near.receive_some()


@orientations
async def test_a_socket_that_breaks_resets_the_tunnel(at_exit: bool) -> None:
    async with tunneled(at_exit) as joined:
        await abort(joined.near)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BrokenResourceError):
            await joined.far.send_all(b"into the void")


@orientations
async def test_a_tunnel_that_breaks_resets_the_socket(at_exit: bool) -> None:
    async with tunneled(at_exit) as joined:
        await joined.near.send_all(b"x")
        await joined.far.receive_some()
        joined.far.reset(Reason.FAILED)
        with pytest.raises(trio.BrokenResourceError):
            await joined.near.receive_some()


@orientations
async def test_an_idle_one_has_one_task(at_exit: bool) -> None:
    """A task for each direction would cost 3 KB for each of thousands of idle streams."""
    async with two_ends() as ends:
        streams = [await ends.open() for _ in range(10)]
        pairs = [await socket_pair() for _ in streams]
        await wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        for (tunnel, _), (_, relayed) in zip(streams, pairs, strict=True):
            ends.nursery.start_soon(relay, *((tunnel, relayed) if at_exit else (relayed, tunnel)))
        await wait_all_tasks_blocked()
        for (_, far), (near, _) in zip(streams, pairs, strict=True):
            await far.send_all(b"hello")
            assert await near.receive_some() == b"hello"
        assert trio.lowlevel.current_statistics().tasks_living == before + len(streams)
        for near, _ in pairs:
            await near.aclose()


async def test_an_idle_one_keeps_no_data() -> None:
    class Chunk(bytearray):
        """Which can be looked after."""

    class Source(Side):
        kept: weakref.ref[Chunk] | None = None

        async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
            if self.kept is not None:
                return await super().receive_some(max_bytes)
            data = Chunk(b"data")
            self.kept = weakref.ref(data)
            return data

    joined = Joined()
    source = Source(joined.a.inner)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay, source, joined.b)
        assert await joined.site.receive_some() == b"data"
        await wait_all_tasks_blocked()
        assert source.kept is not None
        assert source.kept() is None
        nursery.cancel_scope.cancel()


async def test_who_is_in_a_rush_gives_others_a_turn() -> None:
    """Neither what is read nor what is sent ever waits."""

    class Endless(Side):
        size, left = 1, 0

        async def receive_soon(self, _size: int) -> bytes:
            self.left -= 1
            return bytes(self.size) if self.left >= 0 else b""

        async def send_soon(self, _data: bytes) -> bool:
            return False

    async def take_turns() -> None:
        while True:
            turns.append(None)
            await trio.lowlevel.checkpoint()

    for size, least in ((1, 1000 * EACH // RUSH - 2), (RUSH, 1000)):
        turns: list[None] = []
        joined = Joined()
        source, sink = Endless(joined.a.inner), Endless(joined.b.inner)
        source.size, source.left = size, 1000
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_turns)
            await relay(source, sink)
            nursery.cancel_scope.cancel()
        assert least <= len(turns) < least + 20
