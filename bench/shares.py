"""Who got how much of what several streams had together."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: A stream has its share when it gets so much of it.
ENOUGH = 0.9


def least_and_most(amounts: Sequence[float]) -> tuple[float, float]:
    """What the stream with least and the one with most got, of the mean. Zeros where nobody got anything."""
    mean = sum(amounts) / len(amounts)
    return (min(amounts) / mean, max(amounts) / mean) if mean else (0.0, 0.0)


@dataclass(frozen=True)
class Arrivals:
    """Of one stream, in order: when, and how many bytes."""

    times: list[float]
    sizes: list[int]

    def within(self, start: float, end: float) -> int:
        """Bytes that came then, the end not included."""
        first, last = bisect_left(self.times, start), bisect_left(self.times, end)
        return sum(self.sizes[first:last])


def share_within(newcomer: Arrivals, others: Sequence[Arrivals], start: float, end: float) -> float:
    """Of an equal share of all that came then. 0 where nothing came."""
    own = newcomer.within(start, end)
    total = own + sum(each.within(start, end) for each in others)
    return own * (1 + len(others)) / total if total else 0.0


def time_to_share(newcomer: Arrivals, others: Sequence[Arrivals], window: float) -> float | None:
    """From its first byte to the beginning of the first window, of that many seconds, in which it got its share; None: it never did.

    Windows begin with each arrival of the newcomer, and end with the last arrival of anybody at the latest.
    """
    if not newcomer.times:
        return None
    last = max(each.times[-1] for each in (newcomer, *others) if each.times)
    for start in newcomer.times:
        if start + window > last:
            return None
        if share_within(newcomer, others, start, start + window) >= ENOUGH:
            return start - newcomer.times[0]
    return None
