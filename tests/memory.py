"""A world made of memory: cables that a test can watch, narrow, silence and cut, an exit, and what lies behind it."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio
from trio.testing import memory_stream_pair

from proxy.address import Address
from proxy.association import Association
from proxy.errors import CarrierError, OpenError, Reason
from proxy.exit import Exit, Limits, Terms
from proxy.exit import Identity as Shown
from proxy.keys import UserKey, channel_binding, der_of, pin_of
from proxy.protocol.handshake import NO_TOKEN, NONCE_SIZE, Hello, Wanted, Welcome, read_welcome
from proxy.tls import TLSStream, connect_tls, exit_context, local_context
from proxy.tunnel import Tunnel
from proxy.ways import TLS_TIMEOUT, Opened

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from trio.testing import MemoryReceiveStream, MemorySendStream

# What `Destinations` does for each is in its name.
ECHO = Address("echo.example", 443)
HELD = Address("held.example", 443)
SLOW = Address("slow.example", 443)


class End(trio.abc.HalfCloseableStream):
    """One end of a cable. `sent` is everything that was given to it, also what the cable lost."""

    def __init__(self, cable: Cable, stream: trio.StapledStream[MemorySendStream, MemoryReceiveStream]) -> None:
        self._cable = cable
        self._stream = stream
        self._room = trio.lowlevel.ParkingLot()
        self.sent = bytearray()
        self.unread = 0  # bytes that wait at this end
        self.closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data
        if self.closed:
            raise trio.ClosedResourceError
        await self._cable.flowing.wait()
        await trio.lowlevel.checkpoint()
        if not self._cable.silent:
            await self._cable.carry(self, bytes(data))

    async def deliver(self, data: bytes) -> int:
        """From this end to the other, as much as there is room for at once; waits while there is none."""
        cable, other = self._cable, self._cable.other(self)
        while (room := cable.room - other.unread) <= 0 and not (self.closed or other.closed or cable.broken):
            await other._room.park()
        if self.closed:
            raise trio.ClosedResourceError
        if cable.broken:
            return 0
        size = min(max(int(min(room, len(data))), 1), len(data))
        other.unread += size
        await self._stream.send_all(data[:size])
        return size

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        if self._cable.silent:
            await trio.lowlevel.checkpoint()
        else:
            await self._stream.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        sizes = [size for size in (max_bytes, self._cable.pieces()) if size is not None]
        data = bytes(await self._stream.receive_some(min(sizes, default=None)))
        self.unread -= len(data)
        self._room.unpark_all()
        return data

    def end_of_input(self) -> None:
        self._stream.receive_stream.put_eof()
        self._room.unpark_all()

    async def aclose(self) -> None:
        self.closed = True
        self._room.unpark_all()
        self._cable.other(self)._room.unpark_all()
        await self._stream.aclose()


class Cable:
    """What joins `near`, the local side's transport, with `far`, the exit's.

    `lasts` bytes pass, of both directions together, before it is cut; of each direction about `room` bytes wait unread; `pieces` gives
    the most that one read takes. While it is `silent` everything that is sent gets lost, as behind a firewall that drops.
    """

    def __init__(
        self, *, lasts: float = math.inf, room: float = math.inf, pieces: Callable[[], int | None] = lambda: None
    ) -> None:
        self.lasts = lasts
        self.room = room
        self.pieces = pieces
        self.silent = False
        self.broken = False
        self.flowing = trio.Event()
        self.flowing.set()
        near, far = memory_stream_pair()
        self.near, self.far = End(self, near), End(self, far)

    def hold(self) -> None:
        """Nothing passes, and nothing is lost, until `let_go`."""
        self.flowing = trio.Event()

    def let_go(self) -> None:
        self.flowing.set()

    def other(self, end: End) -> End:
        return self.far if end is self.near else self.near

    async def carry(self, end: End, data: bytes) -> None:
        """Raises trio.BrokenResourceError where it is cut, before or meanwhile."""
        passes = data if len(data) < self.lasts else data[: int(self.lasts)]
        while passes and not self.broken:
            size = await end.deliver(passes)
            passes = passes[size:]
            self.lasts -= size
        if self.lasts <= 0:
            self.cut()
        if self.broken:
            raise trio.BrokenResourceError("the cable was cut")

    def cut(self) -> None:
        """What has not arrived is lost; neither end hears more than that it is over."""
        self.broken = True
        self.near.end_of_input()
        self.far.end_of_input()


class MemoryListener(trio.abc.Listener[trio.abc.HalfCloseableStream]):
    """Accepts the far ends of the cables that were laid to it."""

    def __init__(self) -> None:
        self._arrived, self._waiting = trio.open_memory_channel[trio.abc.HalfCloseableStream](math.inf)
        self.closed = False

    def lay(self, cable: Cable) -> End:
        """The near end, which the listener will have the other one of."""
        self._arrived.send_nowait(cable.far)
        return cable.near

    async def accept(self) -> trio.abc.HalfCloseableStream:
        return await self._waiting.receive()

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


@dataclass(frozen=True)
class Identity:
    """A server's certificate and what it needs to show it."""

    der: bytes
    context: ssl.SSLContext

    @property
    def pin(self) -> bytes:
        return pin_of(self.der)

    @property
    def binding(self) -> bytes:
        return channel_binding(self.der)


