"""The local port: who speaks what, where a connection goes, and that one which goes wrong disturbs no other."""

from __future__ import annotations

import errno
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import memory_stream_pair, open_stream_to_socket_listener, wait_all_tasks_blocked

from proxy import listener
from proxy.address import Address
from proxy.connections import BY_HAND, Connections
from proxy.errors import OpenError, Reason
from proxy.opener import always
from proxy.protocol import http_proxy, socks
from proxy.protocol.socks import Credentials

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

GREETING, CHOSEN = b"\x05\x01\x00", b"\x05\x00"
REQUEST_5 = b"\x05\x01\x00\x03\x07a.test.\x01\xbb"
ASSOCIATE_5 = b"\x05\x03\x00\x01" + bytes(6)
SUCCEEDED_5 = b"\x05\x00\x00\x01" + bytes(6)
REQUEST_4 = b"\x04\x01\x01\xbb\x01\x02\x03\x04me\x00"
REQUEST_4A = b"\x04\x01\x01\xbb\x00\x00\x00\x01me\x00a.test.\x00"
SUCCEEDED_4 = b"\x00\x5a" + bytes(6)
CONNECT = b"CONNECT a.test.:443 HTTP/1.1\r\nHost: a\r\n\r\n"

Stream = trio.abc.HalfCloseableStream


class MemoryListener(trio.abc.Listener[Stream]):
    """Listens for memory streams. An OSError that is put into `faults` comes out of the next accept."""

    def __init__(self) -> None:
        self.closed = False
        self.accepted = 0
        self.faults: list[OSError] = []
        self._send, self._receive = trio.open_memory_channel[Stream](100)

    async def connect(self) -> Stream:
        app, local = memory_stream_pair()
        await self._send.send(local)
        return app

    async def accept(self) -> Stream:
        await trio.lowlevel.checkpoint()
        if self.faults:
            raise self.faults.pop(0)
        stream = await self._receive.receive()
        self.accepted += 1
        return stream

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


class World:
    """A port, and destinations behind it that say what they were sent and are then the test's."""

    def __init__(self) -> None:
        self.listener = MemoryListener()
        self.opened: list[Address] = []
        self.destinations: list[Stream] = []
        self.fault: Exception | None = None
        self.gate = trio.Event()
        self.gate.set()
        self.connections = Connections()

    async def open(self, address: Address) -> Stream:
        self.opened.append(address)
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        ours, theirs = memory_stream_pair()
        self.destinations.append(theirs)
        return ours

    async def start(
        self,
        nursery: trio.Nursery,
        credentials: Credentials | None = None,
        *,
        associate: listener.ServeAssociation | None = None,
        max_connections: int = 100,
    ) -> None:
        serve = partial(
            listener.serve_local,
            associate=associate,
            max_connections=max_connections,
            connections=self.connections,
        )
        await nursery.start(serve, [self.listener], always(self.open), credentials)

    async def connect(self, *pieces: bytes) -> Stream:
        app = await self.listener.connect()
        for piece in pieces:
            await app.send_all(piece)
        return app


@pytest.fixture
async def world(nursery: trio.Nursery) -> World:
    world = World()
    await world.start(nursery)
    return world


