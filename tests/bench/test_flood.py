from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import flood
import pytest
from datagrams import Flooded
from flood import Seen
from load import Times, Way
from target import serving

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def way() -> Iterator[Way]:
    with serving() as port:
        yield Way(0, "127.0.0.1", port)


def seen(times: list[float], flooded: Flooded | None = None) -> Seen:
    return Seen(Times(times), Times(time / 10 for time in times), flooded)


def test_connections_one_after_the_other(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flood, "PAUSE", 0.001)
    found = flood.watch(way, 0.1)
    assert len(found.connects) == len(found.echoes) > 0
    assert min(*found.connects, *found.echoes, 1.0) > 0


def test_there_is_one_at_least(way: Way) -> None:
    assert len(flood.watch(way, 0.0).echoes) == 1


def test_the_figures() -> None:
    """The median of the connects is too late, and so is the last of them."""
    found = seen([101.0] * 60 + [1001.0], Flooded(2.0, 1000, 10))
    figures = flood.figures_of(64, 60_000, found, "")
    assert [(figure.ours, figure.met) for figure in figures] == [
        (101.0, False),
        (1001.0, False),
        (10.1, True),
        (100.1, True),
        (pytest.approx(30.0), None),
        (pytest.approx(0.3), None),
    ]


def test_where_there_is_no_flood_nothing_is_said_of_it() -> None:
    assert len(flood.figures_of(0, 60_000, seen([1.0]), "")) == 4


def test_the_plot_has_both_for_each_flood() -> None:
    plot = flood.plot({0: seen([10.0]), 64: seen([30.0])})
    assert [(series.label, series.x, series.y) for series in plot.series] == [
        ("connect, median", ["0 floods", "64 floods"], [10.0, 30.0]),
        ("echo, median", ["0 floods", "64 floods"], [1.0, 3.0]),
    ]


def test_all_that_is_asked_for_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int, float, float]] = []

    def run(*words: int) -> Seen:
        asked.append(words)  # type: ignore[arg-type]
        return seen([1.0])

    monkeypatch.setattr(flood, "run", run)
    assert len(flood.measure(short=True).figures) == 4 * len(flood.SHORT_ASSOCIATIONS)
    flood.measure(associations=(3,), size=100, seconds=7)
    short = (flood.SIZE, flood.SHORT_WARM_UP, flood.SHORT_SECONDS)
    assert asked == [*((number, *short) for number in flood.SHORT_ASSOCIATIONS), (3, 100, flood.WARM_UP, 7)]


def test_a_command_repeats_its_figures() -> None:
    words = shlex.split(flood.command_for(64, 60_000, 3.0, short=False))
    assert words == ["python", "bench/flood.py", "--associations", "64", "--size", "60000", "--seconds", "3"]
    assert shlex.split(flood.command_for(64, 60_000, 3.0, short=True)) == [*words, "--short"]
