"""Joins two streams, so that what ends or breaks on one of them ends or breaks on the other."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys

import trio

from .protocol.budget import LARGEST
from .tcp import shortcut

# Our choices.
#: One read's worth: what a stream of the tunnel gives at once, so that a task switch serves much of a fast stream.
READ_SIZE = LARGEST

# How the kernel is told to forget a connection with a reset: linger on, for 0 seconds. Windows has shorter fields.
_NO_LINGER = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)

#: Or trio makes a string of each task's function, 90 bytes for each stream.
_NAME = "relay"
#: The ends that peers and networks bring about.
_ENDED = (trio.BrokenResourceError, trio.ClosedResourceError)


async def relay(a: trio.abc.HalfCloseableStream, b: trio.abc.HalfCloseableStream) -> None:
    """Copies both ways until both directions have ended, then closes both streams.

    An end that `a` says goes on to `b` as its end while the other direction lives, and the reverse. When either stream breaks, both are
    aborted: what was cut off must not look finished. A cancelled relay aborts both. Raises nothing for what a peer or a network does.
    """
    whole = False
    try:
        whole = await _copy_both(a, b)
    finally:
        end = _close if whole else abort
        try:
            await end(a)
        finally:
            await end(b)


async def abort(stream: trio.abc.AsyncResource) -> None:
    """Closes at once and in a way that the peer cannot take for an end: a socket sends a reset, a stream of the tunnel RESET."""
    if isinstance(stream, trio.SocketStream):
        with contextlib.suppress(OSError):  # it is closed already
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    # Shielded, so that a cancellation from outside does not replace the error that brought us here.
    with trio.CancelScope(shield=True):
        await trio.aclose_forcefully(stream)


async def _close(stream: trio.abc.AsyncResource) -> None:
    with contextlib.suppress(*_ENDED):
        await stream.aclose()


async def _copy_both(a: trio.abc.HalfCloseableStream, b: trio.abc.HalfCloseableStream) -> bool:
    """Whether both directions came to their end."""
    ended = 0
    a, b = shortcut(a), shortcut(b)

    async def one_way(source: trio.abc.ReceiveStream, sink: trio.abc.HalfCloseableStream) -> None:
        nonlocal ended
        try:
            await _copy(source, sink)
        except _ENDED:
            nursery.cancel_scope.cancel()
        else:
            ended += 1

    try:
        async with trio.open_nursery() as nursery:
            for stream in (a, b):
                if hasattr(stream, "cancel_when_reset"):  # one of the tunnel; who does not read is told as well
                    stream.cancel_when_reset(nursery.cancel_scope)
            nursery.start_soon(one_way, a, b, name=_NAME)
            await one_way(b, a)  # a nursery's own task would only wait
    except BaseExceptionGroup as group:
        error = _foremost(group)
    else:
        return ended == 2
    raise error


async def _copy(source: trio.abc.ReceiveStream, sink: trio.abc.HalfCloseableStream) -> None:
    appetite = getattr(sink, "appetite", _whole_reads)  # a stream of the tunnel says how much it likes
    if hasattr(source, "hand_on") and hasattr(sink, "send_now"):
        source.hand_on(sink.send_now)
    while data := await source.receive_some(appetite()):
        await sink.send_all(data)
        data = b""  # an idle stream keeps no chunk alive
    await sink.send_eof()


def _whole_reads() -> int:
    return READ_SIZE


def _foremost(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one exception to raise in place of a nursery's group: a bug rather than the cancellation that may have come with it."""
    _cancelled, rest = group.split(trio.Cancelled)
    one: BaseException = rest or group
    while isinstance(one, BaseExceptionGroup):
        one = one.exceptions[0]
    return one
