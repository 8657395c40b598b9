"""The shorter way beside the plain one: the same contract, bytes, errors and ends."""

from __future__ import annotations

import math
import socket
import struct
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import assert_no_checkpoints, check_half_closeable_stream, memory_stream_pair, wait_all_tasks_blocked

from proxy.shortcut import receive_soon, send_soon, shortcut
from proxy.tcp import TCPStream, is_loopback, mind_no_network

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="its sockets are no files")

SIZES = [1, 2, 65_535, 65_536, 65_537, 524_287, 524_288, 524_289, 3_000_000]


async def plain_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        stream = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        return stream, await listener.accept()


async def short_pair() -> tuple[TCPStream, TCPStream]:
    one, other = await plain_pair()
    return TCPStream(one), TCPStream(other)


@asynccontextmanager
async def pair(kind: str) -> AsyncIterator[tuple[trio.abc.HalfCloseableStream, trio.SocketStream]]:
    """The end that is tested, in its plain or its shorter form, and a plain other end."""
    one, other = await plain_pair()
    async with one, other:
        yield (TCPStream(one) if kind == "short" else one), other


both = pytest.mark.parametrize("kind", ["plain", "short"])


async def socket_pair() -> tuple[TCPStream, TCPStream]:
    """Of the kind whose buffers do not grow while a test goes on."""
    one, other = trio.socket.socketpair()
    return TCPStream(trio.SocketStream(one)), TCPStream(trio.SocketStream(other))


async def clogged_pair() -> tuple[TCPStream, TCPStream]:
    one, other = await socket_pair()
    while one.send_now(bytes(1000)) or other.send_now(bytes(1000)):
        pass
    return one, other


async def test_it_keeps_trios_contract() -> None:
    await check_half_closeable_stream(socket_pair, clogged_pair)


def test_other_streams_stay_what_they_are() -> None:
    stream = memory_stream_pair()[0]
    assert shortcut(stream) is stream


async def test_a_socket_gets_it() -> None:
    one, other = await plain_pair()
    async with one, other:
        assert isinstance(shortcut(one), TCPStream)


