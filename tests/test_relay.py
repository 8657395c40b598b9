"""Two streams joined: halves that end, sides that break, cancellation, and errors of our own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from proxy.relay import READ_SIZE, abort, relay

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from trio.testing import MockClock

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


async def test_abort_of_what_is_closed_already() -> None:
    app, a = await socket_pair()
    await a.aclose()
    await abort(a)
    assert await app.receive_some() == b""
    await app.aclose()


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
