"""When what is quiet is ended, in virtual time: not before its time, and within a minute after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from proxy import config
from proxy.config_tables import ExitTable
from proxy.idleness import IDLE_TIME, LEAST_IDLE_TIME, LOOK_EVERY, end_idle

if TYPE_CHECKING:
    from trio.testing import MockClock


class Asked:
    """What is asked for, and how long before that something must have gone."""

    def __init__(self, idle_time: float) -> None:
        self.idle_time = idle_time
        self.limits: list[float] = []

    def end(self, since: float) -> None:
        self.limits.append(round(trio.current_time() - since, 3))

    async def watch(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await end_idle(lambda: self.idle_time, self.end)


async def test_it_looks_every_minute(autojump_clock: MockClock) -> None:
    asked = Asked(7200)
    await asked.watch(10 * LOOK_EVERY + 1)
    assert asked.limits == [7200] * 10


@pytest.mark.parametrize("idle_time", [0.001, 1, 1799, 1800])
async def test_nothing_is_ended_within_half_an_hour(autojump_clock: MockClock, idle_time: float) -> None:
    asked = Asked(idle_time)
    await asked.watch(LOOK_EVERY + 1)
    assert asked.limits == [LEAST_IDLE_TIME] == [1800]


def test_the_setting_has_the_same_bounds() -> None:
    assert config.LEAST_IDLE_TIME == LEAST_IDLE_TIME
    assert ExitTable().idle_time == IDLE_TIME


async def test_nothing_is_ever_ended_and_a_changed_setting_holds_at_once(autojump_clock: MockClock) -> None:
    asked = Asked(0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(asked.watch, 100 * LOOK_EVERY)
        await trio.sleep(50 * LOOK_EVERY + 1)
        assert not asked.limits
        asked.idle_time = 3600
        await trio.sleep(LOOK_EVERY)
        assert asked.limits == [3600]
        nursery.cancel_scope.cancel()
