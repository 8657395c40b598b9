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

from .event import Code, Event, GoneAway, StreamAccepted, StreamOpened, StreamReadable, StreamReset
from .frame import Frame, Type, encode, payload_text, text_payload
from .handshake import AFTER_WELCOME
from .inbox import Inbox
from .liveness import Health, Liveness
from .outbox import Outbox
from .stream import LOW_WATER, Reset, Stream

if TYPE_CHECKING:
    from collections.abc import Callable

# Wire constants.
LAST_ID = 2**32 - 1
_U32, _U64 = struct.Struct("!I"), struct.Struct("!Q")

# Our choices.
EARLY = (
    65_536  # what is kept goes right behind a hello up to this size: the bandwidth-delay product of 5 Mbit/s and 100 ms
)
MAX_ANSWERS = 65_536  # a peer that provokes control frames and does not acknowledge them costs 5 MB, then its session


class Mux:
    """One side of a session. `opens` is True at the local side.

    Calls for a stream that is closed do nothing, as the peer may have closed it in the meantime. What the peer does wrong ends the session
    with GO_AWAY; only what says so raises for it.
    """

    # A little over the budget of 250 lines: one method for each verb of the protocol, most of them of two or three lines.

    def __init__(self, *, opens: bool, now: float, max_streams: int = 8192) -> None:
        self._opens = opens
        self._max_streams = max_streams
        self.streams: dict[int, Stream] = {}
        self._last_id = 0
        self._told = 0  # the `received` of the hello on a carrier that is to take over
        self._inbox = Inbox()
        self._outbox = Outbox()
        self._liveness = Liveness(asks=opens)
        self._liveness.carrier_made(now, 0)
        self._events: list[Event] = []
        self.gone_away = False  # no new streams, by the peer's word or ours
        self.over: GoneAway | None = None

    def __repr__(self) -> str:
        state = "over" if self.over else "going away" if self.gone_away else "open"
        return f"<Mux {state}, {len(self.streams)} streams, {self.kept} kept, {self.received} received>"

    @property
    def received(self) -> int:
        """The offset up to which reliable frames of the peer were processed."""
        return self._inbox.received

    @property
    def progress(self) -> int:
        """Grows with every reliable byte that arrived, on either side."""
        return self._inbox.received + self._outbox.log.start

    @property
    def kept(self) -> int:
        """Bytes that wait for the peer's acknowledgement."""
        return self._outbox.log.size

    @property
    def round_trip(self) -> float:
        """Of the carrier, smoothed, in seconds."""
        return self._liveness.round_trip

    # ---- carriers

    def carrier_made(self, now: float) -> tuple[int, int]:
        """At the local side, before the hello, where there is no old carrier: its `received` and `sending`.

        `data_to_send` gives what may go right behind the hello; nothing else may be sent before `welcomed`.
        """
        log = self._outbox.log
        held = log.size > EARLY
        self._begin(now, held=held)
        log.rewind(log.start)
        return self.received, AFTER_WELCOME if held else log.start

    def moving(self) -> int:
        """At the local side, before a hello on a carrier that is made beside the old one: its `received`. The old one goes on until `moved`."""
        self._liveness.hold_acks(True)
        self._told = self.received
        return self._told

    def stay(self) -> None:
        """The other carrier came to nothing."""
        self._liveness.hold_acks(False)

    def moved(self, received: int, sending: int, now: float) -> None:
        """At the local side, once the old carrier is gone: the other one takes over, with what its welcome says.

        Raises RemoteProtocolError where the session cannot go on from there.
        """
        self._begin(now, held=True)
        self._liveness.carrier_made(now, self._told)
        self.welcomed(received, sending, now)
        self._liveness.received(self.received, now)

    def welcomed(self, received: int, sending: int, now: float) -> None:
        """At the local side: what the welcome says. Raises RemoteProtocolError where it cannot be; the session is lost then."""
        if sending > self.received:
            raise RemoteProtocolError("the exit goes on from where this side has not come yet")
        if self._outbox.held:
            self._outbox.log.rewind(received)
            self._outbox.held = False
        else:
            self._outbox.log.acknowledge(received)
        self._inbox.carrier_made(self.received - sending)
        self._liveness.heard(now)
        self._outbox.ping = True  # the first round trip is measured at once

    def check_resumable(self, received: int, sending: int) -> None:
        """At the exit: raises RemoteProtocolError where the hello says what cannot be. Changes nothing."""
        if sending > self.received and sending != AFTER_WELCOME:
            raise RemoteProtocolError("the peer has forgotten what did not arrive")
        self._outbox.log.check_kept(received)

    def resumed(self, received: int, sending: int, now: float) -> int:
        """At the exit: what the hello says, once the old carrier is gone. Returns the welcome's `sending`.

        Raises RemoteProtocolError, and changes nothing, where the session cannot go on from there.
        """
        self.check_resumable(received, sending)
        self._outbox.log.rewind(received)
        self._begin(now, held=False)
        self._inbox.carrier_made(0 if sending == AFTER_WELCOME else self.received - sending)
        self._outbox.ping = True
        return received

    def handed_over(self, now: float) -> int:
        """At the exit, once the old carrier has come to its end in both directions. Returns the welcome's `sending`."""
        self._begin(now, held=False)
        self._outbox.ping = True
        return self._outbox.log.sent

    def _begin(self, now: float, *, held: bool) -> None:
        self._inbox.carrier_made(0)
        self._outbox.carrier_made(held=held)
        self._liveness.carrier_made(now, self.received)
        if self.kept:
            self._liveness.data_sent(now)

    # ---- time

    def next_timer(self, now: float) -> float:
        """When `handle_timer` is to be called next; infinity for never."""
        return self._liveness.next_timer(now)

    def handle_timer(self, now: float) -> Health:
        """How the carrier does. An ACK or PING that is due makes `wants_to_send` true."""
        health = self._liveness.health(now)
        if health is not Health.DEAD:
            self._note_ack(now)
            if self._liveness.ping_due(now):
                self._ask(now)
        return health

    def network_changed(self, now: float) -> None:
        """The carrier may be gone without a word: asks, and suspects it sooner."""
        if not self._liveness.awaiting:
            self._ask(now)
        self._liveness.network_changed()

    def _ask(self, now: float) -> None:
        self._outbox.ping = True
        self._liveness.asked(now)

    def _note_ack(self, now: float) -> None:
        if self._liveness.ack_due(now):
            self._outbox.ack = True
            self._liveness.acknowledged()

    # ---- streams

    def open(self, address: Address, now: float) -> Stream:
        """At the local side. Data may be written at once. Raises OpenError when the session takes no new streams."""
        if self.gone_away or self._last_id == LAST_ID:
            raise OpenError(Reason.TUNNEL_DOWN)
        if len(self.streams) >= self._max_streams:
            raise OpenError(Reason.BUSY, "too many connections are open; close some")
        self._last_id += 1
        stream = self.streams[self._last_id] = Stream(self._last_id, address, now)
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
            self._outbox.schedule.add(stream, now)
        return stream.sender.queued <= LOW_WATER

    def write_end(self, stream: Stream, now: float) -> None:
        """No more data: END follows what is queued. Twice is the same as once."""
        stream.sender.ending = True
        self._outbox.schedule.add(stream, now)

    def read(self, stream: Stream, limit: int, now: float) -> bytes:
        """What is buffered, at most `limit` bytes; the credit for it goes back to the peer."""
        data = stream.receiver.read(limit)
        credit = stream.receiver.credit_due(now, self._liveness.round_trip)
        if credit:
            self._outbox.control.append(encode(Type.CREDIT, stream.id, _U32.pack(credit)))
        return data

    def close(self, stream: Stream, now: float) -> None:
        """The app has gone: what is queued goes out and END after it, and what comes in is answered with RESET, as TCP does."""
        if stream.receiver.buffered:
            self.reset(stream, Reason.CANCELLED)
        elif not stream.closed:
            stream.receiver.unwanted = True
            self.write_end(stream, now)

    def reset(self, stream: Stream, reason: Reason, text: str = "") -> None:
        """Ends both directions at once; what is queued or buffered is dropped."""
        if not stream.closed:
            self._outbox.control.append(encode(Type.RESET, stream.id, text_payload(reason, text)))
            stream.drop(Reset(reason, text))
            del self.streams[stream.id]

    # ---- the end of the session

    def go_away(self, code: Code, text: str) -> None:
        """DONE: no new streams on this session. Anything else ends it."""
        if self.over is None:
            self.gone_away = True
            self._outbox.control.append(encode(Type.GO_AWAY, 0, text_payload(code, text)))
            if code is not Code.DONE:
                self._end(GoneAway(code, text))

    def session_lost(self, text: str) -> None:
        """The peer has forgotten the session, or nobody waits for it any more: nothing is left to be sent."""
        if self.over is None:
            self._end(GoneAway(Code.EXPIRED, text))

    def _end(self, gone: GoneAway) -> None:
        self.over, self.gone_away = gone, True
        reason = Reason.TUNNEL_DOWN if self._opens else Reason.CANCELLED
        for stream in self.streams.values():
            stream.drop(Reset(reason, gone.text))
            self._events.append(StreamReset(stream))
        self.streams.clear()
        self._events.append(gone)

    # ---- sending

    @property
    def wants_to_send(self) -> bool:
        return self._outbox.ready

    def data_to_send(self, limit: int, now: float) -> bytes:
        """What goes on the carrier next, about `limit` bytes; empty where there is nothing. It counts as sent on this carrier.

        Call `take_events` after it: streams may have become writable.
        """
        reliable = self._outbox.take_reliable(limit, now, self._events)
        while self._outbox.ended:
            self._forget_if_closed(self._outbox.ended.pop())
        if reliable:
            self._liveness.data_sent(now)
            if self._liveness.probe_due(now):
                self._outbox.ping = True
        if self._outbox.ping:
            self._liveness.asked(now)
        owes_ack = self.over is None and (self._outbox.ack or self._liveness.owes_ack)
        unreliable = self._outbox.take_unreliable(self.received if owes_ack else None)
        if owes_ack:
            self._liveness.acknowledged()
        return b"".join((unreliable, reliable)) if unreliable else bytes(reliable)

    def take_events(self) -> list[Event]:
        """What happened since the last time."""
        events, self._events = self._events, []
        return events

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
            self._liveness.received(self.received, now)
            self._note_ack(now)
        return self.take_events()

    def _receive_frame(self, frame: Frame, now: float) -> None:
        on_stream = _ON_STREAM.get(frame.type)
        if on_stream is not None:
            stream = self.streams.get(frame.stream_id)
            if stream is not None:
                on_stream(self, stream, frame.payload, now)
            elif frame.stream_id > self._last_id:
                raise RemoteProtocolError(f"a frame for stream {frame.stream_id}, which was never opened")
        elif (on_session := _ON_SESSION.get(frame.type)) is not None and self.over is None:
            on_session(self, frame, now)

    def _receive_open(self, frame: Frame, now: float) -> None:
        if self._opens or frame.stream_id != self._last_id + 1:
            raise RemoteProtocolError(f"OPEN of stream {frame.stream_id} after {self._last_id}, or from the exit")
        try:
            address = Address.decode(frame.payload)
        except ValueError as exc:
            raise RemoteProtocolError(f"OPEN with a bad address: {exc}") from None
        self._last_id = frame.stream_id
        stream = Stream(frame.stream_id, address, now)
        self.streams[stream.id] = stream
        if len(self.streams) > self._max_streams or self.gone_away:
            self.reset(stream, Reason.BUSY)
        else:
            self._events.append(StreamOpened(stream))

    def _receive_opened(self, stream: Stream, _payload: bytes, _now: float) -> None:
        if not self._opens or stream.accepted:
            raise RemoteProtocolError("OPENED twice, or from the local side")
        stream.accepted = True
        self._events.append(StreamAccepted(stream))

    def _receive_data_frame(self, stream: Stream, payload: bytes, _now: float) -> None:
        if not stream.receiver.buffered:
            self._events.append(StreamReadable(stream))
        stream.receiver.feed(payload)
        if stream.receiver.unwanted:
            self.reset(stream, Reason.CANCELLED)

    def _receive_end(self, stream: Stream, _payload: bytes, _now: float) -> None:
        stream.receiver.end()
        self._events.append(StreamReadable(stream))
        self._forget_if_closed(stream)

    def _receive_reset(self, stream: Stream, payload: bytes, _now: float) -> None:
        del self.streams[stream.id]
        stream.drop(Reset(Reason.from_wire(payload[0]), payload_text(payload)))
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

    def _receive_pong(self, _frame: Frame, now: float) -> None:
        self._liveness.answered(now)

    def _receive_ack(self, frame: Frame, now: float) -> None:
        log = self._outbox.log
        before = log.start
        log.acknowledge(_U64.unpack(frame.payload)[0])
        if log.start > before:
            self._liveness.data_acknowledged(now, everything=not log.size)

    def _forget_if_closed(self, stream: Stream) -> None:
        if stream.closed:
            self.streams.pop(stream.id, None)


_ON_STREAM: dict[int, Callable[[Mux, Stream, bytes, float], None]] = {
    Type.DATA: Mux._receive_data_frame,
    Type.CREDIT: Mux._receive_credit,
    Type.END: Mux._receive_end,
    Type.RESET: Mux._receive_reset,
    Type.OPENED: Mux._receive_opened,
}
_ON_SESSION: dict[int, Callable[[Mux, Frame, float], None]] = {
    Type.OPEN: Mux._receive_open,
    Type.ACK: Mux._receive_ack,
    Type.PING: Mux._receive_ping,
    Type.PONG: Mux._receive_pong,
    Type.GO_AWAY: Mux._receive_go_away,
}
