"""What may be in flight: over a simulated path with a rate, a delay and a queue."""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass

import pytest

from proxy.protocol.flight import (
    COMPETING_TIME,
    DRAIN_PAUSE,
    GAIN,
    LEAST,
    PAUSE,
    ROUND_TRIP_MEMORY,
    SLOW_START,
    SPREAD,
    UNEVEN_PAUSE,
    Flight,
    State,
)
from proxy.protocol.liveness import ACK_BYTES, PROBE, ack_delay
from proxy.protocol.rates import RATE_MEMORY

STEP = 0.001  # seconds
SEGMENT = 1400  # bytes


@dataclass
class Path:
    """A queue that is drained at a rate, then half a round trip each way. The receiver acknowledges after its delay. A competitor keeps
    `occupied` bytes of the queue filled; a `rival` has so many bytes in flight, as a plain TCP download. On the way each packet is late by up to
    `jitter` seconds, and what comes out in the same multiple of `bunches` seconds comes at once.
    """

    rate: float  # bytes a second
    round_trip: float
    wants: float = math.inf  # bytes a second that the apps have
    occupied: float = 0.0
    rival: float = 0.0
    kernel: float = math.inf  # bytes, where losses hold it back
    jitter: float = 0.0
    bunches: float = 0.0
    paced: bool = True  # by the kernel, as it is told
    stalls: bool = True  # what `stall_at` waits for is told
    now: float = 100.0

    def __post_init__(self) -> None:
        self.flight = Flight(0, self.now)
        self.sent = self.acked = self.delivered = 0
        self.deepest = 0.0  # what the queue has had to hold, in bytes
        self._due = 0.0  # bytes that the pace lets out now
        self._free_at = self.now
        self._arrivals: deque[tuple[float, int]] = deque()
        self._acks: deque[tuple[float, int]] = deque()
        self._owed_since = math.inf
        self._ping_at = self._pong_at = math.inf  # when it comes out
        self._asked_at = -math.inf
        self._budget = 0.0
        self._random = random.Random(1)
        self._rivals: deque[float] = deque()  # when each of its packets is acknowledged
        self._last = [0.0, 0.0]  # when something came out at last, of each direction

    def run(self, seconds: float) -> float:
        """Returns the rate at which bytes arrived."""
        until, before = self.now + seconds, self.delivered
        while self.now < until:
            self._send_rival()
            self._send()
            self._arrive()
            self.now += STEP
        return (self.delivered - before) / seconds

    @property
    def queue(self) -> float:
        """Seconds that what is sent now waits."""
        return max(self._free_at - self.now, 0.0) + self.occupied / self.rate

    def _send_rival(self) -> None:
        while self._rivals and self._rivals[0] <= self.now:
            self._rivals.popleft()
        while (len(self._rivals) + 1) * SEGMENT <= self.rival:
            self._free_at = max(self._free_at, self.now) + SEGMENT / self.rate
            self._rivals.append(self._free_at + self.round_trip)

    def _send(self) -> None:
        waits = self._ping_at < math.inf or self._pong_at < math.inf
        if not waits and (self.flight.draining or self.now >= self._asked_at + PROBE):
            self._asked_at, self._ping_at = self.now, self._out(0, self.now + self.queue)
        self._budget = min(self._budget + self.wants * STEP, 1e9) if self.wants < math.inf else math.inf
        pace = self.flight.pace if self.paced else math.inf
        self._due = min(self._due, 2 * SEGMENT) + pace * STEP  # what time it has not used is lost
        if self.stalls and self.now >= self.flight.stall_at and self.flight.room < SEGMENT:
            self.flight.stalled = True
        while (
            self._budget >= SEGMENT
            and self._due >= SEGMENT
            and self.flight.room >= SEGMENT
            and self._flying + SEGMENT <= self._slow_start()
        ):
            self._budget -= SEGMENT
            self._due -= SEGMENT
            self.sent += SEGMENT
            self._free_at = max(self._free_at, self.now) + SEGMENT / self.rate
            self.deepest = max(self.deepest, (self._free_at - self.now) * self.rate)
            self._arrivals.append((self._out(0, self.now + self.queue), self.sent))
            self.flight.sent(self.sent, self.now, limited=self._budget < SEGMENT)

    @property
    def _flying(self) -> int:
        return self.sent - self.acked

    def _out(self, direction: int, into: float) -> float:
        """When what goes in then comes out; nothing overtakes."""
        self._last[direction] = max(self._last[direction], self._late(into))
        return self._last[direction]

    def _late(self, into: float) -> float:
        out = into + self.round_trip / 2 + self._random.uniform(0, self.jitter)
        return math.ceil(out / self.bunches) * self.bunches if self.bunches else out

    def _slow_start(self) -> float:
        """What the kernel lets out."""
        return min(14_000 + 2 * self.acked, self.kernel)

    def _arrive(self) -> None:
        while self._arrivals and self._arrivals[0][0] <= self.now:
            self.delivered = self._arrivals.popleft()[1]
            self._owed_since = min(self._owed_since, self.now)
        if self.now >= self._ping_at:
            self._ping_at, self._pong_at = math.inf, self._out(1, self.now)
        if self.now >= self._owed_since + ack_delay(self.round_trip):
            self._acks.append((self._out(1, self.now), self.delivered))
            self._owed_since = math.inf
        while self._acks and self._acks[0][0] <= self.now:
            self.acked = self._acks.popleft()[1]
            self.flight.acknowledged(self.acked, self.now)
        if self.now >= self._pong_at:
            self.flight.answered(self._pong_at - self._asked_at, self.now)
            self._pong_at = math.inf