async def exactly(stream: Stream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = await stream.receive_some(size - len(data))
        assert piece, f"the stream ended with {data!r}"
        data += piece
    return data


async def rest(stream: Stream) -> bytes:
    data = b""
    while piece := await stream.receive_some():
        data += piece
    return data


GOOD = {
    "SOCKS5": ([GREETING, REQUEST_5], CHOSEN + SUCCEEDED_5, Address("a.test.", 443)),
    "SOCKS5 at once": ([GREETING + REQUEST_5], CHOSEN + SUCCEEDED_5, Address("a.test.", 443)),
    "SOCKS4": ([REQUEST_4], SUCCEEDED_4, Address("1.2.3.4", 443)),
    "SOCKS4a": ([REQUEST_4A], SUCCEEDED_4, Address("a.test.", 443)),
    "CONNECT": ([CONNECT], http_proxy.CONNECTED, Address("a.test.", 443)),
}


async def roundtrip(app: Stream, destination: Stream) -> None:
    """Both ways, with half-close."""
    await app.send_all(b"question")
    await app.send_eof()
    assert await rest(destination) == b"question"
    await destination.send_all(b"answer")
    await destination.send_eof()
    assert await rest(app) == b"answer"


@pytest.mark.parametrize(("pieces", "answer", "address"), GOOD.values(), ids=GOOD.keys())
async def test_each_protocol_on_the_same_port(
    world: World, pieces: list[bytes], answer: bytes, address: Address
) -> None:
    app = await world.connect(*pieces)
    assert await exactly(app, len(answer)) == answer
    assert world.opened == [address]
    await roundtrip(app, world.destinations[0])


@pytest.mark.parametrize(("pieces", "answer", "address"), GOOD.values(), ids=GOOD.keys())
async def test_byte_by_byte(world: World, pieces: list[bytes], answer: bytes, address: Address) -> None:
    app = await world.connect()
    for byte in b"".join(pieces):
        await app.send_all(bytes([byte]))
        await wait_all_tasks_blocked()
    assert await exactly(app, len(answer)) == answer
    await roundtrip(app, world.destinations[0])


@pytest.mark.parametrize(("pieces", "answer", "address"), GOOD.values(), ids=GOOD.keys())
async def test_what_is_sent_behind_the_request_travels_on(
    world: World, pieces: list[bytes], answer: bytes, address: Address
) -> None:
    app = await world.connect(b"".join(pieces) + b"\x16\x03\x01", b"hello")
    assert await exactly(app, len(answer)) == answer
    assert await exactly(world.destinations[0], 8) == b"\x16\x03\x01hello"


@pytest.mark.parametrize("pieces", [pieces for pieces, _, _ in GOOD.values()], ids=GOOD.keys())
async def test_success_is_said_only_when_it_is_true(
    world: World, pieces: list[bytes], autojump_clock: MockClock
) -> None:
    world.gate = trio.Event()
    app = await world.connect(*pieces)
    before = CHOSEN if pieces[0].startswith(GREETING) else b""
    assert await exactly(app, len(before)) == before
    with trio.move_on_after(60) as limit:
        await app.receive_some()
    assert limit.cancelled_caught
    world.gate.set()
    assert await app.receive_some()


async def test_an_http_request_is_passed_on(world: World) -> None:
    app = await world.connect(b"GET http://a.test./x HTTP/1.1\r\nHost: a\r\n\r\n")
    await wait_all_tasks_blocked()
    sent = b"GET /x HTTP/1.1\r\nHost: a.test.\r\n\r\n"
    assert await exactly(world.destinations[0], len(sent)) == sent
    await world.destinations[0].send_all(b"HTTP/1.1 204 Fine\r\n\r\n")
    assert await app.receive_some() == b"HTTP/1.1 204 Fine\r\n\r\n"


CODES = {
    Reason.REFUSED: 5,
    Reason.NETWORK_UNREACHABLE: 3,
    Reason.HOST_UNREACHABLE: 4,
    Reason.NAME_NOT_FOUND: 4,
    Reason.TIMED_OUT: 4,
    Reason.FORBIDDEN: 2,
}


@pytest.mark.parametrize("reason", Reason)
async def test_open_errors_become_replies_and_then_the_end(
    world: World, reason: Reason, autojump_clock: MockClock
) -> None:
    world.fault = OpenError(reason)
    app = await world.connect(GREETING, REQUEST_5, b"sent ahead")
    failure = bytes([5, CODES.get(reason, 1), 0, 1]) + bytes(6)
    assert await rest(app) == CHOSEN + failure
    app = await world.connect(REQUEST_4)
    assert await rest(app) == b"\x00\x5b" + bytes(6)
    app = await world.connect(CONNECT)
    assert (await rest(app)).startswith(b"HTTP/1.1 %d " % http_proxy.STATUS[reason])
    with pytest.raises(trio.BrokenResourceError):  # nobody reads any more, though this app does not close
        await probe(app)


async def probe(app: Stream) -> None:
    while True:
        await app.send_all(b"x")
        await trio.sleep(1)


# ---- what the table of connections says

SPOKEN = {"SOCKS5": "socks5", "SOCKS4": "socks4", "SOCKS4a": "socks4", "CONNECT": "connect"}


@pytest.mark.parametrize("name", SPOKEN)
async def test_each_connection_has_its_entry(world: World, name: str, caplog: pytest.LogCaptureFixture) -> None:
    pieces, answer, address = GOOD[name]
    world.gate = trio.Event()
    app = await world.connect(*pieces[:-1], pieces[-1] + b"early")
    await wait_all_tasks_blocked()
    (entry,) = world.connections.snapshot(trio.current_time()).open
    assert (entry.protocol, entry.address, entry.state) == (SPOKEN[name], address, "opening")
    world.gate.set()
    assert await exactly(app, len(answer)) == answer
    await roundtrip_behind(b"early", app, world.destinations[0])
    await wait_all_tasks_blocked()
    snapshot = world.connections.snapshot(trio.current_time())
    assert not snapshot.open
    assert [(each.reason, each.bytes_up, each.bytes_down) for each in snapshot.closed] == [("", 13, 6)]
    assert not caplog.records


async def roundtrip_behind(early: bytes, app: Stream, destination: Stream) -> None:
    assert await exactly(destination, len(early)) == early
    await roundtrip(app, destination)


async def test_who_only_shakes_hands_has_no_entry(world: World) -> None:
    for data in (b"", GREETING, REQUEST_4[:-1], b"\x05\x01\x01"):
        await world.connect(data)
    await wait_all_tasks_blocked()
    snapshot = world.connections.snapshot(trio.current_time())
    assert snapshot.open == snapshot.closed == ()


@pytest.mark.parametrize("reached", [False, True])
async def test_a_connection_that_is_ended_by_hand(
    world: World, reached: bool, caplog: pytest.LogCaptureFixture
) -> None:
    if not reached:
        world.gate = trio.Event()
    other = await world.connect(REQUEST_4)
    app = await world.connect(GREETING, REQUEST_5)
    await wait_all_tasks_blocked()
    entry = world.connections.snapshot(trio.current_time()).open[0]
    assert world.connections.close(entry.id)
    assert await rest(app) == CHOSEN + (SUCCEEDED_5 if reached else b"\x05\x01\x00\x01" + bytes(6))
    snapshot = world.connections.snapshot(trio.current_time())
    assert [each.reason for each in snapshot.closed] == [BY_HAND]
    world.gate.set()
    assert await exactly(other, 8) == SUCCEEDED_4
    await roundtrip(other, world.destinations[0])
    assert not caplog.records


BAD = {
    "no method": (b"\x05\x01\x01", b"\x05\xff"),
    "unknown command": (GREETING + b"\x05\x09" + REQUEST_5[2:], CHOSEN + b"\x05\x07\x00\x01" + bytes(6)),
    "UDP ASSOCIATE": (GREETING + ASSOCIATE_5, CHOSEN + b"\x05\x07\x00\x01" + bytes(6)),
    "unknown address type": (GREETING + b"\x05\x01\x00\x09", CHOSEN + b"\x05\x08\x00\x01" + bytes(6)),
    "name of 0 bytes": (GREETING + b"\x05\x01\x00\x03\x00\x01\xbb", CHOSEN + b"\x05\x01\x00\x01" + bytes(6)),
    "SOCKS4 BIND": (b"\x04\x02" + REQUEST_4[2:], b"\x00\x5b" + bytes(6)),
}


@pytest.mark.parametrize(("data", "answer"), BAD.values(), ids=BAD.keys())
async def test_bad_handshakes_get_their_answer_and_the_end(world: World, data: bytes, answer: bytes) -> None:
    app = await world.connect(data, b"and what was sent ahead")
    assert await rest(app) == answer
    assert not world.opened


@pytest.mark.parametrize("first", [0, 1, 6, 22, 255])
async def test_an_unknown_first_byte_is_bad_http(world: World, first: int) -> None:
    app = await world.connect(bytes([first]))
    assert (await rest(app)).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("data", [GREETING + REQUEST_5, REQUEST_4A, CONNECT], ids=["SOCKS5", "SOCKS4a", "HTTP"])
async def test_an_app_that_goes_away_at_any_byte_leaves_nothing(
    world: World, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    for end in range(len(data)):
        app = await world.connect(data[:end])
        await app.aclose()
    app = await world.connect(GREETING, REQUEST_5)
    assert await exactly(app, 12) == CHOSEN + SUCCEEDED_5
    assert len(world.opened) == 1
    assert not caplog.records


@pytest.mark.parametrize("data", [b"", b"\x05", GREETING, GREETING + REQUEST_5[:-1], REQUEST_4[:-1], CONNECT[:-1]])
async def test_a_handshake_has_half_a_minute(world: World, data: bytes, autojump_clock: MockClock) -> None:
    start = trio.current_time()
    app = await world.connect(data)
    assert await rest(app) in (b"", CHOSEN)
    assert trio.current_time() - start == pytest.approx(listener.HANDSHAKE_LIMIT)


async def test_a_failed_app_that_does_not_close_is_closed_within_the_ten_seconds_of_the_rfc(
    world: World, autojump_clock: MockClock
) -> None:
    start = trio.current_time()
    app = await world.connect(b"\x05\x01\x01")
    with pytest.raises(trio.BrokenResourceError):
        await probe(app)
    assert trio.current_time() - start <= 10


ALICE = Credentials("alice", "secret")
LOGIN = b"\x01\x05alice\x06secret"


@pytest.mark.parametrize(
    ("pieces", "answer"),
    [
        ([b"\x05\x01\x02", LOGIN, REQUEST_5], b"\x05\x02\x01\x00" + SUCCEEDED_5),
        ([b"\x05\x01\x02", LOGIN[:-1] + b"x"], b"\x05\x02\x01\x01"),
        ([GREETING, REQUEST_5], b"\x05\xff"),
        ([REQUEST_4], b"\x00\x5b" + bytes(6)),
        ([CONNECT], b"HTTP/1.1 407 Proxy"),
    ],
)
async def test_credentials(nursery: trio.Nursery, pieces: list[bytes], answer: bytes) -> None:
    world = World()
    await world.start(nursery, ALICE)
    app = await world.connect(*pieces)
    assert await exactly(app, len(answer)) == answer
    assert len(world.opened) == answer.endswith(SUCCEEDED_5)


class Associations:
    """Serves each association by saying where to send, and then with an echo."""

    def __init__(self) -> None:
        self.requests: list[socks.Request | None] = []

    async def serve(self, stream: Stream, handshake: socks.Handshake) -> None:
        self.requests.append(handshake.request)
        await stream.send_all(handshake.succeeded(Address("127.0.0.1", 5000)))
        while data := await stream.receive_some():
            await stream.send_all(data)


ASSOCIATED_5 = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x13\x88"


@pytest.mark.parametrize("pieces", [[GREETING, ASSOCIATE_5], [GREETING + ASSOCIATE_5]], ids=["in turn", "at once"])
async def test_an_association_is_served_as_long_as_it_likes(
    nursery: trio.Nursery, pieces: list[bytes], autojump_clock: MockClock
) -> None:
    world, associations = World(), Associations()
    await world.start(nursery, associate=associations.serve)
    app = await world.connect(*pieces)
    assert await exactly(app, 12) == CHOSEN + ASSOCIATED_5
    assert associations.requests == [socks.Associate(None)]
    await trio.sleep(80_000)
    await app.send_all(b"there?")
    assert await exactly(app, 6) == b"there?"
    other = await world.connect(GREETING, REQUEST_5)
    assert await exactly(other, 12) == CHOSEN + SUCCEEDED_5
    await roundtrip(other, world.destinations[0])
    await app.send_eof()
    assert await rest(app) == b""


@pytest.mark.parametrize(
    ("pieces", "answer"),
    [
        ([b"\x05\x01\x02", b"\x01\x05alice\x06secret", ASSOCIATE_5], b"\x05\x02\x01\x00" + ASSOCIATED_5),
        ([b"\x05\x01\x02", b"\x01\x05alice\x06Secret", ASSOCIATE_5], b"\x05\x02\x01\x01"),
        ([GREETING, ASSOCIATE_5], b"\x05\xff"),
    ],
)
async def test_credentials_hold_for_associations(nursery: trio.Nursery, pieces: list[bytes], answer: bytes) -> None:
    world, associations = World(), Associations()
    await world.start(nursery, ALICE, associate=associations.serve)
    app = await world.connect(*pieces)
    await app.send_eof()
    assert await rest(app) == answer
    assert len(associations.requests) == answer.endswith(ASSOCIATED_5)


async def test_an_association_has_half_a_minute_to_be_asked_for(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    world, associations = World(), Associations()
    await world.start(nursery, associate=associations.serve)
    start = trio.current_time()
    app = await world.connect(GREETING, ASSOCIATE_5[:-1])
    assert await rest(app) == CHOSEN
    assert trio.current_time() - start == pytest.approx(listener.HANDSHAKE_LIMIT)
    assert not associations.requests


@pytest.mark.parametrize("pieces", [[GREETING, REQUEST_5], [CONNECT]], ids=["SOCKS", "HTTP"])
async def test_a_bug_ends_its_connection_and_is_one_line_in_the_log(
    world: World, pieces: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    other = await world.connect(GREETING, REQUEST_5)
    assert await exactly(other, 12) == CHOSEN + SUCCEEDED_5
    world.fault = RuntimeError("a bug")
    app = await world.connect(*pieces)
    assert await rest(app) in (CHOSEN, b"")
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    await roundtrip(other, world.destinations[0])


async def test_an_app_that_is_gone_when_the_stream_is_open(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.gate = trio.Event()
    app = await world.connect(GREETING, REQUEST_5)
    await wait_all_tasks_blocked()
    await app.aclose()
    world.gate.set()
    await wait_all_tasks_blocked()
    assert await rest(world.destinations[0]) == b""
    assert not caplog.records


async def test_beyond_the_bound_new_connections_wait(nursery: trio.Nursery) -> None:
    world = World()
    await world.start(nursery, max_connections=2)
    apps = [await world.connect(GREETING) for _ in range(4)]
    await wait_all_tasks_blocked()
    assert world.listener.accepted == 2
    await apps[0].aclose()
    await wait_all_tasks_blocked()
    assert world.listener.accepted == 3
    assert await exactly(apps[2], 2) == CHOSEN


async def test_no_descriptors_left_is_told_once_and_passes(
    world: World, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    world.listener.faults += [OSError(errno.EMFILE, "Too many open files") for _ in range(5)]
    first = await world.connect(GREETING)  # was waited for before the shortage
    second = await world.connect(GREETING)
    assert await exactly(first, 2) == await exactly(second, 2) == CHOSEN
    assert [record.getMessage() for record in caplog.records] == [
        "no room for new connections, they wait: Too many open files"
    ]


async def test_a_listener_that_fails_is_the_end() -> None:
    world = World()
    world.listener.faults.append(OSError(errno.EINVAL, "Invalid argument"))
    with pytest.RaisesGroup(OSError):
        await listener.serve_local([world.listener], always(world.open), None)
    assert world.listener.closed


async def test_a_cancellation_closes_listeners_and_connections() -> None:
    world = World()
    async with trio.open_nursery() as nursery:
        await world.start(nursery)
        apps = [await world.connect(*pieces) for pieces in ([], [GREETING], [GREETING, REQUEST_5], [CONNECT])]
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert world.listener.closed
    for app in apps:
        await rest(app)
    for destination in world.destinations:
        assert await rest(destination) == b""


async def test_over_sockets(nursery: trio.Nursery) -> None:
    """The same with a destination, an app and a port of the kernel's."""

    async def echo(stream: trio.SocketStream) -> None:
        async for data in stream:
            await stream.send_all(data)

    serve_echo: Callable[..., Awaitable[object]] = partial(trio.serve_tcp, echo, 0, host="127.0.0.1")
    (destination,) = await nursery.start(serve_echo)
    port = destination.socket.getsockname()[1]

    async def connect(address: Address) -> trio.SocketStream:
        return await trio.open_tcp_stream(address.host, address.port)

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    await nursery.start(listener.serve_local, listeners, always(connect), None)
    async with await open_stream_to_socket_listener(listeners[0]) as app:
        await app.send_all(GREETING + b"\x05\x01\x00\x01\x7f\x00\x00\x01" + port.to_bytes(2, "big") + b"early")
        assert await exactly(app, 17) == CHOSEN + SUCCEEDED_5 + b"early"
        await app.send_eof()
        assert await rest(app) == b""
    nursery.cancel_scope.cancel()
