"""The server's side of SOCKS5 (RFC 1928, RFC 1929), SOCKS4 and SOCKS4a: CONNECT, with SOCKS5 UDP ASSOCIATE, and its datagrams.

    app: version, methods  -> method         SOCKS5 only
    app: user, password    -> status         SOCKS5 with credentials only
    app: request           -> (the caller opens the address, or a UDP port) -> reply

The two versions are generators that wait for bytes with `yield`, so each reads from top to bottom like its RFC.
"""

from __future__ import annotations

import functools
import hmac
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TypeAlias

from proxy.address import Address, encoded_size
from proxy.errors import Reason

# Wire constants: RFC 1928, RFC 1929, and the memos "SOCKS: A protocol for TCP proxy across firewalls" and "SOCKS 4A".
VERSION_5, VERSION_4 = 5, 4
_NO_AUTHENTICATION, _USERNAME_PASSWORD, _NO_ACCEPTABLE_METHOD = 0x00, 0x02, 0xFF
_CONNECT, _UDP_ASSOCIATE = 1, 3
_SUCCEEDED, _GENERAL_FAILURE, _NOT_ALLOWED, _NETWORK_UNREACHABLE, _HOST_UNREACHABLE, _REFUSED = range(6)
_COMMAND_NOT_SUPPORTED, _ADDRESS_TYPE_NOT_SUPPORTED = 7, 8
_GRANTED_4, _REJECTED_4 = 90, 91

#: A SOCKS4 user-id and a SOCKS4a name end with a zero byte and have no length of their own; a DNS name has at most 255.
_MAX_STRING_4 = 255

_REPLIES = {
    Reason.REFUSED: _REFUSED,
    Reason.NETWORK_UNREACHABLE: _NETWORK_UNREACHABLE,
    Reason.HOST_UNREACHABLE: _HOST_UNREACHABLE,
    Reason.NAME_NOT_FOUND: _HOST_UNREACHABLE,
    Reason.TIMED_OUT: _HOST_UNREACHABLE,
    Reason.FORBIDDEN: _NOT_ALLOWED,
}

#: What IPv4 leaves to the data of a datagram: 65,535 bytes without the headers of IP and UDP.
LARGEST_DATAGRAM = 65_507
#: Before the address of a datagram: two reserved bytes, and the number of the fragment.
_BEFORE_ADDRESS, _FRAGMENT = 3, 2


@dataclass(frozen=True, slots=True)
class Connect:
    """Where the app wants to go."""

    address: Address


@dataclass(frozen=True, slots=True)
class Associate:
    """The app wants to send datagrams.

    `sender` is where it says they will come from, or None where it did not name both an IP address and a port. It is a hint: many apps
    say zeros, some a name or the address of another socket, and Telegram's on Apple's systems what lay in memory.
    """

    sender: Address | None