@both
@pytest.mark.parametrize("size", SIZES)
async def test_the_same_bytes_each_way(kind: str, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    for wrap in (bytes, bytearray, memoryview):
        sent = wrap(data[:size])
        async with pair(kind) as (one, other):
            for sender, receiver in ((one, other), (other, one)):
                got = bytearray()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(sender.send_all, sent)
                    while len(got) < size:
                        got += await receiver.receive_some(size - len(got))
                assert got == data[:size]


@both
async def test_an_end_in_each_direction(kind: str) -> None:
    async with pair(kind) as (one, other):
        await one.send_all(b"question")
        await one.send_eof()
        await one.send_eof()
        with pytest.raises(trio.ClosedResourceError):
            await one.send_all(b"more")
        assert await other.receive_some() == b"question"
        assert await other.receive_some() == b""
        await other.send_all(b"answer")
        await other.send_eof()
        assert await one.receive_some(3) == b"ans"
        assert await one.receive_some() == b"wer"
        assert await one.receive_some() == await one.receive_some() == b""


@both
async def test_a_reset_breaks_it(kind: str) -> None:
    async with pair(kind) as (one, other):
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await other.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await one.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await one.send_all(b"into the void")
    async with pair(kind) as (one, other):
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await other.aclose()
        if isinstance(one, TCPStream):
            with pytest.raises(trio.BrokenResourceError):
                one.send_now(b"into the void")
        else:
            with pytest.raises(trio.BrokenResourceError):
                await one.send_all(b"into the void")


@both
async def test_a_close_wakes_who_waits(kind: str) -> None:
    async with pair(kind) as (one, _), trio.open_nursery() as nursery:

        async def read() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await one.receive_some()

        async def write() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await one.send_all(bytes(50_000_000))

        nursery.start_soon(read)
        nursery.start_soon(write)
        await trio.testing.wait_all_tasks_blocked()
        await one.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await one.receive_some()
    with pytest.raises(trio.ClosedResourceError):
        await one.send_all(b"late")


@both
async def test_nobody_sends_in_the_middle_of_what_another_sends(kind: str) -> None:
    async with pair(kind) as (one, other), trio.open_nursery() as nursery:
        nursery.start_soon(one.send_all, bytes(20_000_000))
        await trio.testing.wait_all_tasks_blocked()
        await other.receive_some(5_000_000)  # there is room again
        with pytest.raises(trio.BusyResourceError):
            await one.send_all(b"x")
        with pytest.raises(trio.BusyResourceError):
            await one.send_eof()
        if isinstance(one, TCPStream):
            assert one.send_now(b"x") == 0
        nursery.cancel_scope.cancel()


@both
async def test_a_cancelled_read_takes_nothing(kind: str) -> None:
    async with pair(kind) as (one, other):
        await other.send_all(b"kept")
        with trio.CancelScope() as scope:
            scope.cancel()
            await one.receive_some()
        assert scope.cancelled_caught
        assert await one.receive_some() == b"kept"


@both
async def test_a_size_that_cannot_be(kind: str) -> None:
    async with pair(kind) as (one, _):
        for size in (0, -1):
            with pytest.raises(ValueError, match="max_bytes"):
                await one.receive_some(size)


async def test_what_is_sent_now_is_what_there_is_room_for() -> None:
    one, other = await short_pair()
    async with one, other:
        data = bytes(range(256)) * 100_000
        sent = 0
        while now := one.send_now(data[sent:]):
            sent += now
        assert 0 < sent < len(data)
        got = bytearray()
        while len(got) < sent:
            got += await other.receive_some()
        assert got == data[:sent]
        await one.send_eof()
        assert one.send_now(data) == 0
    assert one.send_now(data) == 0


async def test_what_lies_in_pieces_is_sent_as_one() -> None:
    one, other = await short_pair()
    async with one, other:
        pieces = [bytes([number]) * (5000 + number) for number in range(200)]
        data, sent = b"".join(pieces), 0
        got = bytearray()
        while sent < len(data):
            sent += one.send_pieces_now([data[sent:]] if sent else pieces)
            while len(got) < sent:
                got += await other.receive_some()
        assert got == data
        assert one.send_pieces_now([b"alone"]) == 5
        assert await other.receive_some() == b"alone"
        assert one.send_pieces_now([b"1"] * 1025) == 1024
        assert await other.receive_some() == b"1" * 1024
        await one.send_eof()
        assert one.send_pieces_now(pieces) == 0


async def test_nothing_is_sent_now_in_the_middle_of_what_another_sends() -> None:
    one, other = await socket_pair()
    async with one, other, trio.open_nursery() as nursery:
        nursery.start_soon(one.send_all, bytes(5_000_000))
        await wait_all_tasks_blocked()
        with assert_no_checkpoints():
            await other.receive_soon(1_000_000)  # there is room, and who waits for it had no turn yet
        assert one.send_now(b"x") == one.send_pieces_now([b"x", b"y"]) == 0
        nursery.cancel_scope.cancel()


async def test_what_is_there_is_read_with_no_checkpoint() -> None:
    one, other = await short_pair()
    async with one, other:
        await other.send_all(b"two parts")
        await trio.lowlevel.wait_readable(one._socket)
        with assert_no_checkpoints():
            assert await one.receive_soon(3) == b"two"
            assert await one.receive_soon(100) == b" parts"
        with trio.move_on_after(0) as nothing:
            await one.receive_soon(100)
        assert nothing.cancelled_caught
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other.send_all, b"later")
            assert await one.receive_soon(100) == b"later"
        await other.send_eof()
        assert await one.receive_soon(100) == b""
        assert await one.receive_some() == b""
        assert await one.receive_soon(100) == b""
    with pytest.raises(trio.ClosedResourceError):
        await one.receive_soon(100)
    one, other = await short_pair()
    async with one, other:
        other._plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await other.aclose()
        await trio.lowlevel.wait_readable(one._socket)
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError):
                await one.receive_soon(100)


async def test_what_fits_is_sent_with_no_checkpoint_and_the_rest_waits() -> None:
    one, other = await short_pair()
    data = bytes(range(256)) * 100_000
    async with one, other, trio.open_nursery() as nursery:
        with assert_no_checkpoints():
            await send_soon(one)(b"first")
        nursery.start_soon(send_soon(one), data)
        got = bytearray()
        while len(got) < 5 + len(data):
            got += await receive_soon(other)(1_000_000)
        assert got == b"first" + data
        await one.send_eof()
        with pytest.raises(trio.ClosedResourceError):
            await send_soon(one)(b"late")


