"""Ours beside sing-box yamux on loopback, in turn: a pair of each is started for each run, so that nothing is warm from the run before."""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pair
import peer
from load import Way
from target import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pair import Running

OURS, YAMUX = "ours", "sing-box yamux"
#: What one run finds of one of the two, by the names of the figures.
Found = dict[str, float]


@contextlib.contextmanager
def ours() -> Iterator[Running]:
    with tempfile.TemporaryDirectory() as folder, pair.running(Path(folder)) as running:
        yield running


@contextlib.contextmanager
def yamux() -> Iterator[Running]:
    with tempfile.TemporaryDirectory() as folder, peer.running(Path(folder), "yamux") as running:
        yield running


CONTESTANTS: dict[str, Callable[[], contextlib.AbstractContextManager[Running]]] = {OURS: ours, YAMUX: yamux}


def in_turn(names: Sequence[str], number: int) -> list[str]:
    """Each run begins with another one: what else the machine does falls on all of them."""
    first = number % len(names)
    return [*names[first:], *names[:first]]


def compete(find: Callable[[Way, Running], Found], runs: int) -> dict[str, Found]:
    """Of each of the two the medians over all runs. Raises what `find` raises, and what their start does (pair.py, peer.py)."""
    found: dict[str, list[Found]] = {name: [] for name in CONTESTANTS}
    with serving() as port:
        for run in range(runs):
            for name in in_turn(list(CONTESTANTS), run):
                with CONTESTANTS[name]() as running:
                    found[name].append(find(Way(running.port, "127.0.0.1", port), running))
    return {name: medians(each) for name, each in found.items()}


def medians(runs: Sequence[Mapping[str, float]]) -> Found:
    return {figure: statistics.median(run[figure] for run in runs) for figure in runs[0]}


def cpu_seconds(pids: Sequence[int]) -> float:
    """What these processes have used so far, in their own code and in the kernel. Linux only."""
    if sys.platform != "linux":  # the type checker reads no further there
        raise NotImplementedError
    ticks = 0
    for pid in pids:
        # The second field is the program's name and may hold anything, so what is behind it counts.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
