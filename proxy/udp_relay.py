"""UDP at the local port: what RFC 1928, section 7, calls the UDP relay server.

    app  <-- one socket for each UDP ASSOCIATE -->  _AppSocket    whose datagrams are these?
                                                        |
                                                     _Relay       which way does this address go?
                                                        |
                                                     _Onward      an association for each way, opened when it is needed
                                                        |
                                                   Association    with an exit, or direct

An app's association lives as long as the connection on which it was asked for. Those behind it may go and come back meanwhile.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

import trio

from . import telemetry
from .address import Address
from .connections import Connections
from .conversation import Conversation
from .errors import OpenError, Reason
from .forward import answer_and_close
from .protocol.budget import Budget
from .protocol.datagrams import AGE, TURN, DatagramQueue
from .protocol.socks import LARGEST_DATAGRAM, Associate, Handshake, decode_datagram, encode_datagram
from .turns import BATCH, Reader, Turns

if TYPE_CHECKING:
    from .association import Association
    from .conversation import Entry

# Our choices.
#: A browser or a chat app has a handful, and each costs a socket.
MAX_ASSOCIATIONS = 1024
#: Ways that one association of an app goes at the same time: an exit or two, and direct.
MAX_CHOICES = 8
#: How long a way is not used, in seconds, before another one may have its place.
UNUSED_AFTER = 60.0
#: Between the beginnings of two attempts at an association, in seconds.
PAUSE = 1.0
#: Between two warnings of one kind, in seconds.
_WARN_EVERY = 60.0
#: No datagram is longer, by the field in its header (RFC 768).
_READ = 65_535
#: Read into by whoever reads, and copied out at once: `recvfrom` takes as much for each datagram and gives the rest back, which left gaps in the
#: heap three times as large as what was held.
_buffer = memoryview(bytearray(_READ))
#: What the app sends on its connection means nothing, and is read so that its end is seen.
_CHUNK = 4096
#: Or trio makes a string of each task's function.
_NAME = "UDP"

_log = telemetry.logger("udp")

#: As the socket module has it: host and port, and of IPv6 the flow and the scope as well.
_SocketAddress: TypeAlias = tuple[str, int] | tuple[str, int, int, int]


class Choice(Hashable, Protocol):
    """A way for datagrams, and how it and its rule are called in the table. What goes the same way is equal."""

    @property
    def route(self) -> str: ...

    @property
    def rule(self) -> str: ...

    async def open(self) -> Association:
        """Raises OpenError."""


#: Which way datagrams to an address go; None where they are dropped. Called for each datagram.
Choose: TypeAlias = Callable[[Address], Choice | None]


class UDPRelay:
    """The associations of all apps at a local port, at most `max_associations` at once. What goes on in them stands in `connections`."""

    def __init__(
        self,
        choose: Choose,
        *,
        age: float = AGE,
        max_associations: int = MAX_ASSOCIATIONS,
        budget: Budget | None = None,
        connections: Connections | None = None,
    ) -> None:
        self._shared = _Shared(choose, age, budget or Budget(), connections or Connections())
        self._max = max_associations
        self.count = 0  # how many there are now

    @property
    def age(self) -> float:
        """How many seconds a datagram may wait here."""
        return self._shared.age

    @property
    def budget(self) -> Budget:
        return self._shared.budget

    def drop_after(self, age: float) -> None:
        """Datagrams that have waited for more seconds than this are not sent."""
        self._shared.age = age

    async def serve(self, control: trio.abc.HalfCloseableStream, handshake: Handshake) -> None:
        """Answers the app's request and serves its association until the connection ends, in whatever way. Closes the stream."""
        app = self._admit(control, handshake)
        if app is None:
            await answer_and_close(control, handshake.failed(Reason.BUSY))  # "general SOCKS server failure"
            return
        self.count += 1
        try:
            async with control:
                await control.send_all(handshake.succeeded(app.address))
                await self._relay(control, app)
        finally:
            app.close()
            self.count -= 1

    def _admit(self, control: trio.abc.HalfCloseableStream, handshake: Handshake) -> _AppSocket | None:
        assert isinstance(handshake.request, Associate)
        if self.count >= self._max:
            self._shared.warn("limit", f"apps have {self._max} UDP associations, the most at once; more are refused")
            return None
        if not isinstance(control, trio.SocketStream):
            return None  # without addresses nobody could say whose datagrams are whose
        try:
            # An app that vanished without a word must not hold a place for ever; the kernel asks after two hours.
            control.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            local, peer = control.socket.getsockname(), control.socket.getpeername()
        except OSError:
            return None  # it has gone
        try:
            return _AppSocket(control.socket.family, local, peer[0], handshake.request.sender)
        except OSError as exc:
            self._shared.warn("socket", f"no UDP association for an app: {exc.strerror}")
            return None

    async def _relay(self, control: trio.abc.ReceiveStream, app: _AppSocket) -> None:
        async with trio.open_nursery() as nursery:
            conversation = Conversation(self._shared.connections, nursery.cancel_scope, control)
            nursery.start_soon(_Relay(self._shared, app, nursery, conversation).run, name=_NAME)
            with suppress(trio.BrokenResourceError):
                while await control.receive_some(_CHUNK):
                    pass
            nursery.cancel_scope.cancel()


