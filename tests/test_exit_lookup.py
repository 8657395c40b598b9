"""How the exit's name is asked for, at a nameserver on loopback: one that is honest, one that somebody is quicker than, and none."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

import trio

from proxy.address import Address
from proxy.exit_lookup import ExitLookup
from proxy.exit_name import NOBODY
from tests.resolvers import NearSide, name_of, reply

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dns.message

RIGHT = ipaddress.ip_address("203.0.113.5")


async def lookup(host: str, family: socket.AddressFamily) -> list[str]:
    await trio.lowlevel.checkpoint()
    if host == NOBODY or family == socket.AF_INET6:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return ["203.0.113.5"]


async def nobody() -> Sequence[Address]:
    await trio.lowlevel.checkpoint()
    return []


async def test_an_honest_network(nursery: trio.Nursery) -> None:
    near = NearSide()
    await nursery.start(near.run)
    answers = await ExitLookup(lookup, near.read, rivals=0.05)("exit.example")
    assert (list(answers.found), answers.failure, list(answers.nobody)) == ([RIGHT], "", [])
    assert list(answers.rivals) == [frozenset({RIGHT})]
    assert near.names == ["exit.example"]


async def test_somebody_is_quicker_than_the_nameserver(nursery: trio.Nursery) -> None:
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        await sock.bind(("127.0.0.1", 0))
        place = sock.getsockname()

        async def read() -> Sequence[Address]:
            await trio.lowlevel.checkpoint()
            return [Address(*place)]

        async def answer() -> None:
            wire, sender = await sock.recvfrom(512)
            query = dns_message(wire)
            for wire in (b"noise", *(_says(query, text) for text in ("10.10.34.35", "203.0.113.5"))):
                await sock.sendto(wire, sender)

        nursery.start_soon(answer)
        answers = await ExitLookup(lookup, read, rivals=0.2)("exit.example")
    assert set(answers.rivals) == {frozenset({ipaddress.ip_address("10.10.34.35")}), frozenset({RIGHT})}


def dns_message(wire: bytes) -> dns.message.Message:
    import dns.message

    return dns.message.from_wire(wire)


def _says(query: dns.message.Message, text: str) -> bytes:
    return reply(query, f"{name_of(query)}. 60 IN A {text}").to_wire()


async def test_a_resolver_that_knows_nothing_or_is_silent(autojump_clock: object) -> None:
    async def silent(_host: str, _family: socket.AddressFamily) -> list[str]:
        await trio.sleep_forever()
        raise AssertionError

    async def fails(host: str, family: socket.AddressFamily) -> list[str]:
        return await lookup(NOBODY, family)

    assert "not known" in (await ExitLookup(fails, nobody)("exit.example")).failure
    answers = await ExitLookup(silent, nobody)("exit.example")
    assert (list(answers.found), "no answer within" in answers.failure) == ([], True)
