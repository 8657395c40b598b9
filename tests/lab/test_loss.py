"""A link that loses packets is slow and nothing else: no false alarm, and no new carrier."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.lab.hosts import LONG, open_lab, start_pair
from tests.lab.load import Load
from tests.lab.runs import side_by_side

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.servers import Authority
    from tests.lab.conftest import Measured
    from tests.lab.runs import Runs

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

SECONDS = 300.0 if LONG else 12.0
CASES = (0.01, 0.05, 0.15)
#: Where an alarm would be false. Above, a carrier may look as dead as one that is.
CALM = (0.01, 0.05)
SIZE, LIMIT, CHATS, EVERY = 1_000_000, "500K", 10, 0.5


@dataclass(frozen=True)
class Loss:
    """What came while packets were lost: kilobytes of downloads each second, and answers to lines. `slowest`: of the answers, in seconds.

    `carriers` counts every connection that was begun to the exit, `dead` those that were given up for dead.
    """

    carriers: int
    dead: int
    speed: float
    answers: int
    slowest: float


@pytest.fixture(scope="module")
def losses(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Runs[float, Loss]]:
    def run(fraction: float) -> Loss:
        with open_lab(tmp_path_factory.mktemp(f"loss-{fraction}")) as lab:
            pair = start_pair(lab)
            load = Load.start(lab, pair, authority, size=SIZE, chats=CHATS, every=EVERY, limit=LIMIT)
            began = time.monotonic()
            lab.link.say(f"loss {fraction}")
            time.sleep(SECONDS)
            ended, carriers = time.monotonic(), lab.link.carriers()
            # So that the last transfers end soon; they were at it long enough.
            lab.link.say("loss 0")
            talk = load.finish()
            dead = len(pair.local.program.lines("the connection to the exit is gone"))
            speed = load.downloads.came(began, ended) / (ended - began) / 1000
            return Loss(carriers, dead, speed, sum(began < at < ended for at in talk.arrivals), talk.slowest)

    with side_by_side(run, CASES) as runs:
        yield runs


@pytest.mark.parametrize("fraction", CASES)
def test_it_works(losses: Runs[float, Loss], fraction: float, measured: Measured) -> None:
    seen = losses[fraction]  # raises where a stream did not end well
    others = f"{seen.carriers - 1} other connections to the exit were begun, {seen.dead} carriers given up"
    measured(
        f"{fraction:.0%} of packets are lost for {SECONDS:g} s",
        "it is slower and nothing else" if fraction in CALM else "it works, slowly",
        f"a download gets {seen.speed:.0f} KB/s, the slowest answer to a line of a chat took {seen.slowest:.1f} s; {others}",
    )
    assert seen.speed > 0
    assert seen.answers > CHATS  # each chat, and more than once


@pytest.mark.parametrize("fraction", CALM)
def test_there_is_no_false_alarm(losses: Runs[float, Loss], fraction: float) -> None:
    assert losses[fraction].dead == 0
    if LONG:  # elsewhere a machine that stood still for two seconds is no alarm of ours
        assert losses[fraction].carriers == 1
