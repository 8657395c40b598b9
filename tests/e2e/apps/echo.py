"""What answers: over UDP to where a datagram came from, over TCP on the same connection."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import trio

from tests.e2e.apps.socks_udp import datagram_socket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HOST = "127.0.0.1"


async def _answer_datagrams(mine: trio.socket.SocketType) -> None:
    while True:
        data, sender = await mine.recvfrom(65_535)
        await mine.sendto(data, sender)


async def _answer_stream(stream: trio.SocketStream) -> None:
    try:
        async for data in stream:
            await stream.send_all(data)
    except trio.BrokenResourceError:
        pass  # whoever asked does not wait for the answer


@asynccontextmanager
async def udp_echo() -> AsyncIterator[tuple[str, int]]:
    with datagram_socket(HOST) as mine:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_answer_datagrams, mine)
            yield HOST, mine.getsockname()[1]
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def tcp_echo() -> AsyncIterator[tuple[str, int]]:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, _answer_stream, 0, host=HOST))
        yield HOST, listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()
