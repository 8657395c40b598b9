"""Pauses between attempts: their bounds, and what shortens them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
import trio

from proxy.backoff import DEMAND, FIRST_PAUSE, LONGEST_PAUSE, Backoff

if TYPE_CHECKING:
    from trio.testing import MockClock


@pytest.fixture(autouse=True)
def _longest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The jitter takes all that it may."""
    monkeypatch.setattr(random, "uniform", lambda _low, high: high)


async def pause(backoff: Backoff, *, took: float = 0.0, demand: bool = False) -> float:
    """How long it lasts after an attempt that took so many seconds."""
    began = trio.current_time()
    await trio.sleep(took)
    await backoff.pause(began, demand=demand)
    return trio.current_time() - began - took


async def test_pauses_double_up_to_the_longest(autojump_clock: MockClock) -> None:
    backoff = Backoff()
    pauses = [await pause(backoff) for _ in range(12)]
    assert pauses == pytest.approx([min(FIRST_PAUSE * 2**n, LONGEST_PAUSE) for n in range(12)])


async def test_what_an_attempt_took_counts(autojump_clock: MockClock) -> None:
    backoff = Backoff()
    assert await pause(backoff, took=FIRST_PAUSE / 2) == pytest.approx(FIRST_PAUSE / 2)
    assert await pause(backoff, took=10) == 0


async def test_somebody_waits_for_a_second_at_most(autojump_clock: MockClock) -> None:
    backoff = Backoff()
    pauses = [await pause(backoff, demand=True) for _ in range(12)]
    assert max(pauses) == pytest.approx(DEMAND)
    assert pauses[0] == pytest.approx(FIRST_PAUSE)


@pytest.mark.parametrize(("word", "lasts"), [("wanted", DEMAND), ("reset", 0.1)])
async def test_a_pause_is_shortened(word: str, lasts: float, autojump_clock: MockClock) -> None:
    backoff = Backoff()
    for _ in range(12):
        await pause(backoff)

    async def shorten() -> None:
        await trio.sleep(0.1)
        getattr(backoff, word)()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shorten)
        assert await pause(backoff) == pytest.approx(lasts)


async def test_after_a_reset_pauses_begin_anew(autojump_clock: MockClock) -> None:
    backoff = Backoff()
    for _ in range(5):
        await pause(backoff)
    backoff.reset()
    assert await pause(backoff) == pytest.approx(FIRST_PAUSE)
