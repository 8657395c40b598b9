"""What apps have sent of requests that nothing has taken yet, as the process's budget counts it, and who has to go where that is too much.

An app has half a minute for the head of a request, and thousands may have one each: so they share a part of the budget. Ordinary heads are
short and whole at once, and are not in the way of each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from .budget import Budget

if TYPE_CHECKING:
    import h11

# Our choices.
#: Of the budget's limit, what all heads may take together: 7 MB of a process of 256 MB.
HEADS = 1 / 16
#: Of that, what stays where it was more: so whoever has sent that much is looked for once, and not at each byte.
LEFT = 1 / 2
#: What a field takes in memory beside its name and its value: a tuple, and three strings of 33 bytes and more, as h11 has the name twice.
_FIELD = 200

#: What is done about a connection that has to go. Must not wait.
_GiveWay: TypeAlias = Callable[[], None]


class Heads:
    """Of all connections of one process."""

    def __init__(self, budget: Budget | None = None) -> None:
        self._budget = budget or Budget()
        self._waiting: set[Head] = set()
        self.held = 0  # bytes

    @property
    def limit(self) -> int:
        return int(HEADS * self._budget.limit)

    def count(self, head: Head, size: int, now: float) -> None:
        """What one holds from now on."""
        if not head.size:
            head.since = now
        self._add(size - head.size)
        head.size = size
        if size:
            self._waiting.add(head)
        else:
            self._waiting.discard(head)
        if self.held > self.limit:
            self._relieve(now)

    def _add(self, size: int) -> None:
        self.held += size
        self._budget.held += size

    def _relieve(self, now: float) -> None:
        """Those go that have held most for longest, until there is room."""
        for head in sorted(self._waiting, key=lambda each: each.size * (now - each.since), reverse=True):
            if self.held <= LEFT * self.limit:
                break
            self._waiting.discard(head)
            self._add(-head.size)
            head.size = 0
            head.gives_way()


class Head:
    """Of one connection: how much it holds, and since when."""

    __slots__ = ("_give_way", "_heads", "crowded_out", "since", "size")

    def __init__(self, heads: Heads) -> None:
        self._heads = heads
        self._give_way: _GiveWay | None = None
        self.crowded_out = False
        self.size = 0
        self.since = 0.0

    def __repr__(self) -> str:
        return f"<Head of {self.size} bytes>"

    def ends_with(self, give_way: _GiveWay) -> None:
        """From now on this is what ends the wait for the rest; at once where it had to go while nothing waited."""
        self._give_way = give_way
        if self.crowded_out:
            give_way()

    def count(self, size: int, now: float) -> None:
        """It holds so many bytes now. Nothing is counted any more once it had to go."""
        if not self.crowded_out and (size or self.size):
            self._heads.count(self, size, now)

    def gives_way(self) -> None:
        self.crowded_out = True
        if self._give_way is not None:
            self._give_way()


def weight(request: h11.Request) -> int:
    """How many bytes it takes in memory, about."""
    return len(request.target) + sum(_FIELD + len(name) + len(value) for name, value in request.headers)
