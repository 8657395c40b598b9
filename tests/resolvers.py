"""Resolvers that tests ask: behind a tunnel made of memory, and real ones on loopback. Both keep what they were asked."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import trio
from trio.testing import memory_stream_pair

from proxy.address import Address
from proxy.errors import OpenError, Reason
from proxy.protocol.dns_message import Framing, Question, framed

ONE, TWO = Address("192.0.2.1", 53), Address("192.0.2.2", 53)
SOA = "example. 300 IN SOA ns.example. post.example. 1 7200 3600 86400 60"

if TYPE_CHECKING:
    from trio.testing import MemoryReceiveStream, MemorySendStream

#: What a query is answered; None: nothing.
Zone: TypeAlias = Callable[[dns.message.Message], "dns.message.Message | bytes | None"]


def question(
    name: str = "www.example", rdtype: str = "A", *, dnssec: bool = False, unchecked: bool = False
) -> Question:
    wire = dns.name.from_text(name).to_wire()
    assert wire is not None
    return Question(wire, int(dns.rdatatype.from_text(rdtype)), dnssec, unchecked)


def reply(
    query: dns.message.Message, *answers: str, authority: str = "", rcode: dns.rcode.Rcode = dns.rcode.NOERROR
) -> dns.message.Message:
    """Each answer is a line: name, life, class, type, data."""
    message = dns.message.make_response(query)
    message.set_rcode(rcode)
    for section, lines in ((message.answer, answers), (message.authority, filter(None, [authority]))):
        for line in lines:
            name, life, rdclass, rdtype, data = line.split(maxsplit=4)
            section.append(dns.rrset.from_text(name, int(life), rdclass, rdtype, data))
    return message


def name_of(query: dns.message.Message) -> str:
    return query.question[0].name.to_text(omit_final_dot=True)


def usual(query: dns.message.Message) -> dns.message.Message:
    """An address for each name but those that begin with `no`, or that cannot be written as they are."""
    if name_of(query).startswith("no") or not re.fullmatch(r"[\w.-]+", name_of(query)):
        return reply(query, authority=SOA, rcode=dns.rcode.NXDOMAIN)
    if query.question[0].rdtype != dns.rdatatype.A:
        return reply(query, authority=SOA)
    return reply(query, f"{name_of(query)}. 60 IN A 203.0.113.5")


def wire_of(message: dns.message.Message | bytes) -> bytes:
    return message if isinstance(message, bytes) else message.to_wire(max_size=65_535)


@dataclass
class FarSide:
    """`zones` may differ by resolver; where there is none, the connection is refused. `hold` keeps streams from being opened."""

    nursery: trio.Nursery
    zones: dict[Address, Zone] = field(default_factory=lambda: dict.fromkeys((ONE, TWO), usual))
    asked: list[tuple[str, Address, str]] = field(default_factory=list)  # exit, resolver, name
    opened: list[tuple[str, Address]] = field(default_factory=list)
    streams: list[trio.StapledStream[MemorySendStream, MemoryReceiveStream]] = field(default_factory=list)
    delay: float = 0.0
    _turn: trio.Lock = field(default_factory=trio.Lock)

    async def open(self, exit_name: str, address: Address) -> trio.abc.HalfCloseableStream:
        await trio.lowlevel.checkpoint()
        self.opened.append((exit_name, address))
        if address not in self.zones:
            raise OpenError(Reason.TUNNEL_DOWN)
        ours, theirs = memory_stream_pair()
        self.streams.append(theirs)
        self.nursery.start_soon(self._serve, theirs, exit_name, address)
        return ours

    async def _serve(self, stream: trio.abc.HalfCloseableStream, exit_name: str, address: Address) -> None:
        framing = Framing()
        try:
            while data := await stream.receive_some():
                for wire in framing.receive_data(data):
                    query = dns.message.from_wire(wire)
                    self.asked.append((exit_name, address, name_of(query)))
                    self.nursery.start_soon(self._answer, stream, self.zones[address], query)
            await stream.aclose()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async def _answer(self, stream: trio.abc.HalfCloseableStream, zone: Zone, query: dns.message.Message) -> None:
        answer = zone(query)
        if answer is not None:
            await trio.sleep(self.delay)
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                async with self._turn:
                    await stream.send_all(framed(wire_of(answer)))

    @property
    def names(self) -> list[str]:
        return [name for *_, name in self.asked]

    def break_all(self) -> None:
        for stream in self.streams:
            stream.send_stream.close()
            stream.receive_stream.close()


async def _on_one_port() -> tuple[trio.SocketListener, trio.socket.SocketType]:
    """Both on loopback. The port that the system chooses for one may be in use by the other kind."""
    while True:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        udp = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            await udp.bind(listener.socket.getsockname())
        except OSError:
            udp.close()
            await listener.aclose()
        else:
            return listener, udp


class NearSide:
    """A nameserver on loopback, UDP and TCP. `queries` is every message that reached it."""

    def __init__(self, zone: Zone = usual) -> None:
        self.zone = zone
        self.over_tcp: Zone | None = None  # where it says something else there
        self.queries: list[dns.message.Message] = []
        self.address = Address("127.0.0.1", 1)
        self.lost = 0  # so many datagrams do not arrive

    @property
    def names(self) -> list[str]:
        return [name_of(query) for query in self.queries]

    async def read(self) -> list[Address]:
        await trio.lowlevel.checkpoint()
        return [self.address]

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        listener, bound = await _on_one_port()
        with bound as udp:
            self.address = Address(*listener.socket.getsockname())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._serve_datagrams, udp)
                nursery.start_soon(trio.serve_listeners, self._serve_stream, [listener])
                task_status.started()

    async def _serve_datagrams(self, udp: trio.socket.SocketType) -> None:
        while True:
            wire, sender = await udp.recvfrom(65_535)
            if self.lost:
                self.lost -= 1
                continue
            if (answer := self._take(wire, self.zone)) is not None:
                await udp.sendto(answer, sender)

    async def _serve_stream(self, stream: trio.SocketStream) -> None:
        framing = Framing()
        async with stream:
            while data := await stream.receive_some():
                for wire in framing.receive_data(data):
                    if (answer := self._take(wire, self.over_tcp or self.zone)) is not None:
                        await stream.send_all(framed(answer))

    def _take(self, wire: bytes, zone: Zone) -> bytes | None:
        query = dns.message.from_wire(wire)
        self.queries.append(query)
        answer = zone(query)
        return None if answer is None else wire_of(answer)
