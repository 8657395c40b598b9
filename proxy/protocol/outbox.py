"""What a session has to send, and in which order."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

from .budget import LARGEST, LEAST_BATCH, Budget
from .datagrams import Association, DatagramSchedule
from .event import Event, StreamWritable
from .flight import FIRST, LEAST, Flight
from .frame import HEADER_SIZE, MAX_PAYLOAD, Type, encode, header
from .replay import ReplayLog
from .schedule import Schedule

if TYPE_CHECKING:
    from .stream import Stream

_U64 = struct.Struct("!Q")
_PING = _U64.pack(0)  # one is out at a time, so all may look alike

# Our choices.
SEGMENT = 1400  # a piece is no smaller than what one packet carries
MAX_KEPT = 16_777_216  # unacknowledged bytes; as large as the largest window of a stream
LEAST_KEPT = 65_536  # where memory is short
#: How much is moved at once while messages go to and fro: each waits for such a chunk at every step of its way. Where none has gone for so
#: many seconds it is `LARGEST`, which takes a twelfth less time for each byte.
BESIDE_LITTLE, NO_LITTLE = 262_144, 0.05


class Outbox:
    """In this order: unreliable frames, datagrams, what is sent again, control frames, the streams' data.

    Frames are made as late as possible, when the carrier can take them, so that a message goes before a download that was queued earlier.
    """

    __slots__ = (
        "_unannounced",
        "ack",
        "age",
        "budget",
        "control",
        "datagrams",
        "ended",
        "final",
        "flight",
        "held",
        "log",
        "ping",
        "pong",
        "schedule",
    )

    def __init__(self, budget: Budget | None = None) -> None:
        self.budget = budget or Budget()
        self.ack = self.ping = False
        self.pong: bytes | None = None
        self.held = False  # nothing reliable goes before the welcome
        self.control: list[bytes] = []
        self.final = False  # whether a GO_AWAY that ends the session is among them: it goes out however much is kept
        self.ended: list[Stream] = []  # whose END was taken since somebody looked
        self.log = ReplayLog(self.budget)
        self.schedule = Schedule()
        self.datagrams = DatagramSchedule()
        self.flight = Flight(0, 0.0)

    def carrier_made(self, now: float, *, held: bool) -> None:
        """Unreliable frames belong to the carrier that they were made for. Where the log is to be rewound, do it before or call `take_off`."""
        self.take_off(now)
        self.ack = self.ping = False
        self.pong = None
        self.held = held

    def take_off(self, now: float) -> None:
        """From here on what is sent is measured. A carrier that follows another begins with less than TCP does: more would wait in the kernel, and
        messages behind it; and each carrier that is cut early would leave more to be sent again.
        """
        self.flight = Flight(self.log.start, now, FIRST if self.log.end else math.inf)

    def acknowledge(self, offset: int, now: float) -> bool:
        """The peer has everything before it; whether that is news. Raises RemoteProtocolError if it was never sent."""
        before = self.log.start
        self.log.acknowledge(offset)
        if self.log.start == before:
            return False
        self.flight.acknowledged(self.log.start, now)
        return True

    def chunk(self, now: float) -> int:
        """How much to move at once, at most."""
        return LARGEST if now > self.schedule.little_at + NO_LITTLE else BESIDE_LITTLE

    @property
    def _room(self) -> bool:
        """Whether bulk may go: in pieces that are not too little, or each acknowledgement would let another one out."""
        return not self.log.waiting or self.flight.room >= min(LEAST, self.flight.cap / 8)

    @property
    def stall_at(self) -> float:
        """When bulk that may not go may go, if nothing is acknowledged until then."""
        waits = self.schedule.has_bulk or self.log.sent < self.log.end
        return self.flight.stall_at if waits and not self._room else math.inf

    @property
    def ready(self) -> bool:
        return self.ack or self.ping or self.pong is not None or self._datagrams_ready or self._reliable_ready

    @property
    def _datagrams_ready(self) -> bool:
        return not self.held and self.datagrams.ready(bulk=self._room)

    @property
    def _reliable_ready(self) -> bool:
        if self.held:
            return False
        if self.log.sent < self.log.end:
            return self._room
        if (kept := self.log.size) >= LEAST_KEPT and kept >= min(MAX_KEPT, self.budget.kept):
            return self.final and bool(self.control)
        return bool(self.control) or self.schedule.has_little or (self.schedule.has_bulk and self._room)

    def take_unreliable(self, ack: int | None) -> bytes:
        """`ack`: the offset to acknowledge, or None where the peer knows it."""
        parts = []
        if ack is not None:
            parts.append(encode(Type.ACK, 0, _U64.pack(ack)))
        if self.pong is not None:
            parts.append(encode(Type.PONG, 0, self.pong))
        if self.ping:
            parts.append(encode(Type.PING, 0, _PING))
        self.ack = self.ping = False
        self.pong = None
        return b"".join(parts)

    def announce(self, association: Association) -> None:
        """ASSOCIATE is sent with the other control frames."""
        self.control.append(encode(Type.ASSOCIATE, association.id))
        self.datagrams.opened(association)

    def take_datagrams(self, limit: int, now: float) -> bytes:
        """Whole frames, of those that flood about `limit` bytes."""
        return self.datagrams.take(limit, now, bulk=self._room) if self._datagrams_ready else b""

    def take_reliable(self, limit: int, now: float, events: list[Event]) -> bytes | memoryview:
        """Whole frames, about `limit` bytes of them, and no more than an eighth of what may be in flight, as they are acknowledged whole; empty where there are none. They are kept in the log from here on.

        A stream's turn is as long as all of it: on a fast carrier that is what one read of its app gives, and few streams have to be woken at the
        other side for many bytes; on a slow one it is little, and turns are short.
        """
        if not self._reliable_ready:
            return b""
        budget = self.budget
        limit = int(min(limit, max(self.flight.cap / 8, SEGMENT), budget.batch, max(LEAST_BATCH, budget.window)))
        chunk = self.log.next_unsent()
        if chunk is None:
            chunk = self._new_chunk(limit, now, events)
        if chunk:
            self.flight.sent(self.log.sent, now, limited=not (self.log.sent < self.log.end or self.schedule))
        return chunk

    def _new_chunk(self, limit: int, now: float, events: list[Event]) -> bytes:
        parts: list[bytes | memoryview] = list(self.control)
        self.control.clear()
        self.datagrams.announced(now)
        left = limit - sum(map(len, parts))
        bulk = self._room
        while left > 0 and (stream := self.schedule.pop(limit, bulk=bulk)) is not None:
            left -= self._take_from(stream, min(left, stream.turn, MAX_PAYLOAD), now, parts, events)
        chunk = b"".join(parts)
        if chunk:
            self.log.append(chunk)
        return chunk

    def _take_from(
        self, stream: Stream, limit: int, now: float, parts: list[bytes | memoryview], events: list[Event]
    ) -> int:
        sender, size = stream.sender, 0
        if sender.queued:
            data = sender.take(limit)
            size = len(data)
            self.budget.held -= size
            parts += (header(Type.DATA, stream.id, size), data)
            if sender.full and sender.queued <= self.budget.low_water:
                sender.full = False
                events.append(StreamWritable(stream))
        if sender.ending and not sender.queued:
            sender.ended = True
            parts.append(encode(Type.END, stream.id))
            self.ended.append(stream)
        self.schedule.sent(stream, size, now)
        return size + HEADER_SIZE
