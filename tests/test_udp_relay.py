"""UDP ASSOCIATE with real sockets on loopback: whose datagrams are taken, which way they go, and when it all ends."""

from __future__ import annotations

import errno
import itertools
import socket
import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest
import socks
import trio
from trio.testing import memory_stream_pair, open_stream_to_socket_listener, wait_all_tasks_blocked

from proxy import udp_relay
from proxy.address import Address
from proxy.association import Association
from proxy.connections import BY_HAND, TUNNEL, AppProtocol, Connections, State, Total
from proxy.errors import OpenError, Reason
from proxy.listener import serve_local
from proxy.opener import always
from proxy.protocol.budget import Budget
from proxy.protocol.datagrams import AGE, MOST_QUEUED, OVERHEAD
from proxy.protocol.socks import LARGEST_DATAGRAM, Credentials, Handshake, decode_datagram, encode_datagram
from proxy.turns import BATCH
from proxy.udp_relay import MAX_CHOICES, PAUSE, UNUSED_AFTER, Choice, UDPRelay

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from trio.testing import MockClock

    from proxy.connections import ConnectionView

STUN = Address("203.0.113.5", 3478)
GREETING, CHOSEN = b"\x05\x01\x00", b"\x05\x00"
ASSOCIATE, ZEROS = b"\x05\x03\x00", b"\x01" + bytes(6)
REFUSED = b"\x05\x01\x00\x01" + bytes(6)
#: Of a header with an IPv4 address.
HEADER = 10


class FakeAssociation(Association):
    """What was sent comes out of `sent`, what is put into `coming` is received, and an exception that is put there is raised."""

    def __init__(self) -> None:
        self._sent, self.sent = trio.open_memory_channel[tuple[Address, bytes]](100_000)
        self.coming, self._coming = trio.open_memory_channel[tuple[Address, bytes] | Exception](100_000)
        self.closed = trio.Event()
        self.broken = False

    def send(self, address: Address, data: bytes) -> None:
        assert not self.closed.is_set()
        if self.broken:
            raise trio.BrokenResourceError
        self._sent.send_nowait((address, data))

    async def receive(self) -> tuple[Address, bytes]:
        got = await self._coming.receive()
        if isinstance(got, Exception):
            raise got
        return got

    def answer(self, address: Address, data: bytes) -> None:
        self.coming.send_nowait((address, data))

    def reset(self, cause: Exception | None) -> None:
        self.broken = True
        error = trio.BrokenResourceError("reset")
        error.__cause__ = cause
        self.coming.send_nowait(error)

    async def aclose(self) -> None:
        self.closed.set()
        await trio.lowlevel.checkpoint()


class Way:
    """A choice. Each one is another; what it opens is the test's, and `fault` is raised instead."""

    route, rule, exit = TUNNEL, "mode all", ""

    def __init__(self) -> None:
        self.attempts = 0
        self.fault: Exception | None = None
        self.gate = trio.Event()
        self.gate.set()
        self._opened, self.opened = trio.open_memory_channel[FakeAssociation](100)

    async def open(self) -> FakeAssociation:
        self.attempts += 1
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        association = FakeAssociation()
        association.exit = self.exit
        self._opened.send_nowait(association)
        return association


class App:
    """A program that has an association: its connection, its socket, and where it sends."""

    def __init__(self, control: trio.SocketStream, udp: socket.socket, relay: tuple[str, int]) -> None:
        self.control = control
        self.udp = udp
        self.relay = relay

    def send(self, data: bytes, address: Address = STUN) -> None:
        self.send_raw(encode_datagram(address, data))

    def send_raw(self, datagram: bytes) -> None:
        self.udp.sendto(datagram, self.relay)

    async def receive(self) -> tuple[Address, bytes]:
        with trio.fail_after(10):
            await trio.lowlevel.wait_readable(self.udp)
        datagram, sender = self.udp.recvfrom(65_535)
        assert sender[:2] == self.relay
        return decode_datagram(datagram)

    async def wait_closed(self) -> None:
        """Until nobody is at the relay's port any more."""
        with trio.fail_after(10):
            while True:
                await trio.lowlevel.checkpoint()
                with udp_socket(self.udp.family) as probe:
                    try:
                        probe.bind(self.relay)
                    except OSError:
                        continue
                return


def udp_socket(family: socket.AddressFamily = socket.AF_INET, host: str | None = None) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setblocking(False)
    if host is not None:
        sock.bind((host, 0))
    return sock


async def exactly(stream: trio.abc.ReceiveStream, size: int) -> bytes:
    data = b""
    with trio.fail_after(10):
        while len(data) < size:
            piece = await stream.receive_some(size - len(data))
            assert piece, f"the stream ended with {data!r}"
            data += piece
    return data


