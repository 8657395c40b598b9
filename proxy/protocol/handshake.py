"""Hello and welcome: how both sides of a carrier prove that they hold a user's key (docs/protocol.md, section 3)."""

from __future__ import annotations

import enum
import hashlib
import hmac
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# Wire constants.
VERSION = 1
KEY_ID_SIZE, NONCE_SIZE, TOKEN_SIZE, MAC_SIZE = 8, 16, 16, 32
MAX_PADDING = 1024
NO_TOKEN = bytes(TOKEN_SIZE)
AFTER_WELCOME = 2**64 - 1  # `sending` of a hello with no frames behind it

_HELLO = struct.Struct("!8s16sBB16sQQH")
_WELCOME = struct.Struct("!16sB16sQQH")
_HELLO_LABEL = b"ropeway hello 1"
_WELCOME_LABEL = b"ropeway welcome 1"


class Wanted(enum.IntEnum):
    NEW = 1
    RESUME = 2
    HAND_OVER = 3


class Status(enum.IntEnum):
    NEW = 1
    RESUMED = 2
    UNKNOWN = 3
    TOO_MANY = 4
    FOREIGN = 5
    IMPOSSIBLE = 6
    BUSY = 7


class NotAHelloError(Exception):
    """These bytes are a visitor's: they cannot be, or become, the hello of a user."""


class NotAWelcomeError(Exception):
    """These bytes are not the answer of an exit that holds the key, on this TLS connection."""


@dataclass(frozen=True, slots=True)
class Hello:
    """What the local side says first. `token` is NO_TOKEN for a new session, and then both offsets are 0."""

    key_id: bytes
    nonce: bytes
    wanted: Wanted = Wanted.NEW
    token: bytes = NO_TOKEN
    received: int = 0
    sending: int = 0

    def encode(self, secret: bytes, binding: bytes, padding: bytes) -> bytes:
        head = _HELLO.pack(
            self.key_id, self.nonce, VERSION, self.wanted, self.token, self.received, self.sending, len(padding)
        )
        return _sealed(head + padding, secret, _HELLO_LABEL + binding)


@dataclass(frozen=True, slots=True)
class Welcome:
    """What the exit answers. `received`: up to where the session's reliable frames from the local side came; `sending`: where those of the
    exit behind this welcome begin.
    """

    nonce: bytes
    status: Status
    token: bytes = NO_TOKEN
    received: int = 0
    sending: int = 0

    def encode(self, secret: bytes, binding: bytes, padding: bytes, hello: Hello) -> bytes:
        head = _WELCOME.pack(self.nonce, self.status, self.token, self.received, self.sending, len(padding))
        return _sealed(head + padding, secret, _WELCOME_LABEL + binding + hello.nonce)


def _sealed(message: bytes, secret: bytes, context: bytes) -> bytes:
    return message + hmac.digest(secret, context + message, hashlib.sha256)


def _is_sealed(message: bytes, secret: bytes, context: bytes) -> bool:
    mac = hmac.digest(secret, context + message[:-MAC_SIZE], hashlib.sha256)
    return hmac.compare_digest(mac, message[-MAC_SIZE:])


def read_hello(data: bytes, secrets: Mapping[bytes, bytes], binding: bytes) -> tuple[Hello, int] | None:
    """The hello that `data` begins with and its size, or None where more bytes are needed to tell.

    `secrets` maps key ids to keys. Raises NotAHelloError as soon as the bytes cannot become a hello of one of them.
    """
    key_id = data[:KEY_ID_SIZE]
    if key_id not in secrets:
        if len(key_id) < KEY_ID_SIZE and any(known.startswith(key_id) for known in secrets):
            return None
        raise NotAHelloError
    heads = [data + head[len(data) :] for head in _HEADS] if len(data) < _HELLO.size else [data]
    if not any(map(_is_head, heads)):
        raise NotAHelloError
    if len(data) < _HELLO.size:
        return None
    key_id, nonce, _, wanted, token, received, sending, padding = _HELLO.unpack_from(data)
    size = _HELLO.size + padding + MAC_SIZE
    if len(data) < size:
        return None
    if not _is_sealed(data[:size], secrets[key_id], _HELLO_LABEL + binding):
        raise NotAHelloError
    return Hello(key_id, nonce, Wanted(wanted), token, received, sending), size


def _is_head(data: bytes) -> bool:
    _, _, version, wanted, token, received, sending, padding = _HELLO.unpack_from(data)
    if version != VERSION or padding > MAX_PADDING:
        return False
    if wanted == Wanted.NEW:
        return token == NO_TOKEN and not (received or sending)
    if token == NO_TOKEN:
        return False
    return bool(wanted == Wanted.RESUME or (wanted == Wanted.HAND_OVER and sending == AFTER_WELCOME))


def _head(wanted: Wanted, token: bytes, sending: int) -> bytes:
    return _HELLO.pack(bytes(KEY_ID_SIZE), bytes(NONCE_SIZE), VERSION, wanted, token, 0, sending, 0)


#: A head of each kind that stays right whatever right bytes its beginning is replaced by, so that the beginning of one can be judged.
_HEADS = (
    _head(Wanted.NEW, NO_TOKEN, 0),
    _head(Wanted.RESUME, b"t" * TOKEN_SIZE, 0),
    _head(Wanted.HAND_OVER, b"t" * TOKEN_SIZE, AFTER_WELCOME),
)


def read_welcome(data: bytes, secret: bytes, binding: bytes, hello: Hello) -> tuple[Welcome, int] | None:
    """The welcome that `data` begins with and its size, or None where more bytes are needed.

    Raises NotAWelcomeError: the exit does not know the key, is not an exit, or somebody stands in between.
    """
    if len(data) < _WELCOME.size:
        return None
    nonce, status, token, received, sending, padding = _WELCOME.unpack_from(data)
    if padding > MAX_PADDING:
        raise NotAWelcomeError
    size = _WELCOME.size + padding + MAC_SIZE
    if len(data) < size:
        return None
    if not _is_sealed(data[:size], secret, _WELCOME_LABEL + binding + hello.nonce) or status not in list(Status):
        raise NotAWelcomeError
    return Welcome(nonce, Status(status), token, received, sending), size
