"""All policy about time on a carrier: when to acknowledge, when to ask for a sign of life, when to give up.

Others report facts and ask what is due; no other module decides by a clock, but `flight` about what is in flight.

An answer is due while something sent is not acknowledged, or a ping not answered. While one is due and nothing arrives:

    alive --SUSPECT s--> suspect --DEAD s--> dead          (anything that arrives leads back to alive)
"""

from __future__ import annotations

import enum
import math
from collections import deque

# Our choices (docs/protocol.md, section 7). Times are in seconds.
#: An acknowledgement may be late by an eighth of a round trip, within bounds: the peer measures by it how fast we receive, and on a fast
#: path each costs more than it tells.
ACK_PART, LEAST_ACK_DELAY, MOST_ACK_DELAY = 1 / 8, 0.005, 0.05
ACK_BYTES = 1_048_576
#: Silence while an answer is due, at least.
SUSPECT, DEAD = 2.0, 5.0
#: TCP mends a segment that was lost n times in a row after 2^n - 1 time-outs (RFC 6298: each is twice the last), and the answer takes a
#: round trip. Suspect where three losses do not explain the silence, dead where four do not: on a link that loses 5 % that happens to one
#: of 160,000 segments, and to one of 3.2 million. At 100 ms it is 2.2 s, and within the 5 s.
SUSPECT_TIMEOUTS, DEAD_TIMEOUTS = 7.0, 15.0
#: TCP's time-out on a link that does not vary: this much above the round trip (Linux, macOS and Windows: 0.2 to 0.3).
TIMEOUT_MARGIN = 0.2
#: A timer that comes so late says that this computer or program stood still: what the peer said meanwhile was not read yet.
LATE = 1.0
#: Silence after word that the network has changed: most likely the carrier is gone, and a race does no harm where it is not.
HURRY = 0.25
#: A carrier that was silent for so long is asked. The local side does it before middleboxes forget the connection; the exit, only where
#: the local side should have done so twice: it was switched off, or moved away without a word.
IDLE, IDLE_AT_EXIT = 30.0, 75.0
#: Whoever receives knows of no answer that is due: when frames came and no more follow, the local side asks.
PAUSE = 0.5
PROBE = 1.0  # while data flows, a round trip is measured so often
MOST_MEASURED = 16  # that are kept to be shown: more than there are in five seconds
#: On a thin link one frame takes seconds. Whoever receives a part of it, and has said nothing for so long, repeats its last ACK.
SIGN = 1.0


def ack_delay(round_trip: float) -> float:
    """How late an acknowledgement may be on a path of this round trip."""
    return min(max(round_trip * ACK_PART, LEAST_ACK_DELAY), MOST_ACK_DELAY)


class Health(enum.Enum):
    ALIVE = enum.auto()
    SUSPECT = enum.auto()
    DEAD = enum.auto()


class Measured:
    """The last round trips, for who shows them; in seconds."""

    __slots__ = ("_last", "count")

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=MOST_MEASURED)
        self.count = 0  # of all so far

    def add(self, round_trip: float) -> None:
        self._last.append(round_trip)
        self.count += 1

    def since(self, count: int) -> list[float]:
        """Those that came when there had been so many, as far as they are kept."""
        return list(self._last)[max(0, len(self._last) - (self.count - count)) :]


