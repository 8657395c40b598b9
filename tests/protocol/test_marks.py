"""Marks behind datagrams: what a PONG or an ACK says has arrived."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.protocol.marks import LEAST_UNMARKED, MOST_FLYING, MOST_MARKS, MOST_UNMARKED, Marks


def marked(*steps: tuple[int, int]) -> Marks:
    """A mark behind each so many bytes of datagrams, at an offset of reliable bytes."""
    marks = Marks()
    for size, offset in steps:
        marks.unmarked += size
        marks.place(offset)
    return marks


def test_without_datagrams_a_position_is_an_offset() -> None:
    marks = Marks()
    assert marks.acknowledged(77) == 77
    assert marks.answered(0) is None
    assert marks.waiting == 0


def test_a_pong_says_that_everything_before_its_ping_has_arrived() -> None:
    marks = marked((100, 10), (200, 15))
    assert (marks.number, marks.sent, marks.unmarked, marks.waiting) == (2, 300, 0, 300)
    assert marks.answered(1) == 110
    assert marks.waiting == 200
    assert marks.answered(2) == 315
    assert marks.waiting == 0


def test_a_pong_answers_the_marks_before_it() -> None:
    assert marked((100, 10), (200, 15)).answered(2) == 315


@pytest.mark.parametrize("number", [0, 3, 2**64 - 1])
def test_numbers_that_were_never_given_say_nothing(number: int) -> None:
    marks = marked((100, 10), (200, 15))
    assert marks.answered(number) is None
    assert marks.waiting == 300


def test_a_pong_is_news_once() -> None:
    marks = marked((100, 10))
    assert marks.answered(1) == 110
    assert marks.answered(1) is None


def test_an_ack_says_so_of_what_was_sent_before_a_byte_of_it() -> None:
    marks = marked((100, 10), (200, 15))
    assert marks.acknowledged(10) == 10  # everything before the mark, and maybe not the mark
    assert marks.acknowledged(11) == 111
    assert marks.acknowledged(15) == 115
    assert marks.acknowledged(99) == 399
    assert marks.answered(2) is None


def test_there_are_never_more_than_a_few_and_the_last_one_counts_for_all() -> None:
    marks = marked(*((1, offset) for offset in range(MOST_MARKS * 2)))
    assert marks.waiting == MOST_MARKS * 2
    assert marks.answered(marks.number) == marks.sent + MOST_MARKS * 2 - 1
    assert marks.waiting == 0


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 50)), max_size=20), st.data())
def test_positions_never_go_beyond_what_was_sent(steps: list[tuple[int, int]], data: st.DataObject) -> None:
    marks, offset = Marks(), 0
    for size, more in steps:
        marks.unmarked += size
        offset += more
        marks.place(offset)
        for number in data.draw(st.lists(st.integers(0, 25), max_size=3)):
            position = marks.answered(number)
            assert position is None or 0 < position <= offset + marks.sent
        acked = data.draw(st.integers(0, offset))
        assert acked <= marks.acknowledged(acked) <= offset + marks.sent
        assert 0 <= marks.waiting <= marks.sent


@pytest.mark.parametrize(
    ("cap", "due"),
    [(math.inf, MOST_UNMARKED), (10 * 8 * MOST_UNMARKED, MOST_UNMARKED), (80_000, 10_000), (0, LEAST_UNMARKED)],
)
def test_when_a_mark_is_due(cap: float, due: int) -> None:
    marks = Marks()
    marks.unmarked = due - 1
    assert not marks.due(cap)
    marks.unmarked = due
    assert marks.due(cap)
    marks.place(5)
    assert not marks.due(cap)


def test_a_peer_that_answers_no_mark_gets_no_more_than_so_much() -> None:
    marks = marked((MOST_FLYING - 1, 0))
    assert not marks.full
    marks.unmarked = 1
    marks.place(0)
    assert marks.full
    marks.answered(1)
    assert not marks.full
