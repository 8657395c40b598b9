"""Destinations that have connected lately: their apps need not wait for the exit's answer."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .address import Address

# Our choices.
KNOWN_GOOD = 300.0  # seconds: a destination that connected within this time is expected to do so again
MAX_KNOWN_GOOD = 1024


class KnownGood:
    """The oldest is forgotten when there are too many."""

    def __init__(self) -> None:
        self._until: OrderedDict[Address, float] = OrderedDict()

    def add(self, address: Address, now: float) -> None:
        self._until[address] = now + KNOWN_GOOD
        self._until.move_to_end(address)
        if len(self._until) > MAX_KNOWN_GOOD:
            self._until.popitem(last=False)

    def discard(self, address: Address) -> None:
        self._until.pop(address, None)

    def has(self, address: Address, now: float) -> bool:
        return self._until.get(address, -math.inf) > now
