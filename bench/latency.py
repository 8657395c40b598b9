"""Round trips of a chat beside bulk, over bad links and on loopback: through Ropeway, directly, and through sing-box yamux.

python bench/latency.py [--short] [--only NAME ...] [--seconds S] [--congestion reno]

Linux and root only, except for `--only loopback`. Two hosts of the lab (tests/lab) are joined by a link with a rate, a delay and a queue
of 1 MB; both hosts' kernels use a congestion control that goes by losses, as most do.
"""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import peer
from contest import YAMUX, Found, compete
from figures import Figure, Goal, Plot, Result, Series
from load import PATIENCE, Plan, Watched, Way, watch
from network import ROOT, open_network
from options import CONGESTION, DURATION, show_measured, some_of
from target import serving

from tests.lab.addresses import ABROAD
from tests.lab.hosts import start_pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.lab.hosts import Lab

TITLE = "Round trips of 64 bytes beside bulk"
OURS, DIRECT = "ours", "direct"
#: What each way of a case saw, by its name; several where a way is measured more than once.
Seen = dict[str, list[Watched]]


@dataclass(frozen=True)
class Case:
    """A rate in Mbit/s, a round trip in seconds, loss as a fraction, and what is to be reached by the figures of FIGURES.

    `ways`: one after the other; a way that stands there twice counts with the mean of both.
    """

    rate: float
    plan: Plan
    goals: Mapping[str, Goal | None]
    ways: tuple[str, ...] = (OURS, DIRECT)
    round_trip: float = 0.1
    loss: float = 0.0


#: How each figure is named and measured.
FIGURES: dict[str, tuple[str, str, Callable[[Watched], float]]] = {
    "median": ("median round trip", "ms", lambda seen: seen.times.median),
    "p99": ("99th percentile", "ms", lambda seen: seen.times.p99),
    "rate": ("bulk", "Mbit/s", lambda seen: seen.mbit),
    "share": ("share of the slowest stream", "of the mean", lambda seen: seen.least_share),
}
#: A round trip of 100 ms, and what queues may add.
QUICK = {"median": Goal(most=130), "p99": Goal(most=150)}
#: Reno takes back what a loss took from it in minutes on a long link, so one direct run says little: one before ours and one after.
AROUND = (DIRECT, OURS, DIRECT)

CASES: dict[str, Case] = {
    "download": Case(20, Plan(quiet=5), QUICK | {"rate": Goal(least=18)}, (OURS, DIRECT, YAMUX)),
    "upload": Case(20, Plan(up=True), QUICK | {"rate": Goal(least=18)}),
    "8 downloads": Case(20, Plan(streams=8), QUICK | {"rate": Goal(least=18), "share": None}),
    "8 uploads": Case(20, Plan(up=True, streams=8), QUICK | {"rate": Goal(least=18), "share": None}),
    "100 Mbit/s": Case(100, Plan(), QUICK | {"rate": Goal(least=90)}),
    "100 Mbit/s, upload": Case(100, Plan(up=True), QUICK | {"rate": Goal(least=90)}),
    "beside another": Case(20, Plan(beside=1, warm_up=5), {"median": None, "p99": None}, (OURS,)),
    "beside an earlier one": Case(20, Plan(beside=1, later=-8, warm_up=5), {}, (OURS,)),
    "beside a later one": Case(20, Plan(beside=1, later=8, warm_up=5), {}, (OURS,)),
    # Long, as only some sixty packets are lost in a minute.
    "1 % loss": Case(20, Plan(seconds=120), {"rate": Goal(least=0.8, of=DIRECT)}, AROUND, loss=0.01),
    # 20 round trips of slow start and more until the rate is steady.
    "300 ms": Case(100, Plan(warm_up=10, seconds=60), {"rate": Goal(least=0.9, of=DIRECT)}, AROUND, round_trip=0.3),
}
#: Those with a connection beside ours whose rate is compared.
SHARED = ("beside another", "beside an earlier one", "beside a later one")
#: The one whose round trips are plotted over time.
PLOTTED = "download"

