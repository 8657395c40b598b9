"""The document of faults: every command in it repeats a test that exists, every test of the lab that measures is in it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.lab.faults import HEAD, Row, rows_of, with_rows

ROOT = Path(__file__).parent.parent
ROWS = rows_of((ROOT / "docs/faults.md").read_text(encoding="utf-8"))


def measuring_tests() -> set[str]:
    """Their commands."""
    return {
        f"scripts/lab tests/lab/{path.name}::{node.name}"
        for path in (ROOT / "tests/lab").glob("test_*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and "measured" in [argument.arg for argument in node.args.args]
    }


def test_each_command_repeats_a_test_and_each_test_has_its_row() -> None:
    assert {row.command for row in ROWS} == measuring_tests()


def test_no_fault_is_there_twice() -> None:
    assert len({row.fault for row in ROWS}) == len(ROWS)


# ---- the table


def row(fault: str, measured: str = "1 s") -> Row:
    return Row(fault, "a pause", measured, "scripts/lab a::b")


def document(*rows: Row) -> str:
    return "\n".join(["# A document", "", HEAD, *map(str, rows), "", "More of it."]) + "\n"


@pytest.mark.parametrize(
    ("before", "measured", "after"),
    [
        ([], [], []),
        ([], [row("a"), row("b")], [row("a"), row("b")]),
        ([row("a"), row("b")], [row("a", "2 s")], [row("a", "2 s"), row("b")]),
        ([row("a")], [row("b"), row("a", "2 s")], [row("a", "2 s"), row("b")]),
    ],
)
def test_what_was_measured_takes_its_place(before: list[Row], measured: list[Row], after: list[Row]) -> None:
    assert with_rows(document(*before), measured) == document(*after)
    assert rows_of(document(*after)) == after


def test_other_tables_are_left_alone() -> None:
    assert Row.parse("| a | b |") is None
    assert Row.parse("| a | b | c | d |") is None
    assert Row.parse("a | b | c | `d`") is None
