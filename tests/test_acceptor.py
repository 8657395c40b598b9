"""The accept loop over a listener made of memory: the bound, shortages, bugs and cancellation."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from proxy.acceptor import Acceptor

if TYPE_CHECKING:
    from trio.testing import MockClock


class MemoryListener(trio.abc.Listener[trio.abc.HalfCloseableStream]):
    """`faults` are raised, one at each accept, before a connection is given."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[trio.abc.HalfCloseableStream](1000)
        self.faults: list[OSError] = []
        self.accepted = 0
        self.closed = False

    def connect(self) -> trio.abc.HalfCloseableStream:
        ours, theirs = memory_stream_pair()
        self._send.send_nowait(theirs)
        return ours

    async def accept(self) -> trio.abc.HalfCloseableStream:
        if self.faults:
            await trio.lowlevel.checkpoint()
            raise self.faults.pop(0)
        stream = await self._receive.receive()
        self.accepted += 1
        return stream

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


async def echo(stream: trio.abc.HalfCloseableStream) -> None:
    while data := await stream.receive_some():
        await stream.send_all(data)


async def answers(stream: trio.abc.HalfCloseableStream) -> bool:
    await stream.send_all(b"x")
    return bytes(await stream.receive_some()) == b"x"


async def test_connections_are_served_side_by_side(nursery: trio.Nursery) -> None:
    listener = MemoryListener()
    assert await nursery.start(Acceptor(echo, 10).run, [listener]) == [listener]
    first, second = listener.connect(), listener.connect()
    assert await answers(first)
    assert await answers(second)


async def test_beyond_the_bound_they_wait_in_the_queue(nursery: trio.Nursery, caplog: pytest.LogCaptureFixture) -> None:
    listener = MemoryListener()
    await nursery.start(Acceptor(echo, 2).run, [listener])
    streams = [listener.connect() for _ in range(3)]
    await wait_all_tasks_blocked()
    assert listener.accepted == 2
    assert [record.message for record in caplog.records] == [
        "as many connections are open as may be, new ones wait until some end"
    ]
    await streams[0].aclose()
    assert await answers(streams[2])


async def test_several_listeners_need_no_slots_to_wait(nursery: trio.Nursery, caplog: pytest.LogCaptureFixture) -> None:
    listeners = [MemoryListener(), MemoryListener()]
    await nursery.start(Acceptor(echo, 1).run, listeners)
    await wait_all_tasks_blocked()
    assert not caplog.records
    for listener in listeners:
        assert await answers(listener.connect())


async def test_that_there_is_no_slot_is_told_once_a_minute(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    listener = MemoryListener()
    await nursery.start(Acceptor(echo, 1).run, [listener])
    for pause in (0, 0, 61):
        await trio.sleep(pause)
        stream = listener.connect()
        assert await answers(stream)
        await stream.aclose()
        await wait_all_tasks_blocked()
    assert len(caplog.records) == 2


async def test_a_shortage_is_told_once_and_passes(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    listener = MemoryListener()
    listener.faults = [OSError(errno.EMFILE, "Too many open files") for _ in range(3)]
    await nursery.start(Acceptor(echo, 10).run, [listener])
    assert await answers(listener.connect())
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.ECONNRESET, errno.EPROTO, errno.EPERM, errno.ENETDOWN])
async def test_a_connection_that_ended_in_the_queue_ends_nothing_else(
    nursery: trio.Nursery, number: int, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    listener = MemoryListener()
    listener.faults = [OSError(number, "it came and went")]
    await nursery.start(Acceptor(echo, 10).run, [listener])
    assert await answers(listener.connect())
    assert not caplog.records


async def test_a_listener_that_fails_is_the_end() -> None:
    listener = MemoryListener()
    listener.faults = [OSError(errno.EBADF, "Bad file descriptor")]
    with pytest.RaisesGroup(OSError):
        await Acceptor(echo, 10).run([listener])
    assert listener.closed


async def test_a_bug_ends_its_connection_only(nursery: trio.Nursery, caplog: pytest.LogCaptureFixture) -> None:
    async def broken(stream: trio.abc.HalfCloseableStream) -> None:
        if await stream.receive_some() == b"bug":
            raise RuntimeError("a bug")
        await stream.send_all(b"fine")

    listener = MemoryListener()
    await nursery.start(Acceptor(broken, 10).run, [listener])
    bad, good = listener.connect(), listener.connect()
    await bad.send_all(b"bug")
    assert await bad.receive_some() == b""
    await good.send_all(b"no bug")
    assert await good.receive_some() == b"fine"
    assert len(caplog.records) == 1


@pytest.mark.parametrize("error", [trio.BrokenResourceError, trio.ClosedResourceError])
async def test_a_connection_that_breaks_is_no_news(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture, error: type[Exception]
) -> None:
    async def broken(stream: trio.abc.HalfCloseableStream) -> None:
        raise error

    listener = MemoryListener()
    await nursery.start(Acceptor(broken, 10).run, [listener])
    assert await listener.connect().receive_some() == b""
    assert not caplog.records


async def test_a_cancellation_closes_everything() -> None:
    listener = MemoryListener()
    async with trio.open_nursery() as nursery:
        await nursery.start(Acceptor(echo, 10).run, [listener])
        stream = listener.connect()
        assert await answers(stream)
        nursery.cancel_scope.cancel()
    assert listener.closed
    assert await stream.receive_some() == b""


async def test_what_was_closed_already_is_not_closed_again(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []
    close = trio.SocketStream.aclose

    async def note(stream: trio.SocketStream) -> None:
        closed.append(stream)
        await close(stream)

    async def serve(stream: trio.abc.HalfCloseableStream) -> None:
        if await stream.receive_some() == b"close":
            await stream.aclose()

    monkeypatch.setattr(trio.SocketStream, "aclose", note)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    await nursery.start(Acceptor(serve, 10).run, [listener])
    for word in (b"close", b"leave"):
        app = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        await app.send_all(word)
        assert await app.receive_some() == b""  # it is closed in any case
        app.socket.close()
    await wait_all_tasks_blocked()
    assert len(closed) == 2