paths = pytest.mark.parametrize(
    ("rate", "round_trip"), [(2.5e6, 0.1), (12.5e6, 0.1), (12.5e6, 0.3), (125e3, 0.1), (2.5e6, 0.02)]
)


@paths
def test_a_path_is_full_and_its_queue_is_short(rate: float, round_trip: float) -> None:
    path = Path(rate, round_trip)
    path.run(max(2, 15 * round_trip))
    queues, rates = [], []
    for _ in range(100):
        rates.append(path.run(0.1))
        queues.append(path.queue)
    assert sum(rates) / len(rates) > 0.88 * rate
    least = max(GAIN * round_trip, LEAST / rate)
    assert sorted(queues)[75] <= least - round_trip + 0.02 + round_trip / 10
    assert path.flight.least == pytest.approx(round_trip, rel=0.2, abs=3 * SEGMENT / rate)


@pytest.mark.parametrize(("rate", "round_trip"), [(2.5e6, 0.1), (2.5e6, 0.3), (6.25e6, 0.2), (12.5e6, 0.1)])
@pytest.mark.parametrize("paced", [True, False])
def test_a_start_fits_into_a_queue_of_half_a_megabyte(rate: float, round_trip: float, paced: bool) -> None:
    path = Path(rate, round_trip, paced=paced)
    path.run(8)
    assert path.deepest < 530_000


@pytest.mark.parametrize("round_trip", [0.02, 0.1])
@pytest.mark.parametrize(("jitter", "bunches"), [(0.3, 0.0), (0.5, 0.0), (0.0, 0.005), (0.0, 0.02), (0.0, 0.05)])
def test_a_path_whose_round_trips_differ_is_used(round_trip: float, jitter: float, bunches: float) -> None:
    path = Path(2.5e6, round_trip, jitter=jitter * round_trip, bunches=bunches)
    path.run(2 * UNEVEN_PAUSE)
    assert path.run(5) > 0.7 * path.rate


@pytest.mark.parametrize("rate", [10e3, 50e3])
def test_on_a_thin_path_our_own_least_flight_is_nobody_to_compete_with(rate: float) -> None:
    path = Path(rate, 0.1)
    path.run(5)
    for _ in range(60):
        path.run(0.5)
        assert path.flight.state is not State.COMPETING
        assert path.queue < 3 * LEAST / rate


