"""Packets like those of KakaoTalk's LOCO, and the way to its chat server, in small.

The protocol as its open clients read it: the booking server is asked for the ticket server, that one for the chat server's address, and there one
connection stays: packets with a number, a method and a BSON document, answered under the same number, and sent unasked as well.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    import trio

Document: TypeAlias = dict[str, str | int]

#: Number, status, method, kind of the body (0: BSON), length of the body; little-endian.
_HEAD = struct.Struct("<IH11sBI")
_INT32, _STRING, _INT64 = 0x10, 0x02, 0x12  # bsonspec.org


@dataclass(frozen=True)
class Packet:
    number: int
    method: str
    body: Document


def bson(document: Mapping[str, str | int]) -> bytes:
    """Integers that fit go in 32 bits, like everybody's."""
    fields = bytearray()
    for name, value in document.items():
        key = name.encode() + b"\0"
        if isinstance(value, str):
            text = value.encode() + b"\0"
            fields += bytes([_STRING]) + key + struct.pack("<i", len(text)) + text
        elif -(1 << 31) <= value < 1 << 31:
            fields += bytes([_INT32]) + key + struct.pack("<i", value)
        else:
            fields += bytes([_INT64]) + key + struct.pack("<q", value)
    return struct.pack("<i", len(fields) + 5) + fields + b"\0"


def document_of(data: bytes) -> Document:
    """The reverse. Raises ValueError."""
    (length,) = struct.unpack_from("<i", data)
    if length != len(data) or data[-1]:
        raise ValueError("this is no BSON document")
    found: Document = {}
    position = 4
    while kind := data[position]:
        end = data.index(b"\0", position + 1)
        name, position = data[position + 1 : end].decode(), end + 1
        if kind == _STRING:
            (size,) = struct.unpack_from("<i", data, position)
            found[name] = data[position + 4 : position + 3 + size].decode()
            position += 4 + size
        elif kind in (_INT32, _INT64):
            form = struct.Struct("<i" if kind == _INT32 else "<q")
            (found[name],) = form.unpack_from(data, position)
            position += form.size
        else:
            raise ValueError(f"BSON of kind {kind}")
    return found


def encode(packet: Packet) -> bytes:
    body = bson(packet.body)
    return _HEAD.pack(packet.number, 0, packet.method.encode(), 0, len(body)) + body


async def packets(stream: trio.abc.ReceiveStream) -> AsyncGenerator[Packet, None]:
    """Until the end."""
    data = b""
    while chunk := await stream.receive_some():
        data += chunk
        while len(data) >= _HEAD.size:
            number, _, method, _, length = _HEAD.unpack_from(data)
            if len(data) < _HEAD.size + length:
                break
            body, data = data[_HEAD.size : _HEAD.size + length], data[_HEAD.size + length :]
            yield Packet(number, method.rstrip(b"\0").decode(), document_of(body))
