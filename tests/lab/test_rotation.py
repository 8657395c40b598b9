"""A connection that works is replaced by another one, again and again: no app notices."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import pytest

from tests.lab.hosts import LONG, ROUND_TRIP, TOLERANCE, start_pair
from tests.lab.load import Chats, Load, start_echo

if TYPE_CHECKING:
    from tests.e2e.pairs import Pair
    from tests.e2e.servers import Authority
    from tests.lab.conftest import Measured
    from tests.lab.hosts import Lab
    from tests.lab.load import Talk

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

#: Seconds; the least and the most that a connection lives, and how long it goes on.
AGE, LASTS = (1.0, 2.0), 60 if LONG else 8
SIZE, CHATS, EVERY = 10_000_000 if LONG else 1_000_000, 10, 0.1
#: How fast a download and an upload go, in the words of curl, and what is felt in seconds: the longest time in which no app gets a byte, and the
#: slowest answer to a line of a chat. Without them that is a round trip more than at other times. Where there are some, hello and welcome wait in
#: queues like everything else, and the next carrier begins as slowly as any.
FELT = {
    "only chats talk": ("", EVERY + ROUND_TRIP + 0.05, 2 * ROUND_TRIP + 0.1),
    "a download and an upload take a quarter of the link": ("600K", 3 * ROUND_TRIP + 0.05, 5 * ROUND_TRIP),
    "a download and an upload take all of the link": ("0", 4 * ROUND_TRIP, 10 * ROUND_TRIP),
}


def talk_and_load(lab: Lab, pair: Pair, authority: Authority, limit: str) -> tuple[Talk, list[float]]:
    """What the chats saw, and when any app got bytes."""
    if not limit:
        chats = Chats(lab, pair, start_echo(lab), number=CHATS, every=EVERY)
        time.sleep(LASTS)
        talk = chats.finish()
        assert talk.faults == []
        return talk, talk.arrivals
    load = Load.start(lab, pair, authority, size=SIZE, chats=CHATS, every=EVERY, limit=limit)
    time.sleep(LASTS)
    talk = load.finish()
    return talk, load.arrivals(talk)


@pytest.mark.parametrize("load", FELT)
def test_nothing_stalls(lab: Lab, authority: Authority, load: str, measured: Measured) -> None:
    limit, longest_pause, slowest = FELT[load]
    pair = start_pair(lab, local_settings=f"rotation_age = [{AGE[0]}, {AGE[1]}]\n")
    began = time.monotonic()
    talk, arrivals = talk_and_load(lab, pair, authority, limit)
    during = [at for at in arrivals if began + 1 <= at <= began + LASTS]
    pause = max(after - before for before, after in itertools.pairwise(during))
    carriers = lab.link.carriers()
    measured(
        f"the connection to the exit is replaced every {AGE[0]:g} to {AGE[1]:g} s for {LASTS} s, while {load}",
        "nothing: all go on",
        f"{carriers} connections; the longest time without a byte was {pause:.2f} s, the slowest answer to a line of a chat {talk.slowest:.2f} s",
    )
    assert carriers >= LASTS / AGE[1] / 2  # each takes a while to be made, and CI's machines are slow
    assert pause <= longest_pause * TOLERANCE
    assert talk.slowest <= slowest * TOLERANCE
