"""What a session has to send, and in which order."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

from .budget import LARGEST, LEAST_BATCH, Budget
from .datagrams import Association, DatagramSchedule
from .event import Event, StreamWritable
from .flight import FIRST, Flight
from .frame import HEADER_SIZE, MAX_PAYLOAD, Type, encode, framed, header, payload
from .marks import Marks
from .replay import ReplayLog
from .schedule import Schedule

if TYPE_CHECKING:
    from .stream import Stream

_U64 = struct.Struct("!Q")
_PING = _U64.pack(0)  # one that measures is out at a time, so all may look alike; marks are numbered from 1 on

# Our choices.
SEGMENT = 1400  # a piece is no smaller than what one packet carries
#: Bulk goes out where there is room for so much, in bytes, or for an eighth of what may be in flight where that is less: or each acknowledgement would
#: let a splinter out. With 16 KB so much of a small flight stayed empty that each rate was measured a little below the one before: a download of
#: 18.9 Mbit/s had 16.8 after 20 s.
LEAST_ROOM = 4096
MAX_KEPT = 16_777_216  # unacknowledged bytes; as large as the largest window of a stream
LEAST_KEPT = 65_536  # where memory is short
#: How much is moved at once while messages go to and fro: each waits for such a chunk at every step of its way. Where none has gone for so
#: many seconds it is `LARGEST`, which takes less time for each byte.
BESIDE_LITTLE, NO_LITTLE = 131_072, 0.05


class Outbox:
    """In this order: unreliable frames, datagrams, what is sent again, control frames, the streams' data.

    Frames are made as late as possible, when the carrier can take them, so that a message goes before a download that was queued earlier.
    Datagrams of those that send much and bulk of streams take turns of the same length in what may be in flight.
    """

    # Over the budget of attributes: one for each kind of what is sent, and how far it has come.

    __slots__ = (
        "_asked",
        "_marked",
        "_streams_turn",
        "_this_turn",
        "ack",
        "budget",
        "control",
        "datagrams",
        "ended",
        "final",
        "flight",
        "held",
        "log",
        "marks",
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
        self.marks = Marks()
        # The last mark before what was taken last, and the last one before the last PING that measures.
        self._marked = self._asked = 0
        # Whether bulk of streams goes before floods; and did so in what is taken now.
        self._streams_turn = self._this_turn = False

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
        # What an old carrier took is acknowledged on this one, and was not sent on it.
        self.flight = Flight(self.log.sent, now, FIRST if self.log.end else math.inf)
        self.marks = Marks()
        self._marked = self._asked = 0

    def acknowledge(self, offset: int, now: float) -> bool:
        """The peer has everything before it; whether that is news. Raises RemoteProtocolError if it was never sent."""
        before = self.log.start
        self.log.acknowledge(offset)
        if self.log.start == before:
            return False
        self._arrived(self.marks.acknowledged(self.log.start), now)
        return True

    def answered(self, number: int, now: float) -> bool:
        """A PONG came that says this; whether it answers the last PING that measures: that one itself, or a mark behind it, as a peer may answer
        the last of several only.
        """
        if (position := self.marks.answered(number or self._asked)) is not None:
            self._arrived(position, now)
        return not self.ping and (number == 0 or number > self._asked)

    def _arrived(self, position: int, now: float) -> None:
        if position > self.flight.acked:
            self.flight.acknowledged(position, now)

    def chunk(self, now: float) -> int:
        """How much to move at once, at most."""
        return BESIDE_LITTLE if self._beside_little(now) else LARGEST

    def _beside_little(self, now: float) -> bool:
        return now <= max(self.schedule.little_at, self.datagrams.little_at) + NO_LITTLE

    @property
    def _room(self) -> bool:
        """Whether bulk may go: in pieces that are not too little."""
        in_flight = self.log.waiting or self.marks.waiting
        return not in_flight or self.flight.room >= min(LEAST_ROOM, self.flight.cap / 8)

    @property
    def stall_at(self) -> float:
        """When bulk that may not go may go, if nothing is acknowledged until then."""
        waits = self.schedule.has_bulk or self.datagrams.has_bulk or self.log.sent < self.log.end
        return self.flight.stall_at if waits and not self._room else math.inf

    @property
    def ready(self) -> bool:
        return self.ack or self.ping or self.pong is not None or self._datagrams_ready or self._reliable_ready

    @property
    def _datagrams_ready(self) -> bool:
        if self.held:
            return False
        return self.datagrams.has_little or (self.datagrams.has_bulk and self._room and not self.marks.full)

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
            self._asked = self._marked
            parts.append(encode(Type.PING, 0, _PING))
        self.ack = self.ping = False
        self.pong = None
        return b"".join(parts)

    def announce(self, association: Association) -> None:
        """ASSOCIATE is sent with the other control frames."""
        self.control.append(encode(Type.ASSOCIATE, association.id))
        self.datagrams.opened(association)

    def take_datagrams(self, limit: int, now: float) -> bytes:
        """Whole frames, of those that flood about `limit` bytes where it is their turn. Call it before `take_reliable`.

        Nothing acknowledges datagrams. A mark behind those of floods does: a PING, so that they count in the flight, and fill no queue on the way.
        """
        self._marked, self._this_turn = self.marks.number, self._streams_turn
        if not self._datagrams_ready:
            return b""
        bulk = self._room and not self.marks.full and not (self._streams_turn and self._bulk_ready)
        parts, much = self.datagrams.take(limit, now, bulk=self._limit(limit) if bulk else 0)
        if much:
            self._streams_turn = True
            self.marks.unmarked += much
            if self.marks.due(self.flight.cap):
                self.marks.place(self.log.sent)
                parts.append(encode(Type.PING, 0, _U64.pack(self.marks.number)))
                self._note_flight(now)
        return b"".join(parts)

    @property
    def _bulk_ready(self) -> bool:
        """Whether bulk of streams may go, and there is some."""
        return (self.schedule.has_bulk or self.log.sent < self.log.end) and self._room and self._reliable_ready

    def _note_flight(self, now: float) -> None:
        self.flight.beside_little = self._beside_little(now)
        more = self.log.sent < self.log.end or self.schedule or self.datagrams.has_bulk
        self.flight.sent(self.log.sent + self.marks.sent, now, limited=not more)

    def _limit(self, limit: int) -> int:
        piece = max(self.flight.piece, SEGMENT)
        return int(min(limit, piece, self.budget.batch, max(LEAST_BATCH, self.budget.window)))

    def take_reliable(self, limit: int, now: float, events: list[Event]) -> bytes | memoryview:
        """Whole frames, about `limit` bytes of them and no more than `_limit` says; empty where there are none. They are kept in the log from here on.

        A stream's turn is as long as all of it: on a fast carrier that is what one read of its app gives, and few streams have to be woken at the
        other side for many bytes; on a slow one it is little, and turns are short.
        """
        if not self._reliable_ready:
            return b""
        theirs = self._this_turn and self._bulk_ready
        chunk = self.log.next_unsent()
        if chunk is None:
            chunk = self._new_chunk(self._limit(limit), now, events)
        if chunk:
            self._note_flight(now)
            if theirs:
                self._streams_turn = self._this_turn = False
        return chunk

    def _new_chunk(self, limit: int, now: float, events: list[Event]) -> bytes:
        parts: list[bytes | memoryview] = list(self.control)
        self.control.clear()
        self.datagrams.announced(now)
        left = limit - sum(map(len, parts))
        bulk, turn = self._room, payload(limit)
        while left > 0 and (stream := self.schedule.pop(turn, bulk=bulk)) is not None:
            left -= self._take_from(stream, min(payload(left), stream.turn), now, parts, events)
        chunk = b"".join(parts)
        if chunk:
            self.log.append(chunk)
        return chunk

    def _take_from(
        self, stream: Stream, limit: int, now: float, parts: list[bytes | memoryview], events: list[Event]
    ) -> int:
        """Of what the app wrote at once: of a little one a frame, as it may be bulk after that, and of bulk as many as its turn has."""
        sender, size = stream.sender, 0
        if sender.queued:
            data = sender.take(limit if stream.recent >= self.schedule.little else min(limit, MAX_PAYLOAD))
            size = len(data)
            self.budget.held -= size
            for at in range(0, size, MAX_PAYLOAD):
                piece = data[at : at + MAX_PAYLOAD]
                parts += (header(Type.DATA, stream.id, len(piece)), piece)
            if sender.full and sender.queued <= self.budget.low_water:
                sender.full = False
                events.append(StreamWritable(stream))
        if sender.ending and not sender.queued:
            sender.ended = True
            parts.append(encode(Type.END, stream.id))
            self.ended.append(stream)
        self.schedule.sent(stream, size, now)
        return framed(size) or HEADER_SIZE
