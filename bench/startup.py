"""How long `ropeway run` takes until it is ready, and `ropeway --help` until it is done: medians.

python bench/startup.py [--short] [--runs N]
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from figures import Figure, Goal, Result
from options import INTEGER, show_measured
from pair import configure, output, start, stop

if TYPE_CHECKING:
    from collections.abc import Callable

TITLE = "Start, until ready"
RUNS, SHORT_RUNS = 7, 2
GOALS = {"--help": 0.4, "run": 1.0, "exit run": 1.0}


def until_ready(*arguments: str) -> float:
    began = time.perf_counter()
    process = start(*arguments)
    seconds = time.perf_counter() - began
    stop(process)
    return seconds


def until_done(*arguments: str) -> float:
    began = time.perf_counter()
    output(*arguments)
    return time.perf_counter() - began


def repeated(once: Callable[[], float], runs: int) -> float:
    """The median."""
    once()  # the first reads files from the disk, and may compile them
    return statistics.median(once() for _ in range(runs))


def measure_all(folder: Path, runs: int) -> dict[str, float]:
    config, _ = configure(folder)
    seconds = {"exit run": repeated(lambda: until_ready("exit", "run", "--config", config), runs)}
    exit_process = start("exit", "run", "--config", config)
    try:
        seconds["run"] = repeated(lambda: until_ready("run", "--config", config), runs)
    finally:
        stop(exit_process)
    seconds["--help"] = repeated(lambda: until_done("--help"), runs)
    return seconds


def measure(short: bool = False, *, runs: int = 0) -> Result:
    """Raises CalledProcessError and RuntimeError where ours does not start."""
    runs = runs or (SHORT_RUNS if short else RUNS)
    with tempfile.TemporaryDirectory() as folder:
        seconds = measure_all(Path(folder), runs)
    command = f"python bench/startup.py --runs {runs}"
    return Result(
        TITLE,
        [Figure(f"ropeway {name}", "s", seconds[name], command, goal=Goal(most=most)) for name, most in GOALS.items()],
    )


def main() -> None:
    show_measured(__doc__, measure, runs=INTEGER)


if __name__ == "__main__":
    main()
