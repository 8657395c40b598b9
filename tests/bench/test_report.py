from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
import report
from drawing import draw
from figures import Figure, Goal, Plot, Result, Series
from report import Outcome

if TYPE_CHECKING:
    from pathlib import Path

ABOUT = {"date": "2026-01-02", "CPU": "one"}
BARS = Plot("bars", "Bars", "", "MB/s", [Series("ours", ["down", "up"], [1.0, 2.0]), Series("them", ["down"], [3.0])])
LINES = Plot("lines", "Lines", "s", "ms", [Series("ours", [0.0, 1.5], [1.0, 2.0])])
RESULT = Result(
    "Rates", [Figure("rate", "MB/s", 3.0, "python bench/rate.py", {"yamux": 2.0}, Goal(least=1))], [BARS, LINES]
)


def add_program(monkeypatch: pytest.MonkeyPatch, name: str, found: Result | BaseException) -> None:
    def measure(short: bool) -> Result:
        assert short
        if isinstance(found, Result):
            return found
        raise found

    monkeypatch.setitem(sys.modules, name, SimpleNamespace(measure=measure))


@pytest.fixture
def without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def run_main(monkeypatch: pytest.MonkeyPatch, folder: Path, programs: tuple[str, ...]) -> int:
    monkeypatch.setattr(report, "PROGRAMS", programs)
    monkeypatch.setattr(report, "machine", lambda: ABOUT)
    monkeypatch.setattr(sys, "argv", ["report.py", "--short", str(folder)])
    with pytest.raises(SystemExit) as ended:
        report.main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize("plot", [BARS, LINES], ids=["bars", "lines"])
def test_a_plot_is_the_same_svg_each_time(tmp_path: Path, plot: Plot) -> None:
    pytest.importorskip("matplotlib")
    files = [tmp_path / "first.svg", tmp_path / "second.svg"]
    for file in files:
        draw(plot, file)
    first, second = (file.read_text() for file in files)
    assert first == second
    text = "".join(ET.fromstring(first).itertext())
    assert plot.title in text
    assert plot.y_label in text


def test_the_report_has_the_table_the_machine_the_command_and_the_plots() -> None:
    page = report.page([Outcome("rates", RESULT)], ABOUT, ["lines.svg"], "scripts/bench --short")
    assert "| rate | 3 | MB/s | yamux 2 (1.50) | >= 1 | met | `python bench/rate.py` |" in page
    assert "| CPU | one |" in page
    assert "`scripts/bench --short`" in page
    assert "![Lines](lines.svg)" in page
    assert "bars.svg" not in page  # it was not drawn


def test_a_program_that_fails_is_named_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add_program(monkeypatch, "failing", ConnectionError("1 of 2 bytes arrived"))
    add_program(monkeypatch, "working", Result("Rates", RESULT.figures))
    assert run_main(monkeypatch, tmp_path, ("failing", "working")) == 1
    page = (tmp_path / "README.md").read_text()
    assert "## failing\n\n**Not measured.** ConnectionError: 1 of 2 bytes arrived" in page
    assert "## Rates" in page
    programs = json.loads((tmp_path / "figures.json").read_text())["programs"]
    assert programs["failing"] == {"failures": ["ConnectionError: 1 of 2 bytes arrived"]}
    assert programs["working"]["figures"][0]["ours"] == 3.0
    assert "failing was not measured" in capsys.readouterr().out


@pytest.mark.parametrize("missing", [pytest.skip.Exception("it needs root"), pytest.fail.Exception("it needs root")])
def test_a_machine_without_a_lab_is_a_reason(monkeypatch: pytest.MonkeyPatch, missing: BaseException) -> None:
    add_program(monkeypatch, "in_the_lab", missing)
    (failure,) = report.run("in_the_lab", short=True).failures
    assert failure.endswith("it needs root")


def test_a_program_that_is_not_there_is_a_reason() -> None:
    (failure,) = report.run("there_is_no_such_program", short=True).failures
    assert "ModuleNotFoundError" in failure


def test_an_interrupt_ends_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    add_program(monkeypatch, "interrupted", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        report.run("interrupted", short=True)


@pytest.mark.usefixtures("without_matplotlib")
def test_without_matplotlib_the_figures_are_there_and_the_plots_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_program(monkeypatch, "working", RESULT)
    assert run_main(monkeypatch, tmp_path, ("working",)) == 1
    page = (tmp_path / "README.md").read_text()
    assert "| rate | 3 |" in page
    assert "bars is not drawn: matplotlib is not there" in page


def test_all_went_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_program(monkeypatch, "working", Result("Rates", RESULT.figures))
    assert run_main(monkeypatch, tmp_path, ("working",)) == 0


def test_the_machine_has_versions_and_no_names() -> None:
    known = report.machine()
    assert {"date", "CPU", "kernel", "Python", "Ropeway"} <= set(known)
    assert not set(known) & {"host", "user"}
    assert all(known.values())