Request: TypeAlias = Connect | Associate
_Steps: TypeAlias = Generator[None, None, Request]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What an app has to know to use the port. Each 1 to 255 bytes of UTF-8 (RFC 1929), no colon in the user name (RFC 7617).

    Raises ValueError with a text for people.
    """

    username: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        if not (0 < len(self.username.encode()) < 256 and 0 < len(self.password.encode()) < 256):
            raise ValueError("the user name and the password must have 1 to 255 bytes each")
        if ":" in self.username:
            raise ValueError("the user name must not have a colon")

    def match(self, username: bytes, password: bytes) -> bool:
        """Takes as long for a wrong user name as for a wrong password."""
        right_username = hmac.compare_digest(username, self.username.encode())
        right_password = hmac.compare_digest(password, self.password.encode())
        return right_username & right_password


class _RejectedError(Exception):
    """The handshake ends here, with `answer` as its last bytes."""

    def __init__(self, answer: bytes = b"") -> None:
        super().__init__()
        self.answer = answer


#: BND.ADDR and BND.PORT of a reply to CONNECT: the true ones are the exit's, and no app needs them.
_NOWHERE = bytes((1, 0, 0, 0, 0, 0, 0))


def _reply_5(code: int, bound: bytes = _NOWHERE) -> bytes:
    return bytes((VERSION_5, code, 0)) + bound


def _reply_4(code: int) -> bytes:
    return bytes((0, code, 0, 0, 0, 0, 0, 0))


class Handshake:
    """One app's handshake. Feed it until it is `over`; then `request` says what the app wants, or is None.

    Without a request the connection is to be closed once what `receive_data` returned has been sent. With one, the caller
    sends `succeeded()` or `failed(reason)`; `trailing_data` came in behind the request and belongs to the destination.
    UDP ASSOCIATE is a command that is not supported, unless `associates` is set.
    """

    def __init__(self, credentials: Credentials | None, *, associates: bool = False) -> None:
        self.over = False
        self.request: Request | None = None
        self._credentials = credentials
        self._associates = associates
        self._buffer = bytearray()
        self._answer = b""
        self._version = 0
        self._steps = self._handshake()

    def __repr__(self) -> str:
        return f"<socks.Handshake version {self._version}, {'over' if self.over else 'reading'}>"

    @property
    def trailing_data(self) -> bytes:
        return bytes(self._buffer)

    def receive_data(self, data: bytes) -> bytes:
        """Returns what is to be sent to the app now; may be empty. Must not be called any more when the handshake is over."""
        self._buffer += data
        try:
            next(self._steps)
        except StopIteration as stop:
            self.over, self.request = True, stop.value
        except _RejectedError as rejected:
            self.over = True
            self._answer += rejected.answer
        answer, self._answer = self._answer, b""
        return answer

    def succeeded(self, bound: Address | None = None) -> bytes:
        """`bound` is where an app that associates has to send its datagrams."""
        if self._version == VERSION_4:
            return _reply_4(_GRANTED_4)
        return _reply_5(_SUCCEEDED, _NOWHERE if bound is None else bound.encode())

    def failed(self, reason: Reason) -> bytes:
        return _reply_5(_REPLIES.get(reason, _GENERAL_FAILURE)) if self._version == VERSION_5 else _reply_4(_REJECTED_4)

    def _handshake(self) -> _Steps:
        (self._version,) = yield from self._exactly(1)
        steps = {VERSION_5: self._version_5, VERSION_4: self._version_4}.get(self._version)
        if steps is None:
            raise _RejectedError
        return (yield from steps())

    def _version_5(self) -> _Steps:
        (count,) = yield from self._exactly(1)
        methods = yield from self._exactly(count)
        method = _NO_AUTHENTICATION if self._credentials is None else _USERNAME_PASSWORD
        if method not in methods:
            raise _RejectedError(bytes((VERSION_5, _NO_ACCEPTABLE_METHOD)))
        self._answer += bytes((VERSION_5, method))
        if self._credentials is not None:
            yield from self._authentication(self._credentials)
        return (yield from self._request_5())

    def _authentication(self, credentials: Credentials) -> Generator[None, None, None]:
        """RFC 1929. Its version is 1, and both fields have at least one byte."""
        version, length = yield from self._exactly(2)
        username = yield from self._exactly(length)
        (length,) = yield from self._exactly(1)
        password = yield from self._exactly(length)
        # Credentials are never empty, so a field of 0 bytes cannot match.
        if version != 1 or not credentials.match(username, password):
            raise _RejectedError(b"\x01\x01")
        self._answer += b"\x01\x00"

    def _request_5(self) -> _Steps:
        version, command, _reserved = yield from self._exactly(3)
        if version != VERSION_5:
            raise _RejectedError(_reply_5(_GENERAL_FAILURE))
        try:
            while (size := encoded_size(bytes(self._buffer[:2]))) is None:
                yield
        except ValueError:
            raise _RejectedError(_reply_5(_ADDRESS_TYPE_NOT_SUPPORTED)) from None
        encoded = yield from self._exactly(size)
        # Before the address is judged: it means something else with each command.
        make = _REQUESTS.get(command)
        if make is None or (command == _UDP_ASSOCIATE and not self._associates):
            raise _RejectedError(_reply_5(_COMMAND_NOT_SUPPORTED))
        try:
            return make(encoded)
        except ValueError:
            raise _RejectedError(_reply_5(_GENERAL_FAILURE)) from None

    def _version_4(self) -> _Steps:
        fixed = yield from self._exactly(7)
        command, port, ip = fixed[0], int.from_bytes(fixed[1:3], "big"), fixed[3:]
        yield from self._string_4()  # the user-id: whoever the app says it is, it proves nothing
        host = ".".join(map(str, ip))
        if ip[:3] == b"\0\0\0" and ip[3]:  # SOCKS4a: an address 0.0.0.x that is not 0.0.0.0 announces a name
            host = (yield from self._string_4()).decode("ascii", "replace")
        # SOCKS4 cannot carry a password, so it is no way around one.
        if command != _CONNECT or self._credentials is not None:
            raise _RejectedError(_reply_4(_REJECTED_4))
        try:
            return Connect(Address.make(host, port))
        except ValueError:
            raise _RejectedError(_reply_4(_REJECTED_4)) from None

    def _exactly(self, size: int) -> Generator[None, None, bytes]:
        while len(self._buffer) < size:
            yield
        return self._take(size)

    def _string_4(self) -> Generator[None, None, bytes]:
        while (end := self._buffer.find(0, 0, _MAX_STRING_4 + 1)) < 0:
            if len(self._buffer) > _MAX_STRING_4:
                raise _RejectedError(_reply_4(_REJECTED_4))
            yield
        return self._take(end + 1)[:-1]

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data


def _connect(encoded: bytes) -> Connect:
    return Connect(Address.decode(encoded))


def _associate(encoded: bytes) -> Associate:
    try:
        sender = Address.decode(encoded)
    except ValueError:  # port 0, or a name that is none
        return Associate(None)
    named = sender.ip is not None and not sender.ip.is_unspecified
    return Associate(sender if named else None)


_REQUESTS: dict[int, Callable[[bytes], Request]] = {_CONNECT: _connect, _UDP_ASSOCIATE: _associate}


# ---- datagrams: RFC 1928, section 7


def decode_datagram(datagram: bytes) -> tuple[Address, bytes]:
    """Where an app's datagram goes, and its data. Raises ValueError, which says why it cannot go anywhere.

    Fragments are refused, as the RFC allows. The reserved bytes may be anything: nothing depends on them.
    """
    encoded = datagram[_BEFORE_ADDRESS : _BEFORE_ADDRESS + 2]
    size = encoded_size(encoded)
    end = _BEFORE_ADDRESS + (size or 0)
    if size is None or len(datagram) < end:
        raise ValueError("the datagram is too short")
    if datagram[_FRAGMENT]:
        raise ValueError("the datagram is a fragment")
    return _destination(datagram[_BEFORE_ADDRESS:end]), datagram[end:]


def encode_datagram(sender: Address, data: bytes) -> bytes:
    """A datagram for an app, with its true sender. May be longer than `LARGEST_DATAGRAM`."""
    return _header(sender) + data


# An app sends to and hears from the same few addresses, many times a second.
_destination = functools.lru_cache(maxsize=1024)(Address.decode)


@functools.lru_cache(maxsize=1024)
def _header(sender: Address) -> bytes:
    return bytes(_BEFORE_ADDRESS) + sender.encode()
