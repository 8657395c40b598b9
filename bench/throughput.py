"""Throughput on loopback and the CPU time it costs, beside sing-box yamux in the same run: medians. Linux only.

python bench/throughput.py [--short] [--runs N] [--mb SIZE]

Both processes of each pair count for the CPU time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contest import OURS, YAMUX, Found, compete, cpu_seconds
from figures import Figure, Goal, Plot, Result, Series
from load import download, half_close, rate, upload
from options import INTEGER, show_measured

if TYPE_CHECKING:
    from collections.abc import Callable

    from load import Way
    from pair import Running

TITLE = "Throughput on loopback"
RUNS, SHORT_RUNS = 5, 2
MB, SHORT_MB = 400, 200
#: The transfer, how many streams share it, and the least ratio to the peer's rate.
TRANSFERS: dict[str, tuple[Callable[[Way, int], None], int, float]] = {
    "down_1": (download, 1, 1.5),
    "down_8": (download, 8, 1.2),
    "up_1": (upload, 1, 1.5),
    "up_8": (upload, 8, 1.2),
}
CPU_RATIO = 1.0
HALF_CLOSE = "half_close"
#: More than any window holds at first.
HALF_CLOSE_SIZE = 5_000_000


def cpu(name: str) -> str:
    """The name of the figure which says what that transfer costs."""
    return f"{name} CPU"


def find(way: Way, running: Running, size: int) -> Found:
    """Raises OSError where bytes are missing."""
    found: Found = {}
    for name, (transfer, streams, _) in TRANSFERS.items():
        before = cpu_seconds(running.pids)
        found[name] = rate(transfer, way, size, streams)
        found[cpu(name)] = (cpu_seconds(running.pids) - before) / (size / 1e9)
    try:
        half_close(way, HALF_CLOSE_SIZE)
    except OSError:
        found[HALF_CLOSE] = 0.0
    else:
        found[HALF_CLOSE] = 1.0
    return found


def result(found: dict[str, Found], command: str) -> Result:
    def figure(name: str, unit: str, goal: Goal) -> Figure:
        return Figure(name, unit, found[OURS][name], command, {YAMUX: found[YAMUX][name]}, goal)

    rates = [figure(name, "MB/s", Goal(least=least, of=YAMUX)) for name, (_, _, least) in TRANSFERS.items()]
    costs = [figure(cpu(name), "s/GB", Goal(most=CPU_RATIO, of=YAMUX)) for name in TRANSFERS]
    works = figure(HALF_CLOSE, "1: works", Goal(least=1))
    bars = [Series(who, list(TRANSFERS), [each[name] for name in TRANSFERS]) for who, each in found.items()]
    plot = Plot("throughput", "Throughput on loopback, one and eight streams", "", "MB/s", bars)
    return Result(TITLE, [*rates, *costs, works], [plot])


def measure(short: bool = False, *, runs: int = 0, mb: int = 0) -> Result:
    """`mb`: MB of each transfer. Raises OSError where a transfer fails, MissingError and RuntimeError where a pair does not start."""
    runs, mb = runs or (SHORT_RUNS if short else RUNS), mb or (SHORT_MB if short else MB)
    found = compete(lambda way, running: find(way, running, mb * 1_000_000), runs)
    return result(found, f"python bench/throughput.py --runs {runs} --mb {mb}")


def main() -> None:
    show_measured(__doc__, measure, runs=INTEGER, mb=INTEGER)


if __name__ == "__main__":
    main()
