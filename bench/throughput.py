"""Ropeway beside another proxy, under the same load, in turn: medians and ratios, as a table and as JSON.

python bench/throughput.py PEERS.PY [--peer NAME] [--runs N] [--mb SIZE]

PEERS.PY starts the other proxy and loads both of them; it prints one line of JSON with the figures of each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pair import running

RATES = ["down_1", "down_8", "up_1", "up_8"]
FIGURES = [*RATES, "half_close"]
#: Of the other's rate.
GOAL = 0.8

Figures = dict[str, Any]


def one_run(peers: str, peer: str, megabytes: int) -> dict[str, Figures]:
    """The figures of both, by their names. A pair of our own is started for it: nothing is warm from the run before."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as port:
        argv = [sys.executable, peers, peer, "--ours", f"127.0.0.1:{port}", "--mb", str(megabytes), "--json"]
        done = subprocess.run([*argv, "--only", *FIGURES], check=True, capture_output=True, text=True)
    figures: dict[str, Figures] = json.loads(done.stdout.splitlines()[-1])
    return figures


def median(runs: list[dict[str, Figures]], name: str, figure: str) -> float:
    values = [run[name][figure] for run in runs]
    failed = [value for value in values if isinstance(value, str)]
    if failed:
        sys.exit(f"{name}, {figure}: {failed[0]}")
    return float(statistics.median(values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peers")
    parser.add_argument("--peer", default="singbox-yamux")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--mb", type=int, default=400)
    args = parser.parse_args()
    runs = [one_run(args.peers, args.peer, args.mb) for _ in range(args.runs)]
    report = {}
    print(f"{'':<12}{'ours':>9}{args.peer:>16}{'ratio':>9}{'goal':>7}   MB/s, median of {args.runs} runs")
    for figure in FIGURES:
        ours, other = median(runs, "ours", figure), median(runs, args.peer, figure)
        report[figure] = {"ours": round(ours, 1), args.peer: round(other, 1), "ratio": round(ours / other, 2)}
        print(f"{figure:<12}{ours:>9.0f}{other:>16.0f}{ours / other:>9.2f}{GOAL if figure in RATES else 1.0:>7.1f}")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
