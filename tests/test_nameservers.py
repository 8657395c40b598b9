"""The system's nameservers: real sockets on loopback, and the files that name them."""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING

import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import pytest
import trio

from proxy import nameservers as nameservers_module
from proxy.address import Address
from proxy.dns_pipeline import ResolveError
from proxy.names import TIME_LIMIT
from proxy.nameservers import LOOK_EVERY, MOST_NAMESERVERS, PATIENCE, Nameservers, system_nameservers
from tests.resolvers import NearSide, question, reply, usual

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trio.testing import MockClock

    from tests.resolvers import Zone

NOBODY = Address("127.0.0.1", 1)  # it refuses


async def begin(nursery: trio.Nursery, zone: Zone = usual) -> NearSide:
    near = NearSide(zone)
    await nursery.start(near.run)
    return near


def asking(*addresses: Address, own: tuple[Address, ...] = ()) -> Nameservers:
    async def read() -> list[Address]:
        await trio.lowlevel.checkpoint()
        return list(addresses)

    return Nameservers(own, read)


async def test_over_udp(nursery: trio.Nursery) -> None:
    near = await begin(nursery)
    answer = await asking(near.address).resolve(question(dnssec=True))
    assert answer.counts == (1, 0, 0)
    (query,) = near.queries
    assert query.ednsflags & dns.flags.DO
    assert query.options == ()


async def test_numbers_and_ports_are_anybodys_guess(nursery: trio.Nursery) -> None:
    near = await begin(nursery)
    servers = asking(near.address)
    for _ in range(20):
        await servers.resolve(question())
    assert len({query.id for query in near.queries}) > 10


async def test_over_tcp_what_does_not_fit(nursery: trio.Nursery) -> None:
    def zone(query: dns.message.Message) -> dns.message.Message:
        message = reply(query)
        message.flags |= dns.flags.TC
        return message

    near = await begin(nursery, zone)
    near.over_tcp = lambda query: reply(query, *(f"www.example. 60 IN A 203.0.113.{i}" for i in range(200)))
    answer = await asking(near.address).resolve(question())
    assert answer.counts == (200, 0, 0)
    assert len(near.queries) == 2


async def test_a_nameserver_that_knows_nothing_of_edns(nursery: trio.Nursery) -> None:
    def zone(query: dns.message.Message) -> dns.message.Message:
        if query.edns < 0:
            return usual(query)
        message = dns.message.make_response(dns.message.make_query("www.example", "A", id=query.id))
        message.set_rcode(dns.rcode.FORMERR)
        return message

    near = await begin(nursery, zone)
    assert (await asking(near.address).resolve(question())).good
    assert [query.edns for query in near.queries] == [0, -1]


