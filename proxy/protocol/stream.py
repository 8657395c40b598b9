"""One stream: a sending half and a receiving half that do not know each other (docs/protocol.md, sections 5 and 6)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.errors import Reason, RemoteProtocolError

from .frame import JOINED

if TYPE_CHECKING:
    from proxy.address import Address

    from .budget import Budget

# Wire constants.
INITIAL_CREDIT = 262_144
MAX_CREDIT = 2**31 - 1

# Our choices.
MAX_WINDOW = 16_777_216  # 100 Mbit/s over 300 ms and a fourfold margin; section 6
#: Round trips below this are taken for as long: credit for 1 GB then comes in hundreds of frames instead of thousands. Seconds.
SHORT = 0.005
#: What is left of a window where memory is short: a few packets.
LEAST_WINDOW = 16_384


@dataclass(frozen=True, slots=True)
class Reset:
    reason: Reason
    text: str


class SendHalf:
    """Bytes of the app on their way out. Finished when END was taken, or the stream was reset."""

    __slots__ = ("_queue", "credit", "ended", "ending", "full", "queued")

    def __init__(self) -> None:
        self._queue: deque[memoryview] | None = None  # an empty one would cost an idle stream 600 bytes
        self.queued = 0
        self.full = False  # the app waits until little is queued again
        self.credit = INITIAL_CREDIT
        self.ending = False  # the app has no more; END follows what is queued
        self.ended = False

    @property
    def ready(self) -> bool:
        """Whether DATA or END can be sent now."""
        if self.queued:
            return self.credit > 0
        return self.ending and not self.ended

    def write(self, data: bytes | bytearray | memoryview) -> None:
        size, queue = len(data), self._queue
        if queue is None:
            queue = self._queue = deque()
        if queue and len(queue[-1]) + size <= JOINED:
            queue[-1] = memoryview(b"".join((queue[-1], data)))
        else:
            queue.append(memoryview(data))
        self.queued += size

    def take(self, limit: int) -> memoryview:
        """At most `limit` bytes and at most the credit, from where they lie; at least one byte must be ready. Little pieces are joined."""
        queue = self._queue
        assert queue is not None
        first = queue[0]
        size = min(limit, self.credit, len(first))
        if size == len(first):
            queue.popleft()
            if not queue and size <= JOINED:  # bulk will need it again at once
                self._queue = None
        else:
            queue[0] = first[size:]
        self.queued -= size
        self.credit -= size
        return first[:size]

    def drop(self) -> None:
        """After a reset: nothing of it is sent any more."""
        self._queue = None
        self.queued = 0
        self.ending = self.ended = True

    def grant(self, increment: int) -> None:
        if not increment or self.credit + increment > MAX_CREDIT:
            raise RemoteProtocolError("credit of nothing, or above the limit")
        self.credit += increment


class ReceiveHalf:
    """Bytes of the peer on their way to the app. Finished when END came and everything was read, or the stream was reset."""

    __slots__ = (
        "_chunks",
        "_granted_at",
        "_used",
        "buffered",
        "ended",
        "given",
        "open_credit",
        "since",
        "unwanted",
        "window",
    )

    def __init__(self, now: float) -> None:
        self._chunks: deque[bytes] | None = None  # as in SendHalf
        self.buffered = 0
        self.given = 0  # read by the app, which has not come back for more yet
        self.since = now  # the app has not read, and there was something to read
        self.ended = False
        self.unwanted = False  # the app has gone
        self.window = INITIAL_CREDIT
        self.open_credit = INITIAL_CREDIT  # what the peer may still send
        self._used = 0  # read by the app and not given back yet
        self._granted_at = now

    def feed(self, payload: bytes) -> None:
        """Raises RemoteProtocolError beyond the credit or after END."""
        if self.ended:
            raise RemoteProtocolError("DATA after END")
        if len(payload) > self.open_credit:
            raise RemoteProtocolError("DATA beyond the credit")
        self.open_credit -= len(payload)
        chunks = self._chunks
        if chunks is None:
            chunks = self._chunks = deque()
        if chunks and len(chunks[-1]) + len(payload) <= JOINED:
            chunks[-1] += payload
        else:
            chunks.append(payload)
        self.buffered += len(payload)

    def end(self) -> None:
        """Raises RemoteProtocolError if it came before."""
        if self.ended:
            raise RemoteProtocolError("END after END")
        self.ended = True

    def read_pieces(self, limit: int) -> list[bytes]:
        """At most `limit` bytes, as many as there are, in pieces as they came, for as few copies as can be; none where nothing is buffered."""
        chunks = self._chunks
        if not chunks:
            return []
        pieces = _taken(chunks, limit)
        size = sum(map(len, pieces))
        if not chunks and size <= JOINED:
            self._chunks = None
        self.buffered -= size
        self._used += size
        return pieces

    def drop(self) -> None:
        """After a reset: the app reads nothing more."""
        self._chunks = None
        self.buffered = 0
        self.ended = True

    def credit_due(self, now: float, round_trip: float, budget: Budget) -> int:
        """How much credit to give back now; 0 until half of the window has been read.

        An app that reads half a window in less than two round trips is held up by the window, not by itself: it doubles, where the budget has
        room for it. Where memory is short some is not given back, and the window shrinks.
        """
        if self.ended or self._used < self.window // 2:
            return 0
        increment, self._used = self._used, 0
        change = 0
        if self.window > (most := max(LEAST_WINDOW, budget.window)):
            change = -min(increment, self.window - most)
        elif now - self._granted_at < 2 * max(round_trip, SHORT) and self.window <= min(MAX_WINDOW // 2, budget.growth):
            change = self.window
        self.window += change
        budget.promised += change
        increment += change
        self._granted_at = now
        self.open_credit += increment
        return increment


def _taken(chunks: deque[bytes], limit: int) -> list[bytes]:
    """At most `limit` bytes."""
    taken, size = [], 0
    while chunks and size + len(chunks[0]) <= limit:
        taken.append(chunks.popleft())
        size += len(taken[-1])
    if chunks and size < limit:
        first = chunks[0]
        taken.append(first[: limit - size])
        chunks[0] = first[limit - size :]
    return taken


class Stream:
    """Both halves and what belongs to neither. `reset` is set once the stream was reset by either side."""

    __slots__ = ("accepted", "address", "id", "receiver", "recent", "recent_at", "reset", "scheduled", "sender", "turn")

    def __init__(self, stream_id: int, address: Address, now: float) -> None:
        self.id = stream_id
        self.address = address
        self.accepted = False  # OPENED was sent or received
        self.reset: Reset | None = None
        self.sender = SendHalf()
        self.receiver = ReceiveHalf(now)
        # For the schedule: whether it stands there, what is left of its turn, and how much it has sent lately.
        self.scheduled = False
        self.turn = 0
        self.recent = 0.0
        self.recent_at = now

    def __repr__(self) -> str:
        state = "reset" if self.reset else "open" if self.accepted else "opening"
        return f"<Stream {self.id} {state}, {self.sender.queued} to send, {self.receiver.buffered} to read>"

    @property
    def closed(self) -> bool:
        """Whether nothing more is sent or received for it."""
        return self.reset is not None or (self.sender.ended and self.receiver.ended)

    @property
    def quiet_since(self) -> float:
        """When something of it went last, either way: to the app (of what it does not read: when that came), or from it to the peer."""
        return max(self.receiver.since, self.recent_at)

    def drop(self, reset: Reset) -> None:
        self.reset = reset
        self.sender.drop()
        self.receiver.drop()
