"""The bytes of a session's carriers, turned into frames that each come once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.errors import RemoteProtocolError

from .frame import Frame, FrameDecoder

if TYPE_CHECKING:
    from collections.abc import Iterator


class Inbox:
    """Counts what was received, and skips what comes again on a new carrier."""

    __slots__ = ("_decoder", "_skip", "received")

    def __init__(self) -> None:
        self._decoder = FrameDecoder()
        self._skip = 0  # reliable bytes that come again on this carrier
        self.received = 0  # offset up to which reliable frames were handed on

    @property
    def incomplete(self) -> bool:
        """Whether part of a frame waits for the rest."""
        return self._decoder.incomplete

    def carrier_made(self, skip: int) -> None:
        self._decoder.carrier_lost()
        self._skip = skip

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Frames to process, in order. A reliable one counts as received when it is handed out. Raises RemoteProtocolError."""
        for frame in self._decoder.feed(data):
            if not frame.reliable:
                yield frame
            elif not self._skip:
                self.received += frame.size
                yield frame
            elif (skip := self._skip - frame.size) >= 0:
                self._skip = skip
            else:
                raise RemoteProtocolError("what was sent again is cut differently")
