"""Connects and echoes on loopback beside associations that flood: apps that send datagrams of 60 KB without end. Linux only.

python bench/flood.py [--short] [--associations N ...] [--size BYTES] [--seconds S]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pair
from datagrams import HOST, Flood, Flooded, echoing
from figures import Figure, Goal, Plot, Result, Series, show
from load import MESSAGE, Times, Way, connect
from target import receive, serving

if TYPE_CHECKING:
    from collections.abc import Sequence

TITLE = "Connections beside floods of datagrams"
#: At once: as many as an app with many calls has, more than are read in a turn, and as many as a local side has at most.
ASSOCIATIONS, SHORT_ASSOCIATIONS = (0, 8, 64, 1024), (0, 64)
SIZE = 60_000
SECONDS, SHORT_SECONDS = 20.0, 3.0
#: Until queues are full, and what the apps have sent first has gone.
WARM_UP, SHORT_WARM_UP = 3.0, 1.0
#: Between two connections: most of the time there is none.
PAUSE = 0.05
#: What people do not mind before a page or a message: 0.1 s seem immediate (Nielsen, 1993), and a second breaks no train of thought.
MEDIAN, LATE = Goal(most=100), Goal(most=1000)


@dataclass(frozen=True)
class Seen:
    """Milliseconds until connections were there, and then for an echo on each; and what the flood moved, where there was one."""

    connects: Times
    echoes: Times
    flooded: Flooded | None = None


def watch(way: Way, seconds: float) -> Seen:
    """One connection after the other. Raises OSError where one fails."""
    seen, until = Seen(Times(), Times()), time.perf_counter() + seconds
    while True:
        began = time.perf_counter()
        with connect(way, b"E") as stream:
            connected = time.perf_counter()
            stream.sendall(MESSAGE)
            receive(stream, len(MESSAGE))
            answered = time.perf_counter()
        seen.connects.append((connected - began) * 1000)
        seen.echoes.append((answered - connected) * 1000)
        if answered >= until:
            return seen
        time.sleep(PAUSE)


def run(associations: int, size: int, warm_up: float, seconds: float) -> Seen:
    """A pair of its own. Raises OSError where a connection fails, RuntimeError where the pair or the flood does."""
    with tempfile.TemporaryDirectory() as folder, pair.running(Path(folder)) as ours, serving() as port:
        way = Way(ours.port, HOST, port)
        with connect(way, b"E"):
            pass  # the tunnel is there
        if not associations:
            return watch(way, seconds)
        with echoing() as echo, Flood(ours.port, echo, associations, size) as flood:
            time.sleep(warm_up)
            seen = watch(way, seconds)
            return Seen(seen.connects, seen.echoes, flood.finish())


def figures_of(associations: int, size: int, seen: Seen, command: str) -> list[Figure]:
    figures = []
    for name, times in (("connect", seen.connects), ("echo", seen.echoes)):
        figures += [
            Figure(f"{associations} floods: {name}, median", "ms", times.median, command, goal=MEDIAN),
            Figure(f"{associations} floods: {name}, 99th percentile", "ms", times.p99, command, goal=LATE),
        ]
    if (flooded := seen.flooded) is not None:
        for name, count in (("sent", flooded.sent), ("came back", flooded.came_back)):
            rate = count * size / 1e6 / flooded.seconds
            figures.append(Figure(f"{associations} floods: {name}", "MB/s", rate, command))
    return figures


def plot(seen: dict[int, Seen]) -> Plot:
    names = [f"{associations} floods" for associations in seen]
    kinds = {"connect": [each.connects for each in seen.values()], "echo": [each.echoes for each in seen.values()]}
    series = [Series(f"{kind}, median", names, [each.median for each in times]) for kind, times in kinds.items()]
    return Plot("flood", TITLE, "", "ms", series)


def command_for(associations: int, size: int, seconds: float, *, short: bool) -> str:
    words = f"python bench/flood.py --associations {associations} --size {size} --seconds {seconds:g}"
    return words + " --short" * short  # less time until it is measured


def measure(short: bool = False, *, associations: Sequence[int] = (), size: int = SIZE, seconds: float = 0) -> Result:
    """Raises what `run` raises."""
    seconds, warm_up = seconds or (SHORT_SECONDS if short else SECONDS), SHORT_WARM_UP if short else WARM_UP
    numbers = associations or (SHORT_ASSOCIATIONS if short else ASSOCIATIONS)
    seen = {number: run(number, size, warm_up, seconds) for number in numbers}
    figures = [
        figure
        for number, each in seen.items()
        for figure in figures_of(number, size, each, command_for(number, size, seconds, short=short))
    ]
    return Result(TITLE, figures, [plot(seen)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--associations", type=int, nargs="*", default=[])
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--seconds", type=float, default=0)
    args = parser.parse_args()
    show(measure(args.short, associations=args.associations, size=args.size, seconds=args.seconds))


if __name__ == "__main__":
    main()