async def rest(stream: trio.abc.ReceiveStream) -> bytes:
    data = b""
    with trio.fail_after(10):
        while piece := await stream.receive_some():
            data += piece
    return data


class World:
    """A local port with an association's worth of ways: every address goes by `way`, unless `choose` is replaced."""

    def __init__(self, host: str = "127.0.0.1", **settings: int) -> None:
        self.host = host
        self.budget = Budget()
        self.way = Way()
        self.choose: Callable[[Address], Choice | None] = lambda _address: self.way
        self.connections = Connections()
        self.relay = UDPRelay(
            lambda address: self.choose(address), budget=self.budget, connections=self.connections, **settings
        )
        self.resources: list[trio.SocketStream | socket.socket] = []
        self.listeners: list[trio.SocketListener] = []

    async def start(self, nursery: trio.Nursery, credentials: Credentials | None = None) -> None:
        self.listeners = await trio.open_tcp_listeners(0, host=self.host)
        serve = partial(serve_local, associate=self.relay.serve)
        await nursery.start(serve, self.listeners, always(self.connect), credentials)

    async def connect(self, address: Address) -> trio.abc.HalfCloseableStream:
        """An echo."""
        ours, theirs = memory_stream_pair()
        trio.lowlevel.spawn_system_task(echo, theirs)
        return ours

    @property
    def port(self) -> int:
        port: int = self.listeners[0].socket.getsockname()[1]
        return port

    async def tcp(self, *pieces: bytes) -> trio.SocketStream:
        stream = await open_stream_to_socket_listener(self.listeners[0])
        self.resources.append(stream)
        for piece in pieces:
            await stream.send_all(piece)
        return stream

    def udp(self, host: str | None = None) -> socket.socket:
        sock = udp_socket(self.listeners[0].socket.family, host)
        self.resources.append(sock)
        return sock

    async def associate(self, hint: bytes = ZEROS) -> App:
        control = await self.tcp(GREETING, ASSOCIATE + hint)
        assert await exactly(control, 6) == CHOSEN + b"\x05\x00\x00" + (b"\x04" if ":" in self.host else b"\x01")
        bound = await exactly(control, 18 if ":" in self.host else 6)
        host = socket.inet_ntop(self.listeners[0].socket.family, bound[:-2])
        assert host == self.host
        return App(control, self.udp(self.host), (host, int.from_bytes(bound[-2:], "big")))

    async def opened(self) -> FakeAssociation:
        with trio.fail_after(10):
            return await self.way.opened.receive()

    async def close(self) -> None:
        for resource in self.resources:
            if isinstance(resource, socket.socket):
                resource.close()
            else:
                await trio.aclose_forcefully(resource)


async def echo(stream: trio.abc.HalfCloseableStream) -> None:
    while data := await stream.receive_some():
        await stream.send_all(data)
    await stream.send_eof()


@pytest.fixture
def clock(mock_clock: MockClock) -> MockClock:
    """Time stands still until a test moves it; or for 5 true seconds, when what waits for something may fail."""
    mock_clock.autojump_threshold = 5
    return mock_clock


@pytest.fixture
async def world(nursery: trio.Nursery) -> AsyncIterator[World]:
    world = World()
    await world.start(nursery)
    yield world
    await world.close()


async def got(association: FakeAssociation) -> tuple[Address, bytes]:
    with trio.fail_after(10):
        return await association.sent.receive()


async def established(world: World) -> tuple[App, FakeAssociation]:
    app = await world.associate()
    app.send(b"hello")
    association = await world.opened()
    assert await got(association) == (STUN, b"hello")
    return app, association


async def roundtrip(app: App, association: FakeAssociation, address: Address = STUN) -> None:
    app.send(b"question", address)
    assert await got(association) == (address, b"question")
    association.answer(address, b"answer")
    assert await app.receive() == (address, b"answer")


# ---- there and back


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_there_and_back(nursery: trio.Nursery, host: str) -> None:
    world = World(host)
    await world.start(nursery)
    app = await world.associate()
    app.send(b"hello")
    association = await world.opened()
    assert await got(association) == (STUN, b"hello")
    for address in (STUN, Address("stun.example", 3478), Address("2001:db8::1", 443)):
        await roundtrip(app, association, address)
    stranger = Address("198.51.100.7", 40_000)  # a peer of a call, to whom the app never sent
    association.answer(stranger, b"knock")
    assert await app.receive() == (stranger, b"knock")
    assert world.way.attempts == 1
    await world.close()


@pytest.mark.parametrize("size", [0, 1, 1200, LARGEST_DATAGRAM - HEADER])
async def test_sizes(world: World, size: int) -> None:
    app, association = await established(world)
    app.send(b"x" * size)
    assert await got(association) == (STUN, b"x" * size)
    association.answer(STUN, b"y" * size)
    assert await app.receive() == (STUN, b"y" * size)


