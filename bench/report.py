"""Runs the programs of this folder and writes what they found into a folder: README.md, figures.json, and each plot as SVG.

python bench/report.py [--short] [FOLDER] [--only NAME ...]

A program that fails, or cannot run on this machine, is named in the report with its reason; the others go on, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import importlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from drawing import draw
from figures import Result, as_dict, markdown, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FOLDER = Path(__file__).parent.parent / "docs" / "measured"
#: Modules of this folder that have `measure(short)`, in this order. Each is imported when its turn comes: one that this
#: machine has no packages for does not stop the others.
PROGRAMS = ("startup", "throughput", "connections", "latency", "calls", "flood", "fairness", "memory", "pages")


@dataclass
class Outcome:
    """What a program found, or why it did not; `failures` also says which of its plots could not be drawn."""

    program: str
    result: Result | None = None
    failures: list[str] = field(default_factory=list)


def run(program: str, short: bool) -> Outcome:
    try:
        return Outcome(program, importlib.import_module(program).measure(short=short))
    except KeyboardInterrupt:
        raise
    except BaseException as failure:  # what the lab's tests end with, where a machine has no lab, is no Exception
        return Outcome(program, failures=[reason(failure)])


def reason(failure: BaseException) -> str:
    """One line."""
    said = [line.strip() for line in str(failure).splitlines() if line.strip()]
    return f"{type(failure).__name__}: {said[-1]}" if said else type(failure).__name__


def draw_all(outcome: Outcome, folder: Path) -> list[str]:
    """The names of the files."""
    drawn = []
    for plot in outcome.result.plots if outcome.result else []:
        try:
            draw(plot, folder / f"{plot.name}.svg")
        except ImportError:
            outcome.failures.append(f"{plot.name} is not drawn: matplotlib is not there, install the extra `bench`")
        else:
            drawn.append(f"{plot.name}.svg")
    return drawn


# ---- the machine


def first_line(*argv: str) -> str:
    """Of what a program prints; nothing where it is not there."""
    if shutil.which(argv[0]) is None:
        return ""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout.strip().partition("\n")[0]


def cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def sing_box() -> str:
    peer = importlib.import_module("peer")
    try:
        return str(peer.version())
    except peer.MissingError:
        return ""


def machine() -> dict[str, str]:
    """What the figures depend on. Nothing that names the machine or its user."""
    known = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "CPU": f"{cpu_model()}, {os.cpu_count()} cores",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "Ropeway": importlib.metadata.version("ropeway"),
        "sing-box": sing_box(),
        "Chromium": first_line("chromium", "--version"),
    }
    return {name: value for name, value in known.items() if value}


# ---- the report

INTRODUCTION = """Written by `{command}`; [bench/README.md](../../bench/README.md) says what each figure means.
Ratios within one run count; absolute figures differ between machines."""


def page(outcomes: Sequence[Outcome], about: dict[str, str], plots: Iterable[str], command: str) -> str:
    """README.md."""
    parts = [
        "# What was measured",
        INTRODUCTION.format(command=command),
        "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in about.items())]),
    ]
    for outcome in outcomes:
        if outcome.result:
            parts += [f"## {outcome.result.title}", markdown(outcome.result.figures)]
            parts += [
                f"![{plot.title}]({plot.name}.svg)" for plot in outcome.result.plots if f"{plot.name}.svg" in plots
            ]
        else:
            parts.append(f"## {outcome.program}")
        parts += [f"**Not measured.** {failure}" for failure in outcome.failures]
    return "\n\n".join(parts) + "\n"


def as_json(outcomes: Sequence[Outcome], about: dict[str, str]) -> str:
    programs = {
        outcome.program: (as_dict(outcome.result) if outcome.result else {}) | {"failures": outcome.failures}
        for outcome in outcomes
    }
    return json.dumps({"machine": about, "programs": programs}, indent=1, allow_nan=False) + "\n"


def write(outcomes: Sequence[Outcome], folder: Path, about: dict[str, str], command: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    plots = [name for outcome in outcomes for name in draw_all(outcome, folder)]
    (folder / "README.md").write_text(page(outcomes, about, plots, command))
    (folder / "figures.json").write_text(as_json(outcomes, about))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--only", action="extend", nargs="+", choices=PROGRAMS)
    args = parser.parse_args()
    names = args.only or PROGRAMS
    words = ["scripts/bench", *(["--short"] if args.short else []), *(["--only", *names] if args.only else [])]
    outcomes = []
    for name in names:
        outcomes.append(run(name, args.short))
        if outcomes[-1].result:
            print(f"{outcomes[-1].result.title}\n\n{table(outcomes[-1].result.figures)}\n", flush=True)
        for failure in outcomes[-1].failures:
            print(f"{name} was not measured: {failure}\n", flush=True)
    write(outcomes, args.folder, machine(), " ".join(words))
    sys.exit(any(outcome.failures for outcome in outcomes))


if __name__ == "__main__":
    main()
