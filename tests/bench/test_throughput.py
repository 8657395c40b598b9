from __future__ import annotations

import throughput
from contest import OURS, YAMUX

FOUND = {
    OURS: dict.fromkeys(throughput.TRANSFERS, 300.0)
    | {f"{name} CPU": 2.0 for name in throughput.TRANSFERS}
    | {"half_close": 1.0},
    YAMUX: dict.fromkeys(throughput.TRANSFERS, 240.0)
    | {f"{name} CPU": 2.0 for name in throughput.TRANSFERS}
    | {"half_close": 0.0},
}


def test_each_rate_has_its_goal_and_its_cost() -> None:
    found = throughput.result(FOUND, "the command")
    met = {figure.name: figure.met for figure in found.figures}
    assert met == {
        "down_1": False,
        "down_8": True,
        "up_1": False,
        "up_8": True,
        "down_1 CPU": True,
        "down_8 CPU": True,
        "up_1 CPU": True,
        "up_8 CPU": True,
        "half_close": True,
    }
    assert {figure.command for figure in found.figures} == {"the command"}


def test_the_plot_has_bars_for_both() -> None:
    (plot,) = throughput.result(FOUND, "").plots
    assert plot.name == "throughput"
    assert [(series.label, series.y) for series in plot.series] == [(OURS, [300.0] * 4), (YAMUX, [240.0] * 4)]


def test_half_close_that_does_not_work_misses_its_goal() -> None:
    swapped = {OURS: FOUND[YAMUX], YAMUX: FOUND[OURS]}
    assert throughput.result(swapped, "").figures[-1].met is False
