from __future__ import annotations

from typing import TYPE_CHECKING

import startup

if TYPE_CHECKING:
    import pytest


def test_the_first_start_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([100.0, 3.0, 1.0, 2.0])
    assert startup.repeated(lambda: next(seconds), 3) == 2.0


def test_each_start_has_its_goal(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"--help": 0.5, "run": 0.5, "exit run": 0.5}
    monkeypatch.setattr(startup, "measure_all", lambda _folder, _runs: found)
    assert [figure.met for figure in startup.measure(short=True).figures] == [False, True, True]
