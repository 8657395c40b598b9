"""The system's nameservers: they are asked over UDP, and over TCP what does not fit, about names that are reached directly."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import dns.exception
import dns.resolver
import trio
from dns.rcode import Rcode

from . import telemetry
from .address import Address
from .dns_pipeline import ResolveError
from .protocol.dns_answer import read_answer
from .protocol.dns_message import (
    Framing,
    MessageError,
    framed,
    is_truncated,
    number_of,
    write_query,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .protocol.dns_message import Answer, Question

log = telemetry.logger("nameservers")

#: Where names can be asked for. Raises nothing.
ReadNameservers: TypeAlias = Callable[[], Awaitable[Sequence[Address]]]

# Our choices; seconds.
#: Until the next one is asked, or the same again: datagrams get lost.
PATIENCE = 1.5
#: How often the system's configuration is looked at, if anybody asks: networks change.
LOOK_EVERY = 15.0
#: RFC 1035 knows no bound; the C library asks three at most.
MOST_NAMESERVERS = 3
_ROUNDS = 3  # of all of them; the time limit of who asks ends it sooner, unless they fail at once

#: The stub of systemd-resolved, and the nameservers behind it (systemd-resolved.service(8)). It may be set to ask us.
_STUBS = ("127.0.0.53", "127.0.0.54")
_BEHIND_STUB = "/run/systemd/resolve/resolv.conf"


async def system_nameservers() -> Sequence[Address]:
    """As the system's configuration has them."""
    return await trio.to_thread.run_sync(_read_system, abandon_on_cancel=True)


def _read_system() -> Sequence[Address]:
    found = _read(dns.resolver.Resolver)
    if any(address.host in _STUBS for address in found):
        behind = _read(lambda: dns.resolver.Resolver(_BEHIND_STUB))
        stubs = [address for address in found if address.host not in _STUBS]
        outside = [address for address in behind if not _is_loopback(address)]
        return stubs + outside or found
    return found


def _read(load: Callable[[], dns.resolver.Resolver]) -> list[Address]:
    try:
        resolver = load()
    except (dns.exception.DNSException, OSError):
        return []
    # Not by Address.make: a nameserver may be a link-local address with its zone.
    return [Address(text, resolver.port) for text in resolver.nameservers if isinstance(text, str)]


def _is_loopback(address: Address) -> bool:
    return address.ip is not None and address.ip.is_loopback


class Nameservers:
    """`own` are the addresses where we are asked ourselves: they are left out."""

    def __init__(self, own: Iterable[Address], read: ReadNameservers = system_nameservers) -> None:
        self._own = frozenset(own)
        self._read = read
        self._found: Sequence[Address] = ()
        self._read_at: float | None = None
        self._reading: trio.Event | None = None  # set when whoever reads is done
        self._told = False

    async def resolve(self, question: Question) -> Answer:
        """The first good answer, or else the last one. Raises ResolveError where there is none; who asks sets the time limit."""
        last: Answer | None = None
        servers = await self._current()
        for server in (*servers,) * _ROUNDS:
            answer = None
            with trio.move_on_after(PATIENCE):
                answer = await _ask(server, question)
            if answer is not None and answer.good:
                return answer
            if answer is not None and last is not None:
                break  # asked twice is enough where they answer
            last = answer or last
        if last is None:
            self._read_at = None  # the network may be another one
            raise ResolveError
        return last

    async def _current(self) -> Sequence[Address]:
        while self._read_at is None or trio.current_time() - self._read_at >= LOOK_EVERY:
            if self._reading is not None:
                await self._reading.wait()
                continue
            self._reading = trio.Event()
            try:
                found = await self._read()
                self._read_at = trio.current_time()
            finally:
                self._reading.set()
                self._reading = None
            self._found = [address for address in found if address not in self._own][:MOST_NAMESERVERS]
            self._tell()
        return self._found

    def _tell(self) -> None:
        if not self._found and not self._told:
            log.warning(
                "the system has no nameserver but this port: names that are reached directly cannot be resolved; "
                "let the system keep the nameserver of its network beside this one"
            )
        self._told = not self._found


async def _ask(server: Address, question: Question) -> Answer | None:
    """None where it cannot be asked, or what it says is of no use."""
    try:
        answer = await _exchange(server, question, edns=True)
        if answer.rcode in (Rcode.FORMERR, Rcode.NOTIMP):  # RFC 6891, section 7: it may know nothing of EDNS
            answer = await _exchange(server, question, edns=False)
    except (OSError, MessageError):
        return None
    return answer


async def _exchange(server: Address, question: Question, *, edns: bool) -> Answer:
    number = secrets.randbelow(65_536)
    query = write_query(number, question, edns=edns)
    reply = await _over_udp(server, number, query)
    if is_truncated(reply):
        reply = await _over_tcp(server, query)
    return read_answer(reply, question)


async def _over_udp(server: Address, number: int, query: bytes) -> bytes:
    """From a port of its own, and from nobody else: who guesses has to guess that too (RFC 5452, section 9)."""
    family, place = await _place(server)
    with trio.socket.socket(family, socket.SOCK_DGRAM) as sock:
        await sock.connect(place)
        await sock.send(query)
        while True:
            reply = await sock.recv(65_535)
            if number_of(reply) == number:
                return reply


async def _over_tcp(server: Address, query: bytes) -> bytes:
    family, place = await _place(server)
    with trio.socket.socket(family, socket.SOCK_STREAM) as sock:
        await sock.connect(place)
        stream, framing = trio.SocketStream(sock), Framing()
        try:
            await stream.send_all(framed(query))
            while data := await stream.receive_some():
                for wire in framing.receive_data(data):
                    if number_of(wire) == int.from_bytes(query[:2], "big"):
                        return wire
        except trio.BrokenResourceError as exc:
            raise ConnectionResetError from exc
    raise ConnectionResetError


async def _place(server: Address) -> tuple[int, Any]:
    """What sockets take; a zone becomes its number. Nothing is looked up."""
    found = await trio.socket.getaddrinfo(server.host, server.port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
    family, *_, place = found[0]
    return family, place
