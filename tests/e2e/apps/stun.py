"""STUN and TURN messages (RFC 8489, RFC 8656) as calls use them: how they look, and nothing else."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import struct
from dataclasses import dataclass, field
from typing import TypeAlias

Where: TypeAlias = tuple[str, int]

COOKIE = 0x2112A442
_HEAD = struct.Struct("!HHI12s")
# Methods, and the bits of the class (RFC 8489, section 5).
BINDING, ALLOCATE, REFRESH, CREATE_PERMISSION, CHANNEL_BIND = 0x001, 0x003, 0x004, 0x008, 0x009
SUCCESS, ERROR = 0x100, 0x110
# Attributes (RFC 8489, section 18.3; RFC 8656, section 18).
USERNAME, MESSAGE_INTEGRITY, ERROR_CODE, REALM, NONCE, XOR_MAPPED = 0x0006, 0x0008, 0x0009, 0x0014, 0x0015, 0x0020
CHANNEL_NUMBER, LIFETIME, XOR_PEER, XOR_RELAYED, TRANSPORT = 0x000C, 0x000D, 0x0012, 0x0016, 0x0019
UDP = bytes([17, 0, 0, 0])
#: The first channel (RFC 8656, section 12).
FIRST_CHANNEL = 0x4000


@dataclass(frozen=True)
class Message:
    kind: int
    attributes: dict[int, bytes] = field(default_factory=dict)
    transaction: bytes = field(default_factory=lambda: secrets.token_bytes(12))

    def address(self, attribute: int) -> Where:
        """Of one whose value is XORed (RFC 8489, section 14.2)."""
        value = self.attributes[attribute]
        port = struct.unpack_from("!H", value, 2)[0] ^ COOKIE >> 16
        mask = struct.pack("!I", COOKIE) + self.transaction
        return str(ipaddress.ip_address(bytes(a ^ b for a, b in zip(value[4:], mask, strict=False)))), port

    @property
    def error(self) -> int:
        """Its code, or 0."""
        value = self.attributes.get(ERROR_CODE)
        return value[2] * 100 + value[3] if value else 0


def peer_address(there: Where) -> bytes:
    """The value of XOR_PEER, for IPv4."""
    host, port = there
    ip = int(ipaddress.IPv4Address(host))
    return struct.pack("!BBHI", 0, 1, port ^ COOKIE >> 16, ip ^ COOKIE)


def long_term_key(user: str, realm: str, password: str) -> bytes:
    """RFC 8489, section 9.2.2."""
    return hashlib.md5(f"{user}:{realm}:{password}".encode()).digest()


def encode(message: Message, key: bytes | None = None) -> bytes:
    """With MESSAGE-INTEGRITY where there is a key (RFC 8489, section 14.5)."""
    body = b"".join(map(_attribute, message.attributes, message.attributes.values()))
    if key is None:
        return _head(message, len(body)) + body
    # What is signed says the length with the signature.
    signed = _head(message, len(body) + 24) + body
    return signed + _attribute(MESSAGE_INTEGRITY, hmac.digest(key, signed, "sha1"))


def decode(data: bytes) -> Message:
    """Raises ValueError where it is none."""
    if len(data) < _HEAD.size:
        raise ValueError("too short")
    kind, length, cookie, transaction = _HEAD.unpack_from(data)
    if cookie != COOKIE or length != len(data) - _HEAD.size or length % 4:
        raise ValueError("not STUN")
    attributes: dict[int, bytes] = {}
    position = _HEAD.size
    while position < len(data):
        name, size = struct.unpack_from("!HH", data, position)
        position += 4
        if position + size > len(data):
            raise ValueError("an attribute is cut off")
        attributes.setdefault(name, data[position : position + size])
        position += size + -size % 4
    return Message(kind, attributes, transaction)


def channel_data(channel: int, data: bytes) -> bytes:
    """RFC 8656, section 12.4; in UDP nothing is added."""
    return struct.pack("!HH", channel, len(data)) + data


def of_channel(data: bytes) -> tuple[int, bytes] | None:
    """The channel and what came in it; None where it is something else."""
    if len(data) < 4 or data[0] >> 6 != 1:
        return None
    channel, size = struct.unpack_from("!HH", data)
    return channel, data[4 : 4 + size]


def _attribute(name: int, value: bytes) -> bytes:
    return struct.pack("!HH", name, len(value)) + value + bytes(-len(value) % 4)


def _head(message: Message, length: int) -> bytes:
    return _HEAD.pack(message.kind, length, COOKIE, message.transaction)