@dataclass
class _Shared:
    """What all associations of a port share."""

    choose: Choose
    age: float
    budget: Budget
    connections: Connections
    turns: Turns = field(default_factory=Turns)
    _warned: dict[str, float] = field(default_factory=dict)  # when, by kind

    def warn(self, kind: str, text: str) -> None:
        """What happens to many at once is one line in the log, and again a minute later if it goes on."""
        now = trio.current_time()
        due = now >= self._warned.get(kind, now)
        if due:
            self._warned[kind] = now + _WARN_EVERY
        (_log.warning if due else _log.debug)("%s", text)


class _AppSocket:
    """The socket to which one app sends its datagrams, and who may do so. Raises OSError where there is none to be had.

    It is the app's that asked for it: nothing is taken from another IP address than its connection has, and the first port there that sends
    a datagram is the only one from then on. Except that where the app has `named` a port, that one takes over when it speaks. It is not
    insisted on, since many apps name something else.
    """

    def __init__(self, family: socket.AddressFamily, local: _SocketAddress, peer: str, named: Address | None) -> None:
        self._peer = peer
        self._named = None if named is None else (named.host, named.port)
        self._app: _SocketAddress | None = None
        self.reader = Reader()
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.bind((local[0], 0, *local[2:]))
            if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) < LARGEST_DATAGRAM:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST_DATAGRAM)  # macOS begins with 9 KB
            host, port = self._socket.getsockname()[:2]
            self.address = Address.make(host.partition("%")[0], port)  # without a zone, of which SOCKS knows nothing
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        self._socket.close()

    async def wait_readable(self) -> None:
        await trio.lowlevel.wait_readable(self._socket)

    def receive_nowait(self) -> Iterator[tuple[Address, bytes]]:
        """Of a turn's worth of those that are there, those that may go somewhere."""
        total = 0
        for _ in range(BATCH):
            if total >= TURN:
                return
            try:
                size, sender = self._socket.recvfrom_into(_buffer)
            except BlockingIOError:
                return
            except OSError:  # an answer of ours met a closed port: Windows tells it here, and other systems may
                continue
            total += size
            self.reader.has_read(size)
            if self._may_send(sender):
                try:
                    whither = decode_datagram(bytes(_buffer[:size]))
                except ValueError:
                    continue
                self._app = sender
                yield whither

    def _may_send(self, sender: _SocketAddress) -> bool:
        if sender[0] != self._peer:
            return False
        return self._app is None or sender == self._app or sender[:2] == self._named

    def send(self, address: Address, data: bytes) -> None:
        """To the app, as from that address. What fits into no datagram, or finds no room in the kernel, is dropped."""
        if self._app is not None:
            with suppress(OSError):
                self._socket.sendto(encode_datagram(address, data), self._app)


