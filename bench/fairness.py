"""Whether streams get equal shares, how soon one that begins gets its own, and what streams cost the others that nobody reads.

python bench/fairness.py [--short] [--only lab|loopback ...] [--congestion reno]

Linux and root only. The lab's link has 20 Mbit/s, 100 ms and a queue of 1 MB (tests/lab).
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from figures import Figure, Goal, Plot, Result, Series
from network import ROOT, open_network
from options import CONGESTION, show_measured, some_of
from shares import Arrivals, least_and_most, share_within, time_to_share

from tests.e2e.machine import Programs, free_port
from tests.e2e.pairs import start_pair as start_pair_here
from tests.lab.addresses import ABROAD
from tests.lab.hosts import ROUND_TRIP, start_pair

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TITLE = "Shares of many streams"
PLACES = ("lab", "loopback")
#: Of the mean.
LEAST, MOST = Goal(least=0.9), Goal(most=1.1)
#: A newcomer's share is looked for in windows of so many round trips; its share afterwards is that of so many.
WINDOW, AFTERWARDS = 2, (5, 25)
BESIDE, READERS = 9, 50
#: Streams in bulk at once.
STREAMS = (1, 10, 100)
#: Of the load with streams that nobody reads.
LOOPBACK_RUNS = 3
#: Seconds that are measured, and before them; of the long and of the short form.
SECONDS, WARM_UP, SHORT_SECONDS, SHORT_WARM_UP = 20.0, 6.0, 2.0, 2.0
#: Beyond the seconds that a load takes by itself: a hundred connections over a bad link, and buffers that fill.
PATIENCE = 240


@dataclass(frozen=True)
class Place:
    """Where loads run: what starts a program there, the local side's port, and where the destination listens."""

    name: str
    prefix: tuple[str, ...]
    socks: int
    host: str
    port: int
    short: bool
    congestion: str = ""

    def load(self, what: str, **options: str | float) -> Any:
        """What bulk.py says. Raises CalledProcessError."""
        timing = (SHORT_SECONDS, SHORT_WARM_UP) if self.short else (SECONDS, WARM_UP)
        given = {"seconds": timing[0], "warm-up": timing[1], **options}
        words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
        argv = [*self.prefix, sys.executable, str(ROOT / "bench/bulk.py")]
        argv += [str(self.socks), self.host, str(self.port), what, *words]
        seconds = PATIENCE + float(given["seconds"]) * 2
        return json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE, timeout=seconds).stdout)

    @property
    def command(self) -> str:
        words = f"python bench/fairness.py --only {self.name}" + " --short" * self.short
        return words + (f" --congestion {self.congestion}" if self.congestion else "")


@contextmanager
def destination(programs: Programs, host: str, port: int) -> Iterator[None]:
    argv: list[str | Path] = [sys.executable, ROOT / "bench/destination.py", host, str(port)]
    started = programs.start("destination", argv)
    started.wait_for_port(port)
    try:
        yield
    finally:
        started.stop()


@contextmanager
def in_lab(folder: Path, congestion: str, *, short: bool) -> Iterator[Place]:
    port = free_port()
    with open_network(folder, congestion) as lab, destination(lab.abroad, ABROAD, port):
        yield Place("lab", lab.home.prefix, start_pair(lab).port, ABROAD, port, short, congestion)


@contextmanager
def on_loopback(folder: Path, *, short: bool) -> Iterator[Place]:
    programs, port = Programs(folder), free_port()
    try:
        with destination(programs, "127.0.0.1", port):
            yield Place("loopback", (), start_pair_here(programs).port, "127.0.0.1", port, short)
    finally:
        programs.stop_all()


def shares(place: Place, streams: int, way: str) -> list[Figure]:
    """With one stream there is nobody to share with, and only the rate is told."""
    found = place.load("share", streams=streams, way=way)
    rate = sum(found["got"]) * 8 / 1e6 / found["seconds"]
    name = f"{place.name}, {streams} {'downloads' if way == 'down' else 'uploads'}"
    figures = [Figure(f"{name}, together", "Mbit/s", rate, place.command)]
    if streams > 1:
        least, most = least_and_most(found["got"])
        figures += [
            Figure(f"{name}, least", "of the mean", least, place.command, goal=LEAST),
            Figure(f"{name}, most", "of the mean", most, place.command, goal=MOST),
        ]
    return figures


def sort_out(entries: Sequence[tuple[float, int, int]]) -> tuple[Arrivals, list[Arrivals]]:
    """The newcomer's, whose number is -1, and those of the others."""
    streams: dict[int, Arrivals] = {-1: Arrivals([], [])}
    for time, number, size in entries:
        arrivals = streams.setdefault(number, Arrivals([], []))
        arrivals.times.append(time)
        arrivals.sizes.append(size)
    return streams.pop(-1), list(streams.values())


