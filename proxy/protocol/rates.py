"""At which rates a path has delivered lately."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

#: The highest rate of this time, in seconds, counts. Our choice.
RATE_MEMORY = 3.0


@dataclass(slots=True)
class Piece:
    """What was handed to the carrier at once, and what was known then. Offsets are in bytes, times in seconds."""

    start: int
    end: int
    at: float
    limited: bool  # by the apps, which had no more, and not by the path
    acked: int
    acked_at: float
    previous_at: float  # when the piece was sent that was acknowledged last then


class Rates:
    """The highest of the last seconds. What was known last stays known where nothing new comes."""

    __slots__ = ("_falling",)

    def __init__(self) -> None:
        self._falling: deque[tuple[float, float]] = deque()  # (time, rate): each is higher than all later ones

    def note(self, newest: Piece, offset: int, now: float) -> None:
        """Everything before `offset` is acknowledged, of which this piece was sent last."""
        # The longer of both times: acknowledgements that were held up on the way come in a bunch (BBR, section 4.1.1.2.3).
        time = max(now - newest.acked_at, newest.at - newest.previous_at)
        if time <= 0:
            return
        rate = (offset - newest.acked) / time
        if not newest.limited or rate > self.highest:
            self.add(rate, now)

    def add(self, rate: float, now: float) -> None:
        falling = self._falling
        while falling and falling[-1][1] <= rate:
            falling.pop()
        falling.append((now, rate))
        while falling[0][0] < now - RATE_MEMORY:
            falling.popleft()

    def stand_still(self, seconds: float) -> None:
        self._falling = deque((at + seconds, rate) for at, rate in self._falling)

    @property
    def highest(self) -> float:
        return self._falling[0][1] if self._falling else 0.0
