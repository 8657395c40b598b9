"""What docs/rules.md promises is so: its examples are rules, and its tables have all there is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from proxy.presets import load_presets
from proxy.rule_entries import MOST_ENTRIES, MOST_LINES
from proxy.rule_lists import LARGEST_FILE
from proxy.rule_terms import AnyOf
from proxy.rules import _CONDITIONS, Kind, ListFile, Mode, Route, Rule, RuleSettings
from proxy.ruleset import LOCAL_SUFFIXES, Ruleset

FOLDER = Path("/rules")
TEXT = (Path(__file__).parent.parent / "docs" / "rules.md").read_text(encoding="utf-8")


def first_cells(title: str) -> list[str]:
    """What stands in backticks in the first column of the table with this title."""
    table = TEXT.split(f"\n| {title} |", 1)[1].split("\n\n", 1)[0]
    return [code for row in table.split("\n")[2:] for code in re.findall(r"`([^`]+)`", row.split(" | ")[0])]


def test_the_example_is_a_configuration() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    table = tomllib.loads(block)["rules"]
    settings = RuleSettings.parse(table["rules"], table["mode"], table["home"], table["default"], folder=FOLDER)
    assert len(settings.rules) == 5
    Ruleset(settings, presets=load_presets(), read_list=lambda _: AnyOf(exact=["a"]))


@pytest.mark.parametrize("text", first_cells("route"))
def test_every_route_is_one(text: str) -> None:
    text = text.replace("HOST", "exit.example").replace("PORT", "443")
    assert str(Route.parse(text)) == text


def test_every_kind_of_route_has_its_line() -> None:
    assert {Route.parse(text.replace("PORT", "443")).kind for text in first_cells("route")} == set(Kind)


@pytest.mark.parametrize("text", first_cells("condition"))
def test_every_condition_is_one(text: str) -> None:
    assert len(Rule.parse(f"direct {text}", FOLDER).conditions) == 1


def test_every_kind_of_condition_has_its_line() -> None:
    assert {text.partition(":")[0] for text in first_cells("condition")} == {*_CONDITIONS, "list"}


def test_a_path_with_spaces() -> None:
    (rule,) = re.findall(r"`'(direct [^']*)'`", TEXT)
    assert Rule.parse(rule, FOLDER).conditions == (ListFile(FOLDER / "my lists" / "home.txt", ""),)


def test_modes_and_numbers() -> None:
    assert all(f"`{mode.value}`" in TEXT for mode in Mode)
    assert all(f"`{suffix}`" in TEXT for suffix in LOCAL_SUFFIXES)
    assert f"{LARGEST_FILE // 1024 // 1024} MB" in TEXT
    assert f"{MOST_ENTRIES:,} entries" in TEXT
    assert f"{MOST_LINES:,} lines" in TEXT
