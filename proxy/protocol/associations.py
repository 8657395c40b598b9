"""The associations of a session, and the datagrams on them (docs/protocol.md, section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.errors import OpenError, Reason, RemoteProtocolError

from .datagrams import Association, decode_datagram, encode_datagram
from .event import AssociationOpened, DatagramReceived, GoneAway
from .holdings import Holdings

if TYPE_CHECKING:
    from proxy.address import Address

    from .budget import Budget
    from .frame import Frame
    from .stream import Stream

# Wire constant.
LAST_ID = 2**32 - 1


class Associations(Holdings):
    """What opens streams and associations, and carries the datagrams."""

    def __init__(self, *, opens: bool, now: float, budget: Budget | None = None) -> None:
        super().__init__(asks=opens, now=now, budget=budget)
        self._opens = opens
        self.gone_away = False  # no new streams, by the peer's word or ours
        self.over: GoneAway | None = None

    def drop_after(self, age: float) -> None:
        """Datagrams that have waited for more seconds than this are not sent."""
        self._outbox.datagrams.age = age

    def associate(self, now: float) -> Association:
        """At the local side. Datagrams may be sent at once. Raises OpenError when the session takes no more."""
        self._check_open()
        association = self._add_association(now)
        self._outbox.announce(association)
        return association

    def send_datagram(self, association: Association, address: Address, data: bytes, now: float) -> None:
        """Goes out soon or never. What is too long for a frame is dropped."""
        if association.reset is None and (frame := encode_datagram(association, address, data)) is not None:
            self._outbox.datagrams.put(association, frame, now)

    def _take_datagrams(self, limit: int, now: float) -> bytes:
        datagrams = self._outbox.take_datagrams(limit, now)
        if datagrams:
            self._liveness.datagram_passed()
        return datagrams

    def _check_open(self) -> None:
        if self.gone_away or self._last_id == LAST_ID:
            raise OpenError(Reason.TUNNEL_DOWN)
        if self.budget.crowded:
            raise OpenError(Reason.BUSY, "connections take all memory; close some, or raise `memory`")

    def _check_new(self, frame: Frame) -> None:
        if self._opens or frame.stream_id != self._last_id + 1:
            raise RemoteProtocolError(f"OPEN of stream {frame.stream_id} after {self._last_id}, or from the exit")

    def _add_association(self, now: float) -> Association:
        self._last_id += 1
        return self._enter(Association(self._last_id, now, self.budget))

    def _receive_associate(self, frame: Frame, now: float) -> None:
        self._check_new(frame)
        crowded = self.budget.crowded
        association = self._add_association(now)
        association.announced = True
        if crowded or self.gone_away:
            self.reset(association, Reason.BUSY)
        else:
            self._events.append(AssociationOpened(association))

    def _receive_datagram(self, stream: Stream, payload: bytes, _now: float) -> None:
        if not isinstance(stream, Association):
            raise RemoteProtocolError("DATAGRAM on a stream")
        self._liveness.datagram_passed()
        self._events.append(DatagramReceived(stream, *decode_datagram(payload)))
