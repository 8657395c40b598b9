"""The streams of a session and what they hold, as the process's budget counts it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from proxy.errors import Reason

from .crossing import Crossing
from .event import Event, StreamReset
from .frame import Type, encode, text_payload
from .stream import INITIAL_CREDIT, Reset, Stream

if TYPE_CHECKING:
    from proxy.address import Address

    from .budget import Budget

# Our choices.
#: Where memory is short, an app that has not read for so many seconds what waits for it is slow. Its stream is reset where more waits than a
#: few packets. Those are looked for no more often than this.
SLOW, LITTLE_UNREAD, RELIEVE_EVERY = 1.0, 4096, 0.1
_Kind = TypeVar("_Kind", bound=Stream)

TOO_SLOW = "memory is short, and this connection is not read fast enough"


class Holdings(Crossing):
    """A session's table of streams. Whatever leaves it, or is dropped, leaves the budget as well."""

    def __init__(self, *, asks: bool, now: float, budget: Budget | None = None) -> None:
        super().__init__(asks=asks, now=now, budget=budget)
        self.budget.session_begun()
        self.streams: dict[int, Stream] = {}
        self._last_id = 0
        self._events: list[Event] = []
        self._relieved_at = now

    def take_events(self) -> list[Event]:
        """What happened since the last time."""
        events, self._events = self._events, []
        return events

    def _add(self, address: Address, now: float) -> Stream:
        self._last_id += 1
        return self._enter(Stream(self._last_id, address, now))

    def _enter(self, stream: _Kind) -> _Kind:
        self.streams[stream.id] = stream
        self.budget.stream_opened()
        return stream

    def _remove(self, stream: Stream) -> None:
        del self.streams[stream.id]
        self.budget.stream_closed()
        self.budget.promised -= stream.receiver.window - INITIAL_CREDIT

    def _drop(self, stream: Stream, reset: Reset) -> None:
        self.budget.held -= stream.sender.queued + stream.receiver.buffered
        stream.drop(reset)

    def returned(self, stream: Stream) -> None:
        """The app is done with what it has read, and comes for more or goes."""
        self.budget.held -= stream.receiver.given
        stream.receiver.given = 0

    def reset(self, stream: Stream, reason: Reason, text: str = "") -> None:
        """The app ends both directions at once; what is queued or buffered is dropped."""
        self.returned(stream)
        self._reset(stream, Reset(reason, text))

    def _reset(self, stream: Stream, reset: Reset) -> None:
        if not stream.closed:
            self._outbox.control.append(encode(Type.RESET, stream.id, text_payload(reset.reason, reset.text)))
            self._drop(stream, reset)
            self._remove(stream)
        elif stream.reset is None:  # both sides have ended it, and nobody reads the rest
            self._drop(stream, reset)

    def relieve(self, now: float) -> None:
        """Where memory is short, resets streams whose apps are slow, beginning with who has not read for longest, until there is relief.

        Call `take_events` after it.
        """
        budget = self.budget
        if not budget.short or now < self._relieved_at + RELIEVE_EVERY:
            return
        self._relieved_at = now
        slow = [
            stream
            for stream in self.streams.values()
            if stream.receiver.buffered > LITTLE_UNREAD and stream.receiver.since < now - SLOW
        ]
        for stream in sorted(slow, key=lambda each: each.receiver.since):
            if not budget.relief:
                self._turn_out(stream)

    def _turn_out(self, stream: Stream) -> None:
        self._reset(stream, Reset(Reason.BUSY, TOO_SLOW))
        self._events.append(StreamReset(stream))

    def _leave_budget(self) -> None:
        """Once the session is over and has no streams."""
        self._outbox.log.leave_budget()
        self.budget.session_ended()
