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
    from tests.lab.runs import Runs

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

SECONDS = 300.0 if LONG else 20.0
CASES = (0.01, 0.05, 0.15)
#: Where an alarm would be false. Above, a carrier may look as dead as one that is.
CALM = (0.01, 0.05)
SIZE, LIMIT, CHATS, EVERY = 1_000_000, "500K", 10, 0.5


@dataclass(frozen=True)
class Loss:
    """What came while packets were lost: pieces of downloads, and answers to lines. `slowest`: of the answers, in seconds."""

    carriers: int
    pieces: int
    answers: int
    slowest: float


@pytest.fixture(scope="module")
def losses(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Runs[float, Loss]]:
    def run(fraction: float) -> Loss:
        with open_lab(tmp_path_factory.mktemp(f"loss-{fraction}")) as lab:
            load = Load.start(lab, start_pair(lab), authority, size=SIZE, chats=CHATS, every=EVERY, limit=LIMIT)
            began = time.monotonic()
            lab.link.say(f"loss {fraction}")
            time.sleep(SECONDS)
            ended, carriers = time.monotonic(), lab.link.carriers()
            # So that the last transfers end soon; they were at it long enough.
            lab.link.say("loss 0")
            talk = load.finish()
            pieces = sum(began < at < ended for at in load.downloads.arrivals)
            return Loss(carriers, pieces, sum(began < at < ended for at in talk.arrivals), talk.slowest)

    with side_by_side(run, CASES) as runs:
        yield runs


@pytest.mark.parametrize("fraction", CASES)
def test_it_works(losses: Runs[float, Loss], fraction: float) -> None:
    seen = losses[fraction]  # raises where a stream did not end well
    print(f"{fraction:.0%} lost: {seen}")
    assert seen.pieces
    assert seen.answers > CHATS  # each chat, and more than once


@pytest.mark.parametrize("fraction", CALM)
def test_there_is_no_false_alarm(losses: Runs[float, Loss], fraction: float) -> None:
    assert losses[fraction].carriers == 1