# The rate that is raised, in Mbit/s, when, and for how long it is then watched, in seconds; what share of it counts as found, over how long.
SLOW, FAST, RAISED_AFTER, WATCHED_FOR = 2.0, 20.0, 8.0, 12.0
FOUND, WINDOW = 0.9, 0.5

#: At full speed on loopback: no pause is a burden there.
LOOPBACK = Plan(warm_up=1.5, seconds=5, pause=0.01)
LOOPBACK_RUNS = 5
SHORT_LOOPBACK = dataclasses.replace(LOOPBACK, warm_up=1.0, seconds=1.0)
SHORT = Plan(quiet=1, warm_up=1.5, seconds=2.5)


# ---- one way through the lab


@contextmanager
def way_through(lab: Lab, name: str) -> Iterator[int]:
    """Where the load goes for it: a local port at home, or 0."""
    if name == YAMUX:
        with peer.in_lab(lab, "yamux") as running:
            yield running.port
    else:
        yield start_pair(lab).port if name == OURS else 0


def start_load(lab: Lab, socks: int, port: int, plan: Plan) -> subprocess.Popen[str]:
    argv = [*lab.home.prefix, sys.executable, str(ROOT / "bench/load.py"), str(socks), ABROAD, str(port), *plan.words()]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(load: subprocess.Popen[str], plan: Plan) -> Watched:
    """Raises RuntimeError where the load fails, TimeoutExpired where it hangs."""
    try:
        told, complaint = load.communicate(timeout=plan.counted + plan.seconds + 2 * PATIENCE)
    finally:
        load.kill()
    if load.returncode:
        raise RuntimeError(complaint.strip().rpartition("\n")[2])
    return Watched(**json.loads(told))


def run(case: Case, congestion: str) -> Seen:
    with (
        tempfile.TemporaryDirectory() as folder,
        open_network(Path(folder), congestion, rate=case.rate, round_trip=case.round_trip) as lab,
        serving(ABROAD, lab.abroad.prefix) as port,
    ):
        seen: Seen = {}
        for name in case.ways:
            lab.link.say("loss 0")  # nobody's start is what is measured
            with way_through(lab, name) as socks:
                lab.link.say(f"loss {case.loss}")
                seen.setdefault(name, []).append(finished(start_load(lab, socks, port, case.plan), case.plan))
        return seen


def figures_of(name: str, case: Case, seen: Seen, command: str) -> list[Figure]:
    figures = []
    for key, goal in case.goals.items():
        what, unit, value = FIGURES[key]
        of_each = {who: statistics.mean(value(watched) for watched in each) for who, each in seen.items()}
        figures.append(Figure(f"{name}: {what}", unit, of_each.pop(OURS), command, of_each, goal))
    if name in SHARED:
        (watched,) = seen[OURS]
        others = {"the other": watched.beside_mbit}
        figures.append(Figure(f"{name}: bulk", "Mbit/s", watched.mbit, command, others, Goal(0.5, 2, "the other")))
    return figures


def plot(seen: Seen, quiet: float) -> Plot:
    series = [
        Series(who, [round(at, 3) for at, _ in each[0].trips], [round(took, 1) for _, took in each[0].trips])
        for who, each in seen.items()
    ]
    title = f"Round trips of a chat, 20 Mbit/s and 100 ms: a download begins after {quiet:g} s"
    return Plot("latency", title, "seconds", "ms", series)


def measure_case(name: str, short: bool, seconds: float, congestion: str) -> Result:
    case = CASES[name]
    plan = case.plan
    if short:
        plan = dataclasses.replace(plan, quiet=SHORT.quiet, warm_up=SHORT.warm_up, seconds=SHORT.seconds)
    plan = dataclasses.replace(plan, seconds=seconds or plan.seconds)
    seen = run(dataclasses.replace(case, plan=plan), congestion)
    command = command_for(name, congestion, short=short, seconds=seconds)
    return Result(TITLE, figures_of(name, case, seen, command), [plot(seen, plan.quiet)] if name == PLOTTED else [])


def command_for(name: str, congestion: str, *, short: bool, seconds: float = 0) -> str:
    words = ["python bench/latency.py", f'--only "{name}"', f"--congestion {congestion}"]
    return " ".join([*words, *(["--short"] if short else []), *([f"--seconds {seconds:g}"] if seconds else [])])


