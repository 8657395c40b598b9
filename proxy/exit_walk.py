"""The way to one exit, step by step and at one address, so that it is known where it ends: TCP, TLS, certificate, website, key.

It makes carriers of its own, whether Ropeway runs or not, and leaves nothing behind: the session that proves the key is said good-bye to.
"""

from __future__ import annotations

import errno
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio

from . import portal
from .dialer import open_socket
from .errors import CarrierError
from .greeting import Greeting
from .keys import channel_binding, pin_of
from .protocol.event import Code
from .protocol.handshake import AFTER_WELCOME, NO_TOKEN, Wanted
from .protocol.mux import Mux
from .tls import TLSStream, local_context
from .ways import TCP_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .address import IPAddress
    from .keys import UserKey
    from .portal import PlainAnswer
    from .share import Link

# Our choices; seconds.
#: TLS, and the website's answer: the doctor has more patience than a carrier, as it has to tell slow from silent.
PATIENCE = 5.0
_LONGEST_ANSWER = 8192  # bytes that are read of what is said in plain HTTP
_PORTAL_PORT = 80


@dataclass(frozen=True, slots=True)
class Blocked:
    """TCP did not connect. `error` is the system's number for it, 0 where nothing came back in time."""

    error: int = 0

    @property
    def refused(self) -> bool:
        return self.error == errno.ECONNREFUSED

    @property
    def silent(self) -> bool:
        return self.error in (0, errno.ETIMEDOUT)


@dataclass(frozen=True, slots=True)
class Shaken:
    """How TLS ended. `certificate` is what was shown, if anything; `first` are the first bytes that came; `complaint` is why the system's roots
    do not vouch for the certificate. Where everything is as it should be, `stream` is open.
    """

    stream: TLSStream | None = None
    certificate: bytes = b""
    version: str = ""
    first: bytes = b""
    cut: bool = False
    silent: bool = False
    complaint: str = ""


@dataclass(frozen=True, slots=True)
class Greeted:
    """`complaint` is empty where the key was accepted after `round_trip` seconds."""

    round_trip: float = 0.0
    complaint: str = ""


@dataclass(frozen=True)
class ExitWalk:
    """To the exit of this link. The parameters behind it are what tests put in place of the network."""

    link: Link
    connect: Callable[[IPAddress, int], Awaitable[trio.SocketStream]] = open_socket
    tcp_timeout: float = TCP_TIMEOUT
    patience: float = PATIENCE
    portal_port: int = _PORTAL_PORT
    _contexts: dict[bool, Any] = field(default_factory=dict)

    async def open(self, ip: IPAddress, port: int) -> tuple[trio.SocketStream, float] | Blocked:
        """A TCP connection, and how long it took."""
        began = trio.current_time()
        try:
            with trio.move_on_after(self.tcp_timeout):
                return await self.connect(ip, port), trio.current_time() - began
        except OSError as error:
            return Blocked(error.errno or errno.EHOSTUNREACH)
        return Blocked()

    async def shake_hands(self, transport: trio.SocketStream, server_name: str, *, roots: bool) -> Shaken:
        """TLS as a carrier has it. Closes the transport unless a stream is returned."""
        wire = _Recorder(transport)
        stream = TLSStream(wire, self._context(roots=roots), server_side=False, server_name=server_name or None)
        try:
            with trio.move_on_after(self.patience) as scope:
                await stream.do_handshake()
            if not scope.cancelled_caught:
                return await self._judged(stream, wire)
            outcome = Shaken(first=wire.first, silent=True)
        except ssl.SSLCertVerificationError as error:
            outcome = Shaken(first=wire.first, complaint=str(getattr(error, "verify_message", "") or error))
        except (ssl.SSLError, ValueError):
            outcome = Shaken(first=wire.first)
        except trio.BrokenResourceError:
            outcome = Shaken(first=wire.first, cut=True)
        await _close(transport)
        return outcome

    async def _judged(self, stream: TLSStream, wire: _Recorder) -> Shaken:
        certificate = stream.peer_certificate
        if stream.version == "TLSv1.3" and _is(certificate, self.link.pin):
            return Shaken(stream, certificate, stream.version, wire.first)
        await _close(stream)
        return Shaken(None, certificate, stream.version, wire.first)

    def _context(self, *, roots: bool) -> Any:
        if roots not in self._contexts:
            self._contexts[roots] = local_context(roots=roots)
        return self._contexts[roots]

    async def visit(self, stream: TLSStream) -> bytes:
        """What the exit's website says to a visitor who asks for its first page: as much of it as tells the time. Closes the stream."""
        return await _ask(stream, self._host, self.patience)

    async def ask_plainly(self, ip: IPAddress, port: int) -> PlainAnswer | None:
        """What answers there to plain HTTP, if anything does. It is asked where TLS has failed only."""
        opened = await self.open(ip, port)
        if isinstance(opened, Blocked):
            return None
        return portal.read_plain(await _ask(opened[0], self._host, self.patience))

    @property
    def _host(self) -> str:
        return f"[{self.link.host}]" if ":" in self.link.host else self.link.host

    async def greet(self, stream: TLSStream, round_trip: float) -> Greeted:
        """Whether the exit accepts the key: makes a session and ends it. Closes the stream."""
        return await _greet(stream, channel_binding(stream.peer_certificate), self.link.key, round_trip)


async def _greet(stream: TLSStream, binding: bytes, key: UserKey, round_trip: float) -> Greeted:
    greeting = Greeting(stream, binding, key, round_trip)
    hello = greeting.hello(Wanted.NEW, NO_TOKEN, 0, 0)
    mux = Mux(opens=True, now=trio.current_time())
    mux.carrier_made(trio.current_time())
    began = trio.current_time()
    try:
        welcome, _ = await greeting.exchange(hello)
    except CarrierError as error:
        return Greeted(complaint=str(error))
    took = trio.current_time() - began
    assert welcome.sending in (0, AFTER_WELCOME)
    mux.welcomed(welcome.received, welcome.sending, trio.current_time())
    mux.go_away(Code.CLOSED, "the doctor has seen enough")
    with trio.move_on_after(1.0), suppress(trio.BrokenResourceError):
        while data := mux.data_to_send(65_536, trio.current_time()):
            await stream.send_all(data)
        await stream.send_eof()
        while await stream.receive_some():
            pass
    await _close(stream)
    return Greeted(took)


async def _ask(stream: trio.abc.HalfCloseableStream, host: str, patience: float) -> bytes:
    """The first bytes of the answer to a plain request. Closes the stream."""
    data = b""
    try:
        with trio.move_on_after(patience), suppress(trio.BrokenResourceError):
            await stream.send_all(portal.request(host))
            while len(data) < _LONGEST_ANSWER and (more := await stream.receive_some(_LONGEST_ANSWER)):
                data += more
    finally:
        await _close(stream)
    return data


async def _close(stream: trio.abc.AsyncResource) -> None:
    with trio.CancelScope(shield=True):
        await trio.aclose_forcefully(stream)


def _is(certificate: bytes, pin: bytes) -> bool:
    try:
        return pin_of(certificate) == pin
    except ValueError:
        return False


class _Recorder(trio.abc.HalfCloseableStream):
    """A transport of which the first bytes that come are kept."""

    def __init__(self, transport: trio.SocketStream) -> None:
        self._transport = transport
        self.first = b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._transport.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._transport.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._transport.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = bytes(await self._transport.receive_some(max_bytes))
        if len(self.first) < _LONGEST_ANSWER:
            self.first += data[:_LONGEST_ANSWER]
        return data

    async def aclose(self) -> None:
        await self._transport.aclose()
