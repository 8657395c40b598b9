"""What a session tells its driver."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from proxy.address import Address

    from .datagrams import Association
    from .stream import Stream


class Code(enum.IntEnum):
    """Of GO_AWAY (docs/protocol.md, section 8)."""

    DONE = 0
    PROTOCOL_ERROR = 1
    REVOKED = 2
    EXPIRED = 3
    INTERNAL_ERROR = 4
    CLOSED = 5


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """At the exit: connect to the stream's address, then `accept` or `reset`."""

    stream: Stream


@dataclass(frozen=True, slots=True)
class StreamAccepted:
    """At the local side: the exit is connected."""

    stream: Stream


@dataclass(frozen=True, slots=True)
class StreamReadable:
    """There is something to read again, or END came."""

    stream: Stream


@dataclass(frozen=True, slots=True)
class StreamWritable:
    """Little is queued again: more may be written."""

    stream: Stream


@dataclass(frozen=True, slots=True)
class StreamReset:
    """By the peer, or with the session; `stream.reset` says why."""

    stream: Stream


@dataclass(frozen=True, slots=True)
class AssociationOpened:
    """At the exit: `accept` or `reset`."""

    association: Association


@dataclass(frozen=True, slots=True)
class DatagramReceived:
    """At the exit for that address, at the local side from it."""

    association: Association
    address: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class GoneAway:
    """DONE: no new streams. Anything else: the session is over."""

    code: Code
    text: str


Event: TypeAlias = (
    StreamOpened
    | StreamAccepted
    | StreamReadable
    | StreamWritable
    | StreamReset
    | AssociationOpened
    | DatagramReceived
    | GoneAway
)
