"""Which stream sends next: those that have sent little lately first, then the bulk, round robin."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .stream import Stream

# Our choices.
#: Up to here a stream is a chat message, a request or the beginning of a page, and goes before bulk.
LITTLE = 32_768
#: After this many seconds with nothing to send half of what a stream has sent is forgotten. While it has something nothing is: or of a hundred
#: downloads that share a slow carrier some would always count as little, and go before the others.
HALF_LIFE = 1.0


class Schedule:
    """The streams that have something to send and may send it. Each stands here once. Up to `little` bytes one counts as little."""

    __slots__ = ("_bulk", "_little", "little", "little_at")

    def __init__(self, little: int = LITTLE) -> None:
        self.little = little
        self._little: deque[Stream] = deque()
        self._bulk: deque[Stream] = deque()
        self.little_at = -math.inf  # when a little one has sent last

    def __bool__(self) -> bool:
        return bool(self._little or self._bulk)

    @property
    def has_little(self) -> bool:
        return bool(self._little)

    @property
    def has_bulk(self) -> bool:
        return bool(self._bulk)

    def add(self, stream: Stream, now: float) -> None:
        """Call after anything that may have made the stream ready."""
        if stream.scheduled or not stream.sender.ready:
            return
        stream.recent *= 0.5 ** ((now - stream.recent_at) / HALF_LIFE)
        stream.recent_at = now
        self._enter(stream)

    def _enter(self, stream: Stream) -> None:
        """Who has a part of its turn left goes on with it."""
        stream.scheduled = True
        row = self._little if stream.recent < self.little else self._bulk
        (row.appendleft if stream.turn else row.append)(stream)

    def pop(self, turn: int, *, bulk: bool) -> Stream | None:
        """The stream whose turn it is, of at most `turn` bytes; `bulk`: whether bulk may go now. It stands here no more: `sent` puts it back."""
        while self._little or (bulk and self._bulk):
            stream = (self._little or self._bulk).popleft()
            stream.scheduled = False
            if stream.sender.ready:  # a reset may have emptied it since
                stream.turn = min(stream.turn or turn, turn)
                return stream
        return None

    def sent(self, stream: Stream, size: int, now: float) -> None:
        """Call after the popped stream has sent `size` bytes. Where its turn was cut short it goes on with it, and has it still when credit comes: or
        of many downloads those with a small window would get a part of what the others get. Else it stands at the end of its row.
        """
        if stream.recent < self.little:
            self.little_at = now
        stream.recent += size
        stream.recent_at = now
        stream.turn -= size
        sender = stream.sender
        if stream.turn <= 0 or not sender.queued:
            stream.turn = 0
        if sender.ready:
            self._enter(stream)
