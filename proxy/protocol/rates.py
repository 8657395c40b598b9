"""At which rates a path has delivered lately."""

from __future__ import annotations

from collections import deque

#: The highest rate of this time, in seconds, counts. Our choice.
RATE_MEMORY = 3.0


class Rates:
    """The highest of the last seconds. What was known last stays known where nothing new comes."""

    __slots__ = ("_falling",)

    def __init__(self) -> None:
        self._falling: deque[tuple[float, float]] = deque()  # (time, rate): each is higher than all later ones

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
