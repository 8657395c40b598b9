"""Frames on their own: what is encoded is decoded, however it is cut, and what no frame looks like is refused at its header."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import RemoteProtocolError
from proxy.protocol.frame import (
    HEADER,
    HEADER_SIZE,
    MAX_PAYLOAD,
    MAX_TEXT,
    OPTIONAL,
    UNRELIABLE,
    Frame,
    FrameDecoder,
    Type,
    encode,
    framed,
    header,
    payload,
    payload_text,
    text_payload,
)

# Shortest and longest payload of each type (docs/protocol.md, section 4).
LENGTHS = {
    Type.OPEN: (5, 259),
    Type.OPENED: (0, 0),
    Type.DATA: (1, 65536),
    Type.END: (0, 0),
    Type.RESET: (1, 256),
    Type.CREDIT: (4, 4),
    Type.GO_AWAY: (1, 256),
    Type.ASSOCIATE: (0, 0),
    Type.DATAGRAM: (5, 65536),
    Type.PING: (8, 8),
    Type.PONG: (8, 8),
    Type.ACK: (8, 8),
    Type.PADDING: (0, 65536),
}
OF_THE_SESSION = {Type.GO_AWAY, Type.PING, Type.PONG, Type.ACK, Type.PADDING}
every_type = pytest.mark.parametrize("kind", Type, ids=lambda kind: kind.name)


def stream_id(kind: Type) -> int:
    return 0 if kind in OF_THE_SESSION else 0x01020304


def wire(frame: Frame) -> bytes:
    """Written out here, so that the encoder is not its own judge."""
    number = int(frame.type).to_bytes(1, "big") + len(frame.payload).to_bytes(3, "big")
    return number + frame.stream_id.to_bytes(4, "big") + frame.payload


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    kind = draw(st.sampled_from(Type))
    shortest, longest = LENGTHS[kind]
    payload = draw(st.binary(min_size=shortest, max_size=min(longest, 300)))
    number = 0 if kind in OF_THE_SESSION else draw(st.integers(1, 2**32 - 1))
    return Frame(kind, number, payload)


@st.composite
def unknown_frames(draw: st.DrawFn) -> Frame:
    """Of types that this version does not know and may skip: any length and any stream."""
    number = draw(st.integers(OPTIONAL, 0xFF).filter(lambda number: number != Type.PADDING))
    return Frame(number, draw(st.integers(0, 2**32 - 1)), draw(st.binary(max_size=50)))


def decode(*pieces: bytes) -> list[Frame]:
    decoder = FrameDecoder()
    return [frame for piece in pieces for frame in decoder.feed(piece)]


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """Pieces of these sizes, over and over."""
    pieces, position = list[bytes](), 0
    while position < len(data):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(data[position : position + size])
        position += size
    return pieces


@every_type
@pytest.mark.parametrize("end", [0, 1], ids=["shortest", "longest"])
def test_every_type_at_both_bounds_of_its_length(kind: Type, end: int) -> None:
    payload = bytes(i % 251 for i in range(LENGTHS[kind][end]))
    frame = Frame(kind, stream_id(kind), payload)
    assert encode(kind, frame.stream_id, payload) == wire(frame)
    assert header(kind, frame.stream_id, len(payload)) + payload == wire(frame)
    assert decode(wire(frame)) == [frame]
    assert frame.size == len(wire(frame))


@pytest.mark.parametrize(
    ("kind", "length"),
    [(kind, length) for kind, (least, most) in LENGTHS.items() for length in (least - 1, most + 1) if length >= 0],
)
def test_a_wrong_length_is_refused_before_its_payload_is_waited_for(kind: Type, length: int) -> None:
    with pytest.raises(RemoteProtocolError, match=str(length)):
        decode(HEADER.pack(kind << 24 | length, stream_id(kind)))


@every_type
def test_a_frame_on_the_wrong_stream_is_refused(kind: Type) -> None:
    wrong = 5 if kind in OF_THE_SESSION else 0
    with pytest.raises(RemoteProtocolError, match=f"{kind.name} on stream {wrong}"):
        decode(HEADER.pack(kind << 24 | LENGTHS[kind][0], wrong))


def test_unknown_types_are_refused_by_number() -> None:
    for number in set(range(OPTIONAL)) - set(Type):
        with pytest.raises(RemoteProtocolError, match=f"{number:#04x}"):
            decode(HEADER.pack(number << 24, 1))


def test_optional_types_that_are_unknown_come_out_as_numbers() -> None:
    for number, where in itertools.product(set(range(OPTIONAL, 0x100)) - {Type.PADDING}, (0, 7)):
        (frame,) = decode(wire(Frame(number, where, b"new")))
        assert frame == (number, where, b"new")
        assert not isinstance(frame.type, Type)
        assert frame.reliable is (number & UNRELIABLE == 0)
        with pytest.raises(RemoteProtocolError, match="65537"):
            decode(HEADER.pack(number << 24 | MAX_PAYLOAD + 1, where))


@pytest.mark.parametrize("frames", [0, 1, 2, 7])
@pytest.mark.parametrize("more", [1, 8, 9, 65_535, 65_536, 65_537, 65_543])
def test_the_payload_of_so_many_bytes_of_frames_is_all_that_begins_in_them(frames: int, more: int) -> None:
    size = frames * (HEADER_SIZE + MAX_PAYLOAD) + more
    assert size <= framed(payload(size)) <= size + HEADER_SIZE


def test_which_frames_are_reliable() -> None:
    unreliable = {kind for kind in Type if not Frame(kind, 0, b"").reliable}
    assert unreliable == {Type.PING, Type.PONG, Type.ACK, Type.DATAGRAM, Type.PADDING}


def test_the_longest_length_that_a_header_can_say_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="16777215"):
        decode(HEADER.pack(Type.DATA << 24 | 0xFFFFFF, 1))


def test_frames_before_the_bad_one_come_out() -> None:
    decoder = FrameDecoder()
    feed = decoder.feed(encode(Type.END, 1) + HEADER.pack(0x7F << 24, 0))
    assert next(feed) == (Type.END, 1, b"")
    with pytest.raises(RemoteProtocolError):
        next(feed)


@every_type
def test_byte_by_byte_and_with_what_follows(kind: Type) -> None:
    shortest, longest = LENGTHS[kind]
    payload = bytes(range(min(longest, shortest + 3)))
    ours, next_one = Frame(kind, stream_id(kind), payload), Frame(Type.DATA, 9, b"follows")
    data = wire(ours) + wire(next_one)
    decoder = FrameDecoder()
    for position in range(len(data)):
        found = list(decoder.feed(data[position : position + 1]))
        done = {ours.size - 1: [ours], len(data) - 1: [next_one]}
        assert found == done.get(position, []), position
    for position in range(len(data) + 1):
        assert decode(data[:position], data[position:]) == [ours, next_one]


def test_empty_input_is_no_input() -> None:
    assert decode(b"", encode(Type.END, 1)[:3], b"", encode(Type.END, 1)[3:], b"") == [(Type.END, 1, b"")]


@given(sent=st.lists(frames() | unknown_frames(), max_size=12), sizes=st.lists(st.integers(1, 90), min_size=1))
def test_chunking_changes_nothing(sent: list[Frame], sizes: list[int]) -> None:
    data = b"".join(map(wire, sent))
    assert decode(data) == sent
    assert decode(*cut(data, sizes)) == sent


@given(sent=st.lists(frames(), min_size=1, max_size=4), sizes=st.lists(st.integers(1, 9), min_size=1), data=st.data())
def test_mutated_frames_are_refused_alike_however_they_are_cut(
    sent: list[Frame], sizes: list[int], data: st.DataObject
) -> None:
    mutated = bytearray(b"".join(map(wire, sent)))
    for _ in range(data.draw(st.integers(1, 3))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))

    def outcome(pieces: list[bytes]) -> tuple[list[Frame], str]:
        decoder, found = FrameDecoder(), []
        try:
            for piece in pieces:
                for frame in decoder.feed(piece):
                    found.append(frame)  # noqa: PERF402  (those before an error count)
        except RemoteProtocolError as exc:
            return found, str(exc)
        return found, ""

    assert outcome([bytes(mutated)]) == outcome(cut(bytes(mutated), sizes))


def test_payloads_do_not_share_memory_with_what_was_fed() -> None:
    data = bytearray(encode(Type.DATA, 1, b"abc"))
    (frame,) = FrameDecoder().feed(data)  # type: ignore[arg-type]
    data[:] = bytes(len(data))
    assert frame.payload == b"abc"
    assert type(frame.payload) is bytes


@pytest.mark.parametrize("cut_at", range(HEADER_SIZE + 5))
def test_a_lost_carrier_forgets_the_part_of_a_frame(cut_at: int) -> None:
    decoder = FrameDecoder()
    data = encode(Type.DATA, 1, b"again")
    assert list(decoder.feed(data[:cut_at])) == []
    decoder.carrier_lost()
    assert list(decoder.feed(data)) == [(Type.DATA, 1, b"again")]


# ---- text for people


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", ""),
        ("short", "short"),
        ("x" * MAX_TEXT, "x" * MAX_TEXT),
        ("x" * (MAX_TEXT + 1), "x" * MAX_TEXT),
        ("é" * 128, "é" * 127),  # two bytes each: 255 is in the middle of one
        ("x" * 253 + "€", "x" * 253),
        ("x" * 252 + "€", "x" * 252 + "€"),
        ("x" * 252 + "🚡", "x" * 252),
    ],
)
def test_long_text_is_cut_between_characters(text: str, kept: str) -> None:
    payload = text_payload(7, text)
    assert payload == b"\x07" + kept.encode()
    assert payload_text(payload) == kept


@given(number=st.integers(0, 255), text=st.text(max_size=400))
def test_every_text_makes_a_payload_that_fits(number: int, text: str) -> None:
    payload = text_payload(number, text)
    assert payload[0] == number
    assert text.startswith(payload[1:].decode())
    for kind, where in ((Type.RESET, 1), (Type.GO_AWAY, 0)):
        assert decode(encode(kind, where, payload)) == [(kind, where, payload)]


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (b"plain words", "plain words"),
        ("Zürich 🚡 香港".encode(), "Zürich 🚡 香港"),
        (b"two\r\nlines", "two  lines"),
        (b"\x1b[2Jcursor", " [2Jcursor"),
        ("\u202egnp.exe".encode(), " gnp.exe"),  # right-to-left override
        ("a\u2028b\x85c\x9bd".encode(), "a b c d"),  # line separator, next line, C1 control sequence
        (b"\x00\x07\x7f", "   "),
        (b"\xff\xc3", "\ufffd\ufffd"),
        (b"", ""),
    ],
)
def test_what_people_read_moves_no_cursor_and_breaks_no_line(sent: bytes, read: str) -> None:
    assert payload_text(b"\x01" + sent) == read


@given(st.binary(min_size=1, max_size=256))
def test_whatever_a_peer_sends_can_be_printed_on_one_line(payload: bytes) -> None:
    text = payload_text(payload)
    assert text.isprintable()
    assert len(text.splitlines()) <= 1