@both
async def test_who_waits_for_an_end_can_be_cancelled_and_has_it_again(kind: str) -> None:
    async with pair(kind) as (one, other):
        await other.send_eof()
        for _ in range(2):
            with trio.CancelScope() as scope:
                scope.cancel()
                await one.receive_some()
            assert scope.cancelled_caught
            assert await one.receive_some() == b""


async def test_an_end_and_a_close_with_no_checkpoint() -> None:
    one, other = await short_pair()
    async with one, other:
        with assert_no_checkpoints():
            assert one.send_eof_now()
            assert one.send_eof_now()
        assert await other.receive_some() == b""
        with pytest.raises(trio.ClosedResourceError):
            await one.send_all(b"late")
        with assert_no_checkpoints():
            one.close_now()
            one.close_now()
        assert one.closed
    one, other = await short_pair()
    async with other:
        one.close_now()
        assert not one.send_eof_now()
        with pytest.raises(trio.ClosedResourceError):
            await one.send_eof()


async def test_no_end_now_in_the_middle_of_what_another_sends() -> None:
    one, other = await short_pair()
    async with one, other, trio.open_nursery() as nursery:
        nursery.start_soon(one.send_all, bytes(20_000_000))
        await trio.testing.wait_all_tasks_blocked()
        assert not one.send_eof_now()
        nursery.cancel_scope.cancel()


async def test_a_close_with_no_checkpoint_wakes_who_waits() -> None:
    one, other = await short_pair()
    async with other, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def read() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await one.receive_soon(10)

        await trio.testing.wait_all_tasks_blocked()
        one.close_now()


async def test_whether_it_is_closed() -> None:
    one, other = await short_pair()
    async with other:
        assert not one.closed
        await one.aclose()
        assert one.closed


@pytest.mark.skipif(sys.platform != "linux", reason="others do not say")
async def test_the_kernel_says_what_is_not_sent_yet() -> None:
    one, other = await short_pair()
    async with one, other:
        assert one.unsent == 0
        taken = 0
        while size := one.send_now(bytes(500_000)):
            taken += size
        assert 0 < one.unsent < taken
        while taken:
            taken -= len(await other.receive_some())
        assert one.unsent == 0
    assert one.unsent == 0


@pytest.mark.parametrize(
    ("host", "family", "loopback"),
    [
        ("127.0.0.1", socket.AF_INET, True),
        ("0.0.0.0", socket.AF_INET, False),
        ("::1", socket.AF_INET6, True),
        ("::", socket.AF_INET6, False),
    ],
)
def test_who_can_connect(host: str, family: socket.AddressFamily, loopback: bool) -> None:
    with socket.create_server((host, 0), family=family) as server:
        assert is_loopback(server) is loopback


@pytest.mark.skipif(sys.platform != "linux", reason="others have no choice")
async def test_a_connection_within_this_computer_is_not_paced(monkeypatch: pytest.MonkeyPatch) -> None:
    def control(sock: trio.socket.SocketType) -> bytes:
        return sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, "TCP_CONGESTION", 0), 16).rstrip(b"\0")

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        usual = control(listener.socket)
        with monkeypatch.context() as kernel:
            kernel.setattr("proxy.tcp._FOR_ALL", b"what it has not")
            mind_no_network(listener.socket)
            assert control(listener.socket) == usual
        mind_no_network(listener.socket)
        near = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        async with near, await listener.accept() as far:
            assert control(far.socket) == b"reno"
            assert control(near.socket) == usual
            await far.send_all(bytes(10))
            assert await near.receive_some() == bytes(10)


@pytest.mark.skipif(sys.platform != "linux", reason="the pace is Linux's")
async def test_the_kernel_is_told_how_fast_and_how_much_to_hold() -> None:
    one, other = await short_pair()
    pacing = 47
    size = struct.calcsize("L")

    def pace() -> int:
        return int(struct.unpack("L", one._socket.getsockopt(socket.SOL_SOCKET, pacing, size))[0])

    async with one, other:
        assert pace() == 2 ** (8 * size) - 1
        one.pace(1_234_567.8)
        assert pace() == 1_234_567
        one.pace(math.inf)
        assert pace() == 2 ** (8 * size) - 1
        one.hold(100_000)
        assert one._socket.getsockopt(socket.IPPROTO_TCP, getattr(socket, "TCP_NOTSENT_LOWAT", 0)) == 100_000
        await one.send_all(bytes(10))
        assert await other.receive_some() == bytes(10)
    one.pace(1.0)  # it is closed: nothing happens
    one.hold(1)
