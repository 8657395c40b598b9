"""Codes by which a browser is let in: each once, and for moments only.

The address that a program gives to a browser stands among its arguments, which every user of the computer can read. So it has such a code, and
the browser gets the token from the port, where nobody else sees it. Time is an argument, in seconds of any clock.
"""

from __future__ import annotations

import secrets

# Our choices.
LIFE = 60.0  # seconds; a browser that has to start first takes some
MOST = 16


class EntryCodes:
    def __init__(self) -> None:
        self._until: dict[str, float] = {}  # the oldest first

    def make(self, now: float) -> str:
        """Where there are too many the oldest is worth nothing any more."""
        while len(self._until) >= MOST:
            del self._until[next(iter(self._until))]
        code = secrets.token_urlsafe(16)
        self._until[code] = now + LIFE
        return code

    def has(self, code: str, now: float) -> bool:
        """Whether it would let somebody in."""
        return self._until.get(code, -1.0) > now

    def has_any(self, now: float) -> bool:
        return any(until > now for until in self._until.values())

    def take(self, code: str, now: float) -> bool:
        """Whether it lets somebody in, this one time. To look it up tells nothing of it: it is chance, and used up."""
        return self._until.pop(code, -1.0) > now
