"""How long `ropeway run` takes until it is ready, and `ropeway --help` until it is done: medians, as a table and as JSON.

python bench/startup.py [RUNS]
"""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROPEWAY = [sys.executable, "-m", "proxy"]
RUNS = 7
#: Goals, in seconds.
GOALS = {"--help": 0.4, "run": 1.0, "exit run": 1.0}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def output(*arguments: str) -> str:
    return subprocess.run([*ROPEWAY, *arguments], check=True, capture_output=True, text=True).stdout


def start(*arguments: str) -> tuple[subprocess.Popen[str], float]:
    """The process once it says that it is ready, and the seconds until then. Raises RuntimeError where it ends before."""
    began = time.perf_counter()
    process = subprocess.Popen([*ROPEWAY, *arguments], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        if "ready" in line:
            return process, time.perf_counter() - began
        said.append(line)
    process.communicate()
    raise RuntimeError("".join(said) or "it ended without a word")


def stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.communicate()


def until_ready(arguments: Sequence[str]) -> float:
    process, seconds = start(*arguments)
    stop(process)
    return seconds


def until_done(arguments: Sequence[str]) -> float:
    began = time.perf_counter()
    output(*arguments)
    return time.perf_counter() - began


def measure(once: Callable[[], float], runs: int) -> list[float]:
    once()  # the first reads files from the disk, and may compile them
    return [once() for _ in range(runs)]


def measure_all(folder: Path, runs: int) -> dict[str, list[float]]:
    config, other = str(folder / "ropeway.toml"), str(folder / "other" / "ropeway.toml")
    (folder / "other").mkdir()
    for path in (config, other):
        port = str(free_port())
        where = ["--host", "127.0.0.1", "--port", port, "--listen", f"127.0.0.1:{port}"]
        printed = output("exit", "init", *where, "--config", path)
        link = next(line for line in printed.splitlines() if line.startswith("ropeway://"))
        output("join", link, "--listen", f"127.0.0.1:{free_port()}", "--config", path)
    exit_process, _ = start("exit", "run", "--config", config)
    try:
        return {
            "--help": measure(lambda: until_done(["--help"]), runs),
            "run": measure(lambda: until_ready(["run", "--config", config]), runs),
            "exit run": measure(lambda: until_ready(["exit", "run", "--config", other]), runs),
        }
    finally:
        stop(exit_process)


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
