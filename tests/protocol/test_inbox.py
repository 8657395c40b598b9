"""What comes in on several carriers, as one sequence: counted once, skipped where it comes again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import RemoteProtocolError
from proxy.protocol.frame import HEADER_SIZE, Frame, Type, encode
from proxy.protocol.inbox import Inbox

PING = Frame(Type.PING, 0, b"12345678")
ONE, TWO = Frame(Type.DATA, 1, b"one"), Frame(Type.DATA, 1, b"the second")


def wire(*frames: Frame) -> bytes:
    return b"".join(encode(frame.type, frame.stream_id, frame.payload) for frame in frames)  # type: ignore[arg-type]


def test_reliable_frames_are_counted_and_others_are_not() -> None:
    inbox = Inbox()
    assert inbox.received == 0
    assert list(inbox.feed(wire(PING, ONE, PING, TWO))) == [PING, ONE, PING, TWO]
    assert inbox.received == ONE.size + TWO.size == 2 * HEADER_SIZE + 13


@pytest.mark.parametrize(("number", "counted"), [(0x8F, True), (0xCF, False), (0xC4, False)])
def test_optional_frames_count_if_they_are_reliable(number: int, counted: bool) -> None:
    inbox = Inbox()
    frame = Frame(number, 0, b"new")
    assert list(inbox.feed(wire(frame))) == [frame]
    assert inbox.received == (frame.size if counted else 0)


def test_a_frame_counts_when_it_is_handed_out() -> None:
    inbox = Inbox()
    frames = inbox.feed(wire(ONE, TWO))
    assert inbox.received == 0
    next(frames)
    assert inbox.received == ONE.size
    next(frames)
    assert inbox.received == ONE.size + TWO.size


def test_byte_by_byte() -> None:
    inbox, data, found = Inbox(), wire(ONE, PING, TWO), list[Frame]()
    for position in range(len(data)):
        found += inbox.feed(data[position : position + 1])
        if position < ONE.size - 1:
            assert inbox.received == 0
    assert found == [ONE, PING, TWO]
    assert inbox.received == ONE.size + TWO.size


def test_what_comes_again_is_skipped() -> None:
    inbox = Inbox()
    list(inbox.feed(wire(ONE, TWO)))
    received = inbox.received
    inbox.carrier_made(skip=received)
    assert list(inbox.feed(wire(ONE, PING, TWO))) == [PING]
    assert inbox.received == received
    assert list(inbox.feed(wire(TWO, PING))) == [TWO, PING]
    assert inbox.received == received + TWO.size


def test_optional_frames_are_skipped_by_the_same_count() -> None:
    inbox, unknown = Inbox(), Frame(0x80, 0, b"?")
    list(inbox.feed(wire(unknown, ONE)))
    inbox.carrier_made(skip=inbox.received)
    assert list(inbox.feed(wire(unknown, ONE, TWO))) == [TWO]


def test_part_of_a_frame_is_forgotten_with_its_carrier() -> None:
    for cut in range(1, ONE.size):
        inbox = Inbox()
        list(inbox.feed(wire(TWO) + wire(ONE)[:cut]))
        inbox.carrier_made(skip=0)
        assert list(inbox.feed(wire(ONE))) == [ONE]
        assert inbox.received == TWO.size + ONE.size


@pytest.mark.parametrize("skip", [1, HEADER_SIZE, ONE.size - 1, ONE.size + 1])
def test_what_comes_again_must_be_cut_as_before(skip: int) -> None:
    inbox = Inbox()
    list(inbox.feed(wire(ONE, TWO)))
    inbox.carrier_made(skip)
    with pytest.raises(RemoteProtocolError, match="cut differently"):
        list(inbox.feed(wire(ONE, TWO)))
    assert inbox.received == ONE.size + TWO.size


def test_a_skip_of_the_last_carrier_does_not_stay() -> None:
    inbox = Inbox()
    list(inbox.feed(wire(ONE)))
    inbox.carrier_made(skip=ONE.size)
    inbox.carrier_made(skip=0)
    assert list(inbox.feed(wire(TWO))) == [TWO]


def test_it_is_incomplete_from_the_first_byte_of_a_frame_to_the_last_but_one() -> None:
    inbox, data = Inbox(), wire(TWO)
    for position in range(len(data)):
        assert inbox.incomplete is (position > 0)
        list(inbox.feed(data[position : position + 1]))
    assert not inbox.incomplete
    list(inbox.feed(data[:HEADER_SIZE]))
    inbox.carrier_made(skip=0)
    assert not inbox.incomplete


def test_bad_frames_are_the_peers_error() -> None:
    inbox = Inbox()
    with pytest.raises(RemoteProtocolError, match="DATA on stream 0"):
        list(inbox.feed(wire(Frame(Type.DATA, 0, b"x"))))
    assert inbox.received == 0


@given(
    payloads=st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=12),
    carriers=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 12)), max_size=8),
    size=st.integers(1, 40),
)
def test_each_frame_comes_once(payloads: list[bytes], carriers: list[tuple[int, int]], size: int) -> None:
    """For each carrier: how many bytes it lets through, and how many frames the peer sends again though they arrived."""
    sent = [Frame(Type.DATA, 1, payload) for payload in payloads]
    inbox, found = Inbox(), list[Frame]()
    for through, again in [*carriers, (1 << 20, 0)]:
        first = max(0, len(found) - again)
        inbox.carrier_made(skip=sum(frame.size for frame in sent[first : len(found)]))
        data = wire(*sent[first:])[:through]
        for position in range(0, len(data), size):
            found += inbox.feed(data[position : position + size])
        assert inbox.received == sum(frame.size for frame in found)
    assert found == sent
