"""Streams by their shorter way: with no turn of the event loop where nothing has to be waited for.

Those of ours have it, as methods of these names; others go the usual way. Who goes it gives others a turn himself.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import trio

from .tcp import TCPStream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def shortcut(stream: trio.abc.HalfCloseableStream) -> trio.abc.HalfCloseableStream:
    """The same connection with the shorter way, or what was given where it has none: another kind of stream, or Windows, whose sockets are no files."""
    if isinstance(stream, trio.SocketStream) and sys.platform != "win32":
        return TCPStream(stream)
    return stream


def receive_soon(stream: trio.abc.ReceiveStream) -> Callable[[int], Awaitable[bytes | bytearray]]:
    """`receive_some`, with no checkpoint where something is there."""
    return getattr(stream, "receive_soon", stream.receive_some)


def send_soon(stream: trio.abc.SendStream) -> Callable[[bytes | bytearray | memoryview], Awaitable[bool | None]]:
    """`send_all`, with no checkpoint where all of it is taken at once. What it returns is true where it had to wait, so others had a turn, False where
    it had not, and None of streams that do not say so: their way always has a checkpoint.
    """
    return getattr(stream, "send_soon", stream.send_all)


async def end_soon(stream: trio.abc.HalfCloseableStream) -> None:
    """`send_eof`, with no checkpoint where nothing is amiss."""
    end: Callable[[], bool] | None = getattr(stream, "send_eof_now", None)
    if end is None or not end():
        await stream.send_eof()


async def close_soon(stream: trio.abc.AsyncResource) -> None:
    """`aclose`, with no checkpoint."""
    close: Callable[[], None] | None = getattr(stream, "close_now", None)
    if close is None:
        await stream.aclose()
    else:
        close()
