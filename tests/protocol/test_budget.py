"""The budget on its own: what each may have of what is free, and where that ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.protocol.budget import (
    ASKED,
    LARGEST,
    LEAST,
    LEAST_BATCH,
    LIMIT,
    OPEN,
    PROGRAM,
    SMALL,
    STREAM,
    Budget,
    limit_of,
)
from proxy.protocol.frame import MAX_PAYLOAD


def test_the_limit_leaves_room_for_the_program_and_the_heap() -> None:
    assert limit_of(256_000_000) == LIMIT
    assert 100_000_000 < LIMIT < 256_000_000 - PROGRAM
    assert limit_of(128_000_000) > 20_000_000


def test_a_new_budget_gives_as_much_as_is_of_use() -> None:
    budget = Budget()
    assert (budget.held, budget.promised, budget.free) == (0, 0, LIMIT)
    assert budget.appetite == LARGEST
    assert (budget.short, budget.spent, budget.crowded) == (False, False, False)


@given(held=st.integers(0, 2 * LIMIT), streams=st.integers(0, 9000))
def test_however_little_is_free_each_may_have_a_little(held: int, streams: int) -> None:
    budget = Budget()
    for _ in range(streams % 100):
        budget.stream_opened()
    budget.held = held
    assert LEAST <= budget.appetite <= LARGEST
    assert budget.batch >= LEAST_BATCH
    assert budget.low_water >= SMALL // 4


@pytest.mark.parametrize(("streams", "frames"), [(1, 8), (51, 8), (52, 7), (100, 4), (400, 1)])
def test_a_turn_is_whole_frames_where_it_is_more_than_one(streams: int, frames: int) -> None:
    """Or each turn of many downloads would end with a splinter."""
    budget = Budget()
    for _ in range(streams):
        budget.stream_opened()
    assert budget.appetite == frames * MAX_PAYLOAD
    budget.held = LIMIT - 128 * (MAX_PAYLOAD - 1)
    assert budget.appetite == MAX_PAYLOAD - 1


@pytest.mark.parametrize("queues", [1, 10, 100, 1000, 5000])
def test_queues_that_take_what_they_may_end_up_with_the_same_and_leave_something(queues: int) -> None:
    """As much as the appetite is asked for again and again, and nothing is given back."""
    budget = Budget()
    for _ in range(queues):
        budget.stream_opened()
    sizes = [0] * queues
    for _ in range(50):
        for number in range(queues):
            more = min(budget.appetite - sizes[number], 1024)
            if more > 0:
                sizes[number] += more
                budget.held += more
    assert max(sizes) - min(sizes) <= 1024
    assert budget.free > 0
    assert not budget.spent


def test_all_streams_may_answer_at_once() -> None:
    budget = Budget()
    while not budget.crowded:
        budget.stream_opened()
    assert budget.streams * STREAM <= OPEN * LIMIT < (budget.streams + 1) * STREAM
    assert budget.streams * budget.share <= ASKED * LIMIT + budget.streams * SMALL
    assert budget.held + budget.streams * SMALL <= LIMIT


def test_closing_gives_back_what_opening_took() -> None:
    budget = Budget()
    for _ in range(1000):
        budget.stream_opened()
        budget.session_begun()
    assert (budget.held, budget.batch) == (1000 * STREAM, LEAST_BATCH)
    assert budget.share < LARGEST
    for _ in range(1000):
        budget.stream_closed()
        budget.session_ended()
    assert (budget.held, budget.streams, budget.sessions, budget.share) == (0, 0, 0, LARGEST)


def test_short_then_spent_then_relief() -> None:
    budget = Budget(1600)
    states = []
    for held in (1400, 1401, 1500, 1501, 1600, 1601):
        budget.held = held
        states.append((budget.relief, budget.short, budget.spent))
    assert states == [
        (True, False, False),
        (False, False, False),
        (False, False, False),
        (False, True, False),
        (False, True, False),
        (False, True, True),
    ]


def test_another_limit_holds_at_once() -> None:
    budget = Budget(100_000_000)
    budget.held = 60_000_000
    budget.change(50_000_000)
    assert budget.spent
    assert budget.appetite == LEAST
    budget.change(100_000_000)
    assert not budget.short


def test_windows_that_were_promised_leave_less_to_grow() -> None:
    budget = Budget(4000)
    budget.promised, budget.held = 1000, 2000
    assert (budget.growth, budget.window) == (250, 500)


def test_repr_shows_the_state() -> None:
    assert repr(Budget(1000)) == "<Budget 0 of 1000 bytes, 0 streams, 0 sessions>"
