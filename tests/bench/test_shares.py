from __future__ import annotations

import pytest
from shares import Arrivals, least_and_most, share_within, time_to_share


def steady(size: int, *, first: float = 0.0, last: float = 10.0, every: float = 0.1) -> Arrivals:
    times = [first + number * every for number in range(round((last - first) / every) + 1)]
    return Arrivals(times, [size] * len(times))


def test_least_and_most_are_told_of_the_mean() -> None:
    assert least_and_most([50, 100, 150]) == (0.5, 1.5)


def test_nothing_that_came_is_no_share() -> None:
    assert least_and_most([0, 0]) == (0.0, 0.0)
    assert share_within(Arrivals([], []), [steady(100)], 20, 30) == 0.0


def test_what_came_within_a_time_leaves_its_end_out() -> None:
    arrivals = Arrivals([1.0, 2.0, 3.0], [1, 10, 100])
    assert arrivals.within(1.0, 3.0) == 11
    assert arrivals.within(1.5, 3.5) == 110
    assert arrivals.within(4.0, 5.0) == 0


def test_an_equal_share_is_one() -> None:
    assert share_within(steady(100), [steady(100)] * 9, 1.05, 5.05) == pytest.approx(1.0)
    assert share_within(steady(50), [steady(100)], 1.05, 5.05) == pytest.approx(2 / 3)


def test_a_newcomer_that_has_its_share_at_once() -> None:
    assert time_to_share(steady(100, first=5.0), [steady(100)] * 9, 0.2) == 0.0


def test_a_newcomer_that_grows() -> None:
    slow, fast = steady(10, first=5.0, last=5.9), steady(100, first=6.0)
    newcomer = Arrivals(slow.times + fast.times, slow.sizes + fast.sizes)
    assert time_to_share(newcomer, [steady(100)] * 9, 0.2) == pytest.approx(1.0, abs=0.11)


def test_a_newcomer_that_never_gets_its_share() -> None:
    assert time_to_share(steady(10, first=5.0), [steady(100)] * 9, 0.2) is None
    assert time_to_share(Arrivals([], []), [steady(100)], 0.2) is None


def test_a_window_that_is_cut_short_by_the_end_says_nothing() -> None:
    """Else the one byte that comes last, alone, would be a share."""
    assert time_to_share(Arrivals([9.95], [100]), [steady(100)] * 9, 0.2) is None