async def test_a_datagram_that_was_lost(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    near, begun = await begin(nursery), trio.current_time()
    near.lost = 2
    assert (await asking(near.address).resolve(question())).good
    assert trio.current_time() - begun == pytest.approx(2 * PATIENCE)


async def test_the_next_one_at_once_where_one_refuses(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    near, begun = await begin(nursery), trio.current_time()
    assert (await asking(NOBODY, near.address).resolve(question())).good
    assert trio.current_time() == begun


@pytest.mark.parametrize(
    "zone",
    [
        partial(reply, rcode=dns.rcode.SERVFAIL),
        lambda query: usual(query).to_wire()[:-1],
        lambda query: usual(query).to_wire().replace(b"\3www", b"\3xxx"),
    ],
)
async def test_the_next_one_where_one_is_of_no_use(
    nursery: trio.Nursery, autojump_clock: MockClock, zone: Zone
) -> None:
    bad, good = await begin(nursery, zone), await begin(nursery)
    assert (await asking(bad.address, good.address).resolve(question())).good
    assert (len(bad.queries), len(good.queries)) == (1, 1)


async def test_who_guesses_is_not_listened_to(nursery: trio.Nursery) -> None:
    """What is forged comes from the right place, and before the answer."""

    async def serve(udp: trio.socket.SocketType) -> None:
        wire, sender = await udp.recvfrom(65_535)
        query = dns.message.from_wire(wire)
        other = dns.message.make_query("other.example", "A", id=query.id)
        await udp.sendto(reply(other, "other.example. 60 IN A 192.0.2.66").to_wire(), sender)
        query.id ^= 1
        await udp.sendto(reply(query, "www.example. 60 IN A 192.0.2.66").to_wire(), sender)
        query.id ^= 1
        await udp.sendto(reply(query, "www.example. 60 IN A 192.0.2.1").to_wire(), sender)

    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, trio.fail_after(30):
        await udp.bind(("127.0.0.1", 0))
        nursery.start_soon(serve, udp)
        answer = await asking(Address(*udp.getsockname())).resolve(question())
        assert answer.body.endswith(b"\xc0\0\2\1")


async def test_all_fail(nursery: trio.Nursery) -> None:
    bad = await begin(nursery, partial(reply, rcode=dns.rcode.SERVFAIL))
    assert (await asking(bad.address).resolve(question())).rcode == dns.rcode.SERVFAIL
    assert len(bad.queries) == 2
    with pytest.raises(ResolveError):
        await asking(NOBODY).resolve(question())


async def test_a_tcp_that_says_nothing(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    def zone(query: dns.message.Message) -> dns.message.Message:
        message = reply(query)
        message.flags |= dns.flags.TC
        return message

    near, good = await begin(nursery, zone), await begin(nursery)
    near.over_tcp = lambda query: dns.message.make_response(dns.message.make_query("x.example", "A", id=query.id ^ 1))
    assert (await asking(near.address, good.address).resolve(question())).good


async def test_silence_on_this_computer_may_be_a_ring(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    near = await begin(nursery)
    servers = asking(near.address)
    for told in (1, 1, 2):
        if told == 2:
            near.lost = 0
            assert (await servers.resolve(question())).good
        near.lost = 100
        with trio.move_on_after(TIME_LIMIT) as limit:
            await servers.resolve(question())
        assert limit.cancelled_caught
        assert caplog.text.count("asks this port in turn") == told


class TestWhichOnes:
    async def test_the_port_itself_is_left_out(self, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture) -> None:
        own = Address("127.0.0.1", 53)
        near = await begin(nursery)
        assert (await asking(own, near.address, own=(own,)).resolve(question())).good
        assert caplog.text == ""
        servers = asking(own, own=(own,))
        for _ in range(2):
            with pytest.raises(ResolveError):
                await servers.resolve(question())
        assert caplog.text.count("no nameserver but this port") == 1

    async def test_they_are_read_now_and_then(self, autojump_clock: MockClock, nursery: trio.Nursery) -> None:
        near, reads = await begin(nursery), 0

        async def read() -> list[Address]:
            nonlocal reads
            reads += 1
            await trio.sleep(1)
            return [near.address] * (MOST_NAMESERVERS + 1)

        servers = Nameservers((), read)
        async with trio.open_nursery() as askers:
            for _ in range(5):
                askers.start_soon(servers.resolve, question())
        assert reads == 1
        await trio.sleep(LOOK_EVERY - 1)
        await servers.resolve(question())
        assert reads == 1
        await trio.sleep(1)
        await servers.resolve(question())
        assert reads == 2
        assert len(servers._found) == MOST_NAMESERVERS

    async def test_who_goes_while_they_are_read(self, autojump_clock: MockClock, nursery: trio.Nursery) -> None:
        near = await begin(nursery)

        async def read() -> list[Address]:
            await trio.sleep(1)
            return [near.address]

        servers = Nameservers((), read)
        async with trio.open_nursery() as askers:
            askers.start_soon(servers.resolve, question())
            with trio.move_on_after(0.5):
                await servers.resolve(question())
        assert len(near.queries) == 1

    async def test_another_network(self, nursery: trio.Nursery) -> None:
        near, found = await begin(nursery), [NOBODY]

        async def read() -> list[Address]:
            await trio.lowlevel.checkpoint()
            return list(found)

        servers = Nameservers((), read)
        with pytest.raises(ResolveError):
            await servers.resolve(question())
        found[0] = near.address
        assert (await servers.resolve(question())).good


class TestSystem:
    @pytest.fixture
    def files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str | None], None]:
        def write(text: str, behind: str | None) -> None:
            plain, stub = tmp_path / "resolv.conf", tmp_path / "behind.conf"
            plain.write_text(text)
            if behind is not None:
                stub.write_text(behind)
            monkeypatch.setattr(nameservers_module, "_BEHIND_STUB", str(stub))
            monkeypatch.setattr(dns.resolver, "Resolver", partial(resolver, plain))

        original = dns.resolver.Resolver

        def resolver(plain: Path, filename: str | None = None) -> dns.resolver.Resolver:
            return original(filename or str(plain))

        return write

    @pytest.mark.parametrize(
        ("text", "behind", "found"),
        [
            ("nameserver 192.0.2.1\nnameserver fe80::1%lo\n", None, ["192.0.2.1", "fe80::1%lo"]),
            ("search lan\nnameserver 127.0.0.53\n", "nameserver 192.0.2.2\nnameserver 127.0.0.1\n", ["192.0.2.2"]),
            ("nameserver 127.0.0.53\n", None, ["127.0.0.53"]),
            ("nameserver 127.0.0.53\n", "nameserver 127.0.0.1\n", ["127.0.0.53"]),
            ("# nothing\n", None, []),
        ],
    )
    async def test_files(
        self, files: Callable[[str, str | None], None], text: str, behind: str | None, found: list[str]
    ) -> None:
        files(text, behind)
        with trio.fail_after(30):
            assert await system_nameservers() == [Address(host, 53) for host in found]

    async def test_a_zone_becomes_its_number(self) -> None:
        _, place = await nameservers_module._place(Address("fe80::1%1", 53))
        assert place[-1] == 1
