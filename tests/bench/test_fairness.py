from __future__ import annotations

import pytest
from fairness import Place, medians, plot, shares, sort_out
from figures import table


def test_arrivals_are_sorted_out_by_stream() -> None:
    own, others = sort_out([(1.0, 0, 10), (1.1, -1, 20), (1.2, 1, 30), (1.3, 0, 40)])
    assert (own.times, own.sizes) == ([1.1], [20])
    assert sorted((each.times, each.sizes) for each in others) == [([1.0, 1.3], [10, 40]), ([1.2], [30])]


def test_a_newcomer_is_plotted_from_its_first_byte_on() -> None:
    entries = sorted(
        [(number / 10, 0, 100) for number in range(40)] + [(number / 10, -1, 100) for number in range(20, 40)]
    )
    (series,) = plot(entries, 0.0).series
    assert series.x[0] == -2.0
    assert series.y[0] == 0.0
    assert series.y[-1] == pytest.approx(1.0)


class Loaded(Place):
    """Says what each stream got in place of a load."""

    def load(self, what: str, **options: str | float) -> object:
        return {"got": [1_000_000] * int(options["streams"]), "seconds": 4.0}


def test_shares_are_told_beside_their_goals() -> None:
    place = Loaded("lab", (), 0, "", 0, short=True)
    together, least, most = shares(place, 10, "down")
    assert (together.ours, least.ours, most.ours) == (20.0, 1.0, 1.0)
    assert least.met
    assert most.met
    assert "10 downloads" in table([least])


def test_a_command_repeats_its_place() -> None:
    assert Place("loopback", (), 0, "", 0, short=False).command == "python bench/fairness.py --only loopback"
    shortly = Place("lab", (), 0, "", 0, short=True, congestion="reno")
    assert shortly.command == "python bench/fairness.py --only lab --short --congestion reno"


def test_one_stream_has_nobody_to_share_with() -> None:
    assert [figure.unit for figure in shares(Loaded("lab", (), 0, "", 0, short=True), 1, "up")] == ["Mbit/s"]


def test_medians_are_of_each_key() -> None:
    assert medians([{"a": 1, "b": 9}, {"a": 3, "b": 7}, {"a": 2, "b": 8}]) == {"a": 2, "b": 8}
