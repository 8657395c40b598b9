"""What is sent, in which order, and when nothing may be sent."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.address import Address
from proxy.errors import Reason
from proxy.protocol.budget import LARGEST
from proxy.protocol.datagrams import Association
from proxy.protocol.event import Event, StreamWritable
from proxy.protocol.frame import HEADER_SIZE, MAX_PAYLOAD, Frame, FrameDecoder, Type, encode, framed
from proxy.protocol.outbox import BESIDE_LITTLE, LEAST_ROOM, MAX_KEPT, NO_LITTLE, Outbox
from proxy.protocol.schedule import LITTLE
from proxy.protocol.stream import MAX_CREDIT, Reset, Stream

NOW = 10.0
LOW_WATER = LARGEST // 4
BIG = 1 << 30
BULK = LITTLE * 4


def stream_with(outbox: Outbox, *pieces: bytes, number: int = 1, end: bool = False) -> Stream:
    stream = Stream(number, Address("example.com", 443), NOW)
    stream.sender.credit = MAX_CREDIT
    for piece in pieces:
        stream.sender.write(piece)
    stream.sender.ending = end
    outbox.schedule.add(stream, NOW)
    return stream


def take(outbox: Outbox, limit: int = BIG, events: list[Event] | None = None) -> list[Frame]:
    """The next reliable frames. They must be whole."""
    decoder = FrameDecoder()
    data = bytes(outbox.take_reliable(limit, NOW, [] if events is None else events))
    frames = list(decoder.feed(data))
    assert sum(frame.size for frame in frames) == len(data)
    return frames


def data_frame(payload: bytes, number: int = 1) -> Frame:
    return Frame(Type.DATA, number, payload)


END = Frame(Type.END, 1, b"")


def test_a_new_outbox_has_nothing_to_say() -> None:
    outbox = Outbox()
    assert not outbox.ready
    assert outbox.take_reliable(BIG, NOW, []) == b""
    assert outbox.take_unreliable(None) == b""
    assert outbox.log.end == 0


# ---- unreliable frames


def test_unreliable_frames_are_taken_once() -> None:
    outbox = Outbox()
    outbox.ack = outbox.ping = True
    outbox.pong = b"question"
    assert outbox.ready
    frames = list(FrameDecoder().feed(outbox.take_unreliable(2**63)))
    assert frames == [
        Frame(Type.ACK, 0, struct.pack("!Q", 2**63)),
        Frame(Type.PONG, 0, b"question"),
        Frame(Type.PING, 0, bytes(8)),
    ]
    assert not outbox.ready
    assert outbox.take_unreliable(None) == b""


@pytest.mark.parametrize("what", ["ack", "ping", "pong"])
def test_each_unreliable_frame_is_reason_enough_to_send(what: str) -> None:
    outbox = Outbox()
    setattr(outbox, what, bytes(8) if what == "pong" else True)
    assert outbox.ready
    outbox.held = True
    assert outbox.ready
    outbox.carrier_made(0.0, held=False)
    assert not outbox.ready


def test_an_ack_of_zero_is_an_ack() -> None:
    assert Outbox().take_unreliable(0) == encode(Type.ACK, 0, bytes(8))


def test_unreliable_frames_are_not_kept() -> None:
    outbox = Outbox()
    outbox.ping = True
    outbox.take_unreliable(5)
    assert outbox.log.end == 0


# ---- reliable frames


def test_control_goes_before_data_and_both_in_order() -> None:
    outbox = Outbox()
    stream_with(outbox, b"hello", end=True)
    outbox.control += [encode(Type.OPENED, 3), encode(Type.OPENED, 4)]
    assert outbox.ready
    assert take(outbox) == [(Type.OPENED, 3, b""), (Type.OPENED, 4, b""), data_frame(b"hello"), END]
    assert not outbox.ready


def test_control_is_never_left_behind() -> None:
    outbox = Outbox()
    outbox.control += [encode(Type.OPENED, number) for number in range(1, 101)]
    stream_with(outbox, b"data")
    assert len(take(outbox, limit=10)) == 100
    assert take(outbox, limit=10) == [data_frame(b"data")]


@pytest.mark.parametrize("limit", [1, 2, 100, MAX_PAYLOAD, BIG])
def test_no_payload_is_longer_than_the_limit_or_than_a_frame(limit: int) -> None:
    outbox = Outbox()
    stream_with(outbox, bytes(3 * MAX_PAYLOAD))
    frames = take(outbox, limit)
    assert max(len(frame.payload) for frame in frames) == min(limit, MAX_PAYLOAD)
    assert sum(len(frame.payload) for frame in frames) == min(limit, 3 * MAX_PAYLOAD)


def test_headers_count_towards_the_limit() -> None:
    outbox = Outbox()
    for number in range(1, 1001):
        stream_with(outbox, b"x", number=number)
    assert len(take(outbox, limit=90)) == 10


def test_turns_of_bulk_are_whole_frames() -> None:
    outbox = Outbox()
    for number in range(1, 4):
        stream = stream_with(outbox, number=number)
        stream.recent = BULK
        stream.sender.write(bytes(20 * MAX_PAYLOAD))
        outbox.schedule.add(stream, NOW)
    turn = 4 * MAX_PAYLOAD
    for _ in range(3):
        frames = take(outbox, framed(turn))
        assert {len(frame.payload) for frame in frames} == {MAX_PAYLOAD}
        assert sum(len(frame.payload) for frame in frames) == turn
        assert len({frame.stream_id for frame in frames}) == 1


def test_turns_of_little_are_one_frame() -> None:
    """What they have beyond it may be bulk, which messages do not wait for."""
    outbox = Outbox()
    for number in (1, 2):
        stream_with(outbox, bytes(3 * MAX_PAYLOAD), number=number)
    assert [frame.stream_id for frame in take(outbox)[:2]] == [1, 2]


def test_a_limit_cuts_data_and_the_end_follows_the_last_byte() -> None:
    outbox = Outbox()
    stream = stream_with(outbox, b"abcdef", end=True)
    assert take(outbox, limit=4) == [data_frame(b"abcd")]
    assert (stream.sender.ended, outbox.ended) == (False, [])
    assert take(outbox, limit=4) == [data_frame(b"ef"), END]
    assert (stream.sender.ended, outbox.ended) == (True, [stream])
    assert not outbox.ready


def test_an_end_without_data() -> None:
    outbox = Outbox()
    stream = stream_with(outbox, end=True)
    assert take(outbox) == [END]
    assert outbox.ended == [stream]
    outbox.schedule.add(stream, NOW)
    assert take(outbox) == []


def test_the_end_waits_for_credit_that_its_data_needs() -> None:
    outbox = Outbox()
    stream = stream_with(outbox, b"abc", end=True)
    stream.sender.credit = 2
    assert take(outbox) == [data_frame(b"ab")]
    assert not outbox.ready
    stream.sender.grant(1)
    outbox.schedule.add(stream, NOW)
    assert take(outbox) == [data_frame(b"c"), END]


def test_a_reset_stream_sends_nothing() -> None:
    outbox = Outbox()
    stream = stream_with(outbox, b"abc")
    stream.drop(Reset(Reason.CANCELLED, ""))
    assert take(outbox) == []
    assert outbox.log.end == 0


def test_a_message_goes_before_a_download_that_was_queued_earlier() -> None:
    outbox = Outbox()
    stream_with(outbox, bytes(BULK), number=1)
    take(outbox, limit=LITTLE + 1)
    stream_with(outbox, b"now", number=2)
    assert take(outbox, limit=1000)[0] == data_frame(b"now", 2)


def test_writable_is_said_once_when_little_is_left() -> None:
    outbox, events = Outbox(), list[Event]()
    stream = stream_with(outbox, bytes(LOW_WATER + 100))
    stream.sender.full = True
    take(outbox, 99, events)
    assert events == []
    take(outbox, 1, events)
    assert events == [StreamWritable(stream)]
    take(outbox, BIG, events)
    assert events == [StreamWritable(stream)]


def test_writable_is_not_said_where_nobody_waits() -> None:
    outbox, events = Outbox(), list[Event]()
    stream_with(outbox, bytes(LOW_WATER + 100))
    take(outbox, BIG, events)
    assert events == []


# ---- carriers


def test_what_was_sent_is_kept_and_sent_again_before_anything_new() -> None:
    outbox = Outbox()
    stream = stream_with(outbox, b"old")
    first = outbox.take_reliable(BIG, NOW, [])
    outbox.control.append(encode(Type.OPENED, 7))
    second = outbox.take_reliable(BIG, NOW, [])
    outbox.log.rewind(0)
    outbox.carrier_made(0.0, held=False)
    stream.sender.write(b"new")
    outbox.schedule.add(stream, NOW)
    outbox.control.append(encode(Type.OPENED, 8))
    assert outbox.take_reliable(BIG, NOW, []) == bytes(first) + bytes(second)
    assert take(outbox) == [(Type.OPENED, 8, b""), data_frame(b"new")]
    assert outbox.log.size == outbox.log.sent == outbox.log.end


def test_unreliable_frames_belong_to_their_carrier() -> None:
    outbox = Outbox()
    outbox.ack = outbox.ping = True
    outbox.pong = bytes(8)
    outbox.carrier_made(0.0, held=False)
    assert not outbox.ready
    assert outbox.take_unreliable(None) == b""


def test_control_and_data_outlive_their_carrier() -> None:
    outbox = Outbox()
    outbox.control.append(encode(Type.OPENED, 7))
    stream_with(outbox, b"data")
    outbox.carrier_made(0.0, held=False)
    assert take(outbox) == [(Type.OPENED, 7, b""), data_frame(b"data")]


def test_nothing_reliable_goes_while_it_is_held() -> None:
    outbox = Outbox()
    stream_with(outbox, b"old")
    old = outbox.take_reliable(BIG, NOW, [])
    outbox.carrier_made(0.0, held=True)
    outbox.log.rewind(0)
    outbox.control.append(encode(Type.OPENED, 7))
    stream_with(outbox, b"new", number=2)
    assert not outbox.ready
    assert take(outbox) == []
    outbox.held = False
    assert outbox.ready
    assert outbox.take_reliable(BIG, NOW, []) == old
    assert take(outbox) == [(Type.OPENED, 7, b""), data_frame(b"new", 2)]


def test_sending_stops_when_too_much_is_kept_but_not_sending_again() -> None:
    outbox = Outbox()
    outbox.log.append(bytes(MAX_KEPT - 1))
    outbox.control.append(encode(Type.OPENED, 1))
    assert outbox.ready
    outbox.control.clear()
    outbox.log.append(b"x")
    outbox.control.append(encode(Type.OPENED, 1))
    stream_with(outbox, b"data")
    assert not outbox.ready
    assert take(outbox) == []
    outbox.ping = True
    assert outbox.ready
    outbox.ping = False
    outbox.log.rewind(1)
    assert outbox.ready
    assert len(outbox.take_reliable(BIG, NOW, [])) == MAX_KEPT - 2
    assert len(outbox.take_reliable(BIG, NOW, [])) == 1
    assert take(outbox) == [(Type.OPENED, 1, b""), data_frame(b"data")]


@given(
    pieces=st.lists(st.tuples(st.integers(1, 3), st.binary(min_size=1, max_size=60)), max_size=12),
    limits=st.lists(st.integers(1, 120), min_size=1),
    lost=st.integers(0, 400),
)
def test_every_stream_says_what_was_written_and_then_ends(
    pieces: list[tuple[int, bytes]], limits: list[int], lost: int
) -> None:
    """Whatever the limits, and with a second carrier that gets again what the first lost after so many bytes."""
    outbox = Outbox()
    written = {number: b"".join(data for to, data in pieces if to == number) for number in (1, 2, 3)}
    for number in written:
        stream_with(outbox, *(data for to, data in pieces if to == number), number=number, end=True)
    sent: list[bytes] = []
    while outbox.ready:
        sent.append(bytes(outbox.take_reliable(limits[len(sent) % len(limits)], NOW, [])))
    kept = lost // 100 % (len(sent) + 1)  # chunks that arrived
    outbox.log.rewind(len(b"".join(sent[:kept])))
    again: list[bytes] = []
    while outbox.ready:
        again.append(bytes(outbox.take_reliable(BIG, NOW, [])))
    assert b"".join(again) == b"".join(sent[kept:])
    said: dict[int, bytes] = dict.fromkeys(written, b"")
    ended: list[int] = []
    for frame in FrameDecoder().feed(b"".join(sent[:kept] + again)):
        assert frame.stream_id not in ended
        if frame.type == Type.END:
            ended.append(frame.stream_id)
        else:
            said[frame.stream_id] += frame.payload
    assert said == written
    assert sorted(ended) == [1, 2, 3]
    assert sorted(stream.id for stream in outbox.ended) == [1, 2, 3]


def test_a_header_precedes_each_payload() -> None:
    outbox = Outbox()
    stream_with(outbox, b"abc", number=0x01020304)
    assert outbox.take_reliable(BIG, NOW, []) == bytes([3, 0, 0, 3, 1, 2, 3, 4]) + b"abc"
    assert outbox.log.end == HEADER_SIZE + 3


# ---- what may be in flight


def flying(outbox: Outbox, cap: float) -> int:
    """What is sent while nothing is acknowledged."""
    outbox.flight.cap = cap
    while outbox.take_reliable(16_384, NOW, []):
        pass
    assert not outbox.ready
    return outbox.log.sent - outbox.log.start


@pytest.mark.parametrize("cap", [16_384, 100_000, 1_000_000])
def test_bulk_stays_within_the_cap(cap: int) -> None:
    outbox = Outbox()
    stream_with(outbox, bytes(2_000_000))
    assert cap * 7 / 8 <= flying(outbox, cap) < cap * 9 / 8 + LITTLE
    outbox.acknowledge(outbox.log.sent - cap // 2, NOW + 1)
    assert outbox.ready
    assert outbox.take_reliable(BIG, NOW + 1, [])


@pytest.mark.parametrize("cap", [100_000, 300_000, 1_000_000])
def test_of_what_may_be_in_flight_little_stays_empty(cap: int) -> None:
    outbox = Outbox()
    stream_with(outbox, bytes(2_000_000))
    sent = flying(outbox, cap)
    outbox.flight.cap = sent + LEAST_ROOM - 1
    assert not outbox.ready, "it would be a splinter"
    outbox.flight.cap = sent + LEAST_ROOM
    assert outbox.ready


def test_the_flight_knows_of_messages_beside_bulk() -> None:
    outbox = Outbox()
    stream_with(outbox, bytes(2_000_000))
    outbox.take_reliable(4 * LITTLE, NOW, [])
    later = NOW + 2 * NO_LITTLE  # a download begins as a message does
    outbox.take_reliable(LITTLE, later, [])
    assert not outbox.flight.beside_little
    stream_with(outbox, b"a message", number=2)
    outbox.take_reliable(LITTLE, later, [])
    assert outbox.flight.beside_little
    outbox.take_reliable(LITTLE, later + 2 * NO_LITTLE, [])
    assert not outbox.flight.beside_little


def test_messages_and_control_go_beyond_the_cap() -> None:
    outbox = Outbox()
    stream_with(outbox, bytes(2_000_000))
    flying(outbox, 100_000)
    stream_with(outbox, b"a message", number=2)
    assert outbox.ready
    assert take(outbox) == [data_frame(b"a message", 2)]
    outbox.control.append(encode(Type.RESET, 3, b"\0"))
    assert outbox.ready
    assert take(outbox) == [Frame(Type.RESET, 3, b"\0")]


def test_what_is_sent_again_stays_within_the_cap() -> None:
    outbox = Outbox()
    stream_with(outbox, bytes(2_000_000))
    for _ in range(100):
        outbox.take_reliable(16_384, NOW, [])
    assert outbox.log.sent > 1_000_000
    outbox.log.rewind(0)
    outbox.take_off(NOW)
    assert flying(outbox, 100_000) <= 100_000 + 16_384


@pytest.mark.parametrize(("cap", "most"), [(1000, 1400), (80_000, 10_000), (1e9, 60_000)])
def test_pieces_are_a_part_of_the_cap(cap: float, most: int) -> None:
    """They are acknowledged whole."""
    outbox = Outbox()
    stream_with(outbox, bytes(2_000_000))
    outbox.flight.cap = cap
    for _ in range(10):
        piece = outbox.take_reliable(60_000, NOW, [])
        assert 0 < len(piece) <= most + HEADER_SIZE
        outbox.acknowledge(outbox.log.sent, NOW)
        outbox.flight.cap = cap


def test_one_piece_always_may_be_in_flight() -> None:
    outbox = Outbox()
    stream_with(outbox, bytes(200_000))
    outbox.take_reliable(2 * LITTLE, NOW, [])
    outbox.acknowledge(outbox.log.sent, NOW)
    outbox.flight.cap = 0
    assert outbox.take_reliable(BIG, NOW, [])
    assert not outbox.ready


def test_the_last_word_goes_out_however_much_is_kept() -> None:
    outbox = Outbox()
    outbox.log.append(bytes(MAX_KEPT))
    outbox.control.append(encode(Type.GO_AWAY, 0, b"\5"))
    assert not outbox.ready
    outbox.final = True
    assert take(outbox) == [Frame(Type.GO_AWAY, 0, b"\5")]


@pytest.mark.parametrize("size", [1, MAX_PAYLOAD - 1, MAX_PAYLOAD, MAX_PAYLOAD + 1, BESIDE_LITTLE, LARGEST])
def test_a_batch_of_framed_bytes_takes_that_much_of_a_stream_whole(size: int) -> None:
    """Or of each chunk a frame with its last bytes would be left over for the next batch."""
    outbox = Outbox()
    stream = stream_with(outbox, bytes(size))
    stream.sender.credit = LARGEST
    assert sum(len(frame.payload) for frame in take(outbox, limit=framed(size))) == size
    assert not outbox.ready


# ---- marks behind datagrams; `test_associations.py` has what they are for


def flooded(outbox: Outbox) -> list[Frame]:
    """What is taken, behind a mark's worth of datagrams."""
    association = Association(9, NOW, outbox.budget)
    association.recent, association.announced = BIG, True
    for size in (60_000, 6000):
        outbox.datagrams.put(association, encode(Type.DATAGRAM, 9, bytes(size)), NOW)
    return list(FrameDecoder().feed(outbox.take_datagrams(BIG, NOW)))


