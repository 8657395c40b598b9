"""A call while the connection to the exit is reset again and again: others see the caller where it was."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.apps.call import EVERY
from tests.lab.addresses import EXIT_PORT
from tests.lab.calls import Exchange
from tests.lab.hosts import LONG, start_pair

if TYPE_CHECKING:
    from tests.lab.conftest import Measured
    from tests.lab.hosts import Lab

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

SECONDS, RESETS = (60.0, 10) if LONG else (6.0, 2)


def longest_gap(numbers: list[int]) -> float:
    """Seconds of speech that are missing at once."""
    return max(after - before - 1 for before, after in itertools.pairwise(numbers)) * EVERY


def test_resets(lab: Lab, measured: Measured) -> None:
    exchange = Exchange(lab, start_pair(lab))
    call = exchange.begin(SECONDS)
    for _ in range(RESETS):
        time.sleep(SECONDS / (RESETS + 1))
        lab.link.say(f"reset {EXIT_PORT}")
    both = call.finish()
    lost = max(heard.lost(call.packets) for heard in both)
    gap = max(longest_gap(heard.numbers) for heard in both)
    measured(
        f"{RESETS} forged resets during a call of {SECONDS:g} s",
        "gaps; the call goes on, and others see the caller at the address where it was",
        f"{lost:.1%} of the packets are lost in the worse direction, the longest gap is {gap:.2f} s",
    )
    assert lab.link.carriers() > RESETS
    for heard in both:
        assert heard.numbers == sorted(set(heard.numbers))
        assert heard.numbers[0] == 0
    before, after = both[0].seen_as
    assert before == after
