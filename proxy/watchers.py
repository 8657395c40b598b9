"""Places for those who watch, and for those who have not shown yet that they may: others can take the second, and never the first."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from .protocol.http_proxy import StatusError

if TYPE_CHECKING:
    from collections.abc import Iterator

# Our choice: pages and programs, each of which is told something once a second.
MOST_WATCHERS = 16


class Watchers:
    """So many at once."""

    def __init__(self, most: int) -> None:
        self._free = self._most = most

    @contextmanager
    def place(self) -> Iterator[None]:
        """Raises StatusError (503) where there is none."""
        if not self._free:
            raise StatusError(503, f"{self._most} pages or programs are watching already")
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


class Lobby:
    """So many at once, and each for so many seconds. Whoever comes always gets in: the one that has been there for longest goes for it."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._inside: dict[trio.CancelScope, None] = {}

    @contextmanager
    def place(self) -> Iterator[None]:
        """What is done there ends when the time is over or the place is another's."""
        if len(self._inside) >= self._most:
            oldest = next(iter(self._inside))
            del self._inside[oldest]
            oldest.cancel()
        with trio.move_on_after(self._seconds) as scope:
            self._inside[scope] = None
            try:
                yield
            finally:
                self._inside.pop(scope, None)
