from __future__ import annotations

import dataclasses
import math
import shlex

import latency
import pytest
from latency import CASES, DIRECT, OURS, seconds_until
from load import Watched


def watched(mbits: list[float], *, beside: float = 0.0, trip: float = 100.0, every: float = 0.25) -> Watched:
    """One sample each quarter of a second: the rate until then."""
    moved, trips = [0], [[0.0, trip]]
    for number, mbit in enumerate(mbits, 1):
        moved.append(moved[-1] + round(mbit * every * 1e6 / 8))
        trips.append([number * every, trip])
    others = [round(number * every * beside * 1e6 / 8) for number in range(len(moved))]
    return Watched(1000.0, 0.0, trips, [[each] for each in moved], others)


def test_a_raised_rate_is_found_when_half_a_second_had_it() -> None:
    seen = watched([2.0] * 8 + [10.0] * 4 + [19.0] * 8)
    # From 2 s on: a second at 10 Mbit/s, then the first three samples that are more than half a second.
    assert seconds_until(seen, 1002.0, 18.0) == 1.75


def test_what_came_before_the_rate_was_raised_does_not_count() -> None:
    assert seconds_until(watched([20.0] * 8 + [2.0] * 8), 1002.0, 18.0) == math.inf


def test_a_rate_that_is_not_reached_is_never_found() -> None:
    assert seconds_until(watched([17.0] * 20), 1000.0, 18.0) == math.inf
    assert seconds_until(watched([19.0] * 20), 2000.0, 18.0) == math.inf


def test_the_figures_of_a_case() -> None:
    seen = {OURS: [watched([19.0] * 8, trip=120.0)], DIRECT: [watched([10.0] * 8, trip=300.0)]}
    figures = latency.figures_of("download", CASES["download"], seen, "")
    assert [(figure.ours, figure.others[DIRECT], figure.met) for figure in figures] == [
        (120.0, 300.0, True),
        (120.0, 300.0, True),
        (pytest.approx(19.0), pytest.approx(10.0), True),
    ]


def test_what_is_measured_twice_counts_with_its_mean() -> None:
    seen = {DIRECT: [watched([8.0] * 8), watched([12.0] * 8)], OURS: [watched([7.9] * 8)]}
    (figure,) = latency.figures_of("1 % loss", CASES["1 % loss"], seen, "")
    assert figure.others == {DIRECT: pytest.approx(10.0)}
    assert figure.met is False


@pytest.mark.parametrize("name", latency.SHARED)
@pytest.mark.parametrize(("ours", "met"), [(5.9, True), (4.9, False), (19.0, True), (21.0, False)])
def test_a_share_is_between_half_and_twice_of_the_other(ours: float, met: bool, name: str) -> None:
    seen = {OURS: [watched([ours] * 8, beside=10.0)]}
    *_, figure = latency.figures_of(name, CASES[name], seen, "")
    assert figure.met is met


def test_the_plot_is_of_every_round_trip_also_of_the_quiet_ones() -> None:
    seen = dataclasses.replace(watched([0.0] * 4 + [20.0] * 4), counted=1.5)
    plot = latency.plot({OURS: [seen], DIRECT: [seen]}, 1)
    assert plot.name == "latency"
    assert [(series.label, len(series.x), len(series.y)) for series in plot.series] == [(OURS, 9, 9), (DIRECT, 9, 9)]


@pytest.mark.parametrize("name", list(latency.MEASURES))
def test_a_command_repeats_its_case(name: str) -> None:
    _, program, only, case, *_ = shlex.split(latency.command_for(name, "reno", short=True))
    assert (program, only, case) == ("bench/latency.py", "--only", name)
