"""Ways to an exit, in virtual time: which is tried when, what is remembered of them, and what stays open (nothing but the winner)."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
import trio

from proxy import ways as ways_module
from proxy.address import Address
from proxy.address_book import MOST_ADDRESSES
from proxy.errors import CarrierError, OpenError, Reason
from proxy.ways import LOOKUP_LIFE, SILENT, STAGGER, TCP_TIMEOUT, TLS_TIMEOUT, PatientLookup, Ways

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from trio.testing import MockClock

    from proxy.tls import TLSStream

NAME, NAME_TOO = Address("exit.example", 443), Address("other.example", 443)
ONE, TWO, THREE, LIAR = (Address(f"192.0.2.{number}", 443) for number in (1, 2, 3, 9))


class Socket(trio.socket.SocketType):
    """Knows where it leads."""

    def __init__(self, peer: Address, opened: list[Address]) -> None:
        super().__init__()
        self.peer = peer
        self.opened = opened
        opened.append(peer)
        self.closed = False

    @property
    def type(self) -> socket.SocketKind:
        return socket.SOCK_STREAM

    def setsockopt(self, *_: object) -> None:
        pass

    def getpeername(self) -> tuple[str, int]:
        return self.peer.host, self.peer.port

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.opened.remove(self.peer)


class TLS(trio.abc.AsyncResource):
    def __init__(self, transport: trio.SocketStream) -> None:
        self.transport = transport

    async def aclose(self) -> None:
        await self.transport.aclose()


class Internet:
    """`names` and what they mean; what an address does is in `does`, and where that is a number, it answers after so many seconds."""

    def __init__(self) -> None:
        self.names = {NAME.host: ONE.host, NAME_TOO.host: TWO.host}
        self.does: dict[Address, str | float] = {LIAR: "lies"}
        self.handshake_takes = 0.1
        self.asked: list[tuple[float, Address]] = []
        self.handshakes: list[Address] = []
        self.shaking: list[Address] = []
        self.most_shaking = 0  # at one address at the same time
        self.open: list[Address] = []
        self.remembered: list[tuple[Address, Sequence[Address]]] = []
        self.remember_takes = 0.0
        self.began = trio.current_time()

    def ways(
        self,
        *addresses: Address,
        preferred: Collection[Address] = (),
        remembered: Mapping[Address, Sequence[Address]] | None = None,
    ) -> Ways:
        return Ways(
            addresses, self.connect, self.start_tls, preferred=preferred, remembered=remembered, remember=self.remember
        )

    async def connect(self, address: Address) -> trio.SocketStream:
        self.asked.append((round(trio.current_time() - self.began, 3), address))
        await trio.lowlevel.checkpoint()
        if address.ip is None:
            if address.host not in self.names:
                raise OpenError(Reason.NAME_NOT_FOUND)
            address = Address(self.names[address.host], address.port)
        does = self.does.get(address, 0.0)
        if does == "is silent":
            await trio.sleep_forever()
        if isinstance(does, float):
            await trio.sleep(does)
        elif does in Reason.__members__:
            raise OpenError(Reason[does])
        return trio.SocketStream(Socket(address, self.open))

    async def start_tls(self, transport: trio.SocketStream) -> tuple[TLSStream, bytes]:
        peer = cast("Socket", transport.socket).peer
        self.handshakes.append(peer)
        self.shaking.append(peer)
        self.most_shaking = max(self.most_shaking, self.shaking.count(peer))
        try:
            if self.does.get(peer) == "swallows":
                await trio.sleep_forever()
            await trio.sleep(self.handshake_takes)
            if self.does.get(peer) == "lies":
                raise CarrierError("another certificate")
        except BaseException:
            await trio.aclose_forcefully(transport)
            raise
        finally:
            self.shaking.remove(peer)
        return cast("TLSStream", TLS(transport)), b"binding"

    async def remember(self, way: Address, addresses: Sequence[Address]) -> None:
        await trio.sleep(self.remember_takes)
        self.remembered.append((way, list(addresses)))

    async def visit(self, ways: Ways) -> Address:
        """Where it comes out."""
        self.asked.clear()
        self.began = trio.current_time()
        opened = await ways.open()
        await trio.aclose_forcefully(opened.stream)
        assert self.open == []  # nothing but the winner was left open
        return cast("Socket", cast("trio.SocketStream", opened.stream.transport).socket).peer

    async def order(self, ways: Ways) -> list[Address]:
        """In which everything is tried, where nothing works."""
        does, self.does = self.does, {}
        for address in (ONE, TWO, THREE, LIAR):
            self.does[address] = "REFUSED"
        with pytest.raises(CarrierError):
            await self.visit(ways)
        self.does = does
        return [address for _, address in self.asked]


@pytest.fixture
async def internet() -> Internet:
    return Internet()


# ---- which is tried when


async def test_a_way_that_works_is_the_only_one(internet: Internet, autojump_clock: MockClock) -> None:
    internet.does[ONE] = 0.3
    ways = internet.ways(NAME, NAME_TOO)
    opened = await ways.open()
    assert opened.round_trip == pytest.approx(0.3)
    assert opened.binding == b"binding"
    assert internet.open == [ONE]
    assert internet.asked == [(0, NAME)]


async def test_a_way_that_is_silent_gets_company(internet: Internet, autojump_clock: MockClock) -> None:
    internet.does[ONE] = internet.does[TWO] = "is silent"
    assert await internet.visit(internet.ways(NAME, NAME_TOO, THREE)) == THREE
    assert internet.asked == [(0, NAME), (STAGGER, NAME_TOO), (2 * STAGGER, THREE)]


async def test_a_way_that_fails_is_followed_at_once(internet: Internet, autojump_clock: MockClock) -> None:
    internet.does[ONE] = "REFUSED"
    internet.names.pop(NAME_TOO.host)
    assert await internet.visit(internet.ways(NAME, NAME_TOO, THREE)) == THREE
    assert [when for when, _ in internet.asked] == [0, 0, 0]


async def test_a_slow_way_may_still_win(internet: Internet, autojump_clock: MockClock) -> None:
    internet.does[ONE], internet.does[TWO] = 0.7, "is silent"
    assert await internet.visit(internet.ways(NAME, NAME_TOO)) == ONE
    assert len(internet.asked) == 2


async def test_two_that_come_in_at_once(internet: Internet, autojump_clock: MockClock) -> None:
    internet.does[ONE] = STAGGER
    assert await internet.visit(internet.ways(ONE, TWO)) in (ONE, TWO)
    assert internet.handshakes == [ONE, TWO]


async def test_a_handshake_may_take_some_round_trips(internet: Internet, autojump_clock: MockClock) -> None:
    internet.does[ONE] = 1.0
    internet.handshake_takes = 3.9
    assert await internet.visit(internet.ways(ONE)) == ONE


async def test_one_handshake_at_a_time_for_each_address(internet: Internet, autojump_clock: MockClock) -> None:
    internet.names[NAME_TOO.host] = ONE.host
    internet.does[ONE] = "swallows"
    ways = internet.ways(NAME, NAME_TOO, ONE, remembered={NAME: [ONE]})
    with pytest.raises(CarrierError, match="does not finish the TLS handshake"):
        await internet.visit(ways)
    assert internet.most_shaking == 1
    assert internet.open == []
    internet.does[ONE] = 0.0  # and it is free for the next attempt
    assert await internet.visit(ways) == ONE


# ---- what worked


async def test_what_worked_last_goes_first(internet: Internet, autojump_clock: MockClock) -> None:
    ways = internet.ways(NAME, NAME_TOO)
    assert await internet.order(ways) == [NAME, NAME_TOO]
    internet.does[ONE] = "REFUSED"
    assert await internet.visit(ways) == TWO
    assert await internet.order(ways) == [TWO, NAME_TOO, NAME]
    internet.does = {TWO: "REFUSED"}
    assert await internet.visit(ways) == ONE
    assert await internet.order(ways) == [ONE, NAME, NAME_TOO, TWO]


async def test_what_worked_is_remembered_for_its_way_and_once(internet: Internet, autojump_clock: MockClock) -> None:
    ways = internet.ways(NAME, NAME_TOO, remembered={NAME_TOO: [TWO]})
    internet.does[TWO] = "REFUSED"
    for _ in range(3):
        await internet.visit(ways)
    assert internet.remembered == [(NAME, [ONE])]
    internet.names[NAME.host] = THREE.host
    internet.does[ONE] = "REFUSED"
    await internet.visit(ways)
    assert internet.remembered[1:] == [(NAME, [THREE, ONE])]


async def test_a_name_with_many_addresses(internet: Internet, autojump_clock: MockClock) -> None:
    ways = internet.ways(NAME)
    for number in range(10, 20):
        internet.does = {Address(internet.names[NAME.host], 443): "REFUSED"}
        internet.names[NAME.host] = f"192.0.2.{number}"
        await internet.visit(ways)
    way, addresses = internet.remembered[-1]
    assert way == NAME
    assert addresses == [Address(f"192.0.2.{number}", 443) for number in range(19, 19 - MOST_ADDRESSES, -1)]


@pytest.mark.parametrize("meaning", [None, LIAR.host])
async def test_a_resolver_that_is_dead_or_lies(
    internet: Internet, autojump_clock: MockClock, meaning: str | None
) -> None:
    """The last good address is tried first; here it is another one of those remembered that still works."""
    internet.names = {NAME.host: meaning} if meaning else {}
    internet.does[THREE] = "is silent"
    ways = internet.ways(NAME, remembered={NAME: [THREE, ONE]})
    assert await internet.visit(ways) == ONE
    assert [address for _, address in internet.asked] == [THREE, NAME, ONE]
    assert internet.remembered == [(NAME, [ONE, THREE])]


async def test_a_liar_is_not_remembered(internet: Internet, autojump_clock: MockClock) -> None:
    internet.names[NAME.host] = LIAR.host
    with pytest.raises(CarrierError, match="another certificate"):
        await internet.visit(internet.ways(NAME))
    assert internet.remembered == []


# ---- which are used


async def test_preferred_ways_go_first_whatever_worked_last(internet: Internet, autojump_clock: MockClock) -> None:
    ways = internet.ways(NAME, NAME_TOO, THREE, preferred=[THREE, NAME_TOO], remembered={NAME: [ONE], THREE: [THREE]})
    assert await internet.order(ways) == [THREE, NAME_TOO, ONE, NAME]
    internet.does[THREE] = "REFUSED"
    assert await internet.visit(ways) == TWO
    assert await internet.order(ways) == [TWO, NAME_TOO, THREE, ONE, NAME]
    internet.does[TWO] = "REFUSED"
    assert await internet.visit(ways) == ONE
    assert await internet.order(ways) == [TWO, NAME_TOO, THREE, ONE, NAME]


async def test_what_was_found_under_another_way_is_not_used(internet: Internet, autojump_clock: MockClock) -> None:
    ways = internet.ways(NAME, remembered={NAME_TOO: [TWO], NAME: [ONE]})
    assert await internet.order(ways) == [ONE, NAME]


async def test_ways_that_change(internet: Internet, autojump_clock: MockClock) -> None:
    ways = internet.ways(NAME)
    await internet.visit(ways)
    ways.use([NAME_TOO, THREE], [THREE])
    assert await internet.order(ways) == [THREE, NAME_TOO]
    ways.use([NAME_TOO, NAME])
    assert await internet.order(ways) == [ONE, NAME, NAME_TOO]


# ---- why it does not work


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("REFUSED", r"is `ropeway exit run` running"),
        ("TIMED_OUT", SILENT),
        ("HOST_UNREACHABLE", r"no way to its address"),
        ("NETWORK_UNREACHABLE", r"on no network"),
        ("FAILED", r"could not connect"),
    ],
)
async def test_why_nobody_was_met(internet: Internet, autojump_clock: MockClock, reason: str, text: str) -> None:
    internet.does[ONE] = reason
    with pytest.raises(CarrierError, match=rf"^the exit exit\.example:443 cannot be reached: .*{text}.*tried again$"):
        await internet.visit(internet.ways(NAME))


async def test_a_name_that_nobody_knows(internet: Internet, autojump_clock: MockClock) -> None:
    internet.names.clear()
    with pytest.raises(CarrierError, match="its name cannot be resolved"):
        await internet.visit(internet.ways(NAME))


async def test_an_address_that_is_blocked(internet: Internet, autojump_clock: MockClock) -> None:
    internet.does[ONE] = internet.does[TWO] = "is silent"
    with pytest.raises(CarrierError, match=f"^the exit exit.example:443 cannot be reached: {SILENT}"):
        await internet.visit(internet.ways(NAME, NAME_TOO))
    assert trio.current_time() - internet.began == pytest.approx(STAGGER + TCP_TIMEOUT)


async def test_who_was_met_tells_more_than_who_was_not(internet: Internet, autojump_clock: MockClock) -> None:
    internet.does[TWO] = "swallows"
    with pytest.raises(CarrierError, match=r"^what listens at 192\.0\.2\.2:443 does not finish the TLS handshake"):
        await internet.visit(internet.ways(Address("nobody.example", 443), TWO))
    assert trio.current_time() - internet.began == pytest.approx(TLS_TIMEOUT)
    assert internet.open == []


# ---- what is left


@pytest.mark.parametrize("after", [0.3, 0.65, 1.05, 1.2])
async def test_a_cancelled_attempt_leaves_nothing_open(
    internet: Internet, autojump_clock: MockClock, after: float
) -> None:
    """While it connects, shakes hands, shakes two hands, and while the winner is written down."""
    internet.does[ONE], internet.does[TWO] = 0.6, 0.5
    internet.remember_takes = 10
    with trio.move_on_after(after) as scope:
        await internet.ways(NAME, NAME_TOO).open()
    assert scope.cancelled_caught
    assert internet.open == []
    assert len(internet.asked) == (1 if after < STAGGER else 2)


async def test_a_transport_that_breaks_as_it_is_made_is_not_remembered(
    internet: Internet, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Socket) -> tuple[str, int]:
        raise OSError(107, "Transport endpoint is not connected")

    monkeypatch.setattr(Socket, "getpeername", broken)
    assert await internet.visit(internet.ways(NAME)) == ONE
    assert internet.remembered == []


# ---- lookups


class Resolver:
    """In a thread; it answers once it is released."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.released = threading.Event()
        self.asked: list[str] = []
        self.now = 1000.0
        monkeypatch.setattr(ways_module, "look_up", self.look_up)
        monkeypatch.setattr(ways_module, "time", SimpleNamespace(monotonic=lambda: self.now))

    def look_up(self, host: str, family: socket.AddressFamily) -> list[str]:
        self.asked.append(host)
        assert self.released.wait(30)
        if host == "nobody.example":
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [f"192.0.2.{len(self.asked)}"]


