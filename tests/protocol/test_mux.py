"""Pairs of sessions: what one says is what the other hears, whatever happens to the carrier."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import LocalProtocolError, OpenError, Reason, RemoteProtocolError
from proxy.protocol.budget import ASKED, LARGEST, LIMIT, SMALL
from proxy.protocol.event import (
    Code,
    GoneAway,
    StreamAccepted,
    StreamOpened,
    StreamReadable,
    StreamReset,
    StreamWritable,
)
from proxy.protocol.frame import HEADER, MAX_PAYLOAD, Type, encode
from proxy.protocol.handshake import AFTER_WELCOME
from proxy.protocol.liveness import ACK_BYTES, LEAST_ACK_DELAY, Health
from proxy.protocol.mux import EARLY, LAST_ID, Mux
from proxy.protocol.outbox import MAX_KEPT
from proxy.protocol.stream import INITIAL_CREDIT, MAX_WINDOW, Stream
from tests.pair import ADDRESS, Cutter, Pair, byte_by_byte, whole

if TYPE_CHECKING:
    from collections.abc import Callable

LOW_WATER = LARGEST // 4  # while streams are few
BIG = 1 << 30
both_ways = pytest.mark.parametrize("local_sends", [True, False], ids=["local sends", "exit sends"])


def ends(pair: Pair, local_sends: bool) -> tuple[Mux, Stream, Mux, Stream]:
    local, remote = pair.open()
    if local_sends:
        return pair.local, local, pair.exit, remote
    return pair.exit, remote, pair.local, local


@both_ways
@pytest.mark.parametrize("cutter", [whole, byte_by_byte])
def test_data_and_half_close(local_sends: bool, cutter: Cutter) -> None:
    pair = Pair(cutter)
    sender, ours, receiver, theirs = ends(pair, local_sends)
    sender.write(ours, b"hello ", pair.now)
    sender.write(ours, b"world", pair.now)
    sender.write_end(ours, pair.now)
    pair.settle()
    assert receiver.read(theirs, BIG, pair.now) == b"hello world"
    assert theirs.receiver.ended
    receiver.write(theirs, b"answer", pair.now)
    receiver.write_end(theirs, pair.now)
    pair.settle()
    assert sender.read(ours, BIG, pair.now) == b"answer"
    assert ours.closed
    assert theirs.closed
    assert not pair.local.streams
    assert not pair.exit.streams
    pair.tick(1)
    assert pair.local.kept == pair.exit.kept == 0


def test_first_bytes_travel_with_the_open() -> None:
    pair = Pair()
    stream = pair.local.open(ADDRESS, pair.now)
    pair.local.write(stream, b"GET /", pair.now)
    pair.feed(pair.exit, pair.take(pair.local))
    opened, readable = pair.events[pair.exit]
    assert isinstance(opened, StreamOpened)
    assert opened.stream.address == ADDRESS
    assert readable == StreamReadable(opened.stream)
    assert pair.exit.read(opened.stream, BIG, pair.now) == b"GET /"


def test_events_say_once_what_happened() -> None:
    pair = Pair()
    local, remote = pair.open()
    assert pair.events[pair.local] == [StreamAccepted(local)]
    for _ in range(3):
        pair.local.write(local, b"x", pair.now)
        pair.settle()
    assert pair.events[pair.exit] == [StreamOpened(remote), StreamReadable(remote)]


@both_ways
def test_reset_drops_what_is_queued_and_buffered(local_sends: bool) -> None:
    pair = Pair()
    sender, ours, receiver, theirs = ends(pair, local_sends)
    receiver.write(theirs, b"not read", pair.now)
    pair.settle()
    sender.write(ours, b"not sent", pair.now)
    sender.reset(ours, Reason.REFUSED, "closed \x1b[2J door")
    pair.settle()
    assert theirs.reset is not None
    assert theirs.reset.reason is Reason.REFUSED
    assert theirs.reset.text == "closed  [2J door"
    assert receiver.read(theirs, BIG, pair.now) == b""
    assert not pair.local.streams
    assert not pair.exit.streams
    assert StreamReset(theirs) in pair.events[receiver]


@both_ways
def test_frames_that_cross_a_reset_are_ignored(local_sends: bool) -> None:
    pair = Pair()
    sender, ours, receiver, theirs = ends(pair, local_sends)
    sender.write(ours, b"crosses", pair.now)
    sender.write_end(ours, pair.now)
    flight = pair.take(sender)
    receiver.reset(theirs, Reason.CANCELLED)
    pair.feed(receiver, flight)
    pair.settle()
    assert pair.local.over is pair.exit.over is None


def test_calls_for_a_closed_stream_do_nothing() -> None:
    pair = Pair()
    local, remote = pair.open()
    pair.local.reset(local, Reason.CANCELLED)
    pair.local.reset(local, Reason.CANCELLED)
    assert pair.local.write(local, b"late", pair.now)
    pair.local.write_end(local, pair.now)
    pair.settle()
    pair.exit.accept(remote)
    pair.settle()
    assert not pair.local.wants_to_send
    assert not pair.exit.wants_to_send


def test_write_after_the_end_is_our_own_mistake() -> None:
    pair = Pair()
    local, _ = pair.open()
    pair.local.write_end(local, pair.now)
    with pytest.raises(LocalProtocolError):
        pair.local.write(local, b"late", pair.now)


@both_ways
def test_a_stalled_reader_costs_its_window_and_nothing_else(local_sends: bool) -> None:
    pair = Pair()
    sender, stalled, receiver, unread = ends(pair, local_sends)
    _, ours, _, theirs = ends(pair, local_sends)
    assert not sender.write(stalled, bytes(INITIAL_CREDIT * 2), pair.now)
    pair.settle()
    assert unread.receiver.buffered == INITIAL_CREDIT
    assert stalled.sender.queued == INITIAL_CREDIT
    sender.write(ours, b"passes", pair.now)
    pair.settle()
    assert receiver.read(theirs, BIG, pair.now) == b"passes"
    assert pair.read(receiver, unread) == bytes(INITIAL_CREDIT)
    pair.settle()
    assert stalled.sender.queued == 0


def test_writable_comes_when_little_is_queued() -> None:
    pair = Pair()
    local, _ = pair.open()
    assert not pair.local.write(local, bytes(LOW_WATER + 30_000), pair.now)
    pair.take(pair.local, 20_000)
    assert StreamWritable(local) not in pair.events[pair.local]
    pair.take(pair.local, 20_000)
    assert pair.events[pair.local].count(StreamWritable(local)) == 1


def test_window_grows_with_a_fast_reader_up_to_its_bound() -> None:
    pair = Pair()
    flight = pair.take(pair.local)
    pair.now += 0.1  # the round trip
    pair.feed(pair.exit, flight)
    pair.settle()
    local, remote = pair.open()
    for _ in range(2000):
        pair.exit.write(remote, bytes(60_000), pair.now)
        pair.settle()
        pair.local.read(local, BIG, pair.now)
    assert local.receiver.window == MAX_WINDOW


def test_window_stays_with_a_slow_reader() -> None:
    pair = Pair()
    local, remote = pair.open()
    pair.tick(3)
    for _ in range(20):
        pair.exit.write(remote, bytes(60_000), pair.now)
        pair.settle()
        pair.now += 1
        pair.local.read(local, BIG, pair.now)
    assert local.receiver.window == INITIAL_CREDIT


def test_little_goes_before_bulk() -> None:
    pair = Pair()
    bulk, _ = pair.open()
    chat, _ = pair.open()
    for _ in range(4):
        pair.local.write(bulk, bytes(100_000), pair.now)
    pair.take(pair.local, 65_000)
    pair.local.write(chat, b"now", pair.now)
    flight = pair.take(pair.local, 65_000)
    assert flight.index(b"now") < 64


def test_bulk_streams_take_turns() -> None:
    pair = Pair()
    streams = [pair.open()[0] for _ in range(4)]
    for stream in streams:
        pair.local.write(stream, bytes(200_000), pair.now)
    for _ in range(9):
        pair.take(pair.local, 50_000)
    left = [stream.sender.queued for stream in streams]
    assert max(left) - min(left) <= MAX_PAYLOAD


# ---- carriers


@both_ways
def test_nothing_is_lost_when_a_flight_is(local_sends: bool) -> None:
    pair = Pair()
    sender, ours, receiver, theirs = ends(pair, local_sends)
    sender.write(ours, b"one ", pair.now)
    pair.take(sender)  # lost with its carrier
    sender.write(ours, b"two", pair.now)  # written while there is none
    pair.connect()
    pair.settle()
    assert receiver.read(theirs, BIG, pair.now) == b"one two"


@both_ways
def test_what_arrived_without_its_ack_comes_once(local_sends: bool) -> None:
    pair = Pair()
    sender, ours, receiver, theirs = ends(pair, local_sends)
    sender.write(ours, b"once", pair.now)
    pair.feed(receiver, pair.take(sender))  # and the acknowledgement is lost
    pair.connect()
    pair.settle()
    assert receiver.read(theirs, BIG, pair.now) == b"once"
    pair.tick(1)
    assert sender.kept == 0


@both_ways
@pytest.mark.parametrize("size", [EARLY - 1, EARLY * 3])
def test_resumption_of_little_and_of_much(local_sends: bool, size: int) -> None:
    pair = Pair()
    sender, ours, receiver, theirs = ends(pair, local_sends)
    pair.tick(1)
    payload = bytes(i % 251 for i in range(size))
    sender.write(ours, payload, pair.now)
    for number in range(8):
        flight = pair.take(sender, 30_000)
        pair.feed(receiver, flight if number < 4 else flight[: len(flight) // 2])
        if number >= 4:
            break
    pair.connect()
    pair.settle()
    for _ in range(20):  # with each acknowledgement more may be in flight
        pair.tick(0.05)
    assert pair.read(receiver, theirs) == payload
    assert receiver.over is None


def test_nothing_goes_before_the_welcome_where_much_is_kept() -> None:
    pair = Pair()
    local, _ = pair.open()
    pair.local.write(local, bytes(EARLY * 2), pair.now)
    while pair.local.wants_to_send:
        pair.take(pair.local)
    assert pair.local.carrier_made(pair.now) == (pair.local.received, AFTER_WELCOME)
    assert not pair.local.wants_to_send
    assert pair.local.data_to_send(BIG, pair.now) == b""


def test_a_session_that_cannot_go_on_is_refused_and_unchanged() -> None:
    pair = Pair()
    _, remote = pair.open()
    pair.tick(1)
    start = pair.local.received
    for received, sending in [(start + 1, 0), (0, 0), (start, pair.exit.received + 1)]:
        with pytest.raises(RemoteProtocolError):
            pair.exit.resumed(received, sending, pair.now)
    pair.exit.write(remote, b"still works", pair.now)
    pair.settle()
    with pytest.raises(RemoteProtocolError):
        pair.local.welcomed(BIG, pair.local.received, pair.now)


def test_a_lost_session_resets_its_streams() -> None:
    pair = Pair()
    local, _ = pair.open()
    pair.local.session_lost("the exit was restarted")
    pair.local.session_lost("twice")
    assert local.reset is not None
    assert local.reset.reason is Reason.TUNNEL_DOWN
    assert pair.local.take_events() == [StreamReset(local), GoneAway(Code.EXPIRED, "the exit was restarted")]
    assert not pair.local.wants_to_send
    with pytest.raises(OpenError):
        pair.local.open(ADDRESS, pair.now)


@given(
    messages=st.lists(st.tuples(st.booleans(), st.integers(0, 2), st.binary(min_size=1, max_size=3000)), max_size=25),
    cuts=st.lists(st.integers(0, 4000), max_size=12),
    limit=st.integers(64, 8192),
)
def test_a_carrier_cut_anywhere_loses_and_repeats_nothing(
    messages: list[tuple[bool, int, bytes]], cuts: list[int], limit: int
) -> None:
    """Each number in `cuts` is how many bytes the next carrier lets through, in both directions together."""
    pair = Pair()
    streams = [pair.open() for _ in range(3)]
    sent: dict[tuple[bool, int], bytes] = {}
    budget = iter(cuts)
    left = next(budget, BIG)
    for upwards, number, data in [*messages, *[(True, 0, b"")] * 50]:
        side, stream = (pair.local, streams[number][0]) if upwards else (pair.exit, streams[number][1])
        side.write(stream, data, pair.now)
        sent[upwards, number] = sent.get((upwards, number), b"") + data
        pair.now += 0.03
        for mux in (pair.local, pair.exit):
            mux.handle_timer(pair.now)
            flight = pair.take(mux, limit)
            pair.feed(pair.other(mux), flight[:left])
            left -= len(flight)
            if left < 0:
                pair.connect()
                left = next(budget, BIG)
    pair.settle()
    for (upwards, number), data in sent.items():
        side, stream = (pair.exit, streams[number][1]) if upwards else (pair.local, streams[number][0])
        assert pair.read(side, stream) == data
    pair.tick(1)
    assert pair.local.over is pair.exit.over is None
    assert pair.local.kept == pair.exit.kept == 0


@given(cut=st.integers(0, 700))
def test_a_whole_conversation_cut_at_every_byte(cut: int) -> None:
    pair = Pair()
    pair.cutter = lambda data: [data[:17], data[17:]]
    left = cut
    stream = pair.local.open(ADDRESS, pair.now)
    pair.local.write(stream, b"q" * 100, pair.now)
    pair.local.write_end(stream, pair.now)
    answered = False
    for _ in range(12):
        for mux in (pair.local, pair.exit):
            flight = pair.take(mux)
            pair.feed(pair.other(mux), flight[:left])
            left -= len(flight)
            if left < 0:
                pair.connect()
                left = BIG
        opened = [event.stream for event in pair.events[pair.exit] if isinstance(event, StreamOpened)]
        assert len(opened) <= 1
        if opened and opened[0].receiver.ended and not answered:
            answered = True
            pair.exit.accept(opened[0])
            assert pair.exit.read(opened[0], BIG, pair.now) == b"q" * 100
            pair.exit.write(opened[0], b"a" * 300, pair.now)
            pair.exit.write_end(opened[0], pair.now)
    assert pair.local.read(stream, BIG, pair.now) == b"a" * 300
    assert stream.receiver.ended
    assert not pair.local.streams
    assert not pair.exit.streams


# ---- time


def test_acknowledged_within_a_part_of_the_round_trip_and_after_a_mebibyte() -> None:
    pair = Pair()
    local, remote = pair.open()
    pair.tick(0.5)
    pair.local.write(local, b"x", pair.now)
    pair.feed(pair.exit, pair.take(pair.local))
    assert not pair.exit.wants_to_send
    assert pair.exit.next_timer(pair.now) == pytest.approx(pair.now + LEAST_ACK_DELAY)
    pair.tick(0.06)
    assert pair.local.kept == 0
    local.sender.credit = remote.receiver.open_credit = BIG
    pair.local._outbox.flight.cap = BIG
    for _ in range(ACK_BYTES // 50_000):
        assert not pair.exit.wants_to_send
        pair.local.write(local, bytes(50_000), pair.now)
        pair.feed(pair.exit, pair.take(pair.local, BIG))
    pair.local.write(local, bytes(50_000), pair.now)
    pair.feed(pair.exit, pair.take(pair.local, BIG))
    assert pair.exit.wants_to_send


def test_a_silent_carrier_is_suspect_and_then_dead() -> None:
    pair = Pair()
    local, _ = pair.open()
    pair.tick(0.5)
    pair.local.write(local, b"x", pair.now)
    pair.take(pair.local)
    for seconds, health in [(2, Health.SUSPECT), (3, Health.DEAD)]:
        assert pair.local.next_timer(pair.now) == pytest.approx(pair.now + seconds)
        assert pair.local.handle_timer(pair.now + seconds - 0.01) is not health
        pair.now += seconds
        assert pair.local.handle_timer(pair.now) is health


def test_an_idle_carrier_is_asked_by_the_local_side_first() -> None:
    pair = Pair()
    pair.tick(1)
    pair.tick(1)
    assert pair.exit.next_timer(pair.now) > pair.local.next_timer(pair.now) + 30
    pair.now = pair.local.next_timer(pair.now)
    assert pair.local.handle_timer(pair.now) is Health.ALIVE
    assert pair.local.wants_to_send
    pair.settle()
    assert pair.local.next_timer(pair.now) == pytest.approx(pair.now + 30)


def test_round_trip_is_measured() -> None:
    pair = Pair()
    flight = pair.take(pair.local)
    pair.now += 0.3
    pair.feed(pair.exit, flight)
    pair.feed(pair.local, pair.take(pair.exit))
    assert pair.local.round_trip == pytest.approx(0.3)


# ---- going away


def test_go_away_lets_open_streams_end() -> None:
    pair = Pair()
    local, remote = pair.open()
    pair.exit.go_away(Code.DONE, "shutting down")
    crossing = pair.local.open(ADDRESS, pair.now)
    pair.feed(pair.exit, pair.take(pair.local))
    pair.settle()
    assert crossing.reset is not None
    assert crossing.reset.reason is Reason.BUSY
    assert pair.events[pair.local][1] == GoneAway(Code.DONE, "shutting down")
    with pytest.raises(OpenError):
        pair.local.open(ADDRESS, pair.now)
    pair.local.write(local, b"goes on", pair.now)
    pair.settle()
    assert pair.exit.read(remote, BIG, pair.now) == b"goes on"


@pytest.mark.parametrize(("number", "code"), [(2, Code.REVOKED), (77, Code.INTERNAL_ERROR)])
def test_go_away_with_a_code_ends_the_session(number: int, code: Code) -> None:
    pair = Pair()
    local, _ = pair.open()
    pair.feed(pair.local, encode(Type.GO_AWAY, 0, bytes([number]) + b"why"))
    assert pair.local.over == GoneAway(code, "why")
    assert local.reset is not None


# ---- what the peer does wrong


def u32(number: int) -> bytes:
    return struct.pack("!I", number)


LARGE = 997  # bytes; it fits into no frame without a rest
WRONG: dict[str, Callable[[int], bytes]] = {
    "unknown type": lambda _: encode(0x3F, 0, b"x"),  # type: ignore[arg-type]
    "too long": lambda sid: HEADER.pack(Type.DATA << 24 | MAX_PAYLOAD + 1, sid),
    "empty DATA": lambda sid: encode(Type.DATA, sid),
    "END with a payload": lambda sid: encode(Type.END, sid, b"x"),
    "short CREDIT": lambda sid: encode(Type.CREDIT, sid, b"xyz"),
    "short PING": lambda _: encode(Type.PING, 0, b"x"),
    "RESET without a reason": lambda sid: encode(Type.RESET, sid),
    "DATA on the session": lambda _: encode(Type.DATA, 0, b"x"),
    "PING on a stream": lambda sid: encode(Type.PING, sid, bytes(8)),
    "never opened": lambda sid: encode(Type.DATA, sid + 7, b"x"),
    "credit that overflows": lambda sid: encode(Type.CREDIT, sid, u32(2**31 - 1)),
    "credit of nothing": lambda sid: encode(Type.CREDIT, sid, u32(0)),
    "beyond the credit": lambda sid: encode(Type.DATA, sid, bytes(MAX_PAYLOAD)) * 4 + encode(Type.DATA, sid, b"x"),
    "DATA after END": lambda sid: encode(Type.END, sid) + encode(Type.DATA, sid, b"x"),
    "END after END": lambda sid: encode(Type.END, sid) * 2,
    "ACK of what was never sent": lambda _: encode(Type.ACK, 0, struct.pack("!Q", BIG)),
}
WRONG_FOR_THE_EXIT: dict[str, Callable[[int], bytes]] = {
    "OPEN out of turn": lambda sid: encode(Type.OPEN, sid + 2, ADDRESS.encode()),
    "OPEN of an open stream": lambda sid: encode(Type.OPEN, sid, ADDRESS.encode()),
    "OPEN with a bad kind": lambda sid: encode(Type.OPEN, sid + 1, b"\x02" + ADDRESS.encode()[1:]),
    "OPEN cut short": lambda sid: encode(Type.OPEN, sid + 1, ADDRESS.encode()[:-1]),
    "OPEN with an empty name": lambda sid: encode(Type.OPEN, sid + 1, b"\x03\x00\x01\xbb\x00"),
    "OPENED from the local side": lambda sid: encode(Type.OPENED, sid),
}
WRONG_FOR_THE_LOCAL_SIDE: dict[str, Callable[[int], bytes]] = {
    "OPEN from the exit": lambda sid: encode(Type.OPEN, sid + 1, ADDRESS.encode()),
    "OPENED twice": lambda sid: encode(Type.OPENED, sid),
}


def in_pieces(data: bytes) -> list[bytes]:
    """Byte by byte, but for the middle of what is long."""
    if len(data) < 4 * LARGE:
        return byte_by_byte(data)
    middle = [data[start : start + LARGE] for start in range(LARGE, len(data) - LARGE, LARGE)]
    rest = len(middle) * LARGE + LARGE
    return [*byte_by_byte(data[:LARGE]), *middle, *byte_by_byte(data[rest:])]


@pytest.mark.parametrize("cutter", [whole, in_pieces])
@pytest.mark.parametrize(
    ("name", "local_sends"),
    [
        *((name, local_sends) for name in WRONG for local_sends in (True, False)),
        *((name, True) for name in WRONG_FOR_THE_EXIT),
        *((name, False) for name in WRONG_FOR_THE_LOCAL_SIDE),
    ],
)
def test_what_the_protocol_forbids_ends_the_session(name: str, local_sends: bool, cutter: Cutter) -> None:
    cases = WRONG | (WRONG_FOR_THE_EXIT if local_sends else WRONG_FOR_THE_LOCAL_SIDE)
    pair = Pair()
    _, ours, receiver, theirs = ends(pair, local_sends)
    pair.cutter = cutter
    pair.feed(receiver, cases[name](ours.id) + encode(Type.PING, 0, bytes(8)))
    assert receiver.over is not None
    assert receiver.over.code is Code.PROTOCOL_ERROR
    assert theirs.reset is not None
    assert not receiver.streams
    pair.cutter = whole
    pair.feed(pair.other(receiver), pair.take(receiver))
    assert pair.other(receiver).over == receiver.over
    assert ours.reset is not None


@both_ways
def test_optional_frames_are_skipped_and_counted(local_sends: bool) -> None:
    pair = Pair()
    _, ours, receiver, theirs = ends(pair, local_sends)
    before = receiver.received
    unknown = encode(0x8F, 9, b"from the future")  # type: ignore[arg-type]
    pair.feed(receiver, unknown + encode(0xCF, 9, b"later still") + encode(Type.PADDING, 0, b"..."))  # type: ignore[arg-type]
    assert receiver.received == before + len(unknown)
    pair.feed(receiver, encode(Type.DATA, ours.id, b"x"))
    assert receiver.read(theirs, BIG, pair.now) == b"x"


def test_too_many_streams_are_refused_one_by_one() -> None:
    pair = Pair(max_streams=2)
    pair.open()
    pair.open()
    third = pair.local.open(ADDRESS, pair.now)
    pair.settle()
    assert third.reset is not None
    assert third.reset.reason is Reason.BUSY
    assert len(pair.local.streams) == len(pair.exit.streams) == 2


def test_the_local_side_has_a_bound_on_streams_too() -> None:
    mux = Mux(opens=True, now=0, max_streams=1)
    mux.open(ADDRESS, 0)
    with pytest.raises(OpenError) as caught:
        mux.open(ADDRESS, 0)
    assert caught.value.reason is Reason.BUSY


def test_ids_that_are_used_up() -> None:
    mux = Mux(opens=True, now=0)
    mux._last_id = LAST_ID
    with pytest.raises(OpenError):
        mux.open(ADDRESS, 0)


def test_a_flood_of_pings_is_answered_once() -> None:
    pair = Pair()
    pair.settle()
    pair.feed(pair.exit, encode(Type.PING, 0, b"first...") * 10_000 + encode(Type.PING, 0, b"the last"))
    assert pair.take(pair.exit) == encode(Type.PONG, 0, b"the last")


def test_provoked_answers_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.protocol.mux.MAX_ANSWERS", 1000)
    pair = Pair(max_streams=0)
    for number in range(1, 1002):
        assert pair.exit.over is None
        pair.feed(pair.exit, encode(Type.OPEN, number, ADDRESS.encode()))
    assert pair.exit.over is not None


def test_sending_stops_when_nothing_is_acknowledged() -> None:
    pair = Pair()
    local, _ = pair.open()
    local.sender.credit = BIG
    for _ in range(400):
        pair.local.write(local, bytes(1 << 16), pair.now)
        pair.take(pair.local, 1 << 20)
    assert not pair.local.wants_to_send
    assert MAX_KEPT <= pair.local.kept < MAX_KEPT + (1 << 20) + 64


@given(data=st.data())
def test_mutated_traffic_ends_a_session_or_goes_on_and_never_raises(data: st.DataObject) -> None:
    pair = Pair()
    local, remote = pair.open()
    pair.local.write(local, b"x" * 50, pair.now)
    pair.local.write_end(local, pair.now)
    pair.local.open(ADDRESS, pair.now)
    flight = bytearray(pair.take(pair.local))
    for _ in range(data.draw(st.integers(1, 4))):
        flight[data.draw(st.integers(0, len(flight) - 1))] = data.draw(st.integers(0, 255))
    position = 0
    while position < len(flight):
        size = data.draw(st.integers(1, 40))
        pair.exit.receive_data(bytes(flight[position : position + size]), pair.now)
        position += size
    assert pair.exit.over is None or pair.exit.over.code is not Code.DONE
    assert remote.receiver.buffered <= 60


def test_repr_shows_the_state() -> None:
    pair = Pair()
    local, _ = pair.open()
    assert repr(pair.local).startswith("<Mux open, 1 streams")
    assert repr(local) == "<Stream 1 open, 0 to send, 0 to read>"
    pair.local.go_away(Code.DONE, "")
    assert "going away" in repr(pair.local)
    pair.local.go_away(Code.REVOKED, "")
    assert "over" in repr(pair.local)
    assert "reset" in repr(local)


@pytest.mark.parametrize("count", [1, 10, 400, 2000])
def test_many_streams_have_little_queued_each(count: int) -> None:
    pair = Pair()
    streams = [pair.local.open(ADDRESS, pair.now) for _ in range(count)]
    for stream in streams:
        while pair.local.write(stream, bytes(1000), pair.now):
            pass
    queued = [stream.sender.queued for stream in streams]
    assert all(SMALL // 4 <= each <= LOW_WATER + 1000 for each in queued)
    assert sum(queued) <= ASKED / 4 * LIMIT + 1000 * count


def test_who_waits_is_told_also_when_there_are_fewer_streams_by_then() -> None:
    pair = Pair()
    streams = [pair.open()[0] for _ in range(400)]
    waiting = streams[0]
    waiting.sender.credit = BIG
    while pair.local.write(waiting, bytes(1000), pair.now):
        pass
    assert waiting.sender.queued < LOW_WATER // 2
    for stream in streams[1:]:
        pair.local.reset(stream, Reason.CANCELLED)
    last = pair.local.open(ADDRESS, pair.now)
    assert pair.local.write(last, b"x", pair.now)
    pair.events[pair.local].clear()
    pair.settle()
    assert StreamWritable(waiting) in pair.events[pair.local]


# ---- quiet streams


@both_ways
def test_quiet_is_what_neither_sends_nor_is_read(local_sends: bool) -> None:
    """Pings and a new carrier are no reason to take a stream for busy, and credit that is used up no reason to take it for quiet."""
    pair = Pair()
    sender, ours, receiver, theirs = ends(pair, local_sends)
    opened = pair.now
    pair.tick(100)
    pair.connect()
    pair.settle()
    assert ours.quiet_since == theirs.quiet_since == opened
    sender.write(ours, bytes(INITIAL_CREDIT + 5), pair.now)
    pair.settle()
    assert ours.quiet_since == theirs.quiet_since == pair.now
    for _ in range(100):  # until the credit is used up, as nobody reads
        pair.tick(1)
    assert theirs.receiver.buffered == INITIAL_CREDIT
    stuck = pair.now
    pair.tick(100)
    assert max(ours.quiet_since, theirs.quiet_since) < stuck
    assert len(pair.read(receiver, theirs)) == INITIAL_CREDIT
    pair.settle()
    assert ours.quiet_since == theirs.quiet_since == pair.now  # the last 5 bytes
