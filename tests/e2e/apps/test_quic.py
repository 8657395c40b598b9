"""QUIC by way of UDP ASSOCIATE, as browsers and many apps speak it: a connection outlives carriers."""

from __future__ import annotations

import hashlib
import os
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from tests.e2e.apps.quic import End, accept, connect
from tests.e2e.apps.socks_udp import associate, datagram_socket

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.apps.interruption import Way
    from tests.e2e.apps.socks_udp import Where

pytestmark = pytest.mark.e2e

SIZE = 1_000_000
PATIENCE_SECONDS = 60


async def serve(mine: trio.socket.SocketType, certificate: Path, seen: set[Where]) -> None:
    """One connection; `seen` is told from where its datagrams come."""

    async def send(there: Where, data: bytes) -> None:
        await mine.sendto(data, there)

    async def receive() -> tuple[Where, bytes]:
        data, sender = await mine.recvfrom(2048)
        seen.add(sender)
        return sender, data

    echo = await accept(certificate, send, receive)
    await echo.run()


async def transfer(way: Way, end: End) -> None:
    """1 MB each way, and again while the carrier is cut."""
    data = os.urandom(SIZE)
    await end.ready.wait()
    for stream in (0, 4):  # the client's bidirectional ones (RFC 9000, section 2.1)
        end.send_stream(stream, data)
        if stream:
            await end.streams[stream].reached(SIZE // 4)
            await trio.to_thread.run_sync(partial(way.cut, rudely=True))
        await end.streams[stream].ended.wait()
        assert (end.streams[stream].size, end.streams[stream].digest) == (SIZE, hashlib.sha256(data).hexdigest())
    end.close()


async def test_a_connection(way: Way, folder: Path) -> None:
    way.authority.give(folder)
    seen: set[Where] = set()
    with datagram_socket() as server, trio.fail_after(PATIENCE_SECONDS):
        async with associate(way.pair.port) as association, trio.open_nursery() as nursery:
            nursery.start_soon(serve, server, folder / "server.pem", seen)
            end = connect(server.getsockname(), way.authority.path, association.send, association.receive)
            nursery.start_soon(end.run)
            await transfer(way, end)
    # So far as the server knows, the client has never moved.
    assert len(seen) == 1
