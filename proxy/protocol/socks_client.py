"""The client's side of SOCKS5 (RFC 1928, RFC 1929): CONNECT, as an app asks for it.

client: version, methods  -> method
client: user, password    -> status     where the server asks for it
client: request           -> reply
"""

from __future__ import annotations

import enum
from collections.abc import Generator
from typing import TYPE_CHECKING, TypeAlias

from proxy.address import encoded_size
from proxy.errors import RemoteProtocolError

if TYPE_CHECKING:
    from proxy.address import Address
    from proxy.protocol.socks import Credentials

_VERSION, _CONNECT = 5, 1
_NO_AUTHENTICATION, _USERNAME_PASSWORD, _NO_ACCEPTABLE_METHOD = 0x00, 0x02, 0xFF
_PASSWORD_VERSION, _PASSWORD_RIGHT = 1, 0  # RFC 1929


class Reply(enum.IntEnum):
    """RFC 1928, section 6."""

    SUCCEEDED = 0
    GENERAL_FAILURE = 1
    NOT_ALLOWED = 2
    NETWORK_UNREACHABLE = 3
    HOST_UNREACHABLE = 4
    REFUSED = 5
    TTL_EXPIRED = 6
    COMMAND_NOT_SUPPORTED = 7
    ADDRESS_TYPE_NOT_SUPPORTED = 8


class DeniedError(Exception):
    """The server wants credentials where there are none, or other ones."""


#: What is to be sent, and how many bytes are awaited after it.
_Steps: TypeAlias = Generator[tuple[bytes, int], bytes, Reply]


class Handshake:
    """Send `data_to_send()`, receive at most `wants` bytes, and so on until there is a `reply`.

    Not a byte is taken that comes behind the reply: it belongs to the app.
    """

    def __init__(self, address: Address, credentials: Credentials | None = None) -> None:
        self.reply: Reply | None = None
        self._buffer = b""
        self._steps = self._connect(address, credentials)
        self._sending, self._awaited = next(self._steps)

    def __repr__(self) -> str:
        return f"<socks_client.Handshake {'waiting' if self.reply is None else self.reply.name}>"

    @property
    def wants(self) -> int:
        """How many bytes are still missing; 0 once there is a reply."""
        return self._awaited - len(self._buffer)

    def data_to_send(self) -> bytes:
        """Each byte once; may be empty."""
        data, self._sending = self._sending, b""
        return data

    def receive_data(self, data: bytes) -> None:
        """Takes at most `wants` bytes; none mean that the server has closed. Raises DeniedError, or RemoteProtocolError where it is no SOCKS5."""
        assert len(data) <= self.wants
        if not data:
            raise RemoteProtocolError("it closed the connection before it replied")
        self._buffer += data
        if self.wants:
            return
        data, self._buffer = self._buffer, b""
        try:
            sending, self._awaited = self._steps.send(data)
            self._sending += sending
        except StopIteration as stop:
            self.reply, self._awaited = stop.value, 0

    def _connect(self, address: Address, credentials: Credentials | None) -> _Steps:
        methods = bytes([_NO_AUTHENTICATION] if credentials is None else [_NO_AUTHENTICATION, _USERNAME_PASSWORD])
        version, method = yield bytes([_VERSION, len(methods)]) + methods, 2
        _check_version(version)
        if method == _NO_ACCEPTABLE_METHOD:
            raise DeniedError
        if method not in methods:
            raise RemoteProtocolError(f"it chose method {method}, which was not offered")
        if credentials is not None and method == _USERNAME_PASSWORD:
            _, status = yield _login(credentials), 2
            if status != _PASSWORD_RIGHT:
                raise DeniedError
        return (yield from self._request(address))

    def _request(self, address: Address) -> _Steps:
        version, code, _reserved = yield bytes([_VERSION, _CONNECT, 0]) + address.encode(), 3
        _check_version(version)
        bound = yield b"", 2  # the address that the server took; no kind has fewer bytes
        try:
            size = encoded_size(bound)
        except ValueError as error:
            raise RemoteProtocolError(str(error)) from None
        assert size is not None
        yield b"", size - len(bound)
        return Reply(code) if code <= max(Reply) else Reply.GENERAL_FAILURE


def _check_version(version: int) -> None:
    if version != _VERSION:
        raise RemoteProtocolError(f"it answered with version {version}")


def _login(credentials: Credentials) -> bytes:
    username, password = credentials.username.encode(), credentials.password.encode()
    return bytes([_PASSWORD_VERSION, len(username)]) + username + bytes([len(password)]) + password