async def test_an_answer_that_fits_into_no_datagram_is_dropped(world: World) -> None:
    app, association = await established(world)
    association.answer(STUN, b"x" * (LARGEST_DATAGRAM - HEADER + 1))
    await roundtrip(app, association)


async def test_what_is_blocked_is_dropped(world: World) -> None:
    app, association = await established(world)
    world.choose = lambda address: None if address.port == 53 else world.way
    app.send(b"query", Address("203.0.113.5", 53))
    await roundtrip(app, association)


async def test_credentials_hold(nursery: trio.Nursery) -> None:
    world = World()
    await world.start(nursery, Credentials("alice", "secret"))
    app = await world.tcp(GREETING, ASSOCIATE + ZEROS)
    await app.send_eof()
    assert await rest(app) == b"\x05\xff"
    app = await world.tcp(b"\x05\x01\x02", b"\x01\x05alice\x06secret", ASSOCIATE + ZEROS)
    assert await exactly(app, 8) == b"\x05\x02\x01\x00\x05\x00\x00\x01"
    await world.close()


# ---- whose datagrams


def hint(host: str, port: int) -> bytes:
    return Address(host, port).encode() if port else Address(host, 1).encode()[:-2] + b"\0\0"


@pytest.mark.parametrize(
    "hint",
    [
        ZEROS,
        b"\x04" + bytes(18),
        hint("127.0.0.1", 0),
        hint("0.0.0.0", 5000),  # PySocks
        hint("127.0.0.1", 9),  # another socket's
        STUN.encode(),  # the destination: many, by a misreading of the RFC
        Address("0", 5000).encode(),  # PySocks, and names that are resolved by the proxy
        b"\x01\xc8\x3f\x91\x6f\xff\xff",  # Telegram on Apple's systems, where an IPv6 address was meant
        b"\x01\x20\x01\x0d\xb8" + bytes(11) + b"\x01\x13\x88",  # or all of that in an IPv4 address
    ],
)
async def test_an_app_may_name_anything(world: World, hint: bytes) -> None:
    app = await world.associate(hint)
    app.send(b"hello")
    association = await world.opened()
    assert await got(association) == (STUN, b"hello")
    await roundtrip(app, association)


async def test_the_first_port_that_sends_has_the_association(world: World) -> None:
    app, association = await established(world)
    other = world.udp("127.0.0.1")
    other.sendto(encode_datagram(STUN, b"from another socket"), app.relay)
    await roundtrip(app, association)
    with pytest.raises(BlockingIOError):
        other.recvfrom(65_535)


async def test_what_is_malformed_gives_nobody_the_association(world: World) -> None:
    app = await world.associate()
    world.udp("127.0.0.1").sendto(b"\0\0\x01" + encode_datagram(STUN, b"a fragment")[3:], app.relay)
    app.send(b"hello")
    association = await world.opened()
    assert await got(association) == (STUN, b"hello")
    await roundtrip(app, association)


async def test_the_port_that_the_app_named_takes_over(world: World) -> None:
    named = world.udp("127.0.0.1")
    app = await world.associate(hint(*named.getsockname()))
    app.send(b"first")
    association = await world.opened()
    assert await got(association) == (STUN, b"first")
    named.sendto(encode_datagram(STUN, b"named"), app.relay)
    assert await got(association) == (STUN, b"named")
    app.send(b"no more")
    intruder, app.udp = app.udp, named
    await roundtrip(app, association)
    with pytest.raises(BlockingIOError):
        intruder.recvfrom(65_535)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have one loopback address")
async def test_another_ip_address_is_never_listened_to(world: World) -> None:
    app = await world.associate()
    world.udp("127.0.0.2").sendto(encode_datagram(STUN, b"from another computer"), app.relay)
    app.send(b"hello")
    association = await world.opened()
    assert await got(association) == (STUN, b"hello")
    await roundtrip(app, association)


MALFORMED = {
    "empty": b"",
    "one byte": b"\0",
    "no port": encode_datagram(STUN, b"")[:-1],
    "first fragment": b"\0\0\x01" + encode_datagram(STUN, b"x")[3:],
    "last fragment": b"\0\0\x81" + encode_datagram(STUN, b"x")[3:],
    "unknown address type": b"\0\0\0\x02" + bytes(20),
    "port 0": b"\0\0\0\x01\xcb\x00\x71\x05\0\0x",
    "impossible name": b"\0\0\0\x03\x03a b\x0d\x96x",
    "largest": b"\xff" * LARGEST_DATAGRAM,
}


