"""The halves of a stream on their own: what is queued, what is credited, and what a reader gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.address import Address
from proxy.errors import Reason, RemoteProtocolError
from proxy.protocol.budget import Budget
from proxy.protocol.frame import JOINED, MAX_PAYLOAD
from proxy.protocol.stream import (
    INITIAL_CREDIT,
    MAX_CREDIT,
    MAX_WINDOW,
    ReceiveHalf,
    Reset,
    SendHalf,
    Stream,
)

BIG = 1 << 30
ROUND_TRIP = 0.125  # a binary fraction: sums of it are exact
SLOW = 60.0  # seconds: much more than two round trips


def sender_with(*pieces: bytes | bytearray | memoryview) -> SendHalf:
    half = SendHalf()
    for piece in pieces:
        half.write(piece)
    return half


def receiver_with(*payloads: bytes) -> ReceiveHalf:
    """With as much credit as that takes."""
    half = ReceiveHalf(0.0)
    half.open_credit = max(half.open_credit, sum(map(len, payloads)))
    for payload in payloads:
        half.feed(payload)
    return half


def read(half: ReceiveHalf, limit: int) -> bytes:
    return b"".join(half.read_pieces(limit))


def read_all(half: ReceiveHalf, limit: int = BIG) -> bytes:
    parts = []
    while data := read(half, limit):
        parts.append(data)
    return b"".join(parts)


# ---- sending


def test_a_new_sender_has_credit_and_nothing_to_say() -> None:
    half = SendHalf()
    assert half.credit == INITIAL_CREDIT == 262_144
    assert (half.queued, half.ready, half.ending, half.ended) == (0, False, False, False)


def test_pieces_come_out_in_order_and_up_to_the_limit() -> None:
    first, second = b"abcde" * JOINED, b"fg" * JOINED
    half = sender_with(first, second)
    taken = [bytes(half.take(limit)) for limit in (2, BIG, 1, JOINED)]
    assert taken == [first[:2], first[2:], b"f", second[1 : JOINED + 1]]
    assert half.queued == JOINED - 1
    half.take(BIG)
    assert half.queued == 0
    assert half.credit == INITIAL_CREDIT - 7 * JOINED
    assert not half.ready


def test_little_pieces_are_joined_also_with_the_rest_of_a_large_one() -> None:
    half = sender_with(b"abcde", bytearray(b"fg"), memoryview(b"h"))
    assert bytes(half.take(2)) == b"ab"
    half.write(b"i")
    assert bytes(half.take(BIG)) == b"cdefghi"
    half.write(bytes(2 * JOINED) + b"end")
    half.take(2 * JOINED)
    half.write(b"!")
    assert bytes(half.take(BIG)) == b"end!"
    assert half.queued == 0


@pytest.mark.parametrize("size", [1, JOINED - 1, JOINED])
def test_pieces_are_joined_up_to_a_bound(size: int) -> None:
    half = sender_with(bytes(JOINED - size), bytes(size), b"x")
    assert bytes(half.take(BIG)) == bytes(JOINED)
    assert bytes(half.take(BIG)) == b"x"


@pytest.mark.parametrize("data", [b"abc", bytearray(b"abc"), memoryview(b"abc")])
def test_data_is_taken_from_where_it_lies(data: bytes | bytearray | memoryview) -> None:
    half = SendHalf()
    half.write(data)
    assert half.take(2).obj is (data.obj if isinstance(data, memoryview) else data)


def test_credit_bounds_what_is_taken() -> None:
    half = sender_with(bytes(INITIAL_CREDIT + 10))
    taken = 0
    while half.ready:
        taken += len(half.take(MAX_PAYLOAD))
    assert taken == INITIAL_CREDIT
    assert (half.queued, half.credit) == (10, 0)
    half.grant(4)
    assert half.ready
    assert len(half.take(MAX_PAYLOAD)) == 4
    assert not half.ready


def test_the_end_waits_for_what_is_queued_but_not_for_credit() -> None:
    half = sender_with(bytes(INITIAL_CREDIT), b"x")
    half.ending = True
    half.take(BIG)
    assert not half.ready  # one byte is left, and no credit for it
    half.grant(1)
    half.take(BIG)
    assert half.credit == 0
    assert half.ready
    half.ended = True
    assert not half.ready


@pytest.mark.parametrize("ending", [False, True])
def test_a_dropped_sender_sends_nothing_more(ending: bool) -> None:
    half = sender_with(b"abc")
    half.ending = ending
    half.drop()
    assert (half.queued, half.ready, half.ended) == (0, False, True)
    half.drop()
    half.grant(5)
    assert not half.ready


def test_credit_up_to_the_limit_and_not_beyond() -> None:
    half = SendHalf()
    half.grant(MAX_CREDIT - INITIAL_CREDIT)
    assert half.credit == MAX_CREDIT == 2**31 - 1
    for increment in (1, 2**32 - 1):
        with pytest.raises(RemoteProtocolError, match="credit"):
            half.grant(increment)
    half.write(b"x")
    half.take(1)
    half.grant(1)
    assert half.credit == MAX_CREDIT


def test_credit_of_nothing_is_an_error() -> None:
    half = SendHalf()
    with pytest.raises(RemoteProtocolError, match="credit"):
        half.grant(0)
    assert half.credit == INITIAL_CREDIT


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=50), max_size=10),
    limits=st.lists(st.integers(1, 60), min_size=1),
    grants=st.lists(st.integers(1, 30), min_size=1),
)
def test_never_more_than_granted_and_never_stuck(pieces: list[bytes], limits: list[int], grants: list[int]) -> None:
    half = sender_with(*pieces)
    half.credit = 0
    sent, granted, turn = b"", 0, 0
    while len(sent) < len(b"".join(pieces)):
        assert half.ready is (half.credit > 0)
        if not half.ready:
            half.grant(grants[turn % len(grants)])
            granted += grants[turn % len(grants)]
        data = half.take(limits[turn % len(limits)])
        assert 0 < len(data) <= limits[turn % len(limits)]
        sent += data
        turn += 1
        assert len(sent) <= granted
        assert half.credit == granted - len(sent)
        assert half.queued == len(b"".join(pieces)) - len(sent)
    assert sent == b"".join(pieces)
    assert not half.ready


# ---- receiving


def test_a_new_receiver_is_empty_and_open() -> None:
    half = ReceiveHalf(0.0)
    assert (half.buffered, half.ended, half.unwanted) == (0, False, False)
    assert half.open_credit == half.window == INITIAL_CREDIT
    assert read(half, 10) == b""
    assert half.credit_due(SLOW, ROUND_TRIP, Budget()) == 0


def test_frames_are_joined_and_one_alone_comes_without_a_copy() -> None:
    large, alone = bytes(MAX_PAYLOAD), b"alone"
    assert read(receiver_with(b"abc", large, b"def"), BIG) == b"abc" + large + b"def"
    assert receiver_with(alone).read_pieces(BIG)[0] is alone
    assert receiver_with(large).read_pieces(MAX_PAYLOAD)[0] is large


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 6, 7])
def test_a_reader_gets_at_most_its_limit(limit: int) -> None:
    half = receiver_with(b"abc", b"d", b"ef")
    first = read(half, limit)
    assert first == b"abcdef"[:limit]
    assert half.buffered == 6 - len(first)
    assert read_all(half, limit) == b"abcdef"[limit:]
    assert half.buffered == 0


def test_a_frame_is_cut_by_a_small_limit() -> None:
    half = receiver_with(b"x" * 5000 + b"end")
    assert read(half, 5000) == b"x" * 5000
    assert read(half, 5000) == b"end"


@given(payloads=st.lists(st.binary(min_size=1, max_size=40), max_size=12), limits=st.lists(st.integers(1, 70)))
def test_what_is_fed_is_read(payloads: list[bytes], limits: list[int]) -> None:
    half, data, fed = ReceiveHalf(0.0), b"", 0
    reads = iter(limits)
    for payload in payloads:
        half.feed(payload)
        fed += len(payload)
        limit = next(reads, 0)
        if limit:
            piece = read(half, limit)
            assert len(piece) == min(limit, fed - len(data))
            data += piece
        assert half.buffered == fed - len(data)
    assert data + read_all(half) == b"".join(payloads)
    assert half.buffered == 0


def test_data_up_to_the_credit_and_not_beyond() -> None:
    half = receiver_with(bytes(INITIAL_CREDIT - 1))
    with pytest.raises(RemoteProtocolError, match="beyond the credit"):
        half.feed(b"xy")
    half.feed(b"x")
    assert half.open_credit == 0
    with pytest.raises(RemoteProtocolError, match="beyond the credit"):
        half.feed(b"x")
    assert half.buffered == INITIAL_CREDIT


def test_reading_alone_gives_no_credit() -> None:
    """Only what `credit_due` has returned was granted to the peer."""
    half = receiver_with(bytes(INITIAL_CREDIT))
    read(half, BIG)
    with pytest.raises(RemoteProtocolError, match="beyond the credit"):
        half.feed(b"x")
    assert half.credit_due(SLOW, ROUND_TRIP, Budget()) == INITIAL_CREDIT
    half.feed(b"x")


def test_nothing_comes_after_the_end() -> None:
    half = receiver_with(b"last")
    half.end()
    with pytest.raises(RemoteProtocolError, match="DATA after END"):
        half.feed(b"x")
    with pytest.raises(RemoteProtocolError, match="END after END"):
        half.end()
    assert read(half, BIG) == b"last"


def test_credit_waits_for_half_of_the_window() -> None:
    half = receiver_with(bytes(INITIAL_CREDIT))
    read(half, INITIAL_CREDIT // 2 - 1)
    assert half.credit_due(SLOW, ROUND_TRIP, Budget()) == 0
    read(half, 1)
    assert half.credit_due(SLOW, ROUND_TRIP, Budget()) == INITIAL_CREDIT // 2
    assert half.credit_due(SLOW, ROUND_TRIP, Budget()) == 0
    assert half.open_credit == INITIAL_CREDIT // 2


def test_a_slow_reader_gives_back_what_it_read_and_keeps_its_window() -> None:
    half, now = ReceiveHalf(0.0), 0.0
    for _ in range(5):
        half.feed(bytes(INITIAL_CREDIT))
        read(half, BIG)
        now += 2 * ROUND_TRIP
        assert half.credit_due(now, ROUND_TRIP, Budget()) == INITIAL_CREDIT
        assert half.window == half.open_credit == INITIAL_CREDIT


def test_a_fast_reader_doubles_its_window_up_to_the_bound() -> None:
    half = ReceiveHalf(0.0)
    for doubling in range(1, 10):
        before = half.window
        half.feed(bytes(before // 2))
        read(half, BIG)
        increment = half.credit_due(doubling * 0.01, ROUND_TRIP, Budget())
        grown = before < MAX_WINDOW
        assert half.window == (before * 2 if grown else before)
        assert increment == before // 2 + (before if grown else 0)
        assert half.open_credit == half.window
    assert half.window == MAX_WINDOW == 16_777_216


def test_after_the_end_no_credit_is_given() -> None:
    half = receiver_with(bytes(INITIAL_CREDIT))
    read(half, BIG)
    half.end()
    assert half.credit_due(SLOW, ROUND_TRIP, Budget()) == 0


def test_a_dropped_receiver_gives_nothing_more() -> None:
    half = receiver_with(bytes(INITIAL_CREDIT))
    read(half, INITIAL_CREDIT - 1)
    half.drop()
    assert (half.buffered, half.ended) == (0, True)
    assert read(half, BIG) == b""
    assert half.credit_due(SLOW, ROUND_TRIP, Budget()) == 0


@given(st.lists(st.tuples(st.integers(1, MAX_PAYLOAD), st.integers(0, 200_000), st.floats(0, 1)), max_size=60))
def test_the_credits_of_both_halves_agree(steps: list[tuple[int, int, float]]) -> None:
    """A sender that sends what it may, and a receiver that reads as it likes: never an error, never more than a window."""
    sender, receiver, now = SendHalf(), ReceiveHalf(0.0), 0.0
    for size, limit, pause in steps:
        sender.write(bytes(size))
        while sender.ready:
            receiver.feed(bytes(sender.take(MAX_PAYLOAD)))
        assert receiver.buffered <= receiver.window <= MAX_WINDOW
        read(receiver, limit)
        now += pause
        if credit := receiver.credit_due(now, ROUND_TRIP, Budget()):
            sender.grant(credit)
        assert sender.credit == receiver.open_credit
    for _ in range(len(steps) + 1):
        while read(receiver, BIG):
            pass
        if credit := receiver.credit_due(now, ROUND_TRIP, Budget()):
            sender.grant(credit)
        while sender.ready:
            receiver.feed(bytes(sender.take(MAX_PAYLOAD)))
    assert sender.queued == 0


# ---- both


def new_stream() -> Stream:
    return Stream(3, Address("example.com", 443), 5.0)


def test_a_new_stream() -> None:
    stream = new_stream()
    assert (stream.id, stream.address, stream.accepted) == (3, Address("example.com", 443), False)
    assert not stream.closed
    assert stream.reset is None
    assert repr(stream) == "<Stream 3 opening, 0 to send, 0 to read>"


def test_closed_when_both_halves_have_ended() -> None:
    for sender_first in (True, False):
        stream = new_stream()
        halves: list[SendHalf | ReceiveHalf] = [stream.sender, stream.receiver]
        for half in halves if sender_first else reversed(halves):
            assert not stream.closed
            half.ended = True
        assert stream.closed


def test_a_sender_that_is_only_ending_keeps_the_stream_open() -> None:
    stream = new_stream()
    stream.receiver.end()
    stream.sender.ending = True
    assert not stream.closed


def test_a_reset_stream_has_nothing_left() -> None:
    stream = new_stream()
    stream.sender.write(b"not sent")
    stream.receiver.feed(b"not read")
    assert repr(stream) == "<Stream 3 opening, 8 to send, 8 to read>"
    stream.drop(Reset(Reason.REFUSED, "why"))
    assert stream.reset == Reset(Reason.REFUSED, "why")
    assert stream.closed
    assert not stream.sender.ready
    assert repr(stream) == "<Stream 3 reset, 0 to send, 0 to read>"
