"""Command lines of the measurements."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from figures import Figure, Result
from options import CONGESTION, DURATION, INTEGER, show_measured, some_of

PROGRAMS = ("calls", "connections", "fairness", "latency", "memory", "pages", "rules", "startup", "throughput")


def test_each_option_is_an_argument(capsys: pytest.CaptureFixture[str]) -> None:
    given: list[dict[str, Any]] = []

    def measure(short: bool, **words: Any) -> Result:
        given.append({"short": short, **words})
        return Result("A title", [Figure("what", "s", 1.0, "command")])

    options = {"only": some_of(["a", "1 % b"]), "runs": INTEGER, "seconds": DURATION, "congestion": CONGESTION}
    show_measured("What it is.", measure, [], **options)
    show_measured("What it is.", measure, ["--short", "--only", "1 % b", "--runs", "3", "--seconds", "1.5"], **options)
    assert given == [
        {"short": False, "only": [], "runs": 0, "seconds": 0.0, "congestion": "reno"},
        {"short": True, "only": ["1 % b"], "runs": 3, "seconds": 1.5, "congestion": "reno"},
    ]
    assert "what" in capsys.readouterr().out


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_program_says_what_it_takes(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = importlib.import_module(name)
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit):
        program.main()
    assert "--short" in capsys.readouterr().out