@pytest.mark.parametrize("datagram", MALFORMED.values(), ids=MALFORMED.keys())
async def test_what_is_malformed_is_dropped(world: World, datagram: bytes) -> None:
    app, association = await established(world)
    app.send_raw(datagram)
    await roundtrip(app, association)


# ---- associations that come and go behind it


async def test_while_a_way_is_opened_datagrams_wait_but_do_not_get_old(world: World, clock: MockClock) -> None:
    world.way.gate = trio.Event()
    app = await world.associate()
    app.send(b"old")
    await wait_all_tasks_blocked()
    clock.jump(AGE * 0.6)
    app.send(b"young")
    await wait_all_tasks_blocked()
    clock.jump(AGE * 0.6)
    world.way.gate.set()
    association = await world.opened()
    assert await got(association) == (STUN, b"young")
    app.send(b"next")
    assert await got(association) == (STUN, b"next")
    assert world.way.attempts == 1


async def test_the_age_limit_is_a_setting(nursery: trio.Nursery, clock: MockClock) -> None:
    world = World(age=2)
    await world.start(nursery)
    world.way.gate = trio.Event()
    app = await world.associate()
    app.send(b"not old")
    await wait_all_tasks_blocked()
    clock.jump(2)
    world.way.gate.set()
    association = await world.opened()
    assert await got(association) == (STUN, b"not old")
    await world.close()


async def test_a_changed_age_limit_holds_at_once(world: World, clock: MockClock) -> None:
    world.way.gate = trio.Event()
    app = await world.associate()
    app.send(b"not old")
    await wait_all_tasks_blocked()
    world.relay.drop_after(2)
    clock.jump(2)
    world.way.gate.set()
    association = await world.opened()
    assert await got(association) == (STUN, b"not old")


