"""How much may be in flight on a carrier: what the path holds in a round trip, and a little more to find out when it can carry more.

A kernel that goes by losses fills the queue of the narrowest link, and a chat message waits behind all that. So a session keeps less in
flight than such a kernel would: the rate at which the path delivers, times its least round trip. The idea, and how the rate is
measured, are those of BBR (draft-ietf-ccwg-bbr, sections 4.1.1 and 5.3.1); losses are left to the kernel.

    starting --the rate grows no more, or a queue--> steady <---> competing
"""

from __future__ import annotations

import enum
import math
from collections import deque

from .frame import JOINED
from .liveness import ACK_BYTES, ack_delay
from .rates import Piece, Rates

# Our choices. Times are in seconds.
#: Never less, so that a rate can be measured at all.
LEAST = 16_384
#: What a carrier that follows another begins with: half of TCP's first flight (ten segments, RFC 6928), so that messages find room in it as well.
FIRST = 7168
#: Round trips below this are taken for as long: there our own tasks and the peer's take most of the time, and no queue is worth the care, but where
#: messages go to and fro beside it.
SHORT = 0.01
#: Steady, this much more than the path holds, and what acknowledgements are late by. A part of it is what a piece takes on the link: with 1.12 the rest
#: is so little that a rate that has grown is found too late, and messages wait 2 ms less of 100; with 1.5 the queue costs half a round trip.
GAIN = 1.15
#: Starting, so that the rate can double with each round trip as in slow start (BBR, section 5.6.1), but never more at once, in bytes, than fits
#: into the queues of most links: what is acknowledged together is sent together, and losses cost more than the time.
START_GAIN, LEAP = 2.77, 262_144
#: The start is over when the rate has grown by less than a quarter in each of three rounds (BBR, section 5.3.1.2), or a queue shows.
GROWTH, FLAT_ROUNDS = 1.25, 3
#: A round trip of so many times the least is such a queue.
QUEUED = 1.25
#: Steady, a rate that has grown by as much within so many rounds, without a queue, has found room: it starts again.
GROWING_ROUNDS = 5
#: After this time, in seconds, the least round trip is looked for again, with half of the flight: one round to empty our own queue, one to
#: measure, and one more where there still is one. What little may be in flight then is a piece or two. After that the flight grows by twice
#: what is acknowledged: all at once, it would be a queue again. In the tenth of a second after that messages wait up to half as long again, so it is
#: rare enough for them to be less than one in a hundred.
DRAIN_PAUSE = 20.0
DRAIN_GAIN, DRAIN_ROUNDS, MOST_DRAIN_ROUNDS = 0.5, 2, 3
LEAST_DRAINED = 2048
#: Where the answer to a ping took no longer than so many times the least there is no queue to be emptied, as at the beginning of a page.
SAME = 1.05
#: Where round trips are longer than the flight allows for, each rate that is measured is lower than the one before. That is our own queue
#: where the path has become slower, or the path's own doing: radio and cable hold packets back and let them go in bunches. Draining tells. It
#: costs an eighth of the throughput meanwhile, so it is done where a piece takes so much longer than the flight allows for, or the highest rate of
#: the last seconds is so much lower than the highest since the last time, and after the first time not more often than this, in seconds.
SHRUNK = 0.85
UNEVEN_PAUSE = 3.0
#: After so long a pause, in seconds, TCP begins again with a small window: it halves it with each of its time-outs, of 0.2 s and a round trip (RFC
#: 2861). What it has not sent yet waits for it: while twice what may be in flight goes out round trips are long for that, and tell nothing of the path.
PAUSE, SLOW_START = 0.3, 2
#: Round trips of more than this many times the least without our own queue: others fill it, and who holds back gets nothing. The flight is
#: the kernel's affair then, and after the first time, in seconds, draining tells whether they are still there. Where they are it is asked
#: half as often from then on, and at the latest after the second: each time costs about two rounds.
CROWDED = 1.4
COMPETING_TIME, MOST_COMPETING_TIME = 10.0, 40.0
#: Where less than this part of the queue stays it was our own, and the path is longer or more uneven than it was: others are believed in only when
#: they are seen twice from then on.
OURS = 0.25
#: No bound, in bytes a second. But where one is set Linux spreads over a round trip what its window lets out. Who sends in bursts into a queue that
#: others keep full has all the losses: 0.3 of a plain download's rate beside it at times, and from 0.53 on in this way.
SPREAD = 1e9
#: A path that has become longer looks like others that fill its queue. Those leave it empty at times: Reno beside us on a link of 20 Mbit/s with
#: a queue of 1 MB after each loss, every minute or two. So the least round trip is forgotten when none was seen for so long that was nearly as
#: short, and no sooner, or each drain would find the path a little longer than the last, and us content with a little less.
ROUND_TRIP_MEMORY = 120.0
#: While data flows acknowledgements come all the time. Where none has come for this part of a round trip something was lost, and what arrives
#: behind it is acknowledged when it was mended: until then as much again may be in flight, or the kernel would have nothing to send.
STALL = 0.5
#: An eighth of what may be in flight is acknowledged at once, and more where acknowledgements were held up on the way. To send as much at once
#: would make a queue, in which chat messages wait and for which there may be no room: on a link of 100 Mbit/s and 300 ms, with a queue of 1 MB,
#: the start ended with losses before it had found the rate. So the kernel spreads it over the round trip (BBR, section 5.6.2), a little faster
#: than it is to go, or what waiting for clocks takes would be lost. With less in flight than this any queue has room.
PACE_GAIN, UNPACED = 1.1, 524_288
#: A piece counts from when its first byte is sent until its last one is acknowledged, so what it takes on the link is time in which less than the
#: cap is on its way. With an eighth of the flight that was as much as GAIN has to spare: on a link of 20 Mbit/s and 100 ms the rate fell to 17.5 within
#: a minute, and with a sixteenth it stays at 19. It is an eighth where that is no more than a few KB, in bytes, and on short paths: each costs some steps.
PIECE, LEAST_PIECE = 1 / 16, 16_384


