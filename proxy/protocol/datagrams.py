"""An association of a session: a stream of the table that carries datagrams and no bytes (docs/protocol.md, section 5)."""

from __future__ import annotations

import functools
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from proxy.address import Address, encoded_size
from proxy.errors import RemoteProtocolError

from .frame import MAX_PAYLOAD, Type, encode
from .schedule import Schedule
from .stream import ReceiveHalf, SendHalf, Stream

if TYPE_CHECKING:
    from .budget import Budget

_Item = TypeVar("_Item")

# Our choices.
#: What may wait in one direction of one association, in bytes: two of the largest datagrams. More of a flood would only be too old when it goes.
MOST_QUEUED = 131_072
#: What each datagram that waits costs besides its bytes.
OVERHEAD = 200
#: Of what is free in the budget beyond half of its limit: however many associations are flooded, streams find room.
_PART = 32
#: What may wait as long as there is that much, if half of the budget is taken: a call goes on.
_LITTLE = 8192
#: A datagram that is not on its way after so many seconds is dropped: what is said in a call is worth nothing later.
AGE = 0.3
#: Up to here an association is a call, and waits for nothing: 90 KB a second with the half-life of the schedule. With more it is a download.
CALL = 131_072
#: Downloads take turns of so many bytes.
TURN = 16_384
#: Addresses are encoded anew for each datagram, and an association talks to few.
_ADDRESSES = 4096


class DatagramQueue(Generic[_Item]):
    """Datagrams that wait, in order. Where more would wait than may, the oldest is dropped."""

    __slots__ = ("_budget", "_items", "size")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._items: deque[tuple[float, int, _Item]] = deque()
        self.size = 0  # bytes

    def __bool__(self) -> bool:
        return bool(self._items)

    def put(self, item: _Item, size: int, now: float) -> None:
        cost = size + OVERHEAD
        part = self._budget.free // _PART
        most = min(MOST_QUEUED, max(part - self._budget.limit // (2 * _PART), min(part, _LITTLE)))
        while self._items and self.size + cost > most:
            self._pop()
        if cost > most:
            return
        self._items.append((now, cost, item))
        self._count(cost)

    def take(self, since: float) -> _Item | None:
        """The next one that was put in at `since` or later; older ones are dropped. None where none is left."""
        self.drop(since)
        return self._pop() if self._items else None

    def drop(self, since: float) -> None:
        """Those that were put in before then."""
        while self._items and self._items[0][0] < since:
            self._pop()

    def clear(self) -> None:
        self._items.clear()
        self._count(-self.size)

    def _pop(self) -> _Item:
        _, cost, item = self._items.popleft()
        self._count(-cost)
        return item

    def _count(self, size: int) -> None:
        self.size += size
        self._budget.held += size


class _DatagramsOut(SendHalf):
    """What an association has to send, as whole frames. Bytes it has none."""

    __slots__ = ("frames",)

    def __init__(self, budget: Budget) -> None:
        super().__init__()
        self.frames: DatagramQueue[bytes] = DatagramQueue(budget)

    @property
    def ready(self) -> bool:
        return bool(self.frames)

    def drop(self) -> None:
        super().drop()
        self.frames.clear()

    def grant(self, increment: int) -> None:
        raise RemoteProtocolError(f"CREDIT of {increment} on an association")


class _NoBytesIn(ReceiveHalf):
    __slots__ = ()

    def feed(self, payload: bytes) -> None:
        raise RemoteProtocolError(f"DATA of {len(payload)} bytes on an association")

    def end(self) -> None:
        raise RemoteProtocolError("END on an association")


class Association(Stream):
    """`announced`: ASSOCIATE is on its way, or was received; before that nothing of it is sent."""

    __slots__ = ("_out", "announced")

    def __init__(self, stream_id: int, now: float, budget: Budget) -> None:
        super().__init__(stream_id, NOWHERE, now)
        self._out = _DatagramsOut(budget)
        self.sender = self._out
        self.receiver = _NoBytesIn(now)
        self.announced = False

    def __repr__(self) -> str:
        state = "reset" if self.reset else "open" if self.accepted else "opening"
        return f"<Association {self.id} {state}, {self._out.frames.size} to send>"

    @property
    def frames(self) -> DatagramQueue[bytes]:
        return self._out.frames


class DatagramSchedule:
    """Which association sends next, by the rule of streams: who has sent little lately goes first, and floods take turns."""

    __slots__ = ("_opened", "_schedule", "age")

    def __init__(self) -> None:
        self._schedule = Schedule(CALL)
        self._opened: list[Association] = []  # whose ASSOCIATE has not been sent
        self.age = AGE

    @property
    def has_little(self) -> bool:
        return self._schedule.has_little

    @property
    def has_bulk(self) -> bool:
        return self._schedule.has_bulk

    @property
    def little_at(self) -> float:
        """When one has sent last that sends little."""
        return self._schedule.little_at

    def opened(self, association: Association) -> None:
        """Call with its ASSOCIATE in the row of control frames, and `announced` when those were sent."""
        self._opened.append(association)

    def announced(self, now: float) -> None:
        for association in self._opened:
            association.announced = True
            self._schedule.add(association, now)
        self._opened.clear()

    def put(self, association: Association, frame: bytes, now: float) -> None:
        association.frames.put(frame, len(frame), now)
        if association.announced:
            self._schedule.add(association, now)

    def take(self, limit: int, now: float, *, bulk: int) -> tuple[list[bytes], int]:
        """Whole frames that are not too old, about `limit` bytes of them, those that send little, like a call, first; of floods about `bulk`
        bytes. And how many are of floods. A thousand associations that send little are a flood as well, and what is reliable has its turns.
        """
        parts: list[bytes] = []
        left, much = limit, 0
        while left > 0 and (association := self._schedule.pop(TURN, bulk=much < bulk)) is not None:
            assert isinstance(association, Association)
            floods = association.recent >= self._schedule.little
            frame = association.frames.take(now - self.age)
            size = 0
            if frame is not None:
                parts.append(frame)
                size = len(frame)
            left -= size
            much += size if floods else 0
            self._schedule.sent(association, size, now)
        return parts, much


#: Datagrams say themselves where they go.
NOWHERE = Address("0.0.0.0", 0)  # noqa: S104  (nothing listens there)


def encode_datagram(association: Association, address: Address, data: bytes) -> bytes | None:
    """The frame, or None where it would be longer than a frame may be."""
    payload = _encoded(address) + data
    return encode(Type.DATAGRAM, association.id, payload) if len(payload) <= MAX_PAYLOAD else None


def decode_datagram(payload: bytes) -> tuple[Address, bytes]:
    """Where it goes or who sent it, and the data. Raises RemoteProtocolError."""
    try:
        size = encoded_size(payload)
        return _decoded(payload[:size]), payload[size:]
    except ValueError as exc:
        raise RemoteProtocolError(f"DATAGRAM with a bad address: {exc}") from None


@functools.lru_cache(_ADDRESSES)
def _encoded(address: Address) -> bytes:
    return address.encode()


@functools.lru_cache(_ADDRESSES)
def _decoded(data: bytes) -> Address:
    return Address.decode(data)
