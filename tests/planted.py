"""Exits on loopback with a fault in them, and whoever else may answer in an exit's place."""

from __future__ import annotations

import datetime as dt
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import trio

from proxy.doctor import Surroundings, examine
from proxy.errors import OpenError, Reason
from proxy.exit import Exit, Limits, Terms
from proxy.exit import Identity as Shown
from proxy.exit_name import Answers
from proxy.exit_walk import ExitWalk
from proxy.finding import Finding, Kind
from proxy.website import page

if TYPE_CHECKING:
    import ipaddress
    import ssl
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from proxy.address import Address
    from proxy.address_book import AddressBook
    from proxy.api_client import Carrier
    from proxy.keys import UserKey
    from proxy.settings import Listen
    from proxy.share import Link
    from tests.memory import Identity

Handler: TypeAlias = Callable[[trio.SocketStream], Awaitable[None]]
LOOPBACK = "127.0.0.1"


@asynccontextmanager
async def answering(handler: Handler) -> AsyncIterator[int]:
    """Whoever connects to that port is answered so."""
    async with trio.open_nursery() as nursery:

        async def serve(stream: trio.SocketStream) -> None:
            async with stream:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await handler(stream)

        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host=LOOPBACK))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def unused_port() -> int:
    with socket.socket() as sock:
        sock.bind((LOOPBACK, 0))
        port: int = sock.getsockname()[1]
        return port


async def nowhere(_address: Address) -> trio.abc.HalfCloseableStream:
    raise OpenError(Reason.NAME_NOT_FOUND)


def nothing() -> Any:
    raise AssertionError("no app sends datagrams here")


@asynccontextmanager
async def exit_on_loopback(server: Identity, key: UserKey | None, limits: Limits | None = None) -> AsyncIterator[int]:
    """An exit that knows this key only; its port."""
    users = {key.key_id: key.secret} if key is not None else {}
    terms = Terms(users, Shown(server.context, server.binding), page(), nowhere, nothing, limits or Limits())
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host=LOOPBACK)
        await nursery.start(Exit(terms).serve, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def tls_and_page(context: ssl.SSLContext, stream: trio.SocketStream) -> None:
    """A web server with that certificate."""
    secure = trio.SSLStream(stream, context, server_side=True)
    await secure.do_handshake()
    await secure.receive_some()
    await secure.send_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


async def say(answer: bytes, stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await stream.send_all(answer)
    await stream.send_eof()
    while await stream.receive_some():
        pass


async def hang(stream: trio.SocketStream) -> None:
    while await stream.receive_some():
        pass


async def reset(stream: trio.SocketStream, _first: bytes = b"") -> None:
    """After the first message, as middleboxes do it."""
    await stream.receive_some()
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@dataclass
class Planted:
    """A configuration for one exit and what the doctor sees of the world; tests change what they plant."""

    path: Path
    link: Link
    names: dict[str, Answers] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)
    tcp_timeout: float = 3.0
    patience: float = 5.0
    portal_port: int = field(default_factory=unused_port)
    connect: Callable[[ipaddress.IPv4Address | ipaddress.IPv6Address, int], Awaitable[trio.SocketStream]] | None = None
    ipv6: bool = False
    holder: Any = None
    said: Carrier | None = None  # by the program that runs
    book: AddressBook | None = None
    nameservers: Sequence[Address] = ()
    local: str = ""
    more: str = ""

    def write(self) -> None:
        listen = self.local or f'listen = "{LOOPBACK}:{unused_port()}"'
        self.path.write_text(f'[local]\nexit = "{self.link}"\n{listen}\n{self.more}')
        self.path.chmod(0o600)

    async def _names(self, name: str) -> Answers:
        await trio.lowlevel.checkpoint()
        return self.names.get(name, Answers(name, failure="Name or service not known"))

    async def _nameservers(self) -> Sequence[Address]:
        await trio.lowlevel.checkpoint()
        return self.nameservers

    def walk(self, link: Link) -> ExitWalk:
        walk = ExitWalk(link, tcp_timeout=self.tcp_timeout, patience=self.patience, portal_port=self.portal_port)
        return walk if self.connect is None else replace(walk, connect=self.connect)

    def around(self) -> Surroundings:
        async def silent(_listen: Listen) -> bool:
            await trio.lowlevel.checkpoint()
            return False

        return Surroundings(
            now=self.now,
            environ=self.environ,
            holder=lambda _listen: self.holder,
            ask_name=self._names,
            new_walk=self.walk,
            nameservers=self._nameservers,
            talks=lambda: (),
            has_ipv6=lambda: self.ipv6,
            dns_port_answers=silent,
            ask_program=lambda _config: self.said,
        )

    async def examine(self) -> list[Finding]:
        findings: list[Finding] = []
        with trio.fail_after(60):
            await examine(self.path, self.book, findings.append, self.around())
        return findings


def the(findings: Sequence[Finding], check: str) -> Finding:
    """The one about that."""
    (found,) = [finding for finding in findings if finding.check == check]
    return found


def faults(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.kind is Kind.FAULT]
