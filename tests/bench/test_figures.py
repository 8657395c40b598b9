from __future__ import annotations

import json
import math

import pytest
from figures import Figure, Goal, Plot, Result, Series, as_json, markdown, show, table


def figure(ours: float = 3.0, *, goal: Goal | None = None, **others: float) -> Figure:
    return Figure("rate", "MB/s", ours, "python bench/rate.py", others, goal)


def test_a_ratio_is_ours_to_theirs() -> None:
    assert figure(3.0, yamux=2.0, direct=4.0).ratios == {"yamux": 1.5, "direct": 0.75}


def test_nothing_and_never_have_no_ratio() -> None:
    assert figure(3.0, stopped=0.0, never=math.inf).ratios == {}
    assert figure(math.inf, direct=4.0).ratios == {}


@pytest.mark.parametrize(
    ("goal", "met"),
    [
        (Goal(least=3), True),
        (Goal(least=3.1), False),
        (Goal(most=3), True),
        (Goal(most=2.9), False),
        (Goal(least=2, most=4), True),
        (Goal(least=1.5, of="yamux"), True),
        (Goal(least=1.6, of="yamux"), False),
        (Goal(most=1.4, of="yamux"), False),
        (Goal(least=1, of="absent"), None),
        (None, None),
    ],
)
def test_a_goal_is_met_by_the_figure_or_by_its_ratio(goal: Goal | None, met: bool | None) -> None:
    assert figure(3.0, yamux=2.0, goal=goal).met is met


def test_what_never_came_misses_its_goal() -> None:
    never = figure(math.inf, goal=Goal(most=3))
    assert never.met is False
    assert "never" in table([never])


@pytest.mark.parametrize(
    ("ours", "theirs", "goal", "met"),
    [
        (12.0, 0.0, Goal(0.5, 2, "yamux"), False),  # it left nothing to the other
        (12.0, 0.0, Goal(least=0.8, of="yamux"), True),
        (0.0, 0.0, Goal(least=0.8, of="yamux"), False),
        (math.inf, 4.0, Goal(most=1.1, of="yamux"), False),
        (4.0, math.inf, Goal(most=1.1, of="yamux"), True),
        (math.inf, math.inf, Goal(most=1.1, of="yamux"), False),
        (0.5996, 1.0, Goal(least=0.6, of="yamux"), False),  # though it is shown as 0.6
    ],
)
def test_nothing_never_and_nearly_beside_another(ours: float, theirs: float, goal: Goal, met: bool) -> None:
    assert figure(ours, yamux=theirs, goal=goal).met is met


@pytest.mark.parametrize(
    ("goal", "words"),
    [
        (Goal(least=1.5, of="yamux"), ">= 1.5 of yamux"),
        (Goal(most=100), "<= 100"),
        (Goal(0.5, 2, "x"), ">= 0.5 <= 2 of x"),
    ],
)
def test_a_goal_in_words(goal: Goal, words: str) -> None:
    assert str(goal) == words


def test_the_table_has_a_line_for_each_figure() -> None:
    lines = table([figure(goal=Goal(least=2)), figure(1.0, yamux=2.0, goal=Goal(least=2))]).splitlines()
    assert lines[0].split() == ["ours", "unit", "others", "(ratio)", "goal"]
    assert lines[1].split() == ["rate", "3", "MB/s", ">=", "2", "met"]
    assert lines[2].split() == ["rate", "1", "MB/s", "yamux", "2", "(0.50)", ">=", "2", "MISSED"]


def test_another_that_reached_nothing_is_shown_without_a_ratio() -> None:
    assert table([figure(1.0, yamux=0.0)]).splitlines()[1].split() == ["rate", "1", "MB/s", "yamux", "0"]


def test_markdown_has_the_commands_and_as_many_cells_in_each_line() -> None:
    heading, rule, row = markdown([figure(yamux=2.0, goal=Goal(least=1.5, of="yamux"))]).splitlines()
    assert row == "| rate | 3 | MB/s | yamux 2 (1.50) | >= 1.5 of yamux | met | `python bench/rate.py` |"
    assert heading.count("|") == rule.count("|") == row.count("|")


def test_json_is_one_line_and_has_ratios_goals_and_plots() -> None:
    plot = Plot("rates", "Rates", "s", "MB/s", [Series("ours", [0, 1], [1.0, 2.0])])
    line = as_json(Result("Rates", [figure(yamux=2.0, goal=Goal(least=1.5, of="yamux"))], [plot]))
    told = json.loads(line)
    assert "\n" not in line
    assert told["figures"][0]["ratios"] == {"yamux": 1.5}
    assert told["figures"][0]["met"] is True
    assert told["plots"][0]["series"] == [{"label": "ours", "x": [0, 1], "y": [1.0, 2.0]}]


def test_what_never_came_is_null_in_json() -> None:
    (told,) = json.loads(as_json(Result("", [figure(math.inf, direct=math.inf)])))["figures"]
    assert (told["ours"], told["others"]) == (None, {"direct": None})


def test_show_prints_the_table_and_then_the_json(capsys: pytest.CaptureFixture[str]) -> None:
    show(Result("Rates", [figure()]))
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "Rates"
    assert json.loads(printed[-1])["title"] == "Rates"
