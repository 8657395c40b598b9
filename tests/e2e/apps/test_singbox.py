"""sing-box as a SOCKS5 client, which phones use in the place of settings for each app: TCP and UDP."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from tests.e2e.apps.echo import HOST, tcp_echo, udp_echo
from tests.e2e.apps.singbox import start_singbox
from tests.e2e.apps.socks_udp import datagram_socket, wait_for_tunnel
from tests.lab.programs import receive_exactly

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.apps.interruption import Way

pytestmark = pytest.mark.e2e

PATIENCE_SECONDS = 60
LINES = 20


async def talk_by_datagrams(port: int) -> None:
    """One at a time; the carrier is not touched, so nothing is lost on loopback."""
    with datagram_socket() as mine:
        for number in range(LINES):
            data = bytes([number]) * (number * 60 + 1)
            await mine.sendto(data, (HOST, port))
            assert await mine.recvfrom(2048) == (data, (HOST, port))


async def talk_by_stream(way: Way, port: int) -> None:
    async with await trio.open_tcp_stream(HOST, port) as stream:
        for number in range(LINES):
            data = bytes([number]) * (number * 1000 + 1)
            await stream.send_all(data)
            if number == LINES // 2:
                await trio.to_thread.run_sync(partial(way.cut, rudely=True))
            assert await receive_exactly(stream, len(data)) == data


async def test_both_networks(way: Way, folder: Path) -> None:
    await trio.to_thread.run_sync(wait_for_tunnel, way.pair)
    async with udp_echo() as udp, tcp_echo() as tcp:
        start = partial(start_singbox, way.programs, folder, way.pair.port, {"udp": udp, "tcp": tcp})
        ports = await trio.to_thread.run_sync(start)
        with trio.fail_after(PATIENCE_SECONDS):
            await talk_by_datagrams(ports["udp"])
            await talk_by_stream(way, ports["tcp"])
            await talk_by_datagrams(ports["udp"])  # with the carrier after that
