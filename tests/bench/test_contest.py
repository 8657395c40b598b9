from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import contest
import pytest
from contest import compete, cpu_seconds, in_turn, medians
from pair import Running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contest import Found
    from load import Way


def test_each_run_begins_with_another() -> None:
    assert [in_turn(["a", "b"], run) for run in range(3)] == [["a", "b"], ["b", "a"], ["a", "b"]]


def test_medians_are_of_each_figure() -> None:
    assert medians([{"x": 1, "y": 9}, {"x": 5, "y": 7}, {"x": 2, "y": 8}]) == {"x": 2, "y": 8}


def test_a_pair_is_started_for_each_run_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    log = []

    @contextmanager
    def pair(port: int) -> Iterator[Running]:
        log.append(("start", port))
        yield Running(port, (0, 0))
        log.append(("stop", port))

    def find(way: Way, running: Running) -> Found:
        assert way.socks == running.port
        return {"figure": float(running.port * len(log))}

    monkeypatch.setattr(contest, "CONTESTANTS", {"a": lambda: pair(1), "b": lambda: pair(2)})
    assert compete(find, 2) == {"a": {"figure": (1 + 7) / 2}, "b": {"figure": (2 * 3 + 2 * 5) / 2}}
    assert [port for what, port in log if what == "start"] == [1, 2, 2, 1]
    assert log[0::2] == [("start", port) for port in (1, 2, 2, 1)]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_cpu_seconds_are_those_that_the_kernel_counts() -> None:
    before = time.process_time()
    while time.process_time() < before + 0.05:  # of this process, however long that takes
        pass
    counted, known = cpu_seconds([os.getpid()]), time.process_time()
    assert counted == pytest.approx(known, abs=0.5)
    assert cpu_seconds([os.getpid(), os.getpid()]) >= 2 * counted
