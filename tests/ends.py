"""Both sides of a session over memory streams, driven by trio."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
from trio.testing import MemoryReceiveStream, MemorySendStream, memory_stream_pair, wait_all_tasks_blocked

from proxy.protocol.mux import Mux
from proxy.session import Session
from tests.pair import ADDRESS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from proxy.session_stream import SessionStream

Transport = trio.StapledStream[MemorySendStream, MemoryReceiveStream]


class Ends:
    """Both sides of a session, driven by trio."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.opened: list[SessionStream] = []
        self.local = Session(Mux(opens=True, now=trio.current_time()))
        self.exit = Session(Mux(opens=False, now=trio.current_time()), self.opened.append)
        self.carriers: tuple[Transport, Transport] | None = None
        self.ended: list[str] = []
        self.first_end = trio.Event()

    def connect(self) -> tuple[Transport, Transport]:
        """A new carrier in place of the last one, if there was one."""
        mux, now = self.local.mux, trio.current_time()
        received, sending = mux.carrier_made(now)
        early = b""
        while data := mux.data_to_send(65536, now):
            early += data
        first = 0 if self.carriers is None else self.exit.mux.resumed(received, sending, now)
        mux.welcomed(self.exit.mux.received, first, now)
        self.carriers = memory_stream_pair()
        self.nursery.start_soon(self._run, self.local, self.carriers[0], b"")
        self.nursery.start_soon(self._run, self.exit, self.carriers[1], early)
        return self.carriers

    async def _run(self, session: Session, carrier: Transport, first: bytes) -> None:
        self.ended.append(await session.run_carrier(carrier, first))
        self.first_end.set()

    async def cut(self) -> None:
        await self.local.detach()
        await self.exit.detach()

    async def open(self) -> tuple[SessionStream, SessionStream]:
        stream = self.local.open(ADDRESS)
        while not self.opened:
            await wait_all_tasks_blocked()
        other = self.opened.pop()
        other.accept()
        await stream.wait_accepted()
        return stream, other


@asynccontextmanager
async def two_ends() -> AsyncIterator[Ends]:
    with trio.fail_after(600):  # of virtual time: pings would keep a test alive that waits for nothing
        async with trio.open_nursery() as nursery:
            ends = Ends(nursery)
            ends.connect()
            yield ends
            nursery.cancel_scope.cancel()


async def exchange(one: SessionStream, other: SessionStream, data: bytes = b"hello") -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.send_all, data)
        got = b""
        while len(got) < len(data):
            got += await other.receive_some()
    assert got == data
