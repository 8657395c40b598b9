"""The programs of connections in the table: who is asked for, and when."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from proxy.address import Address
from proxy.connections import AppProtocol, Connection, Connections
from proxy.peer_process import PeerProcesses
from proxy.processes import EVERYWHERE_EVERY, Processes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from trio.testing import MockClock

    from proxy.peer_process import Ends

ITSELF = str(Path(sys.executable).resolve())

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not say it")


class Told(PeerProcesses):
    """Knows all that were not made to be unknown, and notes what it is asked."""

    def __init__(self) -> None:
        super().__init__(lambda: None)
        self.asked: list[tuple[int, bool]] = []
        self.knows_new_ones = False

    def find(self, wanted: Collection[Ends], *, everywhere: bool) -> dict[Ends, str]:
        self.asked.append((len(wanted), everywhere))
        return dict.fromkeys(wanted, "/usr/bin/browser") if self.knows_new_ones or everywhere else {}


class World:
    def __init__(self, listener: trio.SocketListener) -> None:
        self.table = Connections()
        self.told = Told()
        self.processes = Processes(self.told)
        self._listener = listener
        self._apps: list[trio.SocketStream] = []

    async def opened(self) -> Connection:
        self._apps.append(await trio.testing.open_stream_to_socket_listener(self._listener))
        return self.beside(await self._listener.accept())

    def beside(self, stream: object) -> Connection:
        made = self.table.opened(AppProtocol.CONNECT, Address("a.example", 443), trio.current_time())
        made.app = stream
        return made

    async def look(self) -> None:
        await self.processes.look(self.table.all_open())

    async def close(self) -> None:
        for connection in self.table.all_open():
            if isinstance(connection.app, trio.SocketStream):
                await connection.app.aclose()
        for app in self._apps:
            await app.aclose()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        world = World(listener)
        yield world
        await world.close()


async def test_each_is_asked_for_once(world: World) -> None:
    first = await world.opened()
    world.beside(first.app)  # by the same connection of the app
    assert [each.process for each in world.table.all_open()] == [None, None]
    await world.look()
    assert [each.process for each in world.table.all_open()] == ["/usr/bin/browser", "/usr/bin/browser"]
    assert first.view(0).process == "/usr/bin/browser"
    await world.look()
    assert world.told.asked == [(1, True)]


async def test_all_processes_are_looked_at_now_and_then(world: World, autojump_clock: MockClock) -> None:
    await world.opened()
    await world.look()
    new = await world.opened()
    await world.look()
    assert new.process is None
    world.told.knows_new_ones = True
    await world.look()
    assert new.process == "/usr/bin/browser"
    await trio.sleep(EVERYWHERE_EVERY)
    await world.opened()
    await world.look()
    assert [everywhere for _, everywhere in world.told.asked] == [True, False, False, True]


async def test_what_cannot_be_known_is_not_asked_for(world: World) -> None:
    nothing, closed = world.beside(None), await world.opened()
    stream = closed.app
    closed.close(1)
    assert closed.app is None  # the entry may be kept by who shows it
    assert isinstance(stream, trio.SocketStream)
    gone = world.beside(stream)
    await stream.aclose()
    await world.look()
    assert (nothing.process, closed.process, gone.process) == ("", None, "")
    assert world.told.asked == []


async def test_this_very_process(world: World) -> None:
    connection = await world.opened()
    await Processes().look(world.table.all_open())
    assert connection.process == ITSELF
