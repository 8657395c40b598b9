"""Asks this network for an exit's name, in ways that show whether it tells the truth."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import dns.exception
import dns.message
import dns.rdatatype
import trio

from .dialer import SystemLookup
from .exit_name import NOBODY, Answers
from .finding import Text
from .nameservers import system_nameservers

if TYPE_CHECKING:
    from .address import Address, IPAddress
    from .dialer import Lookup
    from .nameservers import ReadNameservers

# Our choices; seconds.
PATIENCE = 5.0
#: An answer that was made up on the way comes first, and the true one within the round trip to the nameserver.
RIVALS = 1.0


@dataclass(frozen=True)
class ExitLookup:
    """The system's resolver decides what is used; its first nameserver is asked besides, to see whether one question gets several answers."""

    lookup: Lookup = field(default_factory=SystemLookup)
    read_nameservers: ReadNameservers = system_nameservers
    patience: float = PATIENCE
    rivals: float = RIVALS

    async def __call__(self, name: str) -> Answers:
        found: list[IPAddress] = []
        nobody: list[IPAddress] = []
        rivals: list[frozenset[IPAddress]] = []
        failures: list[str] = []

        async with trio.open_nursery() as nursery:
            for family in (socket.AF_INET, socket.AF_INET6):
                nursery.start_soon(self._look_up, name, family, found, failures)
            nursery.start_soon(self._look_up, NOBODY, socket.AF_INET, nobody, [])
            nursery.start_soon(self._ask_nameserver, name, rivals)
        failure = "" if found else next(iter(failures), Text("no answer within {n} s", n=f"{self.patience:.0f}"))
        return Answers(name, found, failure, rivals, nobody)

    async def _look_up(
        self, name: str, family: socket.AddressFamily, found: list[IPAddress], failures: list[str]
    ) -> None:
        try:
            with trio.move_on_after(self.patience):
                found += [ipaddress.ip_address(text) for text in await self.lookup(name, family)]
        except OSError as error:
            failures.append(error.strerror or str(error))

    async def _ask_nameserver(self, name: str, rivals: list[frozenset[IPAddress]]) -> None:
        servers = await self.read_nameservers()
        if servers:
            with trio.move_on_after(self.patience), suppress(OSError, dns.exception.DNSException):
                await self._collect(servers[0], name, rivals)

    async def _collect(self, server: Address, name: str, rivals: list[frozenset[IPAddress]]) -> None:
        """All that is answered until nothing more comes for a while."""
        query = dns.message.make_query(name, dns.rdatatype.A, id=secrets.randbelow(65_536))
        family, *_, place = (
            await trio.socket.getaddrinfo(server.host, server.port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
        )[0]
        with trio.socket.socket(family, socket.SOCK_DGRAM) as sock:
            await sock.connect(place)
            await sock.send(query.to_wire())
            rivals += _addresses(query, await sock.recv(65_535))
            with trio.move_on_after(self.rivals):
                while len(rivals) < _MOST_RIVALS:
                    rivals += _addresses(query, await sock.recv(65_535))


_MOST_RIVALS = 8  # our choice: two are proof


def _addresses(query: dns.message.Message, wire: bytes) -> list[frozenset[IPAddress]]:
    """What one datagram says, if it answers the question at all."""
    with suppress(dns.exception.DNSException, ValueError):
        answer = dns.message.from_wire(wire, ignore_trailing=True)
        if query.is_response(answer):
            records = [rdata for rrset in answer.answer for rdata in rrset if rrset.rdtype == dns.rdatatype.A]
            return [frozenset(ipaddress.ip_address(str(rdata)) for rdata in records)]
    return []
