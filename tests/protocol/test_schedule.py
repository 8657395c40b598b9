"""Turns: little before bulk, bulk round robin, nobody twice and nobody forgotten."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.address import Address
from proxy.errors import Reason
from proxy.protocol.schedule import HALF_LIFE, LITTLE, Schedule
from proxy.protocol.stream import MAX_CREDIT, Reset, Stream

NOW = 50.0
TURN = 65_536
PLENTY = 10_000_000
QUEUE = memoryview(bytearray(PLENTY))


def stream_with(queued: int, stream_id: int = 1, recent: float = 0.0) -> Stream:
    """One that may send all that it has; `recent` bytes of others went before it."""
    stream = Stream(stream_id, Address("example.com", 443), NOW)
    stream.sender.credit = MAX_CREDIT
    stream.recent = recent
    if queued:
        stream.sender.write(QUEUE[:queued])
    return stream


def bulk(stream_id: int) -> Stream:
    return stream_with(PLENTY, stream_id, recent=PLENTY)


def scheduled(*streams: Stream) -> Schedule:
    schedule = Schedule()
    for stream in streams:
        schedule.add(stream, NOW)
    return schedule


def pop(schedule: Schedule, turn: int = TURN) -> Stream | None:
    return schedule.pop(turn, bulk=True)


def send(schedule: Schedule, limit: int = TURN, now: float = NOW) -> tuple[int, int] | None:
    """The next turn, as the outbox takes it: which stream, and how much it sent."""
    stream = pop(schedule)
    if stream is None:
        return None
    size = len(stream.sender.take(min(limit, stream.turn)))
    schedule.sent(stream, size, now)
    return stream.id, size


def test_empty() -> None:
    schedule = Schedule()
    assert not schedule
    assert pop(schedule) is None


def test_only_what_is_ready_stands_here() -> None:
    idle = stream_with(0)
    no_credit = stream_with(10)
    no_credit.sender.credit = 0
    schedule = scheduled(idle, no_credit)
    assert not schedule
    no_credit.sender.grant(1)
    schedule.add(no_credit, NOW)
    assert schedule
    assert pop(schedule) is no_credit


def test_a_stream_that_ends_without_data_has_its_turn() -> None:
    stream = stream_with(0)
    stream.sender.ending = True
    schedule = scheduled(stream)
    assert pop(schedule) is stream
    stream.sender.ended = True
    schedule.sent(stream, 0, NOW)
    assert not schedule
    assert not stream.scheduled


def test_each_stands_here_once() -> None:
    stream = stream_with(10)
    schedule = scheduled(stream, stream, stream)
    assert pop(schedule) is stream
    assert pop(schedule) is None


def test_a_popped_stream_stands_here_no_more_and_can_come_back() -> None:
    stream = stream_with(10)
    schedule = scheduled(stream)
    pop(schedule)
    assert not schedule
    schedule.add(stream, NOW)
    assert pop(schedule) is stream


def test_a_stream_that_was_reset_is_passed_over() -> None:
    gone, other = stream_with(10, 1), stream_with(10, 2)
    schedule = scheduled(gone, other)
    gone.drop(Reset(Reason.CANCELLED, ""))
    assert pop(schedule) is other
    assert pop(schedule) is None
    assert not gone.scheduled


def test_one_that_has_sent_little_goes_before_bulk() -> None:
    schedule = scheduled(bulk(1), bulk(2), stream_with(100, 3), stream_with(100, 4, recent=LITTLE - 1))
    assert [send(schedule) for _ in range(4)] == [(3, 100), (4, 100), (1, TURN), (2, TURN)]


def test_little_ends_at_its_bound() -> None:
    schedule = scheduled(bulk(1), stream_with(100, 2, recent=LITTLE))
    assert [send(schedule) for _ in range(2)] == [(1, TURN), (2, 100)]


def test_little_streams_are_served_in_the_order_in_which_they_came() -> None:
    schedule = scheduled(*[stream_with(10, number) for number in (5, 3, 9)])
    assert [send(schedule) for _ in range(3)] == [(5, 10), (3, 10), (9, 10)]


def test_a_new_stream_with_much_to_say_becomes_bulk_after_its_turn() -> None:
    schedule = scheduled(stream_with(PLENTY, 1), stream_with(100, 2))
    assert send(schedule) == (1, TURN)
    schedule.add(stream_with(50, 3), NOW)
    assert [send(schedule) for _ in range(3)] == [(2, 100), (3, 50), (1, TURN)]


def test_bulk_goes_round_robin() -> None:
    schedule = scheduled(bulk(1), bulk(2), bulk(3))
    assert [send(schedule) for _ in range(7)] == [(number, TURN) for number in (1, 2, 3, 1, 2, 3, 1)]


def test_a_turn_that_was_cut_short_goes_on() -> None:
    schedule = scheduled(bulk(1), bulk(2))
    part = TURN // 4
    assert [send(schedule, part) for _ in range(9)] == [(1, part)] * 4 + [(2, part)] * 4 + [(1, part)]
    assert send(schedule) == (1, TURN - part)
    assert send(schedule) == (2, TURN)


def test_a_turn_is_as_long_as_the_caller_says_when_it_begins() -> None:
    stream = bulk(1)
    schedule = scheduled(stream)
    assert pop(schedule, 1000) is stream
    assert stream.turn == 1000
    schedule.sent(stream, 400, NOW)
    assert pop(schedule, 5000) is stream
    assert stream.turn == 600
    schedule.sent(stream, 600, NOW)
    assert pop(schedule, 5000) is stream
    assert stream.turn == 5000


def test_a_cut_turn_lets_a_message_through() -> None:
    schedule = scheduled(bulk(1), bulk(2))
    send(schedule, 1000)
    schedule.add(stream_with(64, 3), NOW)
    assert [send(schedule) for _ in range(3)] == [(3, 64), (1, TURN - 1000), (2, TURN)]


def test_a_turn_ends_when_nothing_is_left_to_send() -> None:
    stream = stream_with(100, 1)
    schedule = scheduled(stream)
    send(schedule)
    assert not schedule
    stream.sender.write(QUEUE[: TURN * 2])
    schedule.add(stream, NOW)
    assert send(schedule) == (1, TURN)


def test_who_lacks_credit_in_the_middle_of_a_turn_has_the_rest_when_it_comes() -> None:
    narrow, other = bulk(1), bulk(2)
    narrow.sender.credit = TURN // 4
    schedule = scheduled(narrow, other)
    assert send(schedule) == (1, TURN // 4)
    assert send(schedule) == (2, TURN)
    narrow.sender.grant(TURN)
    schedule.add(narrow, NOW)
    assert send(schedule) == (1, TURN - TURN // 4)
    assert send(schedule) == (2, TURN)
    assert send(schedule) == (1, TURN // 4)


def test_the_rest_of_a_turn_is_no_longer_than_what_a_turn_has_become() -> None:
    narrow = bulk(1)
    narrow.sender.credit = 1
    schedule = scheduled(narrow, bulk(2))
    assert send(schedule) == (1, 1)
    narrow.sender.grant(TURN)
    schedule.add(narrow, NOW)
    stream = pop(schedule, 1000)
    assert stream is narrow
    assert stream.turn == 1000


def test_who_had_no_more_to_send_has_no_rest_of_its_turn() -> None:
    stream = stream_with(1000, 1, recent=PLENTY)
    schedule = scheduled(stream, bulk(2))
    assert send(schedule) == (1, 1000)
    stream.sender.write(QUEUE[:1000])
    schedule.add(stream, NOW)
    assert send(schedule) == (2, TURN)


def test_what_was_sent_is_half_forgotten_after_the_half_life() -> None:
    stream = stream_with(10, recent=LITTLE * 2)
    scheduled(stream)
    assert stream.recent == LITTLE * 2
    for lives, row in ((0.9, [2, 1]), (1.1, [1, 2])):
        stream = stream_with(10, 1, recent=LITTLE * 2)
        schedule = scheduled(bulk(2))
        schedule.add(stream, NOW + lives * HALF_LIFE)
        turns = [send(schedule) for _ in range(2)]
        assert [turn[0] for turn in turns if turn] == row
        assert stream.recent == pytest.approx(LITTLE * 2 * 0.5**lives + 10)


@given(
    sizes=st.lists(st.integers(1, 4 * TURN), min_size=1, max_size=6),
    limits=st.lists(st.integers(500, TURN), min_size=1),
)
def test_everything_is_sent(sizes: list[int], limits: list[int]) -> None:
    schedule = scheduled(*[stream_with(size, number) for number, size in enumerate(sizes)])
    sent: Counter[int] = Counter()
    turns = 0
    while turn := send(schedule, limits[turns % len(limits)]):
        sent[turn[0]] += turn[1]
        turns += 1
    assert [sent[number] for number in range(len(sizes))] == sizes


@given(limits=st.lists(st.integers(1, TURN), min_size=20, max_size=120), count=st.integers(2, 5))
def test_bulk_streams_get_the_same_whatever_the_carrier_takes(limits: list[int], count: int) -> None:
    schedule = scheduled(*[bulk(number) for number in range(count)])
    sent = Counter(dict.fromkeys(range(count), 0))
    for limit in limits:
        turn = send(schedule, limit)
        assert turn is not None
        sent[turn[0]] += turn[1]
        assert max(sent.values()) - min(sent.values()) <= TURN


def test_a_hundred_on_a_slow_carrier_get_the_same() -> None:
    """Each sends less in a second than what counts as little."""
    schedule, now, got = scheduled(*(stream_with(PLENTY, number) for number in range(1, 101))), NOW, Counter[int]()
    while now < NOW + 30:
        sent = send(schedule, 16_384, now)
        assert sent is not None
        got[sent[0]] += sent[1]
        now += sent[1] / 2.5e6
    assert max(got.values()) - min(got.values()) <= TURN


def test_bulk_waits_where_it_may_not_go_and_little_does_not() -> None:
    bulk, little = stream_with(10 * LITTLE), stream_with(100)
    schedule = scheduled(bulk)
    while schedule.has_little:
        send(schedule, LITTLE)
    assert schedule.has_bulk
    assert schedule.pop(TURN, bulk=False) is None
    schedule.add(little, NOW)
    assert schedule.has_little
    assert schedule.pop(TURN, bulk=False) is little
    assert schedule.pop(TURN, bulk=False) is None
    assert schedule.pop(TURN, bulk=True) is bulk
    assert not schedule
