"""How long Chromium takes to load a page with 100 resources from ten hosts over the lab's link: through Ropeway, directly, and through a peer.

python bench/pages.py [--short] [--loads N] [--congestion reno] [--waterfall FILE]

Linux and root only. Every load has a browser of its own with an empty profile, and host names that nobody has used before; names cost
nothing at either end. `again` is a second load of the same names. `--waterfall` writes when each resource of each load came, as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from figures import Figure, Goal, Plot, Result, Series
from network import ROOT, open_network
from options import CONGESTION, INTEGER, show_measured
from page_times import Loads, Times, arrivals, in_turn, load_seconds
from peer import in_lab
from webpage import Webpage

from tests.lab.hosts import start_pair

if TYPE_CHECKING:
    from tests.lab.hosts import Lab

TITLE = "A page with 100 resources of 20 KB from ten hosts, 20 Mbit/s and 100 ms"
LOADS, SHORT_LOADS = 7, 1
OURS, AGAIN, DIRECT, TROJAN = "ours", "again", "direct", "sing-box trojan"
#: What Chromium is told in the place of a proxy.
DIRECTLY = "direct://"
#: A load that hangs fails the run, in seconds.
PATIENCE = 60


def load(lab: Lab, url: str, proxy: str) -> Times:
    argv = [*lab.home.prefix, sys.executable, str(ROOT / "bench/page_load.py"), url, proxy]
    done = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True, timeout=PATIENCE, cwd=ROOT)
    times: Times = json.loads(done.stdout)
    load_seconds(times)
    return times


def load_all(lab: Lab, page: Webpage, proxies: dict[str, str], rounds: int) -> dict[str, Loads]:
    """A load that is not counted goes first: it reads programs from the disk."""
    loads = {name: Loads() for name in (*proxies, AGAIN)}
    load(lab, page.url(rounds), DIRECTLY)
    for visit in range(rounds):
        for name in in_turn(list(proxies), visit):
            loads[name].times.append(load(lab, page.url(visit), proxies[name]))
        loads[AGAIN].times.append(load(lab, page.url(visit), proxies[OURS]))
    return loads


def measure_all(rounds: int, congestion: str) -> dict[str, Loads]:
    page = Webpage(visits=rounds + 1)
    with (
        tempfile.TemporaryDirectory() as folder,
        open_network(Path(folder), congestion, names=page.names) as lab,
        in_lab(lab, "trojan") as trojan,
    ):
        page.serve(lab.abroad, Path(folder))
        pair = start_pair(lab)
        proxies = {OURS: pair.local.url("socks5"), DIRECT: DIRECTLY, TROJAN: f"socks5://127.0.0.1:{trojan.port}"}
        return load_all(lab, page, proxies, rounds)


def result(loads: dict[str, Loads], command: str) -> Result:
    seconds = {name: each.seconds for name, each in loads.items()}
    others = {name: seconds[name] for name in (DIRECT, TROJAN)}

    def figure(name: str, ours: str, goal: Goal | None = None) -> Figure:
        return Figure(name, "s", seconds[ours], command, others, goal)

    figures = [
        figure("page load", OURS, Goal(most=1.15, of=DIRECT)),
        figure("page load, beside a connection each", OURS, Goal(most=1.0, of=TROJAN)),
        figure("page load, hosts known", AGAIN),
    ]
    return Result(TITLE, figures, [plot(loads)])


def plot(loads: dict[str, Loads]) -> Plot:
    """Of each way the load in the middle."""
    series = []
    for name, each in loads.items():
        middle = sorted(each.times, key=load_seconds)[len(each.times) // 2]
        came = arrivals(middle)
        series.append(Series(name, came, [float(number + 1) for number in range(len(came))]))
    return Plot("pages", TITLE, "seconds", "resources that are there", series)


def measure(short: bool = False, *, loads: int = 0, congestion: str = "reno", waterfall: Path | None = None) -> Result:
    """`waterfall`: where to write the times of every resource. Raises CalledProcessError where a page does not load."""
    rounds = loads or (SHORT_LOADS if short else LOADS)
    found = measure_all(rounds, congestion)
    if waterfall:
        waterfall.write_text(json.dumps({name: each.times for name, each in found.items()}))
    return result(found, f"python bench/pages.py --loads {rounds} --congestion {congestion}")


def main() -> None:
    show_measured(__doc__, measure, loads=INTEGER, congestion=CONGESTION, waterfall={"type": Path})


if __name__ == "__main__":
    main()
