"""Who reads datagrams when many sockets have some.

The event loop runs everything that is ready before it looks for more, so a thousand sockets that are flooded would all be read before a
connection has its next turn. Here few of them are read in each of its rounds, one after the other, whatever waits; the kernel drops what
finds no room meanwhile.
"""

from __future__ import annotations

import trio

from .protocol.datagrams import CALL
from .protocol.schedule import HALF_LIFE

# Our choices.
#: Sockets that are read in one round: of those with little, like calls, and of floods. A turn costs 0.2 ms where datagrams are the largest.
MOST_LITTLE, MOST_MUCH = 16, 4
#: Datagrams that one of them may take at once: they cost as much as so many bytes.
BATCH = 32


class Turns:
    """Of all sockets of one kind in the process."""

    def __init__(self) -> None:
        self._little, self._much = trio.Semaphore(MOST_LITTLE), trio.Semaphore(MOST_MUCH)

    async def take(self, reader: Reader) -> None:
        """Returns when it is the reader's turn, which is over at its next checkpoint."""
        places = self._little if reader.reads_little(trio.current_time()) else self._much
        try:
            places.acquire_nowait()
        except trio.WouldBlock:
            await places.acquire()
        try:
            await trio.lowlevel.checkpoint()  # so that whoever waits has a turn in another round
        finally:
            places.release()


class Reader:
    """What one socket has brought lately. Up to what a call brings it waits for other calls only."""

    __slots__ = ("_at", "_recent")

    def __init__(self) -> None:
        self._recent = 0.0  # bytes, of which half are forgotten after so many seconds
        self._at = 0.0

    def reads_little(self, now: float) -> bool:
        self._recent *= 0.5 ** ((now - self._at) / HALF_LIFE)
        self._at = now
        return self._recent < CALL

    def has_read(self, size: int) -> None:
        self._recent += size
