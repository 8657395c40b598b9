"""Apps whose connection is being made: how long each waits, for the tunnel and for the exit's answer."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from .errors import OpenError, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .session_stream import SessionStream

# Our choice; seconds. The exit's own limit is 10 s for each destination, and a carrier may break meanwhile.
ACCEPT_TIMEOUT = 30.0


class Openings:
    """`connect_wait`: the seconds that an app waits while the tunnel is down, whether it came before that or meanwhile."""

    def __init__(self, connect_wait: float = 5.0) -> None:
        self.connect_wait = connect_wait
        self.up, self.down = trio.Event(), trio.Event()  # each is another one when the tunnel has changed
        self.down.set()
        self._wanted = 0
        self._at_the_exit: dict[trio.CancelScope, float] = {}  # and until when they may wait while the tunnel is up

    @property
    def waiting(self) -> bool:
        """Whether anybody waits for the tunnel or its exit."""
        return self._wanted > 0 or bool(self._at_the_exit)

    def went_up(self) -> None:
        self.up.set()
        self.down = trio.Event()
        for scope, until in self._at_the_exit.items():
            scope.deadline = until

    def went_down(self) -> None:
        self.up = trio.Event()
        self.down.set()
        until = trio.current_time() + self.connect_wait
        for scope in self._at_the_exit:
            scope.deadline = min(scope.deadline, until)

    @contextmanager
    def wanted(self) -> Iterator[None]:
        """Somebody waits for the tunnel meanwhile."""
        self._wanted += 1
        try:
            yield
        finally:
            self._wanted -= 1

    async def until_up(self) -> None:
        """Raises OpenError(TUNNEL_DOWN)."""
        with self.wanted(), trio.move_on_after(self.connect_wait):
            while not self.up.is_set():
                await self.up.wait()
            return
        raise OpenError(Reason.TUNNEL_DOWN)

    async def until_accepted(self, stream: SessionStream) -> None:
        """Raises OpenError, with the exit's reason, TIMED_OUT or TUNNEL_DOWN. The stream is to be reset after any error."""
        until = trio.current_time() + ACCEPT_TIMEOUT
        scope = trio.CancelScope(deadline=until if self.up.is_set() else trio.current_time() + self.connect_wait)
        self._at_the_exit[scope] = until
        try:
            with scope:
                return await stream.wait_accepted()
        finally:
            del self._at_the_exit[scope]
        raise OpenError(Reason.TIMED_OUT if self.up.is_set() else Reason.TUNNEL_DOWN)
