"""The carrier is reset again and again by somebody on the way: no app notices more than a short pause."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest

from tests.lab.addresses import EXIT_PORT
from tests.lab.hosts import LONG, ROUND_TRIP, TOLERANCE, start_pair
from tests.lab.load import Load, Pauses, pause_after

if TYPE_CHECKING:
    from tests.e2e.servers import Authority
    from tests.lab.conftest import Measured
    from tests.lab.hosts import Lab

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

RESETS = 1000 if LONG else 20
#: Of a body. The short form's is transferred again and again for as long as the resets take.
SIZE = 100_000_000 if LONG else 4_000_000
CHATS, EVERY = 50, 0.5
#: Data flows again within three round trips (of TCP, of TLS, and of the welcome) and 0.3 s, and never after more than 1 s.
MEDIAN, WORST = 3 * ROUND_TRIP + 0.3, 1.0
#: From data to the next reset: at once, or when the streams have gathered speed.
STEADY = (0.05, 0.5)
#: A carrier that does not come at all is a failure of its own.
LOST_SECONDS = 60.0


def reset_again_and_again(lab: Lab, load: Load) -> list[float]:
    """When it was done."""
    moments = []
    for _ in range(RESETS):
        time.sleep(random.uniform(*STEADY))
        moments.append(time.monotonic())
        assert int(lab.link.say(f"reset {EXIT_PORT}")) >= 1
        # What lay in buffers comes within a round trip, what a new carrier brings does not.
        load.flows_after(moments[-1] + 1.5 * ROUND_TRIP, LOST_SECONDS)
    return moments


def test_resets(lab: Lab, authority: Authority, measured: Measured) -> None:
    pair = start_pair(lab)
    load = Load.start(lab, pair, authority, size=SIZE, chats=CHATS, every=EVERY)
    moments = reset_again_and_again(lab, load)
    talk = load.finish()
    arrivals = load.arrivals(talk)
    pauses = Pauses.of([pause_after(moment, arrivals, ROUND_TRIP) for moment in moments])
    measured(
        f"{RESETS} forged resets in a row",
        f"nothing but short pauses: a download and an upload of {SIZE / 1e6:g} MB and {CHATS} chats go on, every byte as it was sent",
        f"data flows again after {pauses}; the slowest answer to a line of a chat {talk.slowest:.1f} s",
    )
    assert lab.link.carriers() > RESETS
    assert pauses.median <= MEDIAN * TOLERANCE
    assert pauses.worst <= WORST * TOLERANCE
