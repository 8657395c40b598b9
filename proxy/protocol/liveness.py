"""All policy about time on a carrier: when to acknowledge, when to ask for a sign of life, when to give up.

Others report facts and ask what is due; no other module compares times.
"""

from __future__ import annotations

import math

# Our choices (docs/protocol.md, section 7).
ACK_DELAY = 0.05
ACK_BYTES = 1_048_576
SILENCE = 2.0  # with something unacknowledged and nothing heard: ask
ANSWER = 5.0  # nothing heard for so long after asking: dead
#: A carrier that was silent for so long is asked. The local side does it before middleboxes forget the connection; the exit, only where
#: the local side should have done so twice: it was switched off, or moved away without a word.
IDLE, IDLE_AT_EXIT = 30.0, 75.0
PROBE = 1.0  # while data flows, a round trip is measured so often


class Liveness:
    """One for each session; `carrier_made` begins a new carrier."""

    __slots__ = (
        "_acked",
        "_asked_at",
        "_awaiting",
        "_heard_at",
        "_idle",
        "_owed_since",
        "_received",
        "_unacked_since",
        "_unmeasured",
        "round_trip",
    )

    def __init__(self, *, idle: float) -> None:
        self._idle = idle
        self.round_trip = 0.1  # seconds, smoothed; a guess until the first answer
        self._unmeasured = True
        self.carrier_made(-math.inf, 0)

    def carrier_made(self, now: float, received: int) -> None:
        """`received`: the offset that the peer was told on this carrier, in hello or welcome."""
        self._heard_at = now
        self._asked_at = -math.inf  # when the last ping was sent
        self._awaiting = False  # whether its answer is due
        self._unacked_since = math.inf  # since when the peer makes no progress with what we sent
        self._owed_since = math.inf  # since when we owe an acknowledgement
        self._acked = self._received = received

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

    def received(self, offset: int, now: float) -> None:
        """Call after reliable frames were processed up to `offset`."""
        if offset > self._received:
            self._received = offset
            if self._owed_since == math.inf:
                self._owed_since = now

    def acknowledged(self) -> None:
        """Call when an ACK of everything received is on its way."""
        self._acked = self._received
        self._owed_since = math.inf

    def asked(self, now: float) -> None:
        """Call when a ping is on its way."""
        self._asked_at = now
        self._awaiting = True

    def answered(self, now: float) -> None:
        """Call for the pong to the last ping."""
        if self._awaiting:
            self._awaiting = False
            sample = now - self._asked_at
            self.round_trip += (sample - self.round_trip) / (1 if self._unmeasured else 8)  # RFC 6298's weight
            self._unmeasured = False

    @property
    def owes_ack(self) -> bool:
        """Whether an ACK would tell the peer something new: it rides along with anything else that is sent."""
        return self._received > self._acked

    def ack_due(self, now: float) -> bool:
        return self._received - self._acked >= ACK_BYTES or now >= self._owed_since + ACK_DELAY

    def ping_due(self, now: float) -> bool:
        return now >= self._ping_at()

    def probe_due(self, now: float) -> bool:
        """Whether to measure a round trip, now that data flows."""
        return not self._awaiting and now >= self._asked_at + PROBE

    def dead(self, now: float) -> bool:
        return now >= self._gives_up_at()

    def next_timer(self) -> float:
        """When something may be due; infinity for never."""
        return min(self._owed_since + ACK_DELAY, self._ping_at(), self._gives_up_at())

    def _gives_up_at(self) -> float:
        return max(self._asked_at, self._heard_at) + ANSWER if self._awaiting else math.inf

    def _ping_at(self) -> float:
        if self._awaiting:
            return math.inf
        return min(max(self._unacked_since, self._heard_at) + SILENCE, self._heard_at + self._idle)
