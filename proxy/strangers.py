"""Connections of an exit that have not proved to hold a key: they never take a user's place."""

from __future__ import annotations

import trio

#: So many at once, of an exit's connections.
MAX_STRANGERS = 768


class Strangers:
    """Connections that are no carriers, or not yet. When there are too many, the oldest is cancelled."""

    def __init__(self) -> None:
        self._scopes: dict[trio.CancelScope, None] = {}  # in the order in which they came

    def enter(self) -> trio.CancelScope:
        """The scope to run in; `leave` it in the end."""
        if len(self._scopes) >= MAX_STRANGERS:
            oldest = next(iter(self._scopes))
            self.leave(oldest)
            oldest.cancel()
        scope = trio.CancelScope()
        self._scopes[scope] = None
        return scope

    def leave(self, scope: trio.CancelScope) -> None:
        """Its connection has ended, or is a carrier. Twice is the same as once."""
        self._scopes.pop(scope, None)
