"""Short connections on loopback, 32 at once: connect, one echo, close; beside sing-box yamux in the same run: medians. Linux only.

python bench/connections.py [--short] [--runs N] [--seconds S]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contest import OURS, YAMUX, Found, compete
from figures import Figure, Goal, Result
from load import connects
from options import DURATION, INTEGER, show_measured

if TYPE_CHECKING:
    from load import Way

TITLE = "Short connections on loopback, 32 at once"
RUNS, SHORT_RUNS = 3, 1
SECONDS, SHORT_SECONDS = 5.0, 3.0
#: The figure's unit, and what is to be reached.
FIGURES: dict[str, tuple[str, Goal | None]] = {
    "connects_per_s": ("1/s", Goal(least=0.6, of=YAMUX)),
    "connect and echo, median": ("ms", None),
    "connect and echo, 99th percentile": ("ms", Goal(most=100)),
}


def find(way: Way, seconds: float) -> Found:
    """Raises OSError where a connection fails."""
    found = connects(way, seconds)
    return dict(zip(FIGURES, (found.rate, found.times.median, found.times.p99), strict=True))


def result(found: dict[str, Found], command: str) -> Result:
    figures = [
        Figure(name, unit, found[OURS][name], command, {YAMUX: found[YAMUX][name]}, goal)
        for name, (unit, goal) in FIGURES.items()
    ]
    return Result(TITLE, figures)


def measure(short: bool = False, *, runs: int = 0, seconds: float = 0) -> Result:
    """Raises OSError where a connection fails, MissingError and RuntimeError where a pair does not start."""
    runs, seconds = runs or (SHORT_RUNS if short else RUNS), seconds or (SHORT_SECONDS if short else SECONDS)
    found = compete(lambda way, _: find(way, seconds), runs)
    return result(found, f"python bench/connections.py --runs {runs} --seconds {seconds:g}")


def main() -> None:
    show_measured(__doc__, measure, runs=INTEGER, seconds=DURATION)


if __name__ == "__main__":
    main()