def identity(folder: Path, certificate: bytes, key: bytes) -> Identity:
    (folder / "cert.pem").write_bytes(certificate)
    (folder / "key.pem").write_bytes(key)
    return Identity(der_of(certificate), exit_context(folder / "cert.pem", folder / "key.pem"))


class Destinations:
    """What the exit connects to. The name decides: `echo` answers with what it gets, `held` is left to the test, `slow` never answers,
    `bug` is our own fault, and the name of a reason is why there is no connection.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.refuse_all = False
        self.asked: list[Address] = []
        self.held: list[trio.abc.HalfCloseableStream] = []
        self.waiting = 0
        self.open = 0

    async def connect(self, address: Address) -> trio.abc.HalfCloseableStream:
        self.asked.append(address)
        kind = address.host.partition(".")[0]
        if self.refuse_all:
            raise OpenError(Reason.REFUSED)
        if kind == "slow":
            self.waiting += 1
            try:
                await trio.sleep_forever()
            finally:
                self.waiting -= 1
        if kind == "bug":
            raise RuntimeError("a bug")
        if kind.upper() in Reason.__members__:
            raise OpenError(Reason[kind.upper()], f"a word about {kind}")
        ours, theirs = memory_stream_pair()
        if kind == "held":
            self.held.append(theirs)
        else:
            self._nursery.start_soon(self._echo, theirs)
        await trio.lowlevel.checkpoint()
        return ours

    async def _echo(self, stream: trio.abc.HalfCloseableStream) -> None:
        self.open += 1
        try:
            while data := await stream.receive_some(65_536):
                await stream.send_all(bytes(data))
            await stream.send_eof()
        except trio.BrokenResourceError:
            pass
        finally:
            self.open -= 1
            await trio.aclose_forcefully(stream)


class Visits:
    """A website that writes down what its visitors say, and says `answer` to whoever has said something."""

    def __init__(self) -> None:
        self.answer = b""
        self.closes = False
        self.seen: list[bytearray] = []
        self.begun: list[float] = []

    async def __call__(self, stream: trio.abc.Stream, first: bytes) -> None:
        self.begun.append(trio.current_time())
        self.seen.append(seen := bytearray(first))
        if self.answer:
            await stream.send_all(self.answer)
        while not self.closes and (data := await stream.receive_some()):
            seen += data
        await stream.aclose()


@dataclass(frozen=True)
class Greeted:
    """A carrier on which a test speaks itself, what the exit answered to its hello, and what came behind that."""

    carrier: TLSStream
    welcome: Welcome
    rest: bytes

    async def read_to_end(self) -> bytes:
        """Whatever comes until the exit closes it, in the right way or not."""
        said = bytearray(self.rest)
        with suppress(trio.BrokenResourceError):
            while data := await self.carrier.receive_some():
                said += data
        return bytes(said)


async def greet(opened: Opened, key: UserKey, hello: Hello, behind: bytes = b"") -> Greeted:
    """Says hello, with these frames right behind it."""
    await opened.stream.send_all(hello.encode(key.secret, opened.binding, b"") + behind)
    data = b""
    while (answer := read_welcome(data, key.secret, opened.binding, hello)) is None:
        more = await opened.stream.receive_some()
        assert more, "the exit closed the carrier without a welcome"
        data += more
    return Greeted(opened.stream, answer[0], data[answer[1] :])


class MemoryAssociation(Association):
    """What it was given to send, and what a test lets arrive."""

    def __init__(self) -> None:
        self.sent: list[tuple[Address, bytes]] = []
        self._arrive, self._arrived = trio.open_memory_channel[tuple[Address, bytes]](1000)
        self.closed = trio.Event()

    def arrive(self, address: Address, data: bytes) -> None:
        self._arrive.send_nowait((address, data))

    def send(self, address: Address, data: bytes) -> None:
        if self.closed.is_set():
            raise trio.ClosedResourceError
        self.sent.append((address, data))

    async def receive(self) -> tuple[Address, bytes]:
        return await self._arrived.receive()

    async def aclose(self) -> None:
        self.closed.set()
        self._arrived.close()
        await trio.lowlevel.checkpoint()


class World:
    """An exit, what lies behind it, and ways to it: cables, or the kernel's `sockets`, which know of no clock that jumps."""

    def __init__(self, nursery: trio.Nursery, server: Identity, *, sockets: bool = False) -> None:
        self._nursery = nursery
        self.server = server
        self._sockets = sockets
        self.key = UserKey.new()
        self.other_key = UserKey.new()
        self.destinations = Destinations(nursery)
        self.associations: list[MemoryAssociation] = []
        self.website = Visits()
        self.cables: list[Cable] = []
        self.make_cable: Callable[[], Cable] = Cable
        self.reachable = True
        self.attempts: list[float] = []
        self.handshake_timeout = TLS_TIMEOUT
        self._context = local_context(roots=False)
        self._opened: list[TLSStream] = []
        self._exit_scope = trio.CancelScope()

    async def start_exit(self, limits: Limits = Limits()) -> None:  # noqa: B008  (it is frozen)
        """A new one, with no memory of the last."""
        if self._sockets:
            (self._port,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        else:
            self.listener = MemoryListener()
        self.exit = Exit(self.terms(limits))
        self._exit_scope = trio.CancelScope()
        self._exit_gone = trio.Event()
        await self._nursery.start(self._serve)

    def associate(self) -> MemoryAssociation:
        self.associations.append(MemoryAssociation())
        return self.associations[-1]

    def terms(self, limits: Limits = Limits(), *, keys: Sequence[UserKey] | None = None) -> Terms:  # noqa: B008
        """What an exit of this world goes by; `keys` in place of the two users'."""
        users = {key.key_id: key.secret for key in ((self.key, self.other_key) if keys is None else keys)}
        shown = Shown(self.server.context, self.server.binding)
        return Terms(users, shown, self.website, self.destinations.connect, self.associate, limits)

    async def _serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        try:
            with self._exit_scope:
                listener = self._port if self._sockets else self.listener
                await self.exit.serve([listener], task_status=task_status)
        finally:
            self._exit_gone.set()

    async def stop_exit(self) -> None:
        """In the way of SIGTERM: until it has said goodbye."""
        self._exit_scope.cancel()
        await self._exit_gone.wait()

    async def kill_exit(self) -> None:
        """Without a word: the kernel ends its connections."""
        for cable in self.cables:
            cable.cut()
        await self.stop_exit()

    async def restart_exit(self) -> None:
        """Kills it, and starts another one."""
        await self.kill_exit()
        await self.start_exit()

    @property
    def sessions(self) -> int:
        return int(repr(self.exit).split()[2])

    async def open_carrier(self) -> Opened:
        self.attempts.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if not self.reachable:
            raise CarrierError("there is no way to the exit")
        with trio.move_on_after(self.handshake_timeout):
            transport = await self._open_transport()
            stream, binding = await connect_tls(transport, self._context, "", self.server.pin)
            self._opened.append(stream)
            return Opened(stream, binding, 0.0)
        raise CarrierError("the exit does not answer")

    async def _open_transport(self) -> trio.abc.HalfCloseableStream:
        if self._sockets:
            return await trio.open_tcp_stream(*self._port.socket.getsockname())
        cable = self.make_cable()
        self.cables.append(cable)
        return self.listener.lay(cable)

    async def greet(
        self,
        wanted: Wanted = Wanted.NEW,
        token: bytes = NO_TOKEN,
        received: int = 0,
        sending: int = 0,
        *,
        key: UserKey | None = None,
        behind: bytes = b"",
    ) -> Greeted:
        """`greet` on a new carrier, with a hello as it is given here."""
        key = key or self.key
        hello = Hello(key.key_id, bytes(NONCE_SIZE), wanted, token, received, sending)
        return await greet(await self.open_carrier(), key, hello, behind)

    def cut(self) -> None:
        self.cables[-1].cut()

    async def close(self) -> None:
        """Every carrier, also those that a test has forgotten."""
        for stream in self._opened:
            await trio.aclose_forcefully(stream)

    def new_tunnel(self, key: UserKey | None = None, connect_wait: float = 10.0) -> Tunnel:
        return Tunnel(self.open_carrier, key or self.key, connect_wait=connect_wait)

    def run(self, tunnel: Tunnel) -> trio.CancelScope:
        """Runs it until the scope is cancelled."""
        scope = trio.CancelScope()

        async def run() -> None:
            with scope:
                await tunnel.run()

        self._nursery.start_soon(run)
        return scope


@asynccontextmanager
async def world(
    server: Identity,
    limits: Limits = Limits(),  # noqa: B008  (it is frozen)
    *,
    sockets: bool = False,
) -> AsyncIterator[World]:
    with trio.fail_after(7200):  # of virtual time: pings would keep a test alive that waits for nothing
        async with trio.open_nursery() as nursery:
            made = World(nursery, server, sockets=sockets)
            await made.start_exit(limits)
            yield made
            nursery.cancel_scope.cancel()
        await made.close()


async def exchange(stream: trio.abc.Stream, data: bytes = b"hello") -> None:
    """Sends it to an echo, and takes it back."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, data)
        got = bytearray()
        while len(got) < len(data):
            got += await stream.receive_some()
    assert got == data
