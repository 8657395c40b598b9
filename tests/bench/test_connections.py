from __future__ import annotations

from typing import TYPE_CHECKING

import connections
from contest import OURS, YAMUX
from load import Connects, Times, Way

if TYPE_CHECKING:
    import pytest


def test_the_figures_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "connects", lambda _way, seconds: Connects(seconds, Times([1.0, 2.0, 3.0])))
    assert list(connections.find(Way(1, "", 2), 50.0).values()) == [50.0, 2.0, 3.0]


def test_goals_are_of_the_peer_and_of_the_time() -> None:
    ours, theirs = (
        dict(zip(connections.FIGURES, values, strict=True)) for values in ((60.0, 5.0, 101.0), (100.0, 3.0, 9.0))
    )
    found = connections.result({OURS: ours, YAMUX: theirs}, "")
    assert [figure.met for figure in found.figures] == [True, None, False]
