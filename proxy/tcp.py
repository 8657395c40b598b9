"""A shorter way for the bytes of a TCP connection, past the layers of trio's socket stream, for as long as it has no end and nothing fails."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any

import trio

if sys.platform == "linux":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_NOT_THE_PEER = {errno.EBADF, errno.EINVAL}
#: What one read takes where nothing is said, as in trio's own stream.
READ_SIZE = 65_536
#: linux/sockios.h: bytes that are not sent yet.
_SIOCOUTQNSD = 0x894B
#: Linux and macOS take no more at once, and refuse a call that has more (IOV_MAX).
_MOST_PIECES = 1024
#: The congestion control that every Linux has and lets everybody take (RFC 5681).
_FOR_ALL = b"reno"
#: socket(7), which has no name for it in Python; a number of the size of a pointer, of which the highest is no limit.
_MAX_PACING_RATE, _UNPACED = 47, 2 ** (8 * struct.calcsize("L")) - 1


def is_loopback(sock: socket.socket | trio.socket.SocketType) -> bool:
    """Whether only this computer can connect to it."""
    address = ipaddress.ip_address(sock.getsockname()[0].partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def mind_no_network(sock: trio.socket.SocketType) -> None:
    """For a connection within this computer, before it is made, or for the listener of such ones. What is sent there needs no spreading and fills no
    queue, so the congestion control that minds both is in the way: BBR, where the system has it, waits for its timer with half of each large write,
    which took a fifth of the throughput of eight streams. Later it is too late: what has begun to pace goes on with it. Linux only: elsewhere nothing
    happens.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # this kernel does without it
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _FOR_ALL)


def unpaced(listeners: list[trio.SocketListener]) -> list[trio.SocketListener]:
    """The same, and those to which only this computer can connect mind no network: what they accept inherits it."""
    for listener in listeners:
        if is_loopback(listener.socket):
            mind_no_network(listener.socket)
    return listeners


class TCPStream(trio.abc.HalfCloseableStream):
    """A `trio.SocketStream` by another way: the same contract, and where it has come to an end or was closed it is left to it.

    It saves a tenth of the CPU time of a download.
    """

    __slots__ = ("_broken", "_plain", "_sending", "_socket")

    def __init__(self, plain: trio.SocketStream) -> None:
        self._plain = plain
        self._socket = plain.socket
        self._sending = False
        self._broken = False  # the kernel tells of a reset once, and whoever asks again gets an end

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        await trio.lowlevel.checkpoint_if_cancelled()
        size = READ_SIZE if max_bytes is None else max_bytes
        data = self._read(size)
        if data:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return data
        return await self._receive_later(data, size)

    async def receive_soon(self, max_bytes: int) -> bytes | bytearray:
        """As `receive_some`, and no checkpoint where something is there."""
        data = self._read(max_bytes)
        return data or await self._receive_later(data, max_bytes)

    async def _receive_later(self, data: bytes | None, size: int) -> bytes | bytearray:
        """`data`: what `_read` said, which was nothing."""
        waits = data is None
        while data is None:
            await trio.lowlevel.wait_readable(self._socket)
            data = self._read(size)
        if data:
            return data
        if self._broken:
            raise trio.BrokenResourceError("the connection was reset")
        if size > 0 and not self.closed:  # the end, as it is said each time
            if not waits:
                await trio.lowlevel.checkpoint()
            return b""
        return await self._plain.receive_some(size)

    def _read(self, size: int) -> bytes | None:
        """None where it has to wait, and empty at the end, and where the call cannot be: it was closed, or the size is none."""
        try:
            return os.read(self._socket.fileno(), size)
        except BlockingIOError:
            return None
        except OSError as exc:
            self._check(exc)
            return b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        await trio.lowlevel.checkpoint_if_cancelled()
        sent = self._sent(os.write, data)
        if sent and sent == len(data):
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        rest = memoryview(data)[sent or 0 :]
        self._sending = True
        try:
            while rest and sent != 0:
                await trio.lowlevel.wait_writable(self._socket)
                sent = self._written(os.write, rest)
                rest = rest[sent or 0 :]
            if sent == 0:
                await self._plain.send_all(rest)
        finally:
            self._sending = False

    async def send_soon(self, data: bytes | bytearray | memoryview) -> bool:
        """As `send_all`, and no checkpoint where the kernel takes all of it at once; whether there was one."""
        sent = self.send_now(data)
        if sent == len(data):
            return False
        await self.send_all(memoryview(data)[sent:])
        return True

    def send_now(self, data: bytes | bytearray | memoryview) -> int:
        """How many bytes of it the kernel took at once: 0 also where it was closed or ended, or another task is sending.

        Raises trio.BrokenResourceError.
        """
        return self._sent(os.write, data) or 0

    def send_pieces_now(self, pieces: Sequence[bytes]) -> int:
        """The same for what lies in pieces."""
        if sys.platform == "win32" or len(pieces) == 1:  # the type checker knows no other there
            return self.send_now(b"".join(pieces))
        return self._sent(os.writev, pieces[:_MOST_PIECES]) or 0

    def _sent(self, write: Callable[[int, Any], int], what: Any) -> int | None:
        if self._sending or self._socket.did_shutdown_SHUT_WR:
            return 0
        return self._written(write, what)

    def _written(self, write: Callable[[int, Any], int], what: Any) -> int | None:
        """None where it has to wait, and 0 where it is for the plain stream to say why."""
        try:
            return write(self._socket.fileno(), what)
        except BlockingIOError:
            return None
        except OSError as exc:
            self._check(exc)
            return 0

    def pace(self, rate: float) -> None:
        """How many bytes a second the kernel sends at most, spread evenly, from its next acknowledgement on. Linux only: elsewhere nothing happens."""
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # it was closed
                self._socket.setsockopt(socket.SOL_SOCKET, _MAX_PACING_RATE, struct.pack("L", int(min(rate, _UNPACED))))

    def hold(self, size: int) -> None:
        """How many bytes the kernel takes that it cannot send yet, as far as it counts them. trio says 16 KB, which fast paths have sent before
        it was woken.
        """
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            with contextlib.suppress(OSError):  # as in `pace`
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, size)

    @property
    def unsent(self) -> int:
        """How many bytes the kernel has taken and not sent yet; none where it does not say so. It may be more than `hold` says."""
        if sys.platform == "linux":
            with contextlib.suppress(OSError, ValueError):  # as in `pace`
                return int.from_bytes(fcntl.ioctl(self._socket.fileno(), _SIOCOUTQNSD, bytes(4)), sys.byteorder)
        return 0

    def _check(self, error: OSError) -> None:
        """Where it is not about the call, or a stream that was closed here."""
        if error.errno not in _NOT_THE_PEER:
            self._broken = True
            raise trio.BrokenResourceError(f"socket connection broken: {error}") from error

    async def wait_send_all_might_not_block(self) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        await self._plain.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        await self._plain.send_eof()

    @property
    def closed(self) -> bool:
        return self._socket.fileno() < 0

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        """Raises OSError where it is closed."""
        self._plain.setsockopt(level, option, value)

    def send_eof_now(self) -> bool:
        """As `send_eof`, with no checkpoint; where it returns False nothing has happened, and that one says why."""
        if self._sending:
            return False
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            return False
        return True

    async def aclose(self) -> None:
        await self._plain.aclose()

    def close_now(self) -> None:
        """As `aclose`, with no checkpoint."""
        self._socket.close()