class _Relay:
    """One app's association: each of its datagrams goes on the way that was chosen for its address."""

    def __init__(self, shared: _Shared, app: _AppSocket, nursery: trio.Nursery, conversation: Conversation) -> None:
        self._shared = shared
        self._app = app
        self._nursery = nursery
        self._conversation = conversation
        self._onward: dict[Choice, _Onward] = {}

    async def run(self) -> None:
        while True:
            await self._app.wait_readable()
            await self._shared.turns.take(self._app.reader)
            for address, data in self._app.receive_nowait():
                choice = self._shared.choose(address)
                if choice is not None and (onward := self._way(choice, address)) is not None:
                    onward.send(address, data, choice)

    def _way(self, choice: Choice, address: Address) -> _Onward | None:
        """None where there is no room for one more."""
        onward = self._onward.get(choice)
        if onward is None and self._make_room():
            entry = self._conversation.entry(address, choice)
            onward = _Onward(self._shared, choice, self._app.send, self._conversation.end, entry)
            self._onward[choice] = onward
            self._nursery.start_soon(onward.run, name=_NAME)
        return onward

    def _make_room(self) -> bool:
        """The rules may change while an association lives: what they led to before has to go at some time."""
        if len(self._onward) < MAX_CHOICES:
            return True
        choice, longest = min(self._onward.items(), key=lambda item: item[1].used)
        if trio.current_time() - longest.used < UNUSED_AFTER:
            return False
        longest.cancel()
        del self._onward[choice]
        return True


class _Onward:
    """An association by one choice: opened with the first datagram, and again with the next one when it was lost. `run` closes the entry.

    `end` is called with the reason where it is refused: the app would never know why nothing is answered.
    """

    def __init__(
        self,
        shared: _Shared,
        choice: Choice,
        deliver: Callable[[Address, bytes], None],
        end: Callable[[str], None],
        entry: Entry,
    ) -> None:
        self._shared = shared
        self._choice = choice
        self._deliver = deliver
        self._end = end
        self._entry = entry
        self._association: Association | None = None
        self._waiting: DatagramQueue[tuple[Address, bytes]] = DatagramQueue(shared.budget)
        self._wanted = trio.Event()  # set and replaced
        self._scope = trio.CancelScope()
        self.used = trio.current_time()

    def cancel(self) -> None:
        self._scope.cancel()

    def send(self, address: Address, data: bytes, choice: Choice) -> None:
        self.used = trio.current_time()
        self._entry.sent(address, choice, len(data), self.used)
        if self._association is not None:
            try:
                self._association.send(address, data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._association = None  # it was lost, and `run` is about to hear of that as well
            else:
                return
        self._waiting.put((address, data), len(data), self.used)
        self._wanted.set()

    async def run(self) -> None:
        try:
            with self._scope:
                while True:
                    await self._until_wanted()
                    again_at = trio.current_time() + PAUSE
                    await self._carry()
                    await trio.sleep_until(again_at)
        finally:
            self._waiting.clear()
            self._entry.close()

    async def _until_wanted(self) -> None:
        self._waiting.drop(self._since)
        while not self._waiting:
            self._wanted = trio.Event()
            await self._wanted.wait()

    @property
    def _since(self) -> float:
        """What was said before then is of no use any more."""
        return trio.current_time() - self._shared.age

    async def _carry(self) -> None:
        """Until the association ends, or there is none."""
        try:
            async with await self._choice.open() as association:
                self._association = association
                self._entry.reached(association.exit)
                try:
                    await self._exchange(association)
                finally:
                    self._association = None
        except OpenError as exc:
            self._failed(exc, "")
        except trio.BrokenResourceError as exc:
            cause = exc.__cause__ if isinstance(exc.__cause__, OpenError) else None
            why = f": {cause}" if cause is not None else ""
            self._failed(cause, f"a UDP association was lost, and is opened again when it is needed{why}")

    def _failed(self, error: OpenError | None, warning: str) -> None:
        """Where there is no warning it is nothing new: the tunnel has told why."""
        if error is not None and error.reason is Reason.BUSY:
            self._shared.warn("refused", f"an app's UDP association was refused, and is ended: {error}")
            self._end(str(error))
        elif warning:
            self._shared.warn("lost", warning)
        else:
            _log.debug("no UDP association: %s", error)

    async def _exchange(self, association: Association) -> None:
        while (waiting := self._waiting.take(self._since)) is not None:
            association.send(*waiting)
        while True:
            address, data = await association.receive()
            self._deliver(address, data)
            self.used = trio.current_time()
            self._entry.received(len(data), self.used)