@pytest.mark.parametrize(("round_trip", "bunches"), [(0.3, 0.0), (0.3, 0.05), (0.1, 0.05)])
def test_what_is_acknowledged_at_once_is_not_sent_at_once(round_trip: float, bunches: float) -> None:
    """Steady, and after the flight was drained: with the kernel's pace the queue has to hold much less."""
    deepest = {}
    for paced in (True, False):
        path = Path(12.5e6, round_trip, bunches=bunches, paced=paced, stalls=False)  # the pace alone
        path.run(8)
        path.deepest = 0.0
        rate = path.run(12)
        deepest[paced] = path.deepest
    assert deepest[True] < deepest[False] * 2 / 3
    assert rate > 0.65 * path.rate


@pytest.mark.parametrize(
    ("rate", "round_trip", "is_told"),
    [
        (12.5e6, 0.1, True),
        (12.5e6, 0.3, True),
        (12.5e6, 0.005, False),
        (2.5e6, 0.1, False),
    ],
)
def test_the_kernel_is_told_a_pace_where_much_is_in_flight(rate: float, round_trip: float, is_told: bool) -> None:
    """Not on a short way, nor where little is."""
    path = Path(rate, round_trip)
    assert path.flight.pace == math.inf
    path.run(20)
    assert (path.flight.pace < math.inf) is is_told
    if is_told:
        assert 1.05 * rate < path.flight.pace < 1.6 * rate


