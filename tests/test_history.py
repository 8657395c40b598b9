"""The last hour in steps."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.history import STEP, STEPS, History


def test_rates_and_the_median_of_each_step() -> None:
    history = History(100.0)
    history.note(105.0, 50, 5000, [0.3, 0.1, 0.2])
    history.note(110.0, 50, 6000, [])
    history.note(115.0, 50, 6000, [0.4, 0.2])
    plot = history.plot()
    assert plot.end == 115.0
    assert plot.up == (10.0, 0.0, 0.0)
    assert plot.down == (1000.0, 200.0, 0.0)
    assert plot.round_trips[0] == pytest.approx(0.2)
    assert math.isnan(plot.round_trips[1])
    assert plot.round_trips[2] == pytest.approx(0.3)


def test_an_hour_is_kept() -> None:
    history = History(0.0)
    for step in range(1, STEPS + 11):
        history.note(step * STEP, 0, step * step, [])
    plot = history.plot()
    assert len(plot.up) == len(plot.down) == len(plot.round_trips) == STEPS
    assert plot.down[0] == pytest.approx((11**2 - 10**2) / STEP)
    assert plot.down[-1] == pytest.approx((730**2 - 729**2) / STEP)


def test_a_step_that_was_slept_through_fills_its_time() -> None:
    history = History(0.0)
    history.note(50.0, 0, 5000, [0.1])
    assert history.plot().down == (100.0,) * 10
    history.note(1e6, 0, 5000, [])
    assert history.plot().down == (0.0,) * STEPS


def test_the_rate_of_now() -> None:
    history = History(0.0)
    history.note(5.0, 0, 0, [])
    assert history.rate(7.0, 20, 2000) == (10.0 * 20 / 70, 2000 / 7.0)  # since the start, as nobody asked before
    assert history.rate(7.5, 1000, 100_000) == (10.0 * 20 / 70, 2000 / 7.0)  # too soon
    assert history.rate(9.0, 20, 4000) == (0.0, 1000.0)
    history.note(15.0, 20, 4000, [])
    history.note(20.0, 20, 4000, [])
    assert history.rate(22.0, 20, 4500) == (0.0, 250.0)  # since the last step


@given(st.lists(st.tuples(st.floats(0, 1e5), st.integers(0, 10**12)), max_size=30))
def test_whatever_comes_memory_and_numbers_stay_sane(steps: list[tuple[float, int]]) -> None:
    history, now, total = History(0.0), 0.0, 0
    for seconds, size in steps:
        now, total = now + seconds, total + size
        history.note(now, total, 0, [])
        assert min(history.rate(now, total, 0)) >= 0
    plot = history.plot()
    assert len(plot.up) <= STEPS
    assert all(math.isfinite(rate) and rate >= 0 for rate in plot.up)