async def test_a_way_that_cannot_be_opened_is_tried_again_a_second_later(
    world: World, clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    world.way.fault = OpenError(Reason.TUNNEL_DOWN)
    app = await world.associate()
    app.send(b"lost")
    await wait_all_tasks_blocked()
    assert world.way.attempts == 1
    for _ in range(7):
        clock.jump(PAUSE / 8)
        app.send(b"lost as well")
        await wait_all_tasks_blocked()
    assert world.way.attempts == 1
    world.way.fault = None
    clock.jump(PAUSE / 8)
    association = await world.opened()
    for _ in range(2):  # those that are younger than 300 ms
        assert await got(association) == (STUN, b"lost as well")
    await roundtrip(app, association)
    assert not caplog.records


async def test_without_a_datagram_it_is_not_tried_again(world: World, clock: MockClock) -> None:
    world.way.fault = OpenError(Reason.TUNNEL_DOWN)
    app = await world.associate()
    for _ in range(2):  # the second one will be too old after the pause
        app.send(b"lost")
        await wait_all_tasks_blocked()
    for _ in range(3):
        clock.jump(PAUSE)
        await wait_all_tasks_blocked()
    assert world.way.attempts == 1
    app.send(b"again")
    await wait_all_tasks_blocked()
    assert world.way.attempts == 2


LOST = "a UDP association was lost, and is opened again when it is needed"


@pytest.mark.parametrize("cause", [OpenError(Reason.TUNNEL_DOWN, "too long"), None])
async def test_an_association_that_is_lost_is_opened_again_and_told_once(
    world: World, clock: MockClock, caplog: pytest.LogCaptureFixture, cause: Exception | None
) -> None:
    app, association = await established(world)
    other, other_association = await established(world)
    for each in (association, other_association):
        each.reset(cause)
    await wait_all_tasks_blocked()
    app.send(b"too soon")
    await wait_all_tasks_blocked()
    assert association.closed.is_set()
    assert world.way.attempts == 2
    clock.jump(PAUSE)
    await wait_all_tasks_blocked()
    for each_app in (app, other):
        each_app.send(b"again")
        again = await world.opened()
        assert await got(again) == (STUN, b"again")
        await roundtrip(each_app, again)
    assert [record.getMessage() for record in caplog.records] == [LOST + (": too long" if cause else "")]
    clock.jump(60)
    again.reset(cause)
    await wait_all_tasks_blocked()
    assert len(caplog.records) == 2


async def test_what_finds_its_association_lost_is_the_first_on_the_next_one(world: World, clock: MockClock) -> None:
    app, association = await established(world)
    clock.jump(PAUSE)
    association.broken = True
    app.send(b"nobody has told yet")
    await wait_all_tasks_blocked()
    association.reset(None)
    again = await world.opened()
    assert await got(again) == (STUN, b"nobody has told yet")
    await roundtrip(app, again)


async def test_where_the_age_limit_is_longer_than_the_pause_nothing_is_forgotten(
    nursery: trio.Nursery, clock: MockClock
) -> None:
    world = World(age=3)
    await world.start(nursery)
    world.way.fault = OpenError(Reason.TUNNEL_DOWN)
    app = await world.associate()
    app.send(b"patient")
    await wait_all_tasks_blocked()
    world.way.fault = None
    clock.jump(PAUSE)
    association = await world.opened()
    assert await got(association) == (STUN, b"patient")
    await world.close()


REFUSAL = OpenError(Reason.BUSY, "the exit carries 2")


async def refuse_at_once(world: World, app: App) -> None:
    world.way.fault = REFUSAL
    app.send(b"hello")


async def refuse_later(world: World, app: App) -> None:
    app.send(b"hello")
    (await world.opened()).reset(REFUSAL)


@pytest.mark.parametrize("refuse", [refuse_at_once, refuse_later])
async def test_where_its_association_is_refused_the_app_learns_of_it(
    world: World, refuse: Callable[[World, App], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    other, other_association = await established(world)
    for _ in range(3):
        app = await world.associate()
        await refuse(world, app)
        assert await rest(app.control) == b""
        await app.wait_closed()
    await roundtrip(other, other_association)
    assert [record.getMessage() for record in caplog.records] == [
        "an app's UDP association was refused, and is ended: the exit carries 2"
    ]
    assert [view.reason for view in world.connections.last_closed(9)] == ["the exit carries 2"] * 3


async def test_different_ways_for_different_addresses(world: World) -> None:
    ways = {1: Way(), 2: Way()}
    world.choose = lambda address: ways[address.port]
    app = await world.associate()
    one, two = Address("203.0.113.5", 1), Address("203.0.113.5", 2)
    for address in (one, two, one):
        app.send(b"hello", address)
    first, second = await ways[1].opened.receive(), await ways[2].opened.receive()
    assert [await got(first), await got(first)] == [(one, b"hello")] * 2
    assert await got(second) == (two, b"hello")
    ways[2].fault = OpenError(Reason.TUNNEL_DOWN)
    second.reset(None)
    await roundtrip(app, first, one)  # what happens to one does not happen to the other


async def test_ways_have_a_limit_and_the_longest_unused_gives_way(world: World, clock: MockClock) -> None:
    ways = {port: Way() for port in range(1, MAX_CHOICES + 2)}
    world.choose = lambda address: ways[address.port]
    app = await world.associate()

    async def send(port: int) -> None:
        app.send(b"hello", Address("203.0.113.5", port))
        await wait_all_tasks_blocked()

    await send(1)
    first = await ways[1].opened.receive()
    clock.jump(UNUSED_AFTER / 2)
    for port in ways:
        if port != 1:
            await send(port)
    last = MAX_CHOICES + 1
    assert not ways[last].attempts
    clock.jump(UNUSED_AFTER / 4)
    first.answer(STUN, b"an answer is use as well")
    await app.receive()
    clock.jump(UNUSED_AFTER / 2)
    await send(last)
    assert not ways[last].attempts
    await send(3)
    clock.jump(UNUSED_AFTER / 4)
    await send(last)
    assert ways[last].attempts == 1
    second = await ways[2].opened.receive()
    assert second.closed.is_set()
    assert not first.closed.is_set()
    await send(2)  # others were not used for as long
    assert ways[2].attempts == 2
    third, fourth = await ways[3].opened.receive(), await ways[4].opened.receive()
    assert fourth.closed.is_set()
    assert not third.closed.is_set()


# ---- floods


async def test_a_flood_before_a_way_is_open_takes_bounded_memory(world: World, clock: MockClock) -> None:
    world.way.gate = trio.Event()
    apps = [await world.associate() for _ in range(2)]
    for number in range(10_000):
        apps[number % 2].send(b"%1000d" % number)
        if number % 50 == 49:
            await wait_all_tasks_blocked()
    world.way.gate.set()
    for last in (9_998, 9_999):
        association = await world.opened()
        await wait_all_tasks_blocked()
        count = association.sent.statistics().current_buffer_used
        assert MOST_QUEUED * 0.7 < count * 1000 <= MOST_QUEUED
        numbers = [int((await got(association))[1]) for _ in range(count)]
        assert last in (numbers[-1], numbers[-1] + 1, numbers[-1] - 1)
        assert numbers == list(range(numbers[0], numbers[-1] + 1, 2))  # the oldest went, in order


async def test_what_waits_counts_in_the_budget_and_is_given_back(world: World, clock: MockClock) -> None:
    world.way.gate = trio.Event()
    cost = 1000 + OVERHEAD
    app = await world.associate()
    for _ in range(7):
        app.send(bytes(1000))
    await wait_all_tasks_blocked()
    assert world.budget.held == 7 * cost
    await app.control.aclose()
    await wait_all_tasks_blocked()
    assert world.budget.held == 0
    app = await world.associate()
    app.send(bytes(1000))
    await wait_all_tasks_blocked()
    clock.jump(AGE * 2)
    world.way.gate.set()
    association = await world.opened()
    await wait_all_tasks_blocked()
    assert association.sent.statistics().current_buffer_used == 0
    assert world.budget.held == 0


async def test_where_memory_is_short_less_waits(world: World, clock: MockClock) -> None:
    world.way.gate = trio.Event()
    world.budget.held = world.budget.limit  # by others
    app = await world.associate()
    app.send(bytes(1000))
    await wait_all_tasks_blocked()
    assert world.budget.held == world.budget.limit


async def test_a_flood_leaves_the_others_their_turns(world: World) -> None:
    app, association = await established(world)
    for _ in range(BATCH * 6):
        app.send(b"x" * 100)
    counts = [0]
    with trio.fail_after(10):
        while counts[-1] < BATCH * 6:
            await trio.lowlevel.checkpoint()
            counts.append(association.sent.statistics().current_buffer_used)
    # Each task has one turn in each round, in any order.
    assert max(after - before for before, after in itertools.pairwise(counts)) <= 2 * BATCH


async def test_ten_thousand_datagrams_beside_a_call_and_a_connection(world: World) -> None:
    flooder, flooded = await established(world)
    caller, call = await established(world)
    connection = await world.tcp(GREETING, b"\x05\x01\x00\x03\x06a.test\x01\xbb")
    assert await exactly(connection, 12) == CHOSEN + b"\x05\x00\x00\x01" + bytes(6)
    for number in range(10_000):
        flooder.send(b"%1000d" % number)
        if number % 200 == 0:
            await roundtrip(caller, call)
            await connection.send_all(b"still there?")
            assert await exactly(connection, 12) == b"still there?"
    await roundtrip(caller, call)
    numbers = []
    await wait_all_tasks_blocked()
    while flooded.sent.statistics().current_buffer_used:
        numbers.append(int((await got(flooded))[1]))
    assert numbers == sorted(set(numbers))
    assert len(numbers) > 1_000  # the others found no room in the kernel's queue


# ---- in the table of connections


def only(world: World) -> ConnectionView:
    (view,) = world.connections.snapshot(trio.current_time()).open
    return view


async def test_it_stands_in_the_table_with_what_went_over_it(world: World) -> None:
    app = await world.associate()
    assert world.connections.open_count == 0  # it has said nothing yet
    app.send(b"hello")
    association = await world.opened()
    assert await got(association) == (STUN, b"hello")
    view = only(world)
    assert (view.protocol, view.address, view.state) == (AppProtocol.UDP, STUN, State.OPEN)
    assert (view.route, view.rule, view.bytes_up, view.bytes_down) == (TUNNEL, "mode all", 5, 0)
    for size in (0, 1200):
        app.send(bytes(size))
        assert len((await got(association))[1]) == size
        association.answer(STUN, bytes(2 * size))
        assert len((await app.receive())[1]) == 2 * size
    await wait_all_tasks_blocked()
    view = only(world)
    assert (view.state, view.bytes_up, view.bytes_down) == (State.OPEN, 1205, 2400)
    assert world.connections.total() == Total("", 1, 1205, 2400)
    await app.control.aclose()
    await app.wait_closed()
    (closed,) = world.connections.last_closed(9)
    assert (closed.id, closed.reason, closed.bytes_up, closed.bytes_down) == (view.id, "", 1205, 2400)
    assert world.connections.open_count == 0


async def test_what_cannot_go_yet_is_opening(world: World, clock: MockClock) -> None:
    world.way.fault = OpenError(Reason.TUNNEL_DOWN)
    app = await world.associate()
    app.send(b"lost")
    await wait_all_tasks_blocked()
    assert (only(world).state, only(world).bytes_up) == (State.OPENING, 4)
    world.way.fault = None
    clock.jump(PAUSE)
    app.send(b"there")
    await got(await world.opened())
    assert only(world).state is State.OPEN


async def test_the_exit_is_the_one_that_it_goes_by_now(world: World, clock: MockClock) -> None:
    for exit_name in ("one.example:443", "two.example:443"):
        world.way.exit = exit_name
        if world.way.attempts == 0:
            app, association = await established(world)
        else:
            association.reset(None)
            clock.jump(PAUSE)
            await wait_all_tasks_blocked()
            app.send(b"again")
            await got(await world.opened())
        assert only(world).exit == exit_name


async def test_one_that_is_ended_there_ends_for_the_app(world: World, caplog: pytest.LogCaptureFixture) -> None:
    app, association = await established(world)
    other, other_association = await established(world)
    home = Way()
    world.choose = lambda address: home if address.port == 1 else world.way
    app.send(b"hello", Address("192.0.2.1", 1))
    await wait_all_tasks_blocked()
    assert [view.address.port for view in world.connections.snapshot(0.0).open] == [1, 3478, 3478]
    assert world.connections.close(1)
    assert await rest(app.control) == b""
    await app.wait_closed()
    assert association.closed.is_set()
    assert [view.reason for view in world.connections.last_closed(9)] == [BY_HAND] * 2
    assert world.connections.open_count == world.relay.count == 1
    await roundtrip(other, other_association)
    assert not caplog.records


# ---- the end

ENDS = {
    "end": lambda app: app.control.send_eof(),
    "close": lambda app: app.control.aclose(),
    "reset": lambda app: reset(app.control),
}


async def reset(stream: trio.SocketStream) -> None:
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await stream.aclose()


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
async def test_it_ends_with_its_connection(
    world: World, end: Callable[[App], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    app, association = await established(world)
    other, other_association = await established(world)
    assert world.relay.count == 2
    app.send(b"on the way")
    association.answer(STUN, b"on the way")
    await end(app)
    app.send(b"too late")
    with trio.fail_after(10):
        await association.closed.wait()
    await app.wait_closed()
    await wait_all_tasks_blocked()
    assert world.relay.count == 1
    await roundtrip(other, other_association)
    assert not caplog.records


async def test_it_ends_while_a_way_is_opened(world: World) -> None:
    world.way.gate = trio.Event()
    app = await world.associate()
    app.send(b"hello")
    await wait_all_tasks_blocked()
    assert world.way.attempts == 1
    await app.control.aclose()
    await app.wait_closed()
    assert world.way.opened.statistics().current_buffer_used == 0


async def test_what_is_said_on_the_connection_means_nothing(world: World) -> None:
    app, association = await established(world)
    await app.control.send_all(bytes(100_000))
    await roundtrip(app, association)
    control = await world.tcp(GREETING, ASSOCIATE + ZEROS + b"early", b"and late")
    assert (await exactly(control, 12))[:6] == CHOSEN + b"\x05\x00\x00\x01"
    await control.send_eof()
    assert await rest(control) == b""


async def test_a_cancellation_closes_everything() -> None:
    world = World()
    async with trio.open_nursery() as nursery:
        await world.start(nursery)
        app, association = await established(world)
        nursery.cancel_scope.cancel()
    assert association.closed.is_set()
    assert world.relay.count == 0
    await app.wait_closed()
    await world.close()


async def test_a_bug_ends_one_association_and_is_one_line_in_the_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    app, association = await established(world)
    other, other_association = await established(world)
    association.coming.send_nowait(ZeroDivisionError())
    assert await rest(app.control) == b""
    await app.wait_closed()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    await roundtrip(other, other_association)


# ---- limits and faults


async def test_beyond_the_limit_associations_are_refused(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(max_associations=2)
    await world.start(nursery)
    apps = [await established(world) for _ in range(2)]
    for _ in range(300):
        async with await open_stream_to_socket_listener(world.listeners[0]) as refused:
            await refused.send_all(GREETING + ASSOCIATE + ZEROS)
            await refused.send_eof()
            assert await rest(refused) == CHOSEN + REFUSED
    assert len(caplog.records) == 1
    assert "2 UDP associations" in caplog.records[0].getMessage()
    for app, association in apps:
        await roundtrip(app, association)
    connection = await world.tcp(GREETING, b"\x05\x01\x00\x03\x06a.test\x01\xbb")
    assert await exactly(connection, 12) == CHOSEN + b"\x05\x00\x00\x01" + bytes(6)
    app, association = apps[0]
    await app.control.aclose()
    await app.wait_closed()
    await established(world)
    await world.close()


async def test_without_descriptors_it_is_refused_with_one_line(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    controls = [await world.tcp(GREETING) for _ in range(2)]
    monkeypatch.setattr(socket, "socket", fail)
    for control in controls:
        await control.send_all(ASSOCIATE + ZEROS)
        await control.send_eof()
        assert await rest(control) == CHOSEN + REFUSED
    monkeypatch.undo()
    assert [record.getMessage() for record in caplog.records] == ["no UDP association for an app: Too many open files"]
    assert world.relay.count == 0
    await established(world)


def handshake() -> Handshake:
    done = Handshake(None, associates=True)
    done.receive_data(GREETING + ASSOCIATE + ZEROS)
    return done


async def test_a_connection_without_addresses_is_refused(autojump_clock: MockClock) -> None:
    app, control = memory_stream_pair()
    relay = UDPRelay(lambda _address: None)
    await relay.serve(control, handshake())
    assert await rest(app) == REFUSED


async def test_an_app_that_is_gone_already_leaves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        await reset(await open_stream_to_socket_listener(listener))
        control = await listener.accept()
        with trio.fail_after(10):
            while still_connected(control):
                await trio.lowlevel.checkpoint()
        relay = UDPRelay(lambda _address: None)
        await relay.serve(control, handshake())
    assert control.socket.fileno() == -1
    assert relay.count == 0
    assert not caplog.records


async def test_the_kernel_asks_whether_a_silent_app_is_there(nursery: trio.Nursery) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, await open_stream_to_socket_listener(listener) as app:
        control = await listener.accept()
        nursery.start_soon(UDPRelay(lambda _address: None).serve, control, handshake())
        await exactly(app, 10)
        assert control.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def still_connected(stream: trio.SocketStream) -> bool:
    try:
        stream.socket.getpeername()
    except OSError:
        return False
    return True


class FaultySocket:
    """A kernel that answers with what stands in `faults` before it does what it is asked."""

    def __init__(self, sock: socket.socket, faults: list[OSError]) -> None:
        self._socket = sock
        self.faults = faults

    def recvfrom_into(self, buffer: memoryview) -> tuple[int, tuple[str, int]]:
        if self.faults:
            raise self.faults.pop(0)
        return self._socket.recvfrom_into(buffer)

    def sendto(self, data: bytes, address: tuple[str, int]) -> int:
        if self.faults:
            raise self.faults.pop(0)
        return self._socket.sendto(data, address)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()


FAULTS = [
    ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
    ConnectionResetError(errno.ECONNRESET, "what Windows says"),
    BlockingIOError(errno.EAGAIN, "no room"),
    OSError(errno.ENOBUFS, "no room"),
    OSError(errno.EMSGSIZE, "too long"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: errno.errorcode[fault.errno])
async def test_what_the_kernel_says_of_one_datagram_is_about_that_one(
    world: World, fault: OSError, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[udp_relay._AppSocket] = []
    real = udp_relay._AppSocket

    def make(*arguments: object) -> object:
        made.append(real(*arguments))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(udp_relay, "_AppSocket", make)
    app, association = await established(world)
    faults: list[OSError] = []
    monkeypatch.setattr(made[0], "_socket", FaultySocket(made[0]._socket, faults))
    await roundtrip(app, association)
    faults.append(fault)  # met by what is received next
    await roundtrip(app, association)
    faults.append(fault)  # met by what is sent next
    association.answer(STUN, b"dropped")
    await wait_all_tasks_blocked()
    assert not faults
    await roundtrip(app, association)
    assert not caplog.records


def test_a_link_local_address_is_told_without_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """SOCKS has no room for it, and the app reaches that address by its own link."""

    class LinkLocal(socket.socket):
        def bind(self, address: object) -> None:
            assert address == ("fe80::1%lan", 0, 0, 2)
            super().bind(("::1", 0))

        def getsockname(self) -> tuple[str, int, int, int]:
            return ("fe80::1%lan", 1234, 0, 2)

    monkeypatch.setattr("proxy.udp_relay.socket.socket", LinkLocal)
    made = udp_relay._AppSocket(socket.AF_INET6, ("fe80::1%lan", 1080, 0, 2), "fe80::2%lan", None)
    made.close()
    assert made.address == Address("fe80::1", 1234)


async def test_an_app_whose_socket_is_closed_for_a_while(world: World) -> None:
    app, association = await established(world)
    address = app.udp.getsockname()
    app.udp.close()
    for _ in range(3):
        association.answer(STUN, b"to a closed port")
        await wait_all_tasks_blocked()
    app.udp = world.udp()
    app.udp.bind(address)
    await roundtrip(app, association)


# ---- a program that people have


async def test_pysocks(world: World, nursery: trio.Nursery) -> None:
    def ask(*, resolve_there: bool) -> tuple[bytes, tuple[str, int]]:
        with socks.socksocket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.set_proxy(socks.SOCKS5, "127.0.0.1", world.port, rdns=resolve_there)
            client.settimeout(10)
            client.sendto(b"question", (STUN.host, STUN.port))
            answer: tuple[bytes, tuple[str, int]] = client.recvfrom(2048)
            return answer

    async def answer() -> None:
        for _ in range(2):
            association = await world.opened()
            assert await got(association) == (STUN, b"question")
            association.answer(STUN, b"answer")

    nursery.start_soon(answer)
    for resolve_there in (False, True):
        answered = await trio.to_thread.run_sync(partial(ask, resolve_there=resolve_there))
        assert answered == (b"answer", (STUN.host, STUN.port))