def near(rate: float, round_trip: float, *, beside_little: bool) -> tuple[float, float]:
    """A short path to a peer whose program reads at this rate, and acknowledges as it should. Bytes a second that it gets, and the seconds that what
    is sent waits for it, in the middle.
    """
    flight, piece = Flight(0, 0.0, cap=1_000_000), 131_072
    flight.answered(round_trip, 0.0)
    flight.beside_little = beside_little
    now = free_at = 0.0
    sent = acked = offset = 0
    unread: deque[tuple[float, int]] = deque()
    waits = []
    while sent < 2000 * piece:
        if flight.room >= piece:
            sent += piece
            free_at = max(free_at, now + round_trip / 2) + piece / rate
            waits.append(free_at - now)
            unread.append((free_at, sent))
            flight.sent(sent, now, limited=False)
            continue
        at, due = 0.0, unread[0][0] + ack_delay(round_trip)
        while unread and unread[0][0] <= due and offset - acked < ACK_BYTES:
            at, offset = unread.popleft()
        now = (at if offset - acked >= ACK_BYTES else due) + round_trip / 2
        acked = offset
        flight.acknowledged(acked, now)
    return sent / now, sorted(waits)[len(waits) // 2]


@pytest.mark.parametrize("rate", [50e6, 120e6, 500e6, 1e9])
@pytest.mark.parametrize("round_trip", [0.0003, 0.001, 0.005])
def test_beside_messages_little_waits_on_a_short_path_and_it_is_full_all_the_same(
    rate: float, round_trip: float
) -> None:
    usual, beside = near(rate, round_trip, beside_little=False), near(rate, round_trip, beside_little=True)
    assert usual[0] > 0.9 * rate
    assert beside[0] > 0.9 * rate
    assert beside[1] <= GAIN * round_trip + ACK_BYTES / rate
    assert beside[1] <= usual[1]
    if rate >= 500e6 and round_trip <= 0.001:
        assert beside[1] < usual[1] / 3


@paths
def test_beside_messages_a_longer_path_is_as_full_as_ever(rate: float, round_trip: float) -> None:
    path = Path(rate, round_trip)
    path.run(max(2, 15 * round_trip))
    room = path.flight.room
    path.flight.beside_little = True
    assert path.flight.room == room


def test_before_anything_is_known_nothing_is_held_back() -> None:
    assert Flight(0, 1.0).cap == math.inf


def test_ten_times_the_rate_is_found_within_three_seconds() -> None:
    path = Path(2.5e6, 0.1)
    path.run(5)
    path.rate *= 10
    path.run(3)
    assert path.run(1) > 0.9 * path.rate


def test_a_fifth_of_the_rate_makes_no_lasting_queue() -> None:
    path = Path(2.5e6, 0.1)
    path.run(5)
    path.rate /= 5
    path.run(RATE_MEMORY + 2.5)
    assert path.flight.state is State.STEADY
    assert path.queue < 0.06
    assert path.run(2) > 0.85 * path.rate


def test_apps_that_have_little_are_not_taken_for_a_slow_path() -> None:
    path = Path(2.5e6, 0.1)
    path.run(5)
    path.wants = 50_000.0
    path.run(20)
    path.wants = math.inf
    path.run(0.6)
    assert path.run(1) > 0.85 * path.rate


@pytest.mark.parametrize("idle", [1.0, 9.0, 11.0, 60.0, 3600.0])
def test_after_a_pause_it_goes_on_as_before(idle: float) -> None:
    path = Path(2.5e6, 0.1)
    path.run(8)
    path.wants = path._budget = 0.0
    path.run(0.5)
    path.now += idle
    path.wants = math.inf
    before = path.delivered
    path.run(1.0)
    assert not path.flight.draining
    assert path.delivered - before > 0.8 * 2.5e6 * 0.95  # the first round trip brings nothing


def test_where_others_fill_the_queue_the_kernel_competes() -> None:
    path = Path(2.5e6, 0.1)
    path.run(5)
    path.occupied, path.kernel = 500_000.0, 600_000.0
    path.run(UNEVEN_PAUSE + 2)
    assert path.flight.state is State.COMPETING
    path.run(1)
    assert path.flight.room == math.inf


@pytest.mark.parametrize("later", [0.5, 5.0])
@pytest.mark.parametrize("window", [300_000, 600_000, 1_100_000])
def test_who_finds_a_rival_competes_within_three_seconds(window: int, later: float) -> None:
    """Also where it is the first time on this carrier, and with all that the kernel lets out, spread by it."""
    path = Path(2.5e6, 0.1, kernel=800_000.0)
    path.run(later)
    path.rival = window
    path.run(3 if window < 1_000_000 else 4)  # where a round trip takes most of one
    assert path.flight.state is State.COMPETING
    assert path.flight.room == math.inf
    assert path.flight.pace == SPREAD
    assert path.run(5) > 0.8 * path.rate * path.kernel / (path.kernel + window)


def test_who_comes_when_a_rival_has_filled_the_queue_competes() -> None:
    """The least round trip is unknown. The rival's window grows."""
    path = Path(2.5e6, 0.1, kernel=1_000_000.0, rival=600_000)
    for _ in range(100):
        path.run(0.1)
        path.rival += 3000
    assert path.flight.least > 0.2
    assert path.flight.state is State.COMPETING
    assert path.run(5) > 0.5 * path.rate


@pytest.mark.parametrize("slower", [0.8, 0.5, 0.2])
def test_a_path_that_has_become_slower_is_nobody_to_compete_with(slower: float) -> None:
    path = Path(2.5e6, 0.1)
    path.run(5)
    path.rate *= slower
    for _ in range(100):
        path.run(0.1)
        assert path.flight.state is not State.COMPETING


def test_a_path_that_becomes_slower_all_the_time_is_nobody_to_compete_with() -> None:
    path = Path(2.5e6, 0.1)
    path.run(5)
    for _ in range(40):
        path.rate *= 0.95
        path.run(0.5)
        assert path.flight.state is not State.COMPETING


def competing(path: Path, seconds: float) -> float:
    """For which part of that time it competed."""
    steps = round(seconds / 0.1)
    found = 0
    for _ in range(steps):
        path.run(0.1)
        found += path.flight.state is State.COMPETING
    return found / steps


@pytest.mark.parametrize("longer", [1.2, 1.3])
@pytest.mark.parametrize("round_trip", [0.05, 0.1])
def test_a_way_that_has_become_longer_is_nobody_to_compete_with(round_trip: float, longer: float) -> None:
    path = Path(2.5e6, round_trip, kernel=1_000_000.0)
    path.run(10)
    path.round_trip *= longer
    assert competing(path, 60) == 0
    assert path.run(5) > 0.85 * path.rate
    assert path.queue < 0.3 * path.round_trip


def test_who_has_competed_with_nobody_on_a_longer_way_does_so_once() -> None:
    path = Path(2.5e6, 0.1, kernel=2_000_000.0)
    path.run(10)
    path.round_trip *= 1.7
    assert competing(path, COMPETING_TIME + 5) > 0.3  # for it may be a rival
    assert competing(path, 100) == 0
    assert path.run(5) > 0.85 * path.rate


@pytest.mark.parametrize(
    ("round_trip", "jitter", "bunches"),
    [(0.02, 0.01, 0.0), (0.02, 0.0, 0.01), (0.03, 0.006, 0.0), (0.05, 0.01, 0.0), (0.05, 0.0, 0.02), (0.1, 0.02, 0.0)],
)
def test_round_trips_that_differ_are_nobody_to_compete_with(round_trip: float, jitter: float, bunches: float) -> None:
    path = Path(2.5e6, round_trip, jitter=jitter, bunches=bunches, kernel=1_000_000.0)
    assert competing(path, 60) == 0


@pytest.mark.parametrize("slower", [0.1, 0.05])
@pytest.mark.parametrize("after", [0.0, 0.01, 0.02, 0.03, 0.04])
def test_a_path_that_has_a_tenth_of_its_rate_is_nobody_to_compete_with(slower: float, after: float) -> None:
    """Wherever in a round it was."""
    path = Path(2.5e6, 0.05, kernel=500_000.0)
    path.run(5 + after)
    path.rate *= slower
    assert competing(path, 20) == 0


def test_a_rival_that_comes_back_is_found_again() -> None:
    path = Path(2.5e6, 0.1, kernel=800_000.0)
    for _ in range(2):
        path.run(5)
        path.rival = 600_000
        path.run(6)
        assert competing(path, 0.1) == 1
        path.rival = 0
        path.run(COMPETING_TIME + 3)
        assert competing(path, 0.1) == 0


def test_a_pause_is_no_rate_to_drain_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is drained to is half of what the path holds, and not of what came in a round that lasted for the pause."""
    path = Path(12.5e6, 0.3)
    path.run(10)
    path.wants = path._budget = 0.0
    path.run(5)
    path.wants, path.jitter = math.inf, 0.004
    monkeypatch.setattr("proxy.protocol.flight.SAME", 0.0)  # so no answer to a ping says that there is no queue
    path.flight._least_at = path.flight._drained_at = -math.inf  # and it is time to drain
    while not path.flight.draining:
        path.run(0.001)
    assert path.flight.cap > 0.1 * path.rate * path.round_trip


def test_a_drain_that_begins_while_nothing_flies_is_no_lower() -> None:
    """Then its first round is one piece."""
    path = Path(12.5e6, 0.3)
    path.run(10)
    path.wants = path._budget = 0.0
    path.run(1)
    path.flight._drain()
    begins = path.flight.cap
    path.wants = math.inf
    while path.flight.draining:
        path.run(0.01)
        assert path.flight.cap == begins or not path.flight.draining


def test_when_the_others_have_gone_the_queue_is_short_again() -> None:
    path = Path(2.5e6, 0.1, kernel=600_000.0)
    path.run(5)
    path.occupied = 500_000.0
    path.run(UNEVEN_PAUSE + 2)
    path.occupied = 0.0
    path.run(COMPETING_TIME + 3)
    assert path.flight.state is State.STEADY
    assert path.queue < 0.05


def test_while_others_fill_the_queue_the_path_is_not_taken_for_a_longer_one() -> None:
    path = Path(2.5e6, 0.1, kernel=100_000.0)
    path.run(5)
    path.occupied = 250_000.0
    path.run(UNEVEN_PAUSE + 2)
    drains = []
    for _ in range(round(7.5 * COMPETING_TIME / 0.1)):
        before = path.flight.draining
        path.run(0.1)
        path.occupied *= 1.001  # as it grows with Reno
        assert path.flight.state is State.COMPETING
        if path.flight.draining and not before:
            drains.append(path.now)
    assert path.flight.least < 0.11
    first, second, third = drains[:3]
    assert second - first > 1.5 * COMPETING_TIME
    assert third - second > 1.5 * (second - first), "each time it is asked later"


@pytest.mark.parametrize("longer", [0.15, 0.25])
def test_a_longer_way_is_learned(longer: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.protocol.flight.ROUND_TRIP_MEMORY", memory := ROUND_TRIP_MEMORY / 4)
    path = Path(1e6, 0.1)
    path.run(5)
    path.round_trip, path.kernel = longer, 600_000.0
    path.run(memory + COMPETING_TIME + 5)
    assert path.run(2 * DRAIN_PAUSE) > 0.85 * path.rate
    while path.flight.draining:
        path.run(longer)
    path.run(6 * longer)
    assert path.queue < 0.25 * longer + 0.03


def test_who_fills_no_queue_is_never_held_back_to_look_for_one() -> None:
    path = Path(2.5e6, 0.1)
    path.run(5)
    path.wants, path.jitter, path._budget = 1e6, 0.003, 0.0
    path.run(1)
    assert path.flight.state is State.STEADY
    for _ in range(round(5 * DRAIN_PAUSE / 0.05)):
        path.run(0.05)
        assert not path.flight.draining


@pytest.mark.parametrize("pause", [PAUSE / 2, PAUSE * 4])
def test_a_window_that_a_pause_has_made_small_is_no_queue(pause: float) -> None:
    """What waits in the kernel for it is late by as much as in a queue, which a flight that has not paused looks for."""
    path = Path(2.5e6, 0.1)
    path.run(5)
    path.wants, path._budget = 0.0, 0.0
    path.run(0.3)
    flight, at, now = path.flight, path.acked, path.flight._acked_at + pause
    slow_until = at + SLOW_START * flight.cap
    assert flight.state is State.STEADY
    while not flight.draining:
        at += 20_000
        flight.sent(at, now, limited=False)
        now += 0.15
        flight.acknowledged(at, now)
    assert (at > slow_until) == (pause > PAUSE)


def test_little_pieces_are_remembered_together() -> None:
    flight = Flight(0, 1.0)
    for end in range(2, 200_002, 2):
        flight.sent(end, 1.0, limited=True)
    assert len(flight._pieces) < 60
    flight.acknowledged(200_000, 1.1)
    assert not flight._pieces


def test_an_acknowledgement_of_a_part_says_nothing_yet() -> None:
    flight = Flight(0, 1.0)
    flight.sent(10_000, 1.0, limited=False)
    flight.acknowledged(9_999, 1.1)
    assert flight.cap == math.inf
    flight.acknowledged(10_000, 1.1)
    assert flight.least == pytest.approx(0.1)


def test_no_time_no_rate() -> None:
    flight = Flight(0, 1.0)
    flight.sent(10_000, 1.0, limited=False)
    flight.acknowledged(10_000, 1.0)
    assert flight.cap == math.inf


def test_an_answer_to_nothing_is_no_round_trip() -> None:
    flight = Flight(0, 1.0)
    flight.answered(math.inf, 2.0)
    assert flight.least == math.inf


def test_where_nothing_is_acknowledged_as_much_again_may_be_in_flight() -> None:
    path = Path(2.5e6, 0.1)
    path.run(5)
    flight = path.flight
    room, cap = flight.room, flight.cap
    assert path.now < flight.stall_at < path.now + 0.1
    flight.stalled = True
    assert flight.room == room + cap
    assert flight.stall_at == math.inf
    path.run(0.05)
    assert not flight.stalled, "something was acknowledged"


def test_a_stall_needs_something_in_flight() -> None:
    flight = Flight(0, 1.0)
    assert flight.stall_at == math.inf
    flight.sent(10_000, 1.0, limited=False)
    assert flight.stall_at == math.inf, "no round trip is known"
    flight.acknowledged(10_000, 1.1)
    assert flight.stall_at == math.inf
    flight.sent(20_000, 2.0, limited=False)
    assert 2.05 < flight.stall_at < 2.1
