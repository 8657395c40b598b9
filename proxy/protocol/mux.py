"""A session: streams and frames, across carriers (docs/protocol.md).

Theory of operation. The driver gives the bytes of the carrier to `receive_data`, which returns what happened as events; whenever
`wants_to_send` says so it takes bytes with `data_to_send` and writes them. When the carrier breaks, streams keep their state and calls for
them go on working. On the next carrier the driver says `carrier_made` and `welcomed`, or at the exit `resumed`, and what was not
acknowledged is sent again. Time is an argument, in seconds of any clock that does not go back.

Once `over` is set the session has ended: its streams are reset, nothing can be opened, and at most a GO_AWAY is left to be sent.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from proxy.address import Address
from proxy.errors import LocalProtocolError, OpenError, Reason, RemoteProtocolError

from .associations import LAST_ID, Associations
from .crossing import EARLY
from .event import Code, GoneAway, StreamAccepted, StreamOpened, StreamReadable, StreamReset
from .frame import Frame, Type, encode, payload_text, text_payload
from .stream import LEAST_WINDOW, Reset

if TYPE_CHECKING:
    from collections.abc import Callable

    from .budget import Budget
    from .event import Event
    from .stream import Stream

__all__ = ["EARLY", "LAST_ID", "MAX_ANSWERS", "Mux"]

# Wire constants.
_U32, _U64 = struct.Struct("!I"), struct.Struct("!Q")

# Our choices.
MAX_ANSWERS = 65_536  # a peer that provokes control frames and does not acknowledge them costs 5 MB, then its session


class Mux(Associations):
    """One side of a session. `opens` is True at the local side.

    Calls for a stream that is closed do nothing, as the peer may have closed it in the meantime. What the peer does wrong ends the session
    with GO_AWAY; only what says so raises for it.
    """

    def __init__(self, *, opens: bool, now: float, max_streams: int = 8192, budget: Budget | None = None) -> None:
        super().__init__(opens=opens, now=now, budget=budget)
        self._max_streams = max_streams

    def __repr__(self) -> str:
        state = "over" if self.over else "going away" if self.gone_away else "open"
        return f"<Mux {state}, {len(self.streams)} streams, {self.kept} kept, {self.received} received>"

    # ---- streams

    def open(self, address: Address, now: float) -> Stream:
        """At the local side. Data may be written at once. Raises OpenError when the session takes no new streams."""
        self._check_open()
        if len(self.streams) >= self._max_streams:
            raise OpenError(Reason.BUSY, "too many connections are open; close some")
        stream = self._add(address, now)
        self._outbox.control.append(encode(Type.OPEN, stream.id, address.encode()))
        return stream

    def accept(self, stream: Stream) -> None:
        """At the exit: it is connected to the address."""
        if not stream.closed:
            stream.accepted = True
            self._outbox.control.append(encode(Type.OPENED, stream.id))

    def write(self, stream: Stream, data: bytes | bytearray | memoryview, now: float) -> bool:
        """Queues data, which must not change after that. False: wait for StreamWritable before you write more.

        Raises LocalProtocolError after `write_end`.
        """
        if stream.reset is not None:
            return True
        if stream.sender.ending:
            raise LocalProtocolError("write after the end")
        if data:
            stream.sender.write(data)
            self.budget.held += len(data)
            self._outbox.schedule.add(stream, now)
        stream.sender.full = stream.sender.queued > self.budget.low_water
        return not stream.sender.full

    def write_end(self, stream: Stream, now: float) -> None:
        """No more data: END follows what is queued. Twice is the same as once."""
        stream.sender.ending = True
        self._outbox.schedule.add(stream, now)

    def read(self, stream: Stream, limit: int, now: float) -> bytes:
        """What is buffered, at most `limit` bytes; the credit for it goes back to the peer. It counts as held until the stream is read again or
        `returned`.
        """
        pieces = self.read_pieces(stream, limit, now)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read_pieces(self, stream: Stream, limit: int, now: float) -> list[bytes]:
        """As `read`, as it came, which saves a copy. Two that are next to each other have more than 4 KB together."""
        receiver = stream.receiver
        pieces = receiver.read_pieces(limit)
        self.budget.held -= receiver.given
        receiver.given, receiver.since = sum(map(len, pieces)), now
        credit = receiver.credit_due(now, self._liveness.round_trip, self.budget)
        if credit:
            self._outbox.control.append(encode(Type.CREDIT, stream.id, _U32.pack(credit)))
        return pieces

    def close(self, stream: Stream, now: float) -> None:
        """The app has gone: what is queued goes out and END after it, and what comes in is answered with RESET, as TCP does."""
        self.returned(stream)
        if stream.receiver.buffered:
            self.reset(stream, Reason.CANCELLED)
        elif not stream.closed:
            stream.receiver.unwanted = True
            self.write_end(stream, now)

    # ---- the end of the session

    def go_away(self, code: Code, text: str) -> None:
        """DONE: no new streams on this session. Anything else ends it."""
        if self.over is None:
            self.gone_away = True
            self._outbox.control.append(encode(Type.GO_AWAY, 0, text_payload(code, text)))
            if code is not Code.DONE:
                self._outbox.final = True
                self._end(GoneAway(code, text))

    def session_lost(self, text: str) -> None:
        """The peer has forgotten the session, or nobody waits for it any more: nothing is left to be sent."""
        if self.over is None:
            self._end(GoneAway(Code.EXPIRED, text))

    def _end(self, gone: GoneAway) -> None:
        self.over, self.gone_away = gone, True
        reason = Reason.TUNNEL_DOWN if self._opens else Reason.CANCELLED
        for stream in list(self.streams.values()):
            self._drop(stream, Reset(reason, gone.text))
            self._remove(stream)
            self._events.append(StreamReset(stream))
        self._events.append(gone)
        self._leave_budget()

    # ---- sending

    def data_to_send(self, limit: int, now: float) -> bytes:
        """What goes on the carrier next, about `limit` bytes; empty where there is nothing. It counts as sent on this carrier.

        Call `take_events` after it: streams may have become writable.
        """
        datagrams = self._take_datagrams(limit, now)
        reliable = self._outbox.take_reliable(max(limit - len(datagrams), limit // 8), now, self._events)
        while self._outbox.ended:
            self._forget_if_closed(self._outbox.ended.pop())
        if reliable:
            if self._outbox.log.waiting:  # an ACK may have overtaken what is sent again
                self._liveness.data_sent(now)
            if self._liveness.probe_due(now, often=self._outbox.flight.draining):
                self._outbox.ping = True
        if self._outbox.ping:
            self._liveness.asked(now)
        unreliable = self._outbox.take_unreliable(self._ack_to_send() if self.over is None else None)
        self._liveness.spoke()
        return b"".join((unreliable, datagrams, reliable)) if unreliable or datagrams else bytes(reliable)

    # ---- receiving

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """Bytes of the carrier, cut anywhere; what they made happen."""
        if self.over is None:
            self._liveness.heard(now)
            try:
                for frame in self._inbox.feed(data):
                    self._receive_frame(frame, now)
                if len(self._outbox.control) > MAX_ANSWERS:
                    raise RemoteProtocolError("too much is asked for, and nothing acknowledged")
            except RemoteProtocolError as exc:
                self._outbox.control.clear()
                self.go_away(Code.PROTOCOL_ERROR, str(exc))
            self._note_received(now)
        return self.take_events()

    def _receive_frame(self, frame: Frame, now: float) -> None:
        on_stream = _ON_STREAM.get(frame.type)
        if on_stream is not None:
            stream = self.streams.get(frame.stream_id)
            if stream is not None:
                on_stream(self, stream, frame.payload, now)
            elif frame.stream_id > self._last_id and frame.type is not Type.DATAGRAM:  # one may overtake its ASSOCIATE
                raise RemoteProtocolError(f"a frame for stream {frame.stream_id}, which was never opened")
        elif (on_session := _ON_SESSION.get(frame.type)) is not None and self.over is None:
            on_session(self, frame, now)

    def _receive_open(self, frame: Frame, now: float) -> None:
        self._check_new(frame)
        try:
            address = Address.decode(frame.payload)
        except ValueError as exc:
            raise RemoteProtocolError(f"OPEN with a bad address: {exc}") from None
        crowded = self.budget.crowded
        stream = self._add(address, now)
        if len(self.streams) > self._max_streams or self.gone_away or crowded:
            self.reset(stream, Reason.BUSY)
        else:
            self._events.append(StreamOpened(stream))

    def _receive_opened(self, stream: Stream, _payload: bytes, _now: float) -> None:
        if not self._opens or stream.accepted:
            raise RemoteProtocolError("OPENED twice, or from the local side")
        stream.accepted = True
        self._events.append(StreamAccepted(stream))

    def _receive_data_frame(self, stream: Stream, payload: bytes, now: float) -> None:
        receiver, budget = stream.receiver, self.budget
        if not receiver.buffered:
            receiver.since = now
            self._events.append(StreamReadable(stream))
        receiver.feed(payload)
        budget.held += len(payload)
        if receiver.unwanted:
            self.reset(stream, Reason.CANCELLED)
        elif budget.short:
            self.relieve(now)
            if budget.spent and receiver.buffered > LEAST_WINDOW:
                self._turn_out(stream)

    def _receive_end(self, stream: Stream, _payload: bytes, _now: float) -> None:
        stream.receiver.end()
        self._events.append(StreamReadable(stream))
        self._forget_if_closed(stream)

    def _receive_reset(self, stream: Stream, payload: bytes, _now: float) -> None:
        self._drop(stream, Reset(Reason.from_wire(payload[0]), payload_text(payload)))
        self._remove(stream)
        self._events.append(StreamReset(stream))

    def _receive_credit(self, stream: Stream, payload: bytes, now: float) -> None:
        stream.sender.grant(_U32.unpack(payload)[0])
        self._outbox.schedule.add(stream, now)

    def _receive_go_away(self, frame: Frame, _now: float) -> None:
        number = frame.payload[0]
        code = Code(number) if number in list(Code) else Code.INTERNAL_ERROR
        gone = GoneAway(code, payload_text(frame.payload))
        if code is Code.DONE:
            self.gone_away = True
            self._events.append(gone)
        else:
            self._end(gone)

    def _receive_ping(self, frame: Frame, _now: float) -> None:
        self._outbox.pong = frame.payload  # only the last one is kept: a flood of pings costs nothing

    def _receive_pong(self, frame: Frame, now: float) -> None:
        if self._outbox.answered(_U64.unpack(frame.payload)[0], now):
            self._outbox.flight.answered(self._liveness.answered(now), now)

    def _receive_ack(self, frame: Frame, now: float) -> None:
        self._acknowledge(_U64.unpack(frame.payload)[0], now)

    def _forget_if_closed(self, stream: Stream) -> None:
        if stream.closed and stream.id in self.streams:
            self._remove(stream)


_ON_STREAM: dict[int, Callable[[Mux, Stream, bytes, float], None]] = {
    Type.DATA: Mux._receive_data_frame,
    Type.CREDIT: Mux._receive_credit,
    Type.END: Mux._receive_end,
    Type.RESET: Mux._receive_reset,
    Type.OPENED: Mux._receive_opened,
    Type.DATAGRAM: Mux._receive_datagram,
}
_ON_SESSION: dict[int, Callable[[Mux, Frame, float], None]] = {
    Type.OPEN: Mux._receive_open,
    Type.ASSOCIATE: Mux._receive_associate,
    Type.ACK: Mux._receive_ack,
    Type.PING: Mux._receive_ping,
    Type.PONG: Mux._receive_pong,
    Type.GO_AWAY: Mux._receive_go_away,
}
