"""The system's nameservers: they are asked over UDP, and over TCP what does not fit, about names that are reached directly."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
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
_ROUNDS = 4  # of all of them, where they fail at once; of silence the time limit of who asks comes first

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
        self._silence_told = False

    async def resolve(self, question: Question) -> Answer:
        """The first good answer, or else the last one. Raises ResolveError where there is none; who asks sets the time limit."""
        servers, began = await self._current(), trio.current_time()
        try:
            answer = await _ask_all(servers, question)
        except trio.Cancelled:
            if trio.current_time() - began > PATIENCE:
                self._tell_silence(servers)
            raise
        if answer is None:
            self._read_at = None  # the network may be another one
            raise ResolveError
        self._silence_told = False
        return answer

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

    def _tell_silence(self, servers: Sequence[Address]) -> None:
        """Only a nameserver on this computer can ask us in turn; its question then joins the one that it should answer."""
        if any(_is_loopback(server) for server in servers) and not self._silence_told:
            log.warning(
                "the nameserver on this computer does not answer; if it asks this port in turn, let it ask the nameserver "
                "of the network for names that are reached directly"
            )
            self._silence_told = True


async def _ask_all(servers: Sequence[Address], question: Question) -> Answer | None:
    last: Answer | None = None
    for server in (*servers,) * _ROUNDS:
        answer = None
        with trio.move_on_after(PATIENCE):
            answer = await _ask(server, question)
        if answer is not None and (answer.good or last is not None):
            return answer  # asked twice is enough where they answer
        last = answer or last
    return last


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
    query = write_query(secrets.randbelow(65_536), question, edns=edns)
    answer = await _over_udp(server, query, question)
    return answer or read_answer(await _over_tcp(server, query), question)


async def _over_udp(server: Address, query: bytes, question: Question) -> Answer | None:
    """None where it does not fit. From a port of its own, and what does not answer this very question was sent by somebody
    who guesses, or comes too late (RFC 5452, section 9).
    """
    family, place = await _place(server)
    with trio.socket.socket(family, socket.SOCK_DGRAM) as sock:
        await sock.connect(place)
        await sock.send(query)
        while True:
            reply = await sock.recv(65_535)
            with suppress(MessageError):
                if number_of(reply) == _number(query):
                    return None if is_truncated(reply) else read_answer(reply, question)


async def _over_tcp(server: Address, query: bytes) -> bytes:
    family, place = await _place(server)
    with trio.socket.socket(family, socket.SOCK_STREAM) as sock:
        await sock.connect(place)
        stream, framing = trio.SocketStream(sock), Framing()
        try:
            await stream.send_all(framed(query))
            while data := await stream.receive_some():
                for wire in framing.receive_data(data):
                    if number_of(wire) == _number(query):
                        return wire
        except trio.BrokenResourceError as exc:
            raise ConnectionResetError from exc
    raise ConnectionResetError


def _number(query: bytes) -> int:
    return int.from_bytes(query[:2], "big")


async def _place(server: Address) -> tuple[int, Any]:
    """What sockets take; a zone becomes its number. Nothing is looked up."""
    found = await trio.socket.getaddrinfo(server.host, server.port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
    family, *_, place = found[0]
    return family, place
