"""What goes over a connection, counted."""

from __future__ import annotations


class Traffic:
    """What went over a connection, and when. It is told of 0 bytes where that direction has ended, which is different with datagrams: there may be
    empty ones, and none has to be answered.
    """

    __slots__ = ("bytes_down", "bytes_up", "ended", "last_down", "last_up", "waiting_since")

    def __init__(self) -> None:
        self.ended = False  # one direction, at least
        self.bytes_up = self.bytes_down = 0
        self.last_up: float | None = None
        self.last_down: float | None = None
        self.waiting_since: float | None = None

    def up(self, size: int, now: float) -> None:
        """Bytes of the app."""
        if not size:
            self.ended = True
            return
        self.bytes_up += size
        self.last_up = now
        if self.waiting_since is None:
            self.waiting_since = now

    def down(self, size: int, now: float) -> None:
        """Bytes for the app."""
        if not size:
            self.ended = True
            return
        self.bytes_down += size
        self.last_down = now
        self.waiting_since = None

    def datagram_up(self, size: int, now: float) -> None:
        """Of the app."""
        self.bytes_up += size
        self.last_up = now

    def datagram_down(self, size: int, now: float) -> None:
        """For the app."""
        self.bytes_down += size
        self.last_down = now
