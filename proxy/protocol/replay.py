"""What was sent reliably and is not acknowledged yet: kept, to be sent again on the next carrier."""

from __future__ import annotations

from collections import deque

from proxy.errors import RemoteProtocolError

from .budget import Budget
from .frame import JOINED


class ReplayLog:
    """A window on the sequence of reliable bytes: `start` is acknowledged, `end` is written, and `sent` lies between.

        0 ...... start ============ sent ------------ end
                 | kept, on the     | kept, not yet on
                 | carrier          | this carrier

    Chunks go in whole and come out whole, little ones joined, and each ends where a frame ends, so other frames fit between any two of them.
    """

    __slots__ = ("_budget", "_chunks", "_unsent", "end", "sent", "start")

    def __init__(self, budget: Budget | None = None) -> None:
        self._budget = budget or Budget()
        self._chunks: deque[bytes | memoryview] = deque()
        self._unsent: deque[bytes | memoryview] = deque()
        self.start = self.sent = self.end = 0

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return self.end - self.start

    @property
    def waiting(self) -> bool:
        """Whether something was put on this carrier that is not acknowledged."""
        return self.sent > self.start

    def append(self, chunk: bytes | memoryview) -> None:
        """A chunk that goes on the carrier now, behind everything before it."""
        assert self.sent == self.end, "what is to be sent again goes first"
        if self._chunks and len(self._chunks[-1]) + len(chunk) <= JOINED:
            self._chunks[-1] = b"".join((self._chunks[-1], chunk))
        else:
            self._chunks.append(chunk)
        self.end += len(chunk)
        self.sent = self.end
        self._budget.held += len(chunk)

    def next_unsent(self) -> bytes | memoryview | None:
        """The next chunk to be sent again, or None; it counts as sent from now on."""
        if not self._unsent:
            return None
        chunk = self._unsent.popleft()
        self.sent += len(chunk)
        return chunk

    def acknowledge(self, offset: int) -> None:
        """Everything before `offset` has arrived. Raises RemoteProtocolError if that was never sent."""
        if offset > self.end:
            raise RemoteProtocolError("an acknowledgement of what was never sent")
        before = self.start
        while self._chunks and self.start + len(self._chunks[0]) <= offset:
            self.start += len(self._chunks.popleft())
        if self.start < offset:
            self._chunks[0] = memoryview(self._chunks[0])[offset - self.start :]
            self.start = offset
        self._budget.held -= self.start - before

    def leave_budget(self) -> None:
        """The session is over, and what is kept will go with it: from now on it is not counted."""
        self._budget.held -= self.size
        self._budget = Budget()

    def check_kept(self, offset: int) -> None:
        """Raises RemoteProtocolError where what follows `offset` cannot be sent again: it was never sent, or is not kept any more."""
        if not self.start <= offset <= self.end:
            raise RemoteProtocolError("the peer's offset is outside of what is kept")

    def rewind(self, received: int) -> None:
        """For a new carrier whose other end has everything before `received`: the rest is to be sent again. Raises as `check_kept` does."""
        self.check_kept(received)
        self.acknowledge(received)
        self._unsent = deque(self._chunks)
        self.sent = self.start
