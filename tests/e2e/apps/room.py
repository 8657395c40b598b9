"""What the small servers have in common: what is said to somebody waits until that one comes, and is told once."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class Room:
    def __init__(self) -> None:
        self._waiting: defaultdict[str, tuple[trio.MemorySendChannel[str], trio.MemoryReceiveChannel[str]]]
        self._waiting = defaultdict(lambda: trio.open_memory_channel[str](math.inf))

    def say(self, to: str, text: str) -> None:
        self._waiting[to][0].send_nowait(text)

    async def listen(self, name: str, every: float = math.inf) -> AsyncGenerator[str | None, None]:
        """What is said to that one; None when nothing was for `every` seconds."""
        while True:
            text = None
            with trio.move_on_after(every):
                text = await self._waiting[name][1].receive()
            yield text
