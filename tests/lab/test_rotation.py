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
#: At full speed, both ways.
SIZE, CHATS, EVERY = 20_000_000 if LONG else 3_000_000, 10, 0.1
#: A round trip more than without it, and the time that what is in flight waits in a queue: an eighth of a round trip each way, and as much
#: for acknowledgements; and for programs on few cores.
SLOWEST = 2 * ROUND_TRIP + 0.15
#: Of the download: a round trip in which nothing comes, and what was not yet there when it began.
PAUSE = ROUND_TRIP + 0.1


def test_nothing_stalls(lab: Lab, authority: Authority, measured: Measured) -> None:
    pair = start_pair(lab, local_settings=f"rotation_age = [{AGE[0]}, {AGE[1]}]\n")
    load = Load.start(lab, pair, authority, size=SIZE, chats=CHATS, every=EVERY)
    time.sleep(LASTS)
    carriers = lab.link.carriers()
    talk = load.finish()
    arrivals = load.arrivals(talk)
    pause = max(after - before for before, after in itertools.pairwise(arrivals))
    measured(
        f"the connection to the exit is replaced every {AGE[0]:g} to {AGE[1]:g} s for {LASTS} s",
        f"nothing: a download, an upload and {CHATS} chats go on",
        f"{carriers} connections; the longest time without a byte was {pause:.2f} s, the slowest answer to a line of a chat {talk.slowest:.2f} s",
    )
    assert carriers >= LASTS / AGE[1]
    assert pause <= PAUSE * TOLERANCE
    assert talk.slowest <= SLOWEST * TOLERANCE