class Liveness:
    """One for each session; `carrier_made` begins a new carrier. `asks`: whether a pause after frames is asked about."""

    # Over the budget of attributes: each is one fact, and they are told apart by who reports them.

    __slots__ = (
        "_ack_delay",
        "_acked",
        "_acks_held",
        "_asked_at",
        "_asks",
        "_deviation",
        "_expecting",
        "_heard_at",
        "_hurry",
        "_idle",
        "_least",
        "_owed_since",
        "_part_since",
        "_received",
        "_unacked_since",
        "_unmeasured",
        "awaiting",
        "measured",
        "round_trip",
    )

    def __init__(self, *, asks: bool) -> None:
        self._asks = asks
        self._idle = IDLE if asks else IDLE_AT_EXIT
        self.round_trip = 0.1  # smoothed; a guess until the first answer
        self._deviation = 0.05
        self._unmeasured = True
        self.measured = Measured()
        self.carrier_made(0.0, 0)

    def carrier_made(self, now: float, received: int) -> None:
        """`received`: the offset that the peer was told on this carrier, in hello or welcome."""
        self._heard_at = now
        self._asked_at = -math.inf  # when the last ping was sent
        self.awaiting = False  # whether its answer is due
        self._expecting = False  # whether frames came since the peer was last asked
        self._hurry = False  # until the ping is answered
        self._least = math.inf  # of this carrier's round trips: without queues
        self._ack_delay = ack_delay(self.round_trip)
        self._part_since = math.inf  # since when we have heard parts of a frame, and said nothing
        self._unacked_since = math.inf  # since when the peer makes no progress with what we sent
        self._owed_since = math.inf  # since when we owe an acknowledgement
        self._acks_held = False
        self._acked = self._received = received

    def welcomed(self, now: float) -> None:
        """Call for the first thing that is heard on a carrier, where it answers what went out when it was made."""
        if now > self._heard_at:
            self._measure(now - self._heard_at)
        self._heard_at = now

    def hold_acks(self, held: bool) -> None:
        """While another carrier is being made with what was received so far, the peer must not be told of more on this one."""
        self._acks_held = held

    def data_sent(self, now: float) -> None:
        """Call after reliable bytes were put on the carrier."""
        if self._unacked_since == math.inf:
            self._unacked_since = now

    def data_acknowledged(self, now: float, *, everything: bool) -> None:
        """Call after an ACK moved forward."""
        self._unacked_since = math.inf if everything else now

    def heard(self, now: float) -> None:
        """Call for any bytes of the peer."""
        self._heard_at = now

    def part_received(self, now: float, *, part: bool) -> None:
        """Call after bytes were processed; `part`: whether they end inside of a frame."""
        if part:
            self._part_since = min(self._part_since, now)
            self._expecting = self._asks
        else:
            self._part_since = math.inf

    def spoke(self) -> None:
        """Call when anything is on its way that the peer will hear."""
        self._part_since = math.inf

    def received(self, offset: int, now: float) -> None:
        """Call after reliable frames were processed up to `offset`."""
        if offset > self._received:
            self._received = offset
            self._expecting = self._asks
            if self._owed_since == math.inf:
                self._owed_since = now

    def acknowledged(self) -> None:
        """Call when an ACK is on its way: of everything received, but where ACKs are held."""
        self._part_since = math.inf
        if not self._acks_held:
            self._acked = self._received
            self._owed_since = math.inf

    def datagram_passed(self) -> None:
        """Call after one was sent or received: nobody acknowledges it, so a silence that follows is asked about."""
        self._expecting = self._asks

    def asked(self, now: float) -> None:
        """Call when a ping is on its way."""
        self._asked_at = now
        self.awaiting = True
        self._expecting = False

    def answered(self, now: float) -> float:
        """Call for the pong to the last ping. Returns the round trip, infinity where it is the answer to nothing."""
        if not self.awaiting:
            return math.inf
        self.awaiting = self._hurry = False
        self._measure(now - self._asked_at)
        return now - self._asked_at

    def _measure(self, sample: float) -> None:
        """RFC 6298, section 2."""
        self.measured.add(sample)
        self._least = min(self._least, sample)
        self._ack_delay = ack_delay(self._least)
        if self._unmeasured:
            self.round_trip, self._deviation = sample, sample / 2
        else:
            self._deviation += (abs(sample - self.round_trip) - self._deviation) / 4
            self.round_trip += (sample - self.round_trip) / 8
        self._unmeasured = False

    def network_changed(self) -> None:
        """Call when this computer moved or woke up, with a ping on its way: its answer is waited for less patiently."""
        self._hurry = True

    def stood_still(self, now: float) -> bool:
        """Whether this is so late that the silence may be our own. It counts from now on then, and the peer is to be asked."""
        late = now >= self._dead_at() + LATE
        if late:
            self._heard_at = now
        return late

    @property
    def owes_ack(self) -> bool:
        """Whether an ACK would tell the peer something new: it rides along with anything else that is sent."""
        return self._received > self._acked and not self._acks_held

    def ack_due(self, now: float) -> bool:
        return (self.owes_ack and self._received - self._acked >= ACK_BYTES) or now >= self._ack_at()

    def ping_due(self, now: float) -> bool:
        return now >= self._ping_at()

    def probe_due(self, now: float, *, often: bool = False) -> bool:
        """Whether to measure a round trip, now that data flows."""
        return not self.awaiting and (often or now >= self._asked_at + PROBE)

    def health(self, now: float) -> Health:
        if now >= self._dead_at():
            return Health.DEAD
        return Health.SUSPECT if now >= self._suspect_at() else Health.ALIVE

    def next_timer(self, now: float) -> float:
        """When something new may be due; infinity for never."""
        suspect = self._suspect_at()
        health = suspect if suspect > now else self._dead_at()
        return min(self._ack_at(), self._ping_at(), health)

    def _ack_at(self) -> float:
        owed = math.inf if self._acks_held else self._owed_since + self._ack_delay
        return min(owed, self._part_since + SIGN)

    def _silent_since(self) -> float:
        """Since when an answer is due and nothing arrives; infinity where none is due."""
        due = min(self._unacked_since, self._asked_at if self.awaiting else math.inf)
        return max(due, self._heard_at)

    def _explained(self, timeouts: float) -> float:
        """The silence after as many time-outs of TCP.

        Queues on the way count once, in the answer's round trip: where they are long, what is lost is lost in them, and mended without time-outs.
        """
        least = self._least if self._least < math.inf else self.round_trip
        return timeouts * (least + TIMEOUT_MARGIN) + self.round_trip

    def _suspect_at(self) -> float:
        patience = max(SUSPECT, self._explained(SUSPECT_TIMEOUTS))
        if self._hurry:
            patience = min(patience, max(HURRY, self.round_trip + 4 * self._deviation))
        return self._silent_since() + patience

    def _dead_at(self) -> float:
        return self._silent_since() + max(DEAD, self._explained(DEAD_TIMEOUTS))

    def _ping_at(self) -> float:
        if self.awaiting:
            return math.inf
        return self._heard_at + (PAUSE if self._expecting else self._idle)