async def test_a_lookup_that_was_too_slow_helps_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver, lookup = Resolver(monkeypatch), PatientLookup()
    with trio.fail_after(30):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lookup, "exit.example", socket.AF_INET)
                while not resolver.asked:
                    await trio.lowlevel.checkpoint()
                scope.cancel()
        resolver.released.set()
        while not lookup._found:
            await trio.lowlevel.checkpoint()
        assert await lookup("exit.example", socket.AF_INET) == ["192.0.2.1"]
        assert len(resolver.asked) == 1


async def test_what_was_found_is_good_for_a_while_and_for_one_family(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver, lookup = Resolver(monkeypatch), PatientLookup()
    resolver.released.set()
    assert await lookup("exit.example", socket.AF_INET) == ["192.0.2.1"]
    resolver.now += LOOKUP_LIFE - 1
    assert await lookup("exit.example", socket.AF_INET) == ["192.0.2.1"]
    assert await lookup("exit.example", socket.AF_INET6) == ["192.0.2.2"]
    resolver.now += 1
    assert await lookup("exit.example", socket.AF_INET) == ["192.0.2.3"]


async def test_a_name_that_cannot_be_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver, lookup = Resolver(monkeypatch), PatientLookup()
    resolver.released.set()
    for _ in range(2):
        with suppress(socket.gaierror):
            await lookup("nobody.example", socket.AF_INET)
            pytest.fail("it found somebody")
    assert len(resolver.asked) == 2
