"""Ends connections over which nothing has gone for long: who went away without a word must not hold one for ever.

Nothing is set anew for each byte. A connection knows when its last byte went, and all of them are looked at now and then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

# Our choices; seconds.
#: As long as TCP itself waits before it asks (RFC 9293, section 3.8.4), and about what a NAT has to keep (RFC 5382, REQ-5).
IDLE_TIME = 7200.0
#: No setting cuts sooner: Google's push service counts on 30 minutes, and mail clients are silent for up to 29 (RFC 2177, section 3).
LEAST_IDLE_TIME = 1800.0
LOOK_EVERY = 60.0

#: What the user reads of a connection that was ended.
IDLE_TEXT = "nothing went over it for longer than idle_time allows"


async def end_idle(idle_time: Callable[[], float], end: Callable[[float], None]) -> None:
    """Until it is cancelled: calls `end` now and then, with the time at which or since which something must have gone over a connection.

    `idle_time` is asked each time, so that a changed setting holds at once; 0 means never.
    """
    while True:
        await trio.sleep(LOOK_EVERY)
        if limit := idle_time():
            end(trio.current_time() - max(limit, LEAST_IDLE_TIME))
