"""How long `ropeway run` takes until it is ready, and `ropeway --help` until it is done: medians, as a table and as JSON.

python bench/startup.py [RUNS]
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pair import configure, output, start, stop

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS = 7
#: Goals, in seconds.
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


def measure(once: Callable[[], float], runs: int) -> list[float]:
    once()  # the first reads files from the disk, and may compile them
    return [once() for _ in range(runs)]


def measure_all(folder: Path, runs: int) -> dict[str, list[float]]:
    config, _ = configure(folder)
    seconds = {"exit run": measure(lambda: until_ready("exit", "run", "--config", config), runs)}
    exit_process = start("exit", "run", "--config", config)
    try:
        seconds["run"] = measure(lambda: until_ready("run", "--config", config), runs)
    finally:
        stop(exit_process)
    seconds["--help"] = measure(lambda: until_done("--help"), runs)
    return seconds


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    with tempfile.TemporaryDirectory() as folder:
        seconds = measure_all(Path(folder), runs)
    print(f"{'ropeway':<10}{'median':>9}{'least':>9}{'most':>9}{'goal':>9}   seconds, {runs} runs")
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"{name:<10}{median:>9.3f}{min(values):>9.3f}{max(values):>9.3f}{GOALS[name]:>9.1f}")
    print(json.dumps({name: round(statistics.median(values), 4) for name, values in seconds.items()}))


if __name__ == "__main__":
    main()
