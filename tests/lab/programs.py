"""What the small programs of the lab have in common: SOCKS, a report at the end, and an end when they are told to."""

from __future__ import annotations

import json
import signal
import struct
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import AsyncIterator


async def receive_exactly(stream: trio.abc.ReceiveStream, size: int) -> bytes:
    """Raises EOFError."""
    data = bytearray()
    while len(data) < size:
        chunk = await stream.receive_some(size - len(data))
        if not chunk:
            raise EOFError(f"the end after {len(data)} of {size} bytes")
        data += chunk
    return bytes(data)


async def connect_by_socks(proxy_port: int, port: int) -> trio.SocketStream:
    """To that port of the exit's machine. Raises OSError where SOCKS refuses, and EOFError (RFC 1928)."""
    stream = await trio.open_tcp_stream("127.0.0.1", proxy_port)
    try:
        name = b"localhost"
        await socks_request(stream, 1, b"\3" + bytes([len(name)]) + name + struct.pack("!H", port))
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream


async def socks_request(stream: trio.SocketStream, command: int, address: bytes) -> bytes:
    """The address of the answer, address and port (RFC 1928). Raises OSError where SOCKS refuses, and EOFError."""
    await stream.send_all(b"\5\1\0" + bytes([5, command, 0]) + address)
    await receive_exactly(stream, 2)
    _, reply, _, kind = await receive_exactly(stream, 4)
    bound = await receive_exactly(stream, {1: 4, 4: 16}[kind] + 2)
    if reply:
        raise OSError(f"SOCKS reply {reply}")
    return bound


def write_report(given: Namespace, report: dict[str, Any]) -> None:
    """Whole or not at all: somebody waits for it."""
    path = Path(given.report)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(report))
    draft.rename(path)


@asynccontextmanager
async def told_to_stop() -> AsyncIterator[trio.Event]:
    """The event is set at SIGTERM. After the block nothing waits for the signal any more."""
    stop = trio.Event()

    async def wait(task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                stop.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(wait)
        yield stop
        nursery.cancel_scope.cancel()