# ---- the other cases


def seconds_until(watched: Watched, raised: float, mbit: float) -> float:
    """From `raised`, on the monotonic clock, until the first WINDOW of time in which bulk had that rate; infinite where it never had."""
    after = [
        (watched.began + at, sum(moved))
        for (at, _), moved in zip(watched.trips, watched.bulk, strict=True)
        if watched.began + at >= raised
    ]
    first = 0
    for now, moved in after:
        while now - after[first][0] > WINDOW:
            since, before = after[first]
            if (moved - before) * 8 / 1e6 / (now - since) >= mbit:
                return now - raised
            first += 1
    return math.inf


def measure_raised(_name: str, short: bool, _seconds: float, congestion: str) -> Result:
    plan = Plan(warm_up=0, seconds=RAISED_AFTER + WATCHED_FOR)
    found = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        open_network(Path(folder), congestion, rate=SLOW) as lab,
        serving(ABROAD, lab.abroad.prefix) as port,
    ):
        for name in (OURS, DIRECT):
            lab.link.say(f"rate {SLOW}")
            with way_through(lab, name) as socks:
                load = start_load(lab, socks, port, plan)
                time.sleep(RAISED_AFTER)
                raised = time.monotonic()
                lab.link.say(f"rate {FAST}")
                found[name] = seconds_until(finished(load, plan), raised, FOUND * FAST)
    what = f"the rate rises from {SLOW:g} to {FAST:g} Mbit/s: found after"
    command = command_for(RAISED, congestion, short=short)
    return Result(TITLE, [Figure(what, "s", found.pop(OURS), command, found, Goal(most=3))])


def measure_loopback(_name: str, short: bool, _seconds: float, congestion: str) -> Result:
    plan = SHORT_LOOPBACK if short else LOOPBACK
    idle = dataclasses.replace(plan, streams=0, warm_up=0.2, seconds=plan.seconds / 2)

    def find(way: Way) -> Found:
        loaded = watch(way, plan)
        return {
            "idle": watch(way, idle).times.median,
            "median": loaded.times.median,
            "p99": loaded.times.p99,
            "rate": loaded.mbit / 8,
        }

    found = compete(lambda way, _: find(way), 1 if short else LOOPBACK_RUNS)
    command = command_for("loopback", congestion, short=short)
    rows = {
        "idle": ("idle: median round trip", "ms", None),
        "median": ("beside a download: median round trip", "ms", Goal(most=2)),
        "p99": ("beside a download: 99th percentile", "ms", None),
        "rate": ("the download", "MB/s", None),
    }
    return Result(
        TITLE,
        [
            Figure(f"loopback, {what}", unit, found[OURS][key], command, {YAMUX: found[YAMUX][key]}, goal)
            for key, (what, unit, goal) in rows.items()
        ],
    )


RAISED = "rate raised"
MEASURES: dict[str, Callable[[str, bool, float, str], Result]] = {
    **dict.fromkeys(CASES, measure_case),
    RAISED: measure_raised,
    "loopback": measure_loopback,
}
#: 15 seconds, and the plot.
SHORT_CASES = (PLOTTED, "loopback")


def measure(short: bool = False, *, only: tuple[str, ...] = (), seconds: float = 0, congestion: str = "reno") -> Result:
    """`only`: names of MEASURES. `seconds`: how long the cases of CASES are watched, in the place of their own time.

    Raises RuntimeError and OSError where a load or a pair fails, MissingError without sing-box, and what the lab's tests end with where
    this machine cannot have a lab.
    """
    names = only or (SHORT_CASES if short else tuple(MEASURES))
    results = [MEASURES[name](name, short, seconds, congestion) for name in names]
    figures = [figure for result in results for figure in result.figures]
    return Result(TITLE, figures, [plot for result in results for plot in result.plots])


def main() -> None:
    show_measured(__doc__, measure, only=some_of(MEASURES), seconds=DURATION, congestion=CONGESTION)


if __name__ == "__main__":
    main()
