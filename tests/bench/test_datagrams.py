"""The flood at a real local port, which sends its datagrams on directly; every process that it is made of runs."""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import datagrams
import pytest
import trio
from datagrams import Flood, Flooded, associated, echoing
from target import receive

from proxy.connections import DIRECT, Connections
from proxy.dialer import Dialer
from proxy.listener import serve_local
from proxy.opener import always
from proxy.udp import UDP, Policy
from proxy.udp_relay import UDPRelay
from tests.e2e.machine import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from proxy.address import Address
    from proxy.association import Association


class Direct:
    """The one way that there is."""

    route, rule = DIRECT, ""

    def __init__(self, udp: UDP) -> None:
        self._udp = udp

    async def open(self) -> Association:
        await trio.lowlevel.checkpoint()
        return self._udp.associate(Policy(lambda _: True, Dialer(allow_private=True).lookup))


async def no_stream(_address: Address) -> trio.abc.HalfCloseableStream:
    raise AssertionError("datagrams alone are sent")


@asynccontextmanager
async def local_port() -> AsyncIterator[tuple[int, Connections]]:
    udp, connections = UDP(), Connections()
    async with trio.open_nursery() as nursery:
        await nursery.start(udp.run)
        way = Direct(udp)
        relay = UDPRelay(lambda _: way, connections=connections)
        listeners = await trio.open_tcp_listeners(0, host=datagrams.HOST)
        await nursery.start(partial(serve_local, listeners, always(no_stream), None, associate=relay.serve))
        yield listeners[0].socket.getsockname()[1], connections
        nursery.cancel_scope.cancel()


def flooded(socks: int, echo: int, connections: Connections) -> Flooded:
    """Until each of them has had an answer."""

    def answered() -> bool:
        traffics = [each.traffic for each in connections.all_open()]
        return len(traffics) == 3 and all(each.bytes_down for each in traffics)

    with Flood(socks, echo, 3, 500) as flood:
        wait_until(lambda: trio.from_thread.run_sync(answered), "each has an answer")
        return flood.finish()


async def test_a_flood_goes_there_and_back_and_is_counted() -> None:
    with echoing() as echo:
        async with local_port() as (socks, connections):
            found = await trio.to_thread.run_sync(flooded, socks, echo, connections)
            total = connections.total()
    assert found.seconds > 0
    assert 3 <= found.came_back <= found.sent
    assert total.connections == 3
    assert total.bytes_up % 500 == total.bytes_down % 500 == 0
    assert total.bytes_up >= total.bytes_down >= 500 * found.came_back


def test_a_proxy_that_takes_no_datagrams_is_told() -> None:
    def refuse() -> None:
        with listener.accept()[0] as control:
            receive(control, len(datagrams.ASSOCIATE))
            control.sendall(b"\5\0" + b"\5\7\0\1" + bytes(6))
            assert control.recv(1) == b""

    with socket.create_server((datagrams.HOST, 0)) as listener:
        proxy = threading.Thread(target=refuse)
        proxy.start()
        with pytest.raises(ConnectionError, match="SOCKS5 reply 7"):
            associated(listener.getsockname()[1])
        proxy.join()


def test_a_flood_that_does_not_begin_is_told() -> None:
    with socket.create_server((datagrams.HOST, 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(RuntimeError, match="did not begin"), Flood(port, 9, 1, 100):
        pass


def test_where_nothing_comes_back_there_are_no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "import sys; print('open', flush=True); sys.stdin.read(); print(sys.argv[1])"
    said = '{"seconds": 1.0, "sent": 7, "came_back": 0}'
    monkeypatch.setattr(datagrams, "command", lambda *_: [sys.executable, "-c", words, said])
    with Flood(1, 2, 3, 4) as flood, pytest.raises(RuntimeError, match="of 7 datagrams none came back"):
        flood.finish()