class State(enum.Enum):
    STARTING = enum.auto()
    STEADY = enum.auto()
    COMPETING = enum.auto()


class Flight:
    """Of one direction of one carrier. Offsets are those of reliable bytes, and of datagrams as `marks` counts them; `acked` is where the carrier begins, `cap` what holds at first."""

    # Over the budget of attributes, and of lines with their list, the module's as well: each is one fact of the path, or where the present round
    # stands, and all of them decide together.

    __slots__ = (
        "_acked_at",
        "_doubtful",
        "_drained_at",
        "_draining",
        "_fallen",
        "_flat_rounds",
        "_flat_since",
        "_least_at",
        "_patience",
        "_peak",
        "_pieces",
        "_previous_at",
        "_ramp",
        "_rates",
        "_round_began",
        "_round_end",
        "_round_least",
        "_round_rate",
        "_round_samples",
        "_round_sum",
        "_slow_until",
        "_suspect",
        "_uneven",
        "_waited",
        "acked",
        "beside_little",
        "cap",
        "least",
        "stalled",
        "state",
    )

    def __init__(self, acked: int, now: float, cap: float = math.inf) -> None:
        self.cap = cap  # bytes; before anything is known the kernel's own slow start is what counts
        self.beside_little = False  # messages go to and fro
        self.state = State.STARTING
        self.stalled = False  # `stall_at` has passed
        self.least = math.inf  # round trip
        self._least_at = now
        self._rates = Rates()
        self._pieces: deque[Piece] = deque()
        self.acked = acked  # up to where everything has arrived
        self._acked_at = self._previous_at = now
        self._round_rate = 0.0
        self._round_began: tuple[float, int]
        self._begin_round(now)
        self._flat_since, self._flat_rounds = 0.0, 0
        self._draining = 0  # rounds to come
        self._ramp = math.inf  # while the flight grows again after it, how far it has come
        self._drained_at = -math.inf  # who begins beside others has to know it before they have all
        self._fallen = False  # the round before it had much less than the highest rate
        self._suspect = False  # the last one left a queue, once
        self._peak = 0.0  # the highest rate since
        self._uneven = 0.0  # how much longer a round trip takes than the least, without our own queue
        self._slow_until = 0.0  # before this offset TCP's small window, or what we began with, makes round trips long
        self._waited = 0.0  # while competing, how much longer than the least round trips were before the drain
        self._doubtful = False  # we have competed with nobody
        self._patience = COMPETING_TIME  # until the next question whether there is anybody to compete with

    @property
    def draining(self) -> bool:
        """While this is so, each ping tells more than at other times."""
        return self._draining > 0

    @property
    def _flying(self) -> int:
        return self._pieces[-1].end - self.acked if self._pieces else 0

    @property
    def room(self) -> float:
        """How many bytes more may be in flight."""
        return self._most * (2 if self.stalled else 1) - self._flying

    @property
    def _most(self) -> float:
        """Beside messages, on a fast and short path, less than `cap`: what the path holds, and what may be acknowledged together. On loopback 4 MB of
        500 MB/s were waiting for the peer's program to read them, and a message behind that for 8 ms.
        """
        if not self.beside_little or self.state is not State.STEADY:
            return self.cap
        return min(self.cap, GAIN * self._rates.highest * (self.least + self._uneven) + ACK_BYTES)

    @property
    def piece(self) -> float:
        """How many bytes to send at once, at most."""
        piece = PIECE * self.cap
        return 2 * piece if self.least <= SHORT else max(piece, min(2 * piece, LEAST_PIECE))

    @property
    def pace(self) -> float:
        """How many bytes a second the kernel is to send at most; infinitely many where bursts do no harm."""
        if self.least <= SHORT:
            return math.inf
        if self.state is State.COMPETING:
            return SPREAD
        if UNPACED < self.cap < math.inf:
            return PACE_GAIN * max(self.cap / self.least, self._rates.highest)
        return math.inf

    @property
    def stall_at(self) -> float:
        """When to set `stalled` if nothing is acknowledged until then; infinity where that would not change anything."""
        if self.stalled or not self._pieces:
            return math.inf
        return self._acked_at + STALL * max(self.least, SHORT) + 2 * ack_delay(self.least)

    def sent(self, end: int, now: float, *, limited: bool) -> None:
        """A piece up to this offset is on its way; `limited`: there was nothing more to send."""
        if not self._pieces:  # it was idle: the time until now says nothing about the path
            self._stand_still(now - self._acked_at, now)
            self._acked_at = self._previous_at = now
        elif end - (last := self._pieces[-1]).start <= JOINED:
            last.end, last.limited = end, limited or last.limited
            return
        start = self._pieces[-1].end if self._pieces else self.acked
        self._pieces.append(Piece(start, end, now, limited, self.acked, self._acked_at, self._previous_at))

    def _stand_still(self, idle: float, now: float) -> None:
        """What is remembered gets no older meanwhile: or the first page after a minute would be held back by a drain, or begin from the low
        rate of its own requests.
        """
        self._rates.stand_still(idle)
        self._least_at = min(self._least_at + idle, now)
        self._drained_at += idle
        self._round_began = min(self._round_began[0] + idle, now), self._round_began[1]
        if idle > PAUSE and self.cap < math.inf:
            self._slow_until = self.acked + SLOW_START * self.cap

    def answered(self, round_trip: float, now: float) -> None:
        """A ping was."""
        self._measured(round_trip, now)
        if round_trip <= SAME * self.least:
            self._least_at = now
        self._choose()

    def acknowledged(self, offset: int, now: float) -> None:
        """Everything before this offset has arrived."""
        pieces, newest = self._pieces, None
        while pieces and pieces[0].end <= offset:
            newest = pieces.popleft()
        self._ramp += 2 * (offset - self.acked)
        self.acked, self._acked_at, self.stalled = offset, now, False
        if newest is None:
            return
        self._previous_at = newest.at
        self._measured(now - newest.at, now)
        self._round_sum += now - newest.at
        self._round_samples += 1
        self._rates.note(newest, offset, now)
        if offset >= self._round_end:
            self._end_round(now, limited=newest.limited)
        self._choose()

    def _begin_round(self, now: float) -> None:
        self._round_began = now, self.acked
        self._round_end = self.acked + self._flying
        self._round_least, self._round_sum, self._round_samples = math.inf, 0.0, 0

    def _measured(self, round_trip: float, now: float) -> None:
        self._round_least = min(self._round_least, round_trip)
        if round_trip <= self.least:
            self.least, self._least_at = round_trip, now

    def _end_round(self, now: float, *, limited: bool) -> None:
        began, acked = self._round_began
        if now > began:
            self._round_rate = (self.acked - acked) / (now - began)
        if self._draining:
            self._go_on_draining(now, limited)
        else:
            _ROUNDS[self.state](self, now, limited)
        self._begin_round(now)

    def _queued(self, times: float) -> bool:
        """Whether all round trips of this round were so many times the least."""
        return self._round_least > times * max(self.least, SHORT) + ack_delay(self.least)

    def _starting(self, _now: float, limited: bool) -> None:
        rate = self._rates.highest
        if rate >= self._flat_since * GROWTH:
            self._flat_since, self._flat_rounds = rate, 0
        elif self._queued(QUEUED):
            self.state = State.STEADY
            self._slow_until = max(self._slow_until, self.acked + self._flying)
        elif not limited:
            self._flat_rounds += 1
        if self._flat_rounds >= FLAT_ROUNDS:
            self.state = State.STEADY

    def _steady(self, now: float, limited: bool) -> None:
        self._peak = max(self._peak, self._rates.highest)
        long_ago = now > max(self._least_at, self._drained_at) + DRAIN_PAUSE
        tells = not limited and self._round_began[1] >= self._slow_until
        if long_ago or (tells and self._shrinks and (self._suspect or now > self._drained_at + UNEVEN_PAUSE)):
            self._drain()
        elif self._has_grown() and not self._queued(QUEUED):
            self.state, self._flat_rounds = State.STARTING, 0

    def _has_grown(self) -> bool:
        rate = self._rates.highest
        grown = rate >= self._flat_since * GROWTH
        self._flat_rounds += 1
        if grown or self._flat_rounds >= GROWING_ROUNDS or rate < self._flat_since:
            self._flat_since, self._flat_rounds = rate, 0
        return grown

    @property
    def _usual(self) -> float:
        """The mean time in this round from sending a piece to its acknowledgement."""
        return self._round_sum / self._round_samples

    @property
    def _shrinks(self) -> bool:
        """Whether this flight delivers less than the last one did, and the next one will less again."""
        return self._rates.highest < SHRUNK * self._peak or self._usual * SHRUNK > self._window(GAIN)

    def _window(self, gain: float) -> float:
        # Acknowledgements are late by half of their delay, in the mean.
        return gain * (max(self.least, SHORT) + self._uneven) + ack_delay(self.least) / 2

    def _drain(self) -> None:
        self._draining = MOST_DRAIN_ROUNDS
        tells = self._round_began[1] >= self._slow_until
        rate = min(self._rates.highest, self._round_rate if tells else math.inf)
        self._fallen = rate < SHRUNK * self._rates.highest
        self.cap = self._drained(rate)

    def _drained(self, rate: float) -> float:
        return max(LEAST_DRAINED, DRAIN_GAIN * rate * max(self.least, SHORT))

    def _go_on_draining(self, now: float, limited: bool) -> None:
        # Before it the path may have been faster.
        if self._draining == MOST_DRAIN_ROUNDS and self._slow_until <= self._round_began[1] < self._round_end:
            self.cap = min(self.cap, self._drained(self._round_rate))
        self._draining -= 1
        if self._draining <= MOST_DRAIN_ROUNDS - DRAIN_ROUNDS and not self._queued(QUEUED):
            self._draining = 0
        if not self._draining:
            self._end_drain(now, limited=limited)

    def _end_drain(self, now: float, *, limited: bool) -> None:
        # Who came when others had filled the queue knows no least. Where the shortest round trip is nearer to the usual one, and longer than this path is
        # known to make it or less came through, and this is so once more soon after, the queue is theirs. Once it may be a path that has become longer.
        nearer = 2 * self._round_least > self._usual + self.least + ack_delay(self.least)
        longer = self._fallen or self._round_least > SAME * (self.least + self._uneven) + ack_delay(self.least)
        left = nearer and longer and self._queued(SAME)
        twice = left and self._suspect and now < self._drained_at + 2 * UNEVEN_PAUSE
        self._suspect = left and not twice
        self._drained_at, self._peak, self._ramp = now, 0.0, self._flying
        if not self._queued(QUEUED):
            self._least_at = now
        elif now > self._least_at + ROUND_TRIP_MEMORY:
            self.least, self._least_at = self._round_least, now
        if not self._has_rivals(twice):
            unsure = self.state is State.STEADY and self._suspect and self._queued(CROWDED)
            self.state, self._patience = State.STEADY, COMPETING_TIME
            if not (limited or unsure):
                self._uneven = max(self._usual - self.least - ack_delay(self.least), 0.0)
        elif not limited:
            if self.state is State.COMPETING:
                self._patience = min(2 * self._patience, MOST_COMPETING_TIME)
            self.state = State.COMPETING

    def _has_rivals(self, twice: bool) -> bool:
        crowded = self._queued(CROWDED)
        if self.state is State.COMPETING:
            self._doubtful = not crowded or self._round_least - self.least < OURS * self._waited
            return not self._doubtful
        return twice or (crowded and not self._doubtful)

    def _competing(self, now: float, _limited: bool) -> None:
        if now > self._drained_at + self._patience:
            self._waited = self._usual - self.least
            self._drain()

    def _choose(self) -> None:
        rate = self._rates.highest
        if self._draining:
            return
        if self.state is State.COMPETING:
            self.cap = math.inf
        elif rate and self.least < math.inf:
            self._grow(rate)

    def _grow(self, rate: float) -> None:
        cap = rate * self._window(GAIN)
        if self.state is State.STARTING:
            cap = min(rate * self._window(START_GAIN), cap + LEAP)
        if cap < self._ramp < math.inf:  # it grew faster than the path delivers: what flies now is a queue of our own
            self._slow_until = max(self._slow_until, self.acked + self._flying)
            self._ramp = math.inf
        self.cap = max(LEAST, min(cap, self._ramp))


_ROUNDS = {State.STARTING: Flight._starting, State.STEADY: Flight._steady, State.COMPETING: Flight._competing}
