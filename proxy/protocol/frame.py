"""Frames: the unit on a carrier (docs/protocol.md, section 4)."""

from __future__ import annotations

import enum
import struct
from typing import TYPE_CHECKING, NamedTuple

from proxy.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

# Wire constants: a change breaks peers.
HEADER = struct.Struct("!II")  # type and length share the first word
HEADER_SIZE = HEADER.size
MAX_PAYLOAD = 65536
UNRELIABLE = 0x40
OPTIONAL = 0x80
MAX_TEXT = 255

# Our choice.
#: Pieces that are together no longer than this are joined. An object costs 40 to 250 bytes, however little it holds: so it never costs
#: more than what it holds, and a copy of 4 KB is done in less time than the frame around it.
JOINED = 4096


class Type(enum.IntEnum):
    OPEN = 0x01
    OPENED = 0x02
    DATA = 0x03
    END = 0x04
    RESET = 0x05
    CREDIT = 0x06
    GO_AWAY = 0x07
    ASSOCIATE = 0x08
    PING = 0x41
    PONG = 0x42
    ACK = 0x43
    DATAGRAM = 0x45
    PADDING = 0xC4


class _Shape(NamedTuple):
    on_stream: bool
    shortest: int
    longest: int


_SHAPES = {
    Type.OPEN: _Shape(True, 5, 259),  # a name of one byte; a name of 255 bytes
    Type.OPENED: _Shape(True, 0, 0),
    Type.DATA: _Shape(True, 1, MAX_PAYLOAD),
    Type.END: _Shape(True, 0, 0),
    Type.RESET: _Shape(True, 1, 1 + MAX_TEXT),
    Type.CREDIT: _Shape(True, 4, 4),
    Type.GO_AWAY: _Shape(False, 1, 1 + MAX_TEXT),
    Type.ASSOCIATE: _Shape(True, 0, 0),
    Type.PING: _Shape(False, 8, 8),
    Type.PONG: _Shape(False, 8, 8),
    Type.ACK: _Shape(False, 8, 8),
    Type.DATAGRAM: _Shape(True, 5, MAX_PAYLOAD),  # as OPEN, and no data
    Type.PADDING: _Shape(False, 0, MAX_PAYLOAD),
}
_KNOWN: dict[int, Type] = {int(kind): kind for kind in Type}  # a look-up is several times cheaper than Type(number)


class Frame(NamedTuple):
    type: Type | int  # int: an optional type that this version does not know
    stream_id: int
    payload: bytes

    @property
    def size(self) -> int:
        """How far it moves the offset if it is reliable, in bytes."""
        return HEADER_SIZE + len(self.payload)

    @property
    def reliable(self) -> bool:
        return not self.type & UNRELIABLE


def header(kind: Type, stream_id: int, length: int) -> bytes:
    """For a payload of `length` bytes that is sent from where it lies, without a copy."""
    return HEADER.pack(kind << 24 | length, stream_id)


def framed(size: int) -> int:
    """The bytes of frames that carry so much payload."""
    return size + -(-size // MAX_PAYLOAD) * HEADER_SIZE


def payload(size: int) -> int:
    """How many bytes of it go into frames until there are so many of these: the last frame may be longer by its header."""
    whole, rest = divmod(size, HEADER_SIZE + MAX_PAYLOAD)
    return whole * MAX_PAYLOAD + min(rest, MAX_PAYLOAD)


def encode(kind: Type, stream_id: int = 0, payload: bytes = b"") -> bytes:
    return HEADER.pack(kind << 24 | len(payload), stream_id) + payload


def text_payload(number: int, text: str) -> bytes:
    """The payload of RESET and GO_AWAY. Text that is too long is cut between characters."""
    return bytes([number]) + text.encode()[:MAX_TEXT].decode(errors="ignore").encode()


def payload_text(payload: bytes) -> str:
    """What people read of a RESET or GO_AWAY. It comes from a peer: nothing in it may move a terminal's cursor or break a line."""
    text = payload[1:].decode(errors="replace")
    return "".join(char if char.isprintable() else " " for char in text)


class FrameDecoder:
    """Bytes of a carrier in, frames out. Payloads are copied when they are complete, and the pieces of one that is cut once before."""

    __slots__ = ("_missing", "_parts", "_pending")

    def __init__(self) -> None:
        self.carrier_lost()

    def carrier_lost(self) -> None:
        """Forgets the part of a frame that came in: the peer sends that frame again, whole."""
        self._parts: list[bytes] = []  # of the header or the payload that has begun; together less than one frame
        self._missing = HEADER_SIZE  # bytes until it is complete
        self._pending: tuple[Type | int, int] | None = None  # the type and stream of the payload that is awaited

    @property
    def incomplete(self) -> bool:
        """Whether part of a frame waits for the rest."""
        return bool(self._parts) or self._pending is not None

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Every frame that is complete now. The iterator must be run to its end.

        Raises RemoteProtocolError at a frame that no version of the protocol allows; the decoder is of no use after it.
        """
        view, position, end = memoryview(data), 0, len(data)
        while end - position >= self._missing:
            after = position + self._missing
            part = self._completed(view[position:after])
            position = after
            if self._pending is None:
                word, stream_id = HEADER.unpack(part)
                self._missing = word & 0xFFFFFF
                self._pending = _check(word >> 24, stream_id, self._missing), stream_id
            else:
                kind, stream_id = self._pending
                self._pending, self._missing = None, HEADER_SIZE
                yield Frame(kind, stream_id, part)
        if position < end:
            self._keep(bytes(view[position:]))
            self._missing -= end - position

    def _keep(self, part: bytes) -> None:
        if self._parts and len(self._parts[-1]) + len(part) <= JOINED:
            self._parts[-1] += part
        else:
            self._parts.append(part)

    def _completed(self, last: memoryview) -> bytes:
        if not self._parts:
            return bytes(last)
        whole = b"".join((*self._parts, last))
        self._parts.clear()
        return whole


def _check(number: int, stream_id: int, length: int) -> Type | int:
    """By the header alone, so that a wrong length is found before its payload is waited for."""
    kind = _KNOWN.get(number)
    if length > MAX_PAYLOAD:
        raise RemoteProtocolError(f"a frame of {length} bytes")
    if kind is None:
        if number & OPTIONAL:
            return number
        raise RemoteProtocolError(f"frame type {number:#04x} is unknown")
    shape = _SHAPES[kind]
    if not shape.shortest <= length <= shape.longest:
        raise RemoteProtocolError(f"{kind.name} with a payload of {length} bytes")
    if bool(stream_id) is not shape.on_stream:
        raise RemoteProtocolError(f"{kind.name} on stream {stream_id}")
    return kind
