"""A connection that works is replaced by another one, again and again: no app notices."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import pytest

from tests.lab.hosts import LONG, ROUND_TRIP, TOLERANCE, start_pair
from tests.lab.load import Load

if TYPE_CHECKING:
    from tests.e2e.servers import Authority
    from tests.lab.conftest import Measured
    from tests.lab.hosts import Lab

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

#: Seconds; the least and the most that a connection lives, and how long it goes on.
AGE, LASTS = (1.0, 2.0), 120 if LONG else 10
SIZE, CHATS, EVERY = 10_000_000 if LONG else 1_000_000, 10, 0.1
#: How fast a download and an upload go, in the words of curl, and what is felt in seconds: the longest time in which no app gets a byte, and the
#: slowest answer to a line of a chat. Where the link has room that is a round trip more than without it. Where it is full both ways, hello and
#: welcome wait in queues like everything else, and the next carrier begins as slowly as any.
FELT = {
    "a quarter of what the link can": ("600K", ROUND_TRIP + 0.1, 2 * ROUND_TRIP + 0.1),
    "as fast as the link can": ("0", 3 * ROUND_TRIP, 7 * ROUND_TRIP),
}


@pytest.mark.parametrize("speed", FELT)
def test_nothing_stalls(lab: Lab, authority: Authority, speed: str, measured: Measured) -> None:
    limit, longest_pause, slowest = FELT[speed]
    pair = start_pair(lab, local_settings=f"rotation_age = [{AGE[0]}, {AGE[1]}]\n")
    load = Load.start(lab, pair, authority, size=SIZE, chats=CHATS, every=EVERY, limit=limit)
    began = time.monotonic()
    time.sleep(LASTS)
    ended, carriers = time.monotonic(), lab.link.carriers()
    talk = load.finish()
    arrivals = [at for at in load.arrivals(talk) if began <= at <= ended]
    pause = max(after - before for before, after in itertools.pairwise(arrivals))
    measured(
        f"the connection to the exit is replaced every {AGE[0]:g} to {AGE[1]:g} s for {LASTS} s, while data flows both ways {speed}",
        f"nothing: a download, an upload and {CHATS} chats go on",
        f"{carriers} connections; the longest time without a byte was {pause:.2f} s, the slowest answer to a line of a chat {talk.slowest:.2f} s",
    )
    assert carriers >= LASTS / AGE[1] / 2  # each takes a while to be made, and CI's machines are slow
    assert pause <= longest_pause * TOLERANCE
    assert talk.slowest <= slowest * TOLERANCE
