"""Hours on a bad link, in virtual time: a carrier that works is not taken for dead."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from proxy.protocol.event import StreamReadable
from proxy.protocol.liveness import Health
from tests.pair import Pair

if TYPE_CHECKING:
    from proxy.protocol.mux import Mux

HOUR = 3600.0
#: The least variation that TCP allows for in its time-out (Linux, macOS, Windows), in seconds.
LEAST_VARIATION = 0.2
MAX_BACKOFF = 60.0  # RFC 6298 allows any bound of 60 s or more
MSS = 1400


@dataclass
class Direction:
    """One direction of a TCP connection on a link that loses segments at random.

    A segment that got lost is sent again after RFC 6298's time-out, which doubles each time. What comes behind it waits at the receiver. There is
    no fast retransmission: it is what saves a busy stream, and a lone message has nothing behind it that would show the loss.
    """

    delay: float
    loss: float
    chance: random.Random
    last: float = 0.0  # when the segment before this one is read

    def arrival(self, now: float, size: int) -> float:
        """When the last byte of what is sent now is read."""
        for _ in range(-(-size // MSS)):
            time_out, at = 2 * self.delay + LEAST_VARIATION, now
            while self.chance.random() < self.loss:
                at += time_out
                time_out = min(2 * time_out, MAX_BACKOFF)
            self.last = max(self.last, at + self.delay)
        return self.last


@dataclass
class Link:
    """A pair on such a link; `run` lets both say what they like. Counts what each was taken for."""

    round_trip: float
    loss: float
    seed: int
    pair: Pair = field(default_factory=Pair)
    suspected: int = 0
    died: int = 0
    cut: bool = False

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.streams = self.pair.open()
        self.greet()
        self.ways = {
            mux: Direction(self.round_trip / 2, self.loss, self.chance) for mux in (self.pair.local, self.pair.exit)
        }
        self.health: dict[Mux, Health] = dict.fromkeys(self.ways, Health.ALIVE)
        self.flying: list[tuple[float, int, Mux, bytes]] = []
        self.number = 0

    def greet(self) -> None:
        """A carrier that is as slow as the link from its first byte."""
        pair = self.pair
        received, sending = pair.local.carrier_made(pair.now)
        pair.now += self.round_trip
        begins = pair.exit.resumed(received, sending, pair.now)
        pair.local.welcomed(pair.exit.received, begins, pair.now)

    def send(self, side: Mux) -> None:
        while side.wants_to_send and (data := self.pair.take(side)):
            self.number += 1
            if self.cut:
                continue
            arrival = self.ways[side].arrival(self.pair.now, len(data))
            heapq.heappush(self.flying, (arrival, self.number, self.pair.other(side), data))

    def say(self, side: Mux, size: int) -> None:
        side.write(self.streams[side is self.pair.exit], bytes(size), self.pair.now)
        self.send(side)

    def receive(self, side: Mux, data: bytes) -> None:
        for event in side.receive_data(data, self.pair.now):
            if isinstance(event, StreamReadable):
                while side.read(event.stream, 1 << 20, self.pair.now):
                    pass
        self.send(side)

    def look(self, side: Mux) -> None:
        health = side.handle_timer(self.pair.now)
        self.suspected += health is Health.SUSPECT and self.health[side] is Health.ALIVE
        self.died += health is Health.DEAD and self.health[side] is not Health.DEAD
        self.health[side] = health
        self.send(side)

    def run(self, until: float) -> None:
        """Everything that happens before that time, in its order."""
        while True:
            timers = {
                side: side.next_timer(self.pair.now) for side in self.ways if self.health[side] is not Health.DEAD
            }
            side = min(timers, key=timers.__getitem__)
            arrives = self.flying[0][0] if self.flying else until
            self.pair.now = max(self.pair.now, min(timers[side], arrives, until))
            if self.pair.now >= until:
                return
            if arrives <= timers[side]:
                _, _, receiver, data = heapq.heappop(self.flying)
                self.receive(receiver, data)
                self.health[receiver] = Health.ALIVE
            else:
                self.look(side)

    def chat(self, hours: float) -> None:
        """A message of either side every two seconds or so, and now and then a page."""
        end = self.pair.now + hours * HOUR
        while self.pair.now < end:
            self.run(self.pair.now + self.chance.expovariate(0.5))
            side = self.chance.choice((self.pair.local, self.pair.exit))
            self.say(side, 20_000 if self.chance.random() < 0.05 else self.chance.randrange(20, 400))


@pytest.mark.parametrize(("round_trip", "hours"), [(0.1, 0.5), (0.3, 0.5), (1.0, 2)])
def test_no_false_alarm_at_5_percent(round_trip: float, hours: float) -> None:
    """With 3 and 7 time-outs instead of 7 and 15 it is suspect twice an hour at 1 s, and dies about once in a day."""
    link = Link(round_trip, 0.05, seed=0)
    link.chat(hours)
    assert link.number > 4000 * hours
    assert link.died == 0
    assert link.suspected <= 2


def test_a_link_that_is_cut_is_suspect_and_then_dead() -> None:
    """The same world does tell: nothing arrives any more."""
    link = Link(0.1, 0.05, 1)
    link.chat(hours=0.1)
    link.run(link.pair.now + 20)
    link.cut = True
    link.say(link.pair.local, 100)
    link.run(link.pair.now + 6)
    assert link.health[link.pair.local] is Health.DEAD
    assert link.suspected
