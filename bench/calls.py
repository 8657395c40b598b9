"""A call beside bulk, over a bad link: by way of UDP ASSOCIATE, the tunnel and a TURN server, which is at the other end with the peer.

python bench/calls.py [--short] [--only NAME ...] [--seconds S] [--congestion reno]

Linux and root only, with coturn. Two hosts of the lab (tests/lab) are joined by a link of 20 Mbit/s, 100 ms and a queue of 1 MB. Each side says
50 packets a second of 160 bytes. The clocks of both ends are one, so what is measured is one way.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from figures import Figure, Goal, Plot, Result, Series
from latency import finished, start_load
from load import Plan, percentile
from network import open_network
from options import CONGESTION, DURATION, show_measured, some_of
from target import serving

from tests.e2e.apps.call import EVERY
from tests.lab.addresses import ABROAD
from tests.lab.calls import Exchange
from tests.lab.hosts import start_pair

if TYPE_CHECKING:
    from tests.e2e.apps.call import Heard
    from tests.lab.hosts import Lab

TITLE = "A call beside bulk"
LINK = "20 Mbit/s and 100 ms"
#: The case that is plotted, and the only one in the short form.
PLOTTED = "download"
CASES: dict[str, Plan] = {"download": Plan(), "upload": Plan(up=True)}


@dataclass(frozen=True)
class Times:
    """Seconds: of the call with nothing beside it, until bulk has found its rate, and of the call beside it."""

    idle: float
    warm_up: float
    busy: float


#: How long bulk goes on beside that: until the call has begun.
LEAD = 3.0
FULL, SHORT = Times(10, 3, 60), Times(1.5, 1.5, 2.5)
#: What a call may lose, in percent, and what queues may add to its delay, in milliseconds.
LOSS, ADDED = Goal(most=1), Goal(most=60)


@dataclass(frozen=True)
class Direction:
    """What one side heard while it was quiet, and beside bulk, and how many packets there were of the latter. Delays without a packet are infinite."""

    idle: Heard
    busy: Heard
    packets: int

    @property
    def idle_delay(self) -> float:
        """Milliseconds, the median."""
        return statistics.median(self.idle.delays or [math.inf]) * 1000

    @property
    def p99(self) -> float:
        return percentile(self.busy.delays or [math.inf], 0.99) * 1000

    @property
    def loss(self) -> float:
        return self.busy.lost(self.packets) * 100


@dataclass(frozen=True)
class Seen:
    """`down` is what the caller heard, `up` what the peer heard."""

    down: Direction
    up: Direction
    mbit: float


def run(name: str, times: Times, congestion: str) -> Seen:
    plan = dataclasses.replace(CASES[name], warm_up=times.warm_up, seconds=times.busy + LEAD)
    with (
        tempfile.TemporaryDirectory() as folder,
        open_network(Path(folder), congestion) as lab,
        serving(ABROAD, lab.abroad.prefix) as port,
    ):
        return watch(lab, port, plan, times)


def watch(lab: Lab, port: int, plan: Plan, times: Times) -> Seen:
    pair = start_pair(lab)
    exchange = Exchange(lab, pair)
    idle = exchange.begin(times.idle).finish()
    load = start_load(lab, pair.port, port, plan)
    try:
        time.sleep(times.warm_up)
        call = exchange.begin(times.busy)
        busy = call.finish()
        mbit = finished(load, plan).mbit
    finally:
        load.kill()
    down, up = (Direction(quiet, loud, call.packets) for quiet, loud in zip(idle, busy, strict=True))
    return Seen(down, up, mbit)


def figures_of(name: str, seen: Seen, command: str) -> list[Figure]:
    figures = []
    for way, heard in (("from abroad", seen.down), ("to abroad", seen.up)):
        begin = f"{name}: {way}"
        figures += [
            Figure(f"{begin}, packets lost", "%", heard.loss, command, goal=LOSS),
            Figure(f"{begin}, idle delay", "ms", heard.idle_delay, command),
            Figure(f"{begin}, 99th percentile over idle", "ms", heard.p99 - heard.idle_delay, command, goal=ADDED),
        ]
    return [*figures, Figure(f"{name}: bulk", "Mbit/s", seen.mbit, command)]


def plot(seen: Seen) -> Plot:
    series = [
        Series(label, [number * EVERY for number in heard.numbers], [round(delay * 1000, 1) for delay in heard.delays])
        for label, heard in (("beside a download", seen.down.busy), ("alone", seen.down.idle))
    ]
    return Plot("calls", f"A call, {LINK}: how long each packet from abroad was on its way", "seconds", "ms", series)


def command_for(name: str, congestion: str, *, short: bool, seconds: float) -> str:
    words = ["python bench/calls.py", f"--only {name}", f"--congestion {congestion}"]
    return " ".join([*words, *(["--short"] if short else []), *([f"--seconds {seconds:g}"] if seconds else [])])


def measure(short: bool = False, *, only: tuple[str, ...] = (), seconds: float = 0, congestion: str = "reno") -> Result:
    """`seconds`: of the call beside bulk, in the place of its own time.

    Raises RuntimeError and OSError where the load fails, AssertionError where the call does, and what the lab's tests end with where this machine
    cannot have a lab.
    """
    times = SHORT if short else FULL
    times = dataclasses.replace(times, busy=seconds or times.busy)
    figures, plots = [], []
    for name in only or ((PLOTTED,) if short else tuple(CASES)):
        seen = run(name, times, congestion)
        figures += figures_of(name, seen, command_for(name, congestion, short=short, seconds=seconds))
        plots += [plot(seen)] if name == PLOTTED else []
    return Result(TITLE, figures, plots)


def main() -> None:
    show_measured(__doc__, measure, only=some_of(CASES), seconds=DURATION, congestion=CONGESTION)


if __name__ == "__main__":
    main()
