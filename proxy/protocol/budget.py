"""How many bytes the process may hold for others, and how many of those that are left each may take.

Everything that waits somewhere is counted in `held` by whoever keeps it. Nobody has a list of the queues, and nobody waits until another
one has given something back: each queue may have a fixed part of what is free at that moment. What many take leaves less to each of them,
and they end up with the same; something always stays free for who comes next (Choudhury and Hahne, "Dynamic queue length thresholds for
shared-memory packet switches", IEEE/ACM Transactions on Networking, 1998). However little is free, each may have a little, so all goes on.
"""

from __future__ import annotations

from .frame import MAX_PAYLOAD

# Our choices.
#: Resident bytes of the program itself, with a margin: 48 to 53 MB were measured.
PROGRAM = 60_000_000
#: Resident bytes for each byte that is counted: the heap's gaps, and what is copied at the moment. 1.1 was measured while 500 apps stopped
#: reading, 1.6 at most while 2,000 did and were reset in turn.
OVERHEAD = 1.6
#: The most that is read or written at once.
LARGEST = 8 * MAX_PAYLOAD
#: Of the limit, what all streams together may have asked their apps for, as all may answer at once.
ASKED = 1 / 4
#: No stream asks for less than this, however many there are, but where nothing is free: then for the least.
SMALL, LEAST = 4096, 1024
#: A stream with less than this part of its share queued asks its app for more. So a socket of which the kernel holds less than of others is read
#: again before the stream's turn: with an eighth a few of ten downloads had two thirds of the others' rate.
LOW_WATER = 1 / 4
#: Of the limit, what the buffers of all carriers may take.
CARRIERS = 1 / 8
LEAST_BATCH = 16_384
#: Of the limit: with less than this free memory is short, and is not any more once so much is free.
TIGHT, RELIEF = 1 / 16, 1 / 8
#: Of the limit, what may be taken by streams for being open: the rest is for what they carry.
OPEN = 5 / 8
#: What an open stream costs, in counted bytes: 12 KB are resident.
STREAM = 9000
#: What a connection of an exit costs, most of it TLS.
CONNECTION = 100_000


def limit_of(memory: int) -> int:
    """The limit for a process of so many resident bytes."""
    return int((memory - PROGRAM) / OVERHEAD * (1 - CARRIERS))


#: Of the setting's default.
LIMIT = limit_of(256_000_000)


class Budget:
    """Of one process: all of its sessions share it. Every attribute but `held` and `promised` is for reading only."""

    __slots__ = ("batch", "held", "limit", "low_water", "promised", "sessions", "share", "streams", "tight")

    def __init__(self, limit: int = LIMIT) -> None:
        self.held = 0  # bytes; more than the limit where there was no other way
        self.promised = 0  # credit of peers beyond the initial windows, in bytes
        self.streams = self.sessions = 0
        self.change(limit)

    def __repr__(self) -> str:
        return f"<Budget {self.held} of {self.limit} bytes, {self.streams} streams, {self.sessions} sessions>"

    @property
    def free(self) -> int:
        """Below 0 where more is held than should be."""
        return self.limit - self.held

    @property
    def short(self) -> bool:
        """Whether so little is free that others would suffer: who has waited longest has to go, until there is `relief`."""
        return self.held > self.tight

    @property
    def relief(self) -> bool:
        """Whether so much is free that it will not be short again at once."""
        return self.held <= self.limit - RELIEF * self.limit

    @property
    def spent(self) -> bool:
        """Whether more is held than may be: whoever brings more has to go."""
        return self.held > self.limit

    @property
    def crowded(self) -> bool:
        """Whether no more streams may be opened."""
        return (self.streams + 1) * STREAM > OPEN * self.limit

    @property
    def kept(self) -> int:
        """How much a session may keep until it is acknowledged, at least."""
        return self.free // 2

    @property
    def window(self) -> int:
        """How large the window of a stream may be whose app reads."""
        return self.free // 4

    @property
    def growth(self) -> int:
        """How much larger the window of a stream may become at once."""
        return (self.free - self.promised) // 4

    @property
    def appetite(self) -> int:
        """How much a stream may be given to carry at once, from either side: as much as whole frames carry, where it is more than one."""
        size = max(LEAST, min(self.share, self.free // 128))
        return size if size < MAX_PAYLOAD else size - size % MAX_PAYLOAD

    def change(self, limit: int) -> None:
        """Takes effect at once; what is held already stays, or goes as where memory is short."""
        self.limit = limit
        self.tight = int(limit - TIGHT * limit)
        self._divide()

    def stream_opened(self) -> None:
        self.streams += 1
        self.held += STREAM
        self._divide()

    def stream_closed(self) -> None:
        self.streams -= 1
        self.held -= STREAM
        self._divide()

    def session_begun(self) -> None:
        self.sessions += 1
        self._divide()

    def session_ended(self) -> None:
        self.sessions -= 1
        self._divide()

    def _divide(self) -> None:
        share = int(ASKED * self.limit) // max(1, self.streams)
        self.share = min(LARGEST, max(SMALL, share))
        self.low_water = int(LOW_WATER * self.share)
        # TLS has one more of each, in both directions.
        batch = int(CARRIERS * self.limit) // (4 * max(1, self.sessions))
        self.batch = min(LARGEST + MAX_PAYLOAD, max(LEAST_BATCH, batch))
