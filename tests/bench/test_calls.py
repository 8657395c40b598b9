from __future__ import annotations

import math
import shlex

import calls
import pytest
from calls import CASES, Direction, Seen

from tests.e2e.apps.call import Heard


def heard(delays: list[float]) -> Heard:
    return Heard(list(range(len(delays))), delays)


def test_the_figures() -> None:
    """Ten packets of 1000 are lost in one direction, and eleven are late in the other."""
    idle = heard([0.05, 0.05, 0.9])
    down = Direction(idle, heard([0.06] * 990), 1000)
    up = Direction(idle, heard([0.06] * 989 + [0.2] * 11), 1000)
    figures = calls.figures_of("download", Seen(down, up, 19.0), "")
    assert [(figure.ours, figure.met) for figure in figures] == [
        (pytest.approx(1.0), True),
        (pytest.approx(50.0), None),
        (pytest.approx(10.0), True),
        (0.0, True),
        (pytest.approx(50.0), None),
        (pytest.approx(150.0), False),
        (19.0, None),
    ]


def test_a_packet_that_came_twice_takes_the_place_of_none() -> None:
    assert Direction(heard([]), Heard([0, 0, 1, 1], [0.05] * 4), 4).loss == 50


def test_where_nothing_came_delays_are_infinite() -> None:
    nothing = Direction(heard([]), heard([]), 10)
    assert (nothing.loss, nothing.idle_delay, nothing.p99) == (100, math.inf, math.inf)


def test_the_plot_is_of_every_packet() -> None:
    direction = Direction(heard([0.05] * 3), Heard([0, 2], [0.05, 0.06]), 3)
    plot = calls.plot(Seen(direction, direction, 19.0))
    assert [(series.x, series.y) for series in plot.series] == [
        ([0.0, 0.04], [50.0, 60.0]),
        ([0.0, 0.02, 0.04], [50.0, 50.0, 50.0]),
    ]


@pytest.mark.parametrize("name", list(CASES))
def test_a_command_repeats_its_case(name: str) -> None:
    _, program, only, case, *_ = shlex.split(calls.command_for(name, "reno", short=True, seconds=0))
    assert (program, only, case) == ("bench/calls.py", "--only", name)
