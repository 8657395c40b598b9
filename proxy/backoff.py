"""How long to wait before an exit that could not be reached is tried again."""

from __future__ import annotations

import math
import random

import trio

# Our choices; seconds.
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 60.0
#: While an app waits or a stream is open: an attempt is one packet, and TCP itself sends it as often.
DEMAND = 1.0


class Backoff:
    """Full jitter, so that a crowd that lost its exit at once does not come back at once. One task waits, any may shorten the wait."""

    def __init__(self) -> None:
        self._longest = FIRST_PAUSE
        self._scope = trio.CancelScope()
        self._began = -math.inf

    async def pause(self, began: float, *, demand: bool) -> None:
        """After a failed attempt that began then: what it took counts. `demand`: whether somebody waits."""
        pause = random.uniform(0, self._longest)  # noqa: S311  (nobody gains by guessing it)
        self._longest = min(self._longest * 2, LONGEST_PAUSE)
        self._began = began
        with trio.CancelScope(deadline=self._began + (min(pause, DEMAND) if demand else pause)) as self._scope:
            await trio.sleep_forever()

    def wanted(self) -> None:
        """Somebody waits from now on."""
        self._scope.deadline = min(self._scope.deadline, self._began + DEMAND)

    def reset(self) -> None:
        """The network has changed, or an attempt succeeded: what was learned before means nothing."""
        self._longest = FIRST_PAUSE
        self._scope.deadline = -math.inf
