"""Joins two streams, so that what ends or breaks on one of them ends or breaks on the other."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import trio

from .protocol.budget import LARGEST
from .session_stream import SessionStream
from .shortcut import close_soon, end_soon, receive_soon, send_soon, shortcut
from .tcp import TCPStream

if TYPE_CHECKING:
    from .connections import Connection

#: What is told how many bytes went, and when; 0 is the end.
_Count: TypeAlias = Callable[[int, float], None]

# Our choices.
#: One read's worth: what a stream of the tunnel gives at once, so that a task switch serves much of a fast stream.
READ_SIZE = LARGEST

#: So many bytes are moved with no turn for others, where sending has not to wait; of each read some more are counted, or tiny ones would go on for
#: long. A message needs no turn of its own: the next read waits.
RUSH, EACH = 65_536, 4096

# How the kernel is told to forget a connection with a reset: linger on, for 0 seconds. Windows has shorter fields.
_NO_LINGER = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)

#: Or trio makes a string of each task's function, 90 bytes for each stream.
_NAME = "relay"
#: The ends that peers and networks bring about.
_ENDED = (trio.BrokenResourceError, trio.ClosedResourceError)


#: What the table says of an end that is no end, where the stream does not know better: one of the tunnel would.
_BY_APP, _BY_EITHER = "the app broke it off", "the app or the destination broke it off"


async def relay(
    a: trio.abc.HalfCloseableStream, b: trio.abc.HalfCloseableStream, connection: Connection | None = None
) -> None:
    """Copies both ways until both directions have ended, then closes both streams.

    An end that `a` says goes on to `b` as its end while the other direction lives, and the reverse. When either stream breaks, both are
    aborted: what was cut off must not look finished. A cancelled relay aborts both. Raises nothing for what a peer or a network does.

    `connection` is the entry of the app, where `a` is one's: it is told of each byte, ends both where it is to end, and is closed.
    """
    a, b = shortcut(a), shortcut(b)
    whole = False
    try:
        whole = await _copy_both(a, b, connection)
    finally:
        _end(connection, b, whole)
        end = _close if whole else abort
        try:
            await end(a)
        finally:
            await end(b)


async def abort(stream: trio.abc.AsyncResource) -> None:
    """Closes at once and in a way that the peer cannot take for an end: a socket sends a reset, a stream of the tunnel RESET."""
    if isinstance(stream, (trio.SocketStream, TCPStream)):
        with contextlib.suppress(OSError):  # it is closed already
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    # Shielded, so that a cancellation from outside does not replace the error that brought us here.
    with trio.CancelScope(shield=True):
        await trio.aclose_forcefully(stream)


def _begin(connection: Connection | None, scope: trio.CancelScope) -> tuple[_Count | None, _Count | None]:
    """What is told of the bytes up and down."""
    if connection is None:
        return None, None
    connection.ends_with(scope)
    return connection.traffic.up, connection.traffic.down


def _end(connection: Connection | None, b: trio.abc.AsyncResource, whole: bool) -> None:
    if connection is not None:
        connection.close(trio.current_time(), "" if whole else getattr(b, "reset_text", _BY_EITHER) or _BY_APP)


async def _close(stream: trio.abc.AsyncResource) -> None:
    with contextlib.suppress(*_ENDED):
        await close_soon(stream)


async def _copy_both(
    a: trio.abc.HalfCloseableStream, b: trio.abc.HalfCloseableStream, connection: Connection | None
) -> bool:
    """Whether both directions came to their end."""
    try:
        async with trio.open_nursery() as nursery:
            for stream in (a, b):
                if isinstance(stream, SessionStream):  # who does not read is told as well
                    stream.cancel_when_reset(nursery.cancel_scope)
            up, down = _begin(connection, nursery.cancel_scope)
            both = _Both(nursery)
            if isinstance(a, TCPStream) and isinstance(b, SessionStream):
                await both.join_tunnel(a, b, up, down)
            elif isinstance(a, SessionStream) and isinstance(b, TCPStream):
                await both.join_tunnel(b, a, down, up)
            else:
                await both.join(a, b, up, down)
    except BaseExceptionGroup as group:
        error = _foremost(group)
    else:
        return both.ended == 2
    raise error


class _Both:
    """Both directions, and how many of them have come to their end. The first that breaks cancels the nursery."""

    __slots__ = ("_nursery", "ended")

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.ended = 0

    async def join(
        self,
        a: trio.abc.HalfCloseableStream,
        b: trio.abc.HalfCloseableStream,
        up: _Count | None,
        down: _Count | None,
    ) -> None:
        self._nursery.start_soon(self._one_way, a, b, up, name=_NAME)
        await self._one_way(b, a, down)  # a nursery's own task would only wait

    async def join_tunnel(
        self, near: TCPStream, tunnel: SessionStream, into: _Count | None, out: _Count | None
    ) -> None:
        """What comes out of the tunnel needs a task only once the socket does not take it: a tenth of a short connection's time, and the memory of
        a task for each that is idle.
        """

        def otherwise() -> None:
            if tunnel.at_end and near.send_eof_now():
                if out is not None:
                    out(0, trio.current_time())
                self.ended += 1
            else:
                self._nursery.start_soon(self._one_way, tunnel, near, out, name=_NAME)

        # Or the socket would get something, even an end, before it is reset.
        await trio.lowlevel.checkpoint_if_cancelled()
        tunnel.hand_on(near.send_pieces_now, out, otherwise)
        try:
            await self._one_way(near, tunnel, into)
            if tunnel.let_go():
                await self._one_way(tunnel, near, out)
        finally:
            tunnel.let_go()  # or it would call into a nursery that is closed

    async def _one_way(
        self, source: trio.abc.ReceiveStream, sink: trio.abc.HalfCloseableStream, count: _Count | None
    ) -> None:
        try:
            await _copy(source, sink, count)
        except _ENDED:
            self._nursery.cancel_scope.cancel()
        else:
            self.ended += 1


async def _copy(source: trio.abc.ReceiveStream, sink: trio.abc.HalfCloseableStream, count: _Count | None) -> None:
    appetite = getattr(sink, "appetite", _whole_reads)  # a stream of the tunnel says how much it likes
    receive, send = receive_soon(source), send_soon(sink)
    rush = 0
    while data := await receive(appetite()):
        if count is not None:
            count(len(data), trio.current_time())
        rush = 0 if await send(data) else rush + len(data) + EACH
        if rush > RUSH:
            await trio.lowlevel.checkpoint()
            rush = 0
        data = b""  # an idle stream keeps no chunk alive
    if count is not None:
        count(0, trio.current_time())
    await end_soon(sink)


def _whole_reads() -> int:
    return READ_SIZE


def _foremost(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one exception to raise in place of a nursery's group: a bug rather than the cancellation that may have come with it."""
    _cancelled, rest = group.split(trio.Cancelled)
    one: BaseException = rest or group
    while isinstance(one, BaseExceptionGroup):
        one = one.exceptions[0]
    return one
