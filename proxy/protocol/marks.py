"""How far datagrams have come. They are not acknowledged: PINGs behind them are answered, or what was sent after them is acknowledged.

Positions count the reliable bytes of the session and the datagrams on this carrier together, but only those with a mark behind them.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

# Our choices.
#: Marks that are remembered. Where there are more the oldest are not told apart from those behind them.
MOST_MARKS = 1024
#: As many bytes may be sent without a mark behind them, and an eighth of what may be in flight: a mark costs as much as an ACK.
MOST_UNMARKED, LEAST_UNMARKED = 65_536, 1400
#: In flight at most, where nothing is known of the path or no mark is answered.
MOST_FLYING = 16_777_216


class _Mark(NamedTuple):
    number: int  # what its PING says
    offset: int  # of the reliable bytes before it
    sent: int


class Marks:
    """Of one carrier. What the PONGs say is the peer's: numbers that were never given, or given long ago, mean nothing."""

    __slots__ = ("_arrived", "_waiting", "number", "sent", "unmarked")

    def __init__(self) -> None:
        self._waiting: deque[_Mark] = deque(maxlen=MOST_MARKS)
        self._arrived = 0
        self.number = 0  # of the last mark
        self.sent = 0  # bytes of datagrams before it
        self.unmarked = 0  # and behind it

    @property
    def waiting(self) -> int:
        """Bytes that are on their way, as far as is known."""
        return self.sent - self._arrived

    @property
    def full(self) -> bool:
        """Whether so much is on its way that no more may be sent before a mark is answered."""
        return self.waiting >= MOST_FLYING

    def due(self, cap: float) -> bool:
        """Whether it is time for a mark, where `cap` bytes may be in flight."""
        return self.unmarked >= max(LEAST_UNMARKED, min(MOST_UNMARKED, cap / 8))

    def place(self, offset: int) -> None:
        """Behind everything that was sent so far, of which reliable frames are up to `offset`."""
        self.number += 1
        self.sent += self.unmarked
        self.unmarked = 0
        self._waiting.append(_Mark(self.number, offset, self.sent))

    def answered(self, number: int) -> int | None:
        """The position that a PONG of this number says has arrived; None where it is no news."""
        position = None
        while self._waiting and self._waiting[0].number <= number <= self.number:
            position = self._pass()
        return position

    def acknowledged(self, offset: int) -> int:
        """The position that an ACK of this offset says has arrived."""
        while self._waiting and self._waiting[0].offset < offset:
            self._pass()
        return offset + self._arrived

    def _pass(self) -> int:
        mark = self._waiting.popleft()
        self._arrived = mark.sent
        return mark.offset + mark.sent