def newcomers(place: Place) -> tuple[list[Figure], Plot]:
    """A repetition in which it never got its share counts as the whole time that was looked at."""
    found = place.load("newcomer", streams=BESIDE, repeat=1 if place.short else 7)
    times, afterwards, first = [], [], [entries[0][0] for entries in found["arrivals"]]
    for entries in found["arrivals"]:
        own, others = sort_out(entries)
        until = time_to_share(own, others, WINDOW * ROUND_TRIP)
        times.append((entries[-1][0] - own.times[0] if until is None else until) / ROUND_TRIP)
        start, end = (own.times[0] + trips * ROUND_TRIP for trips in AFTERWARDS)
        afterwards.append(share_within(own, others, start, end))
    name = f"{place.name}, one begins beside {BESIDE}"
    figures = [
        Figure(f"{name}, until its share", "round trips", statistics.median(times), place.command, goal=Goal(most=5)),
        Figure(f"{name}, afterwards", "of its share", statistics.median(afterwards), place.command, goal=LEAST),
    ]
    return figures, plot(found["arrivals"][0], first[0])


def plot(entries: Sequence[tuple[float, int, int]], began: float) -> Plot:
    """Of one repetition: shares in windows that follow each other."""
    own, others = sort_out(entries)
    window = WINDOW * ROUND_TRIP
    starts = [began + number * window for number in range(int((entries[-1][0] - began) / window))]
    share = [share_within(own, others, start, start + window) for start in starts]
    series = Series("the newcomer", [start - own.times[0] for start in starts], share)
    return Plot("newcomer", f"One download begins beside {BESIDE}", "seconds", "of its share", [series])


def stalled(place: Place, times: int) -> list[Figure]:
    """Medians of so many loads, as on loopback what else the machine does shows in each."""
    found = [place.load("stalled", streams=READERS) for _ in range(times)]
    without, beside = (medians([each[phase] for each in found]) for phase in ("without", "with"))
    name, others = f"{place.name}, {READERS} that nobody reads", "without them"

    def figure(what: str, unit: str, key: str, factor: float, goal: Goal | None) -> Figure:
        ratio = {others: without[key] * factor}
        return Figure(f"{name}, {what}", unit, beside[key] * factor, place.command, ratio, goal)

    rate = figure("a download beside", "Mbit/s", "bytes_per_s", 8e-6, Goal(least=0.95, of=others))
    # On loopback a chat waits for the processor, and other programs too.
    goal = Goal(most=1.1, of=others) if place.name == "lab" else None
    return [
        rate,
        figure("a chat beside, median", "ms", "median_ms", 1, goal),
        figure("a chat beside, 99th", "ms", "p99_ms", 1, goal),
    ]


def medians(measured: Sequence[dict[str, float]]) -> dict[str, float]:
    """Of each key."""
    return {key: statistics.median(each[key] for each in measured) for key in measured[0]}


def measure_lab(folder: Path, congestion: str) -> tuple[list[Figure], Plot]:
    """Each load has a pair of its own: what one has filled is not there for the next."""

    def lab() -> AbstractContextManager[Place]:
        return in_lab(folder, congestion, short=False)

    figures = []
    for streams in STREAMS:
        for way in ("down", "up"):
            with lab() as place:
                figures += shares(place, streams, way)
    with lab() as place:
        found, plot = newcomers(place)
    with lab() as place:
        return figures + found + stalled(place, 1), plot


def measure_loopback(folder: Path) -> list[Figure]:
    with on_loopback(folder, short=False) as place:
        figures = [figure for streams in STREAMS[1:] for figure in shares(place, streams, "down")]
        return figures + stalled(place, LOOPBACK_RUNS)


def measure_shortly(folder: Path, congestion: str) -> tuple[list[Figure], Plot]:
    """Ten downloads, and one that begins, in the lab."""
    with in_lab(folder, congestion, short=True) as place:
        figures = shares(place, STREAMS[1], "down")
        found, plot = newcomers(place)
        return figures + found, plot


def measure(short: bool = False, *, only: Sequence[str] = PLACES, congestion: str = "reno") -> Result:
    """Raises CalledProcessError where a load fails."""
    figures, plots = list[Figure](), list[Plot]()
    with tempfile.TemporaryDirectory() as folder:
        if short or "lab" in only:
            measured = measure_shortly if short else measure_lab
            figures, plot = measured(Path(folder), congestion)
            plots.append(plot)
        if not short and "loopback" in only:
            figures += measure_loopback(Path(folder))
    return Result(TITLE, figures, plots)


def main() -> None:
    show_measured(__doc__, measure, only=some_of(PLACES, PLACES), congestion=CONGESTION)


if __name__ == "__main__":
    main()
