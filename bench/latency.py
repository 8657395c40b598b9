"""Round trips of a chat beside bulk, over a bad link: through Ropeway, and directly. Linux and root only.

python bench/latency.py [--only NAME ...] [--seconds S] [--congestion reno]

Two hosts of the lab (tests/lab) are joined by a link with a rate, a delay and a queue of 1 MB; both hosts' kernels use a congestion
control that goes by losses, as most do.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.lab.addresses import ABROAD  # noqa: E402  (the folder of this file is what Python knows)
from tests.lab.hosts import Lab, open_lab, start_pair  # noqa: E402

PORT = 9100
QUEUE = 1000  # KB


@dataclass(frozen=True)
class Case:
    """A rate in Mbit/s, a round trip in seconds, loss as a fraction, what the load is told, and what is to be reached."""

    rate: float
    load: tuple[str, ...] = ()
    round_trip: float = 0.1
    loss: float = 0.0
    goal: str = ""


CASES = {
    "download": Case(20, goal="130/150 ms, 18 Mbit/s"),
    "upload": Case(20, ("--way", "up"), goal="130/150 ms, 18 Mbit/s"),
    "8 downloads": Case(20, ("--streams", "8"), goal="130/150 ms, 18 Mbit/s"),
    "100 Mbit/s": Case(100, goal="130/150 ms"),
    "beside another": Case(20, ("--beside", "1"), goal="half to twice the other's rate"),
    "1 % loss": Case(20, loss=0.01, goal="0.8 of the direct rate"),
    "300 ms": Case(100, round_trip=0.3, goal="0.9 of the direct rate"),
}


def in_host(lab: Lab, end: str, *argv: str) -> list[str]:
    host = lab.home if end == "home" else lab.abroad
    return [*host.prefix, *argv]


def set_congestion(lab: Lab, name: str) -> None:
    for end in ("home", "abroad"):
        argv = in_host(lab, end, "sysctl", "-qw", f"net.ipv4.tcp_congestion_control={name}")
        subprocess.run(argv, check=True)


def measure(lab: Lab, socks: int, case: Case, seconds: float) -> dict[str, Any]:
    load = [sys.executable, str(ROOT / "bench/round_trips.py"), str(socks), ABROAD, str(PORT)]
    argv = in_host(lab, "home", *load, *case.load, "--seconds", str(seconds))
    done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=seconds + 60)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def run(case: Case, seconds: float, congestion: str) -> dict[str, dict[str, Any]]:
    with (
        tempfile.TemporaryDirectory() as folder,
        open_lab(Path(folder), rate=case.rate, round_trip=case.round_trip) as lab,
    ):
        lab.link.say(f"queue {QUEUE}")
        set_congestion(lab, congestion)
        target = subprocess.Popen(in_host(lab, "abroad", sys.executable, str(ROOT / "bench/target.py"), str(PORT)))
        try:
            pair = start_pair(lab)
            lab.link.say(f"loss {case.loss}")
            return {"ours": measure(lab, pair.port, case, seconds), "direct": measure(lab, 0, case, seconds)}
        finally:
            target.kill()
            target.wait()


def row(name: str, who: str, figures: dict[str, Any], goal: str) -> str:
    beside = f"{figures['beside_mbit']:>9.1f}" if figures["beside_mbit"] else " " * 9
    trips = f"{figures['median_ms']:>8.0f}{figures['p99_ms']:>8.0f}"
    return f"{name:<16}{who:<8}{trips}{figures['bulk_mbit']:>9.1f}{figures['least_share']:>8.2f}{beside}  {goal}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--congestion", default="reno")
    args = parser.parse_args()
    print(f"{'':<24}{'median':>8}{'99th':>8}{'Mbit/s':>9}{'share':>8}{'other':>9}  goal")
    report = {}
    for name in args.only:
        report[name] = run(CASES[name], args.seconds, args.congestion)
        for who, figures in report[name].items():
            print(row(name, who, figures, CASES[name].goal if who == "ours" else ""), flush=True)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
