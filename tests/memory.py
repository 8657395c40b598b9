"""Transports made of memory, which a test can watch, narrow, silence and cut."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio
from trio.testing import memory_stream_pair

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MemoryReceiveStream, MemorySendStream


class End(trio.abc.HalfCloseableStream):
    """One end of a cable. `sent` is everything that was given to it, also what the cable lost."""

    def __init__(self, cable: Cable, stream: trio.StapledStream[MemorySendStream, MemoryReceiveStream]) -> None:
        self._cable = cable
        self._stream = stream
        self._room = trio.lowlevel.ParkingLot()
        self.sent = bytearray()
        self.unread = 0  # bytes that wait at this end
        self.closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data
        if self.closed:
            raise trio.ClosedResourceError
        await trio.lowlevel.checkpoint()
        if not self._cable.silent:
            await self._cable.carry(self, bytes(data))

    async def deliver(self, data: bytes) -> None:
        """From this end to the other; waits while that one has no room."""
        other = self._cable.other(self)
        await self._stream.send_all(data)
        other.unread += len(data)
        while other.unread > self._cable.room and not self._cable.broken:
            await other._room.park()
            if self.closed:
                raise trio.ClosedResourceError

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        sizes = [size for size in (max_bytes, self._cable.pieces()) if size is not None]
        data = bytes(await self._stream.receive_some(min(sizes, default=None)))
        self.unread -= len(data)
        self._room.unpark_all()
        return data

    def end_of_input(self) -> None:
        self._stream.receive_stream.put_eof()
        self._room.unpark_all()

    async def aclose(self) -> None:
        self.closed = True
        self._room.unpark_all()
        self._cable.other(self)._room.unpark_all()
        await self._stream.aclose()


class Cable:
    """What joins `near`, the local side's transport, with `far`, the exit's.

    `lasts` bytes pass, of both directions together, before it is cut; of each direction about `room` bytes wait unread; `pieces` gives
    the most that one read takes. While it is `silent` everything that is sent gets lost, as behind a firewall that drops.
    """

    def __init__(
        self, *, lasts: float = math.inf, room: float = math.inf, pieces: Callable[[], int | None] = lambda: None
    ) -> None:
        self.lasts = lasts
        self.room = room
        self.pieces = pieces
        self.silent = False
        self.broken = False
        near, far = memory_stream_pair()
        self.near, self.far = End(self, near), End(self, far)

    def other(self, end: End) -> End:
        return self.far if end is self.near else self.near

    async def carry(self, end: End, data: bytes) -> None:
        """Raises trio.BrokenResourceError where it is cut, before or meanwhile."""
        passes = data if len(data) < self.lasts else data[: int(self.lasts)]
        while passes and not self.broken:
            size = len(passes) if self.room == math.inf else max(int(self.room), 1)
            piece, passes = passes[:size], passes[size:]
            self.lasts -= len(piece)
            await end.deliver(piece)
        if self.lasts <= 0:
            self.cut()
        if self.broken:
            raise trio.BrokenResourceError("the cable was cut")

    def cut(self) -> None:
        """What has not arrived is lost; neither end hears more than that it is over."""
        self.broken = True
        self.near.end_of_input()
        self.far.end_of_input()


class MemoryListener(trio.abc.Listener[trio.abc.HalfCloseableStream]):
    """Accepts the far ends of the cables that were laid to it."""

    def __init__(self) -> None:
        self._arrived, self._waiting = trio.open_memory_channel[trio.abc.HalfCloseableStream](math.inf)
        self.closed = False

    def lay(self, cable: Cable) -> End:
        """The near end, which the listener will have the other one of."""
        self._arrived.send_nowait(cable.far)
        return cable.near

    async def accept(self) -> trio.abc.HalfCloseableStream:
        return await self._waiting.receive()

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()