@pytest.mark.parametrize(("number", "answers"), [(0, True), (1, False), (2, False), (3, True), (4, True)])
def test_what_answers_the_ping_that_measures(number: int, answers: bool) -> None:
    """Itself, and a mark behind it, but none before it: the round trip would be too short."""
    outbox = Outbox()
    flooded(outbox)
    flooded(outbox)
    assert outbox.marks.number == 2
    outbox.ping = True
    frames = flooded(outbox)
    assert [frame.type for frame in frames] == [Type.DATAGRAM, Type.DATAGRAM, Type.PING]
    assert frames[-1].payload == struct.pack("!Q", 3)
    (ping,) = FrameDecoder().feed(outbox.take_unreliable(None))  # it goes before them
    assert ping.payload == bytes(8)
    flooded(outbox)
    before = outbox.marks.waiting
    assert outbox.answered(number, NOW + 1) is answers
    assert (before - outbox.marks.waiting) // 60_000 == (number or 2)


def test_while_a_ping_waits_to_be_sent_nothing_answers_it() -> None:
    outbox = Outbox()
    flooded(outbox)
    outbox.ping = True
    assert not outbox.answered(1, NOW)
    assert not outbox.answered(0, NOW)


def test_on_another_carrier_marks_begin_anew() -> None:
    outbox = Outbox()
    flooded(outbox)
    outbox.carrier_made(NOW, held=False)
    assert (outbox.marks.number, outbox.marks.waiting) == (0, 0)


def test_chunks_are_small_beside_a_call() -> None:
    outbox = Outbox()
    assert outbox.chunk(NOW) == LARGEST
    association = Association(9, NOW, outbox.budget)
    association.announced = True
    outbox.datagrams.put(association, encode(Type.DATAGRAM, 9, bytes(160)), NOW)
    outbox.take_datagrams(BIG, NOW)
    assert outbox.chunk(NOW) == BESIDE_LITTLE
    assert outbox.chunk(NOW + 1) == LARGEST


def test_what_an_old_carrier_took_is_no_rate_of_the_new_one() -> None:
    """It goes on being acknowledged, and was not sent on this one."""
    outbox = Outbox()
    stream_with(outbox, bytes(4_000_000))
    while outbox.take_reliable(BIG, NOW, []):
        pass
    sent = outbox.log.sent
    outbox.carrier_made(NOW, held=False)
    outbox.answered(0, NOW + 0.1)
    stream_with(outbox, bytes(1400), number=2)
    take(outbox)
    outbox.acknowledge(sent, NOW + 0.2)
    outbox.acknowledge(outbox.log.sent, NOW + 0.2)
    assert outbox.log.sent > sent
    assert outbox.flight.cap < 65_536
