"""What went through the local port in the last hour, and how long the way to the exit took: for a plot.

Time is an argument, in seconds of any clock that does not go back. Memory is taken once.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Our choices.
STEP = 5.0
STEPS = 720  # an hour
#: The rate of now is that of so many seconds at least: over less a single chunk is a peak. Who asks once a second may be a little early.
LEAST = 0.9


@dataclass(frozen=True, slots=True)
class Plot:
    """By step, the oldest first; the last one ended at `end`. Rates are bytes a second, round trips seconds, not a number where none is known."""

    end: float
    up: tuple[float, ...]
    down: tuple[float, ...]
    round_trips: tuple[float, ...]


class History:
    """`note` at the end of each step what has gone since the start."""

    def __init__(self, now: float) -> None:
        self._end = now
        self._totals = (0, 0)
        self._up, self._down, self._round_trips = (array("f", bytes(4 * STEPS)) for _ in range(3))
        self._steps = 0  # that were noted; the next one is put at this, counted round
        self._earlier = (now, 0, 0)  # when the rate of now was asked for, and what had gone
        self._rate = (0.0, 0.0)

    def note(self, now: float, up: int, down: int, round_trips: Iterable[float]) -> None:
        """A step is over, in which these round trips were measured. One that took longer, as a computer that sleeps makes it, fills several."""
        steps = max(1, round((now - self._end) / STEP))
        seconds = max(now - self._end, STEP / 2)
        before_up, before_down = self._totals
        median = _median(round_trips)
        for step in range(min(steps, STEPS)):
            at = (self._steps + step) % STEPS
            self._up[at], self._down[at] = (up - before_up) / seconds, (down - before_down) / seconds
            self._round_trips[at] = median
        self._steps += min(steps, STEPS)
        self._end, self._totals = now, (up, down)

    def rate(self, now: float, up: int, down: int) -> tuple[float, float]:
        """Of the last second or more, where it is asked for often, and since the last step where it is not."""
        at, before_up, before_down = self._earlier
        if now - at > 2 * STEP:
            at, (before_up, before_down) = self._end, self._totals
        if now - at >= LEAST:
            self._rate = (up - before_up) / (now - at), (down - before_down) / (now - at)
            self._earlier = (now, up, down)
        return self._rate

    def plot(self) -> Plot:
        first = max(0, self._steps - STEPS)
        order = [step % STEPS for step in range(first, self._steps)]
        up, down, round_trips = (
            tuple(numbers[at] for at in order) for numbers in (self._up, self._down, self._round_trips)
        )
        return Plot(self._end, up, down, round_trips)


def _median(numbers: Iterable[float]) -> float:
    """By hand, as the module `statistics` takes a tenth of the time of a start."""
    ordered = sorted(numbers)
    middle = len(ordered) // 2
    if not ordered:
        return math.nan
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
