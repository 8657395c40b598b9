"""A day in a quarter of an hour: resets, silences and changes of address, while streams come and go; nothing is left behind."""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from proxy.heap import GIVE_BACK_EVERY
from tests.e2e.machine import free_port, wait_until
from tests.lab.addresses import EXIT_PORT
from tests.lab.hosts import LONG, start_pair
from tests.lab.load import start_echo
from tests.lab.vitals import Vitals

if TYPE_CHECKING:
    from tests.e2e.pairs import Pair
    from tests.lab.conftest import Measured
    from tests.lab.hosts import Lab

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

STREAMS = 200 if LONG else 40
#: Seconds: up to the first look at memory and descriptors, and from there to the last.
FIRST, REST = (60.0, 840.0) if LONG else (10.0, 20.0)
#: Seconds, and megabytes: a working carrier is replaced as often as others are lost.
ROTATION = "rotation_age = [2, 10]\nrotation_volume = [1, 4]\n"
#: Seconds between two troubles, and how long a silence lasts at most: some are noticed, and some are over before.
BETWEEN, SILENCE = (1.0, 4.0), 8.0
#: What is new after the first look may be on the free lists of two allocators: as much as one full window of a stream.
SLACK = 16 * 2**20
#: Until the streams that apps have ended are gone at both ends.
SETTLED_SECONDS = 30.0


@dataclass
class Day:
    lab: Lab
    pair: Pair
    port: int
    troubles: list[str] = field(default_factory=list)

    def pass_by(self, seconds: float) -> tuple[dict[str, Any], list[Vitals]]:
        """What the crowd has seen, and what both programs hold when it has gone."""
        report = self.lab.folder / f"crowd-{free_port()}.json"
        words = ["--proxy", self.pair.port, "--port", self.port, "--streams", STREAMS, "--report", report]
        crowd = self.lab.home.start_module("crowd", *map(str, words))
        crowd.wait_for("coming and going")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._trouble()
        crowd.stop()
        seen = json.loads(report.read_text())
        assert seen["faults"] == [], self.troubles
        return seen, self._settled()

    def _trouble(self) -> None:
        time.sleep(random.uniform(*BETWEEN))
        silence = random.uniform(0, SILENCE)
        kinds = {
            f"reset {EXIT_PORT}": 0.0,
            f"down {silence:.2f}": silence,
            f"mute {EXIT_PORT} {silence:.2f}": silence,
            "readdress": 0.0,
        }
        line = random.choice(list(kinds))
        self.troubles.append(line)
        self.lab.link.say(line)
        time.sleep(kinds[line])

    def _settled(self) -> list[Vitals]:
        """Two looks at descriptors and tasks a second apart that are the same."""

        def same() -> bool:
            before = [each.counts for each in self._vitals()]
            time.sleep(1)
            return before == [each.counts for each in self._vitals()]

        wait_until(same, "descriptors and tasks that stay the same", seconds=SETTLED_SECONDS)
        if LONG:  # what a burst has left free in the heap goes back to the kernel now and then
            time.sleep(GIVE_BACK_EVERY + 1)
        return self._vitals()

    def _vitals(self) -> list[Vitals]:
        return [Vitals.of(each) for each in self.pair.programs]


def test_a_day(lab: Lab, measured: Measured) -> None:
    day = Day(lab, start_pair(lab, local_settings=ROTATION), start_echo(lab))
    _, first = day.pass_by(FIRST)
    seen, last = day.pass_by(REST)
    growth = [new.resident - old.resident for new, old in zip(last, first, strict=True)]
    counts = [f"{each.descriptors} descriptors and {each.tasks} tasks" for each in last]
    measured(
        f"{FIRST + REST:g} s of resets, silences, changes of address and rotation",
        f"only pauses: streams come and go, {STREAMS} at once, every byte as it was sent",
        f"{seen['streams']} streams, {len(day.troubles)} faults and {lab.link.carriers()} carriers; then as in the beginning {counts[0]} at the exit, {counts[1]} at the local side; "
        f"memory has grown by {growth[0] / 1e6:.1f} MB at the exit and {growth[1] / 1e6:.1f} MB at the local side",
    )
    assert seen["streams"] > STREAMS
    assert [each.counts for each in last] == [each.counts for each in first]
    assert max(growth) <= SLACK
    assert all(program.alive for program in day.pair.programs)
