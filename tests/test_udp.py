"""Associations on real sockets of loopback: one port for all, anybody may answer, and nothing that the network says ends one."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from proxy.address import Address, IPAddress
from proxy.udp import UDP, Policy, SocketAssociation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def anywhere(_ip: IPAddress) -> bool:
    return True


class Names:
    """What is looked up, and what is said of it."""

    def __init__(self, **known: list[str]) -> None:
        self.known = {name.replace("_", "."): found for name, found in known.items()}
        self.asked: list[tuple[str, socket.AddressFamily]] = []
        self.patience = trio.Event()
        self.patience.set()

    async def __call__(self, host: str, family: socket.AddressFamily) -> list[str]:
        self.asked.append((host, family))
        await self.patience.wait()
        version = 4 if family == socket.AF_INET else 6
        found = [text for text in self.known.get(host, []) if ipaddress.ip_address(text).version == version]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return found


class Peer:
    """Somebody with a UDP socket."""

    def __init__(self, family: socket.AddressFamily = socket.AF_INET) -> None:
        self.socket = trio.socket.socket(family, socket.SOCK_DGRAM)

    async def bound(self, host: str = "127.0.0.1") -> Address:
        await self.socket.bind((host, 0))
        name = self.socket.getsockname()
        return Address(name[0], name[1])

    async def got(self) -> tuple[bytes, tuple[str, int]]:
        with trio.fail_after(5):
            data, sender = await self.socket.recvfrom(65535)
        return data, (sender[0], sender[1])


@asynccontextmanager
async def peers(*hosts: str) -> AsyncIterator[list[tuple[Peer, Address]]]:
    made = []
    for host in hosts:
        peer = Peer(socket.AF_INET6 if ":" in host else socket.AF_INET)
        made.append((peer, await peer.bound(host)))
    try:
        yield made
    finally:
        for peer, _ in made:
            peer.socket.close()


@asynccontextmanager
async def association(
    lookup: Names | None = None, *, allows: object = anywhere, idle: float = 300.0, udp: UDP | None = None
) -> AsyncIterator[SocketAssociation]:
    udp = udp or UDP(idle=idle)
    async with trio.open_nursery() as nursery:
        await nursery.start(udp.run)
        made = udp.associate(Policy(allows, lookup or Names()))  # type: ignore[arg-type]
        yield made
        await made.aclose()
        nursery.cancel_scope.cancel()


async def received(made: SocketAssociation) -> tuple[Address, bytes]:
    with trio.fail_after(5):
        return await made.receive()


async def test_every_destination_sees_the_same_port_and_anybody_may_answer() -> None:
    async with association() as made, peers("127.0.0.1", "127.0.0.1", "127.0.0.1") as ((a, to_a), (b, to_b), (c, of_c)):
        made.send(to_a, b"to a")
        made.send(to_b, b"to b")
        first, from_a = await a.got()
        second, from_b = await b.got()
        assert (first, second, from_a) == (b"to a", b"to b", from_b)
        await c.socket.sendto(b"from a stranger", from_a)
        assert await received(made) == (of_c, b"from a stranger")
        await a.socket.sendto(b"", from_a)
        assert await received(made) == (to_a, b"")


async def test_those_that_came_together_are_received_in_order() -> None:
    async with association() as made, peers("127.0.0.1") as ((a, to_a),):
        made.send(to_a, b"hello")
        _, sender = await a.got()
        said = [b"%1000d" % number for number in range(40)]  # more than one turn, and less than the kernel keeps
        for data in said:
            await a.socket.sendto(data, sender)
        assert [await received(made) for _ in said] == [(to_a, data) for data in said]
        with trio.move_on_after(0) as scope:
            await made.receive()
        assert scope.cancelled_caught


async def test_what_was_read_and_not_received_is_gone_when_it_is_closed() -> None:
    async with association() as made, peers("127.0.0.1") as ((a, to_a),):
        made.send(to_a, b"hello")
        _, sender = await a.got()
        for data in (b"one", b"two"):
            await a.socket.sendto(data, sender)
        assert await received(made) == (to_a, b"one")
        made.close()
        with pytest.raises(trio.ClosedResourceError):
            await made.receive()


async def test_both_families_on_one_port() -> None:
    async with association() as made, peers("127.0.0.1", "::1") as ((a, to_a), (b, to_b)):
        made.send(to_a, b"4")
        made.send(to_b, b"6")
        _, (_, port_4) = await a.got()
        _, (host, port_6) = await b.got()
        assert port_4 == port_6
        await b.socket.sendto(b"back", (host, port_6))
        assert await received(made) == (to_b, b"back")


@pytest.mark.parametrize("size", [0, 1, 1200, 9000, 65_507])
async def test_sizes(size: int) -> None:
    async with association() as made, peers("127.0.0.1") as ((a, to_a),):
        made.send(to_a, bytes(size))
        data, sender = await a.got()
        assert data == bytes(size)
        await a.socket.sendto(data, sender)
        assert await received(made) == (to_a, bytes(size))


async def test_what_cannot_be_sent_is_dropped_and_the_rest_goes_on() -> None:
    async with association() as made, peers("127.0.0.1") as ((a, to_a),):
        made.send(to_a, bytes(70_000))
        made.send(Address("240.0.0.1", 9), b"no route")
        made.send(Address("224.0.0.1", 9), b"multicast")
        made.send(Address("255.255.255.255", 9), b"broadcast")
        made.send(Address("0.0.0.0", 9), b"nobody")
        for inner in ("0.0.0.0", "224.0.0.1"):
            made.send(Address.make(f"::ffff:{inner}", to_a.port), b"the same in the form of IPv6")
        made.send(to_a, b"still here")
        assert (await a.got())[0] == b"still here"


async def test_a_refusal_of_one_destination_ends_nothing() -> None:
    async with association() as made, peers("127.0.0.1") as ((a, to_a),):
        closed = Peer()
        nobody = await closed.bound()
        closed.socket.close()
        for _ in range(3):
            made.send(nobody, b"refused by ICMP")
        made.send(to_a, b"hello")
        data, sender = await a.got()
        await a.socket.sendto(data, sender)
        assert await received(made) == (to_a, b"hello")


async def test_what_comes_from_port_0_is_dropped_and_the_rest_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may send raw packets can send so, and the other side would take it for a broken session."""

    class Disguising(socket.socket):
        def recvfrom_into(self, buffer: memoryview) -> tuple[int, tuple[str, int]]:  # type: ignore[override]
            size, sender = super().recvfrom_into(buffer)
            return size, (sender[0], 0 if bytes(buffer[:size]) == b"from nowhere" else sender[1])

    sock = Disguising(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    monkeypatch.setattr("proxy.udp._open_socket", lambda: sock)
    async with association() as made, peers("127.0.0.1") as ((a, to_a),):
        made.send(to_a, b"hello")
        _, sender = await a.got()
        for data in (b"from nowhere", b"first", b"from nowhere"):
            await a.socket.sendto(data, sender)
        assert await received(made) == (to_a, b"first")
        await a.socket.sendto(b"second", sender)
        assert await received(made) == (to_a, b"second")


async def test_the_policy_is_asked_once_for_each_address() -> None:
    asked = []

    def allows(ip: IPAddress) -> bool:
        asked.append(ip)
        return str(ip) != "127.0.0.2"

    async with association(allows=allows) as made, peers("127.0.0.1", "127.0.0.2") as ((a, to_a), (_, to_b)):
        for _ in range(3):
            made.send(to_b, b"forbidden")
            made.send(to_a, b"allowed")
        for _ in range(3):
            assert (await a.got())[0] == b"allowed"
    assert len(asked) == 2


async def test_names_are_looked_up_once_and_datagrams_wait_for_that() -> None:
    names = Names(peer_example=["127.0.0.1"])
    names.patience = trio.Event()
    async with association(names) as made, peers("127.0.0.1") as ((a, to_a),):
        made.send(Address("peer.example", to_a.port), b"one")
        made.send(Address("peer.example", to_a.port), b"two")
        await trio.testing.wait_all_tasks_blocked()
        names.patience.set()
        assert [(await a.got())[0], (await a.got())[0]] == [b"one", b"two"]
        made.send(Address("peer.example", to_a.port), b"three")
        assert (await a.got())[0] == b"three"
    assert names.asked == [("peer.example", socket.AF_INET)]


async def test_a_name_of_the_other_family_and_one_that_is_none() -> None:
    names = Names(six_example=["::1"])
    async with association(names) as made, peers("::1") as ((a, to_a),):
        made.send(Address("none.example", 9), b"nowhere")
        made.send(Address("six.example", to_a.port), b"six")
        assert (await a.got())[0] == b"six"


async def test_what_waited_too_long_for_its_name_is_not_sent(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names(peer_example=["127.0.0.1"])
    names.patience = trio.Event()
    sent: list[bytes] = []
    async with association(names) as made:
        monkeypatch.setattr(made, "_send_to", lambda _ip, _port, data: sent.append(data))
        made.send(Address("peer.example", 9), b"old")
        await trio.sleep(0.4)
        made.send(Address("peer.example", 9), b"fresh")
        names.patience.set()
        await trio.testing.wait_all_tasks_blocked()
    assert sent == [b"fresh"]


async def test_what_is_known_of_a_name_is_forgotten_when_it_is_not_used(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names(peer_example=["127.0.0.1"])
    async with association(names) as made:
        monkeypatch.setattr(made, "_send_to", lambda *_: None)
        for pause, lookups in ((0, 1), (30, 1), (31, 1), (59, 1), (61, 2)):
            await trio.sleep(pause)
            made.send(Address("peer.example", 9), b"")
            await trio.testing.wait_all_tasks_blocked()
            assert len(names.asked) == lookups


async def test_names_are_bounded(autojump_clock: trio.testing.MockClock) -> None:
    names = Names()
    async with association(names) as made:
        for number in range(1000):
            made.send(Address(f"n{number}.example", 9), bytes(1000))
            await trio.testing.wait_all_tasks_blocked()
        assert len(names.asked) == 64  # both families of 32
        await trio.sleep(6)
        made.send(Address("another.example", 9), b"")
        await trio.testing.wait_all_tasks_blocked()
        assert len(names.asked) == 66


async def test_an_idle_socket_is_closed_and_the_next_datagram_gets_another(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with association(idle=300.0) as made, peers("127.0.0.1") as ((a, to_a),), trio.open_nursery() as nursery:
        got: list[tuple[Address, bytes]] = []

        @nursery.start_soon
        async def _() -> None:
            while True:
                got.append(await made.receive())

        made.send(to_a, b"one")
        first = (await a.got())[1]
        await trio.sleep(250)
        made.send(to_a, b"two")
        assert (await a.got())[1] == first
        await trio.sleep(250)
        assert made._socket is not None
        await trio.sleep(100)
        assert made._socket is None
        made.send(to_a, b"three")
        data, second = await a.got()
        await a.socket.sendto(data, second)
        while not got:
            await trio.lowlevel.checkpoint()
        assert got == [(to_a, b"three")]
        nursery.cancel_scope.cancel()


async def test_closing_wakes_who_receives() -> None:
    async with association() as made, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await made.receive()

        await trio.testing.wait_all_tasks_blocked()
        await made.aclose()
    with pytest.raises(trio.ClosedResourceError):
        made.send(Address("127.0.0.1", 9), b"")


async def test_the_end_of_the_service_closes_all() -> None:
    udp = UDP()
    async with trio.open_nursery() as nursery:
        await nursery.start(udp.run)
        made = [udp.associate(Policy(anywhere, Names())) for _ in range(3)]
        made[0].send(Address("127.0.0.1", 9), b"")
        nursery.cancel_scope.cancel()
    for each in made:
        with pytest.raises(trio.ClosedResourceError):
            each.send(Address("127.0.0.1", 9), b"")


async def test_a_system_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lacking(socket.socket):
        def __init__(self, family: int = -1, kind: int = -1, proto: int = -1, fileno: int | None = None) -> None:
            if family == socket.AF_INET6:
                raise OSError("there is none")
            super().__init__(family, kind, proto, fileno)

    async with peers("127.0.0.1") as ((a, to_a),), association() as made:
        monkeypatch.setattr("proxy.udp.socket.socket", Lacking)
        made.send(to_a, b"four")
        made.send(Address("::1", to_a.port), b"cannot")
        assert (await a.got())[0] == b"four"
