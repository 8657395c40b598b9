"""What the times of page loads say."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from webpage import RESOURCES

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The page's times, then those of each resource (page_load.py).
Times = list[dict[str, Any]]


@dataclass
class Loads:
    """Of one way."""

    times: list[Times] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return statistics.median(load_seconds(times) for times in self.times)


def load_seconds(times: Times) -> float:
    """Until the load event has run. Raises ValueError where the page is not all there."""
    page, *resources = times
    arrived = sum(resource["decodedBodySize"] > 0 for resource in resources)
    if arrived != RESOURCES:
        raise ValueError(f"{arrived} of {RESOURCES} resources came")
    return float(page["loadEventEnd"]) / 1000


def arrivals(times: Times) -> list[float]:
    """When each resource was whole, in seconds and in this order."""
    return sorted(resource["responseEnd"] / 1000 for resource in times[1:])


def in_turn(ways: Sequence[str], number: int) -> list[str]:
    """Each round begins with another one: what the machine does besides falls on all of them."""
    first = number % len(ways)
    return [*ways[first:], *ways[:first]]
