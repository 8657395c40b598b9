"""What Telegram's connections look like on the wire, in small: obfuscated, without TLS, and each packet with its length.

After 64 random bytes, from which both sides take their AES-CTR keys, no byte says anything (core.telegram.org/mtproto/mtproto-transports). The
messages inside are simpler than Telegram's, but that PING is answered by PONG with the same number, and text.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import trio
    from cryptography.hazmat.primitives.ciphers import CipherContext

#: "Intermediate": each packet has its length in front, in 32 bits.
_TRANSPORT = b"\xee\xee\xee\xee"
_START = 64
#: What a start may not look like, or the server takes it for another transport.
_TAKEN = (b"HEAD", b"POST", b"GET ", b"OPTI", _TRANSPORT, b"\xdd\xdd\xdd\xdd", b"\x16\x03\x01\x02")
PING, PONG, HELLO, SAY, HEAR = 0x7ABE77EC, 0x347773C5, 1, 2, 3


@dataclass(frozen=True)
class Message:
    kind: int
    number: int
    text: str = ""


def _stream_of(start: bytes) -> CipherContext:
    """Encrypts as it decrypts: it is a stream of bytes to be mixed in."""
    return Cipher(AES(start[8:40]), CTR(start[40:56])).encryptor()


class Wire:
    """One connection, from either side."""

    def __init__(self, stream: trio.SocketStream, there: CipherContext, back: CipherContext) -> None:
        self._stream = stream
        self._there, self._back = there, back

    @classmethod
    async def begin(cls, stream: trio.SocketStream) -> Wire:
        """At the side that has connected."""
        start = b""
        while not start or start[:4] in _TAKEN or start[0] == 0xEF or not any(start[4:8]):
            start = os.urandom(56) + _TRANSPORT + os.urandom(4)
        wire = cls(stream, _stream_of(start), _stream_of(start[::-1]))
        await stream.send_all(start[:56] + wire._there.update(start)[56:])
        return wire

    @classmethod
    async def accept(cls, stream: trio.SocketStream) -> Wire:
        start = b""
        while len(start) < _START:
            chunk = await stream.receive_some(_START - len(start))
            if not chunk:
                raise EOFError("nothing but a part of a start")
            start += chunk
        wire = cls(stream, _stream_of(start[::-1]), _stream_of(start))
        if wire._back.update(start)[56:60] != _TRANSPORT:
            raise ValueError("another transport")
        return wire

    async def send(self, message: Message) -> None:
        data = struct.pack("<IQ", message.kind, message.number) + message.text.encode()
        await self._stream.send_all(self._there.update(struct.pack("<I", len(data)) + data))

    async def messages(self) -> AsyncGenerator[Message, None]:
        """Until the end."""
        data = b""
        while chunk := await self._stream.receive_some():
            data += self._back.update(chunk)
            while len(data) >= 4 and len(data) >= 4 + (size := struct.unpack_from("<I", data)[0]):
                packet, data = data[4 : 4 + size], data[4 + size :]
                kind, number = struct.unpack_from("<IQ", packet)
                yield Message(kind, number, packet[12:].decode())
