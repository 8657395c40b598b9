"""A day in a quarter of an hour: resets, silences and changes of address, while streams come and go; nothing is left behind."""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.machine import free_port, wait_until
from tests.lab.addresses import EXIT_PORT
from tests.lab.hosts import LONG, start_pair
from tests.lab.load import start_echo

if TYPE_CHECKING:
    from tests.e2e.pairs import Pair
    from tests.lab.hosts import Lab

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

STREAMS = 200 if LONG else 40
#: Seconds: up to the first look at memory and descriptors, and from there to the last.
FIRST, REST = (60.0, 840.0) if LONG else (10.0, 30.0)
#: Seconds between two troubles, and how long a silence lasts at most: some are noticed, and some are over before.
BETWEEN, SILENCE = (1.0, 4.0), 8.0
#: What is new after the first look may be on the free lists of two allocators: as much as one full window of a stream.
SLACK = 16 * 2**20
#: Until the streams that apps have ended are gone at both ends.
SETTLED_SECONDS = 30.0


@dataclass(frozen=True)
class Look:
    """At the two programs when no app is there."""

    descriptors: list[int]
    resident: list[int]

    @classmethod
    def at(cls, pair: Pair) -> Look:
        programs = pair.programs
        return cls([each.descriptors() for each in programs], [each.resident() for each in programs])


@dataclass
class Day:
    lab: Lab
    pair: Pair
    port: int
    troubles: list[str] = field(default_factory=list)

    def pass_by(self, seconds: float) -> tuple[dict[str, Any], Look]:
        """What the crowd has seen, and what is left when it has gone."""
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

    def _settled(self) -> Look:
        """Two looks at descriptors a second apart that are the same."""

        def same() -> bool:
            before = Look.at(self.pair).descriptors
            time.sleep(1)
            return before == Look.at(self.pair).descriptors

        wait_until(same, "descriptors that stay the same", seconds=SETTLED_SECONDS)
        return Look.at(self.pair)


def test_a_day(lab: Lab) -> None:
    day = Day(lab, start_pair(lab), start_echo(lab))
    _, first = day.pass_by(FIRST)
    seen, last = day.pass_by(REST)
    growth = [new - old for new, old in zip(last.resident, first.resident, strict=True)]
    print(f"{len(day.troubles)} troubles, {lab.link.carriers()} carriers, {seen}; {first}, {last}")
    assert seen["streams"] > STREAMS
    assert last.descriptors == first.descriptors
    assert max(growth) <= SLACK
    assert all(program.alive for program in day.pair.programs)
