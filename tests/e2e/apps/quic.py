"""Two ends of QUIC (aioquic) over anything that carries datagrams: the one asks for so many bytes, and sends as many."""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from typing import TYPE_CHECKING

import trio
from aioquic.buffer import Buffer  # type: ignore[attr-defined]  # as aioquic's own programs do
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted, QuicEvent, StreamDataReceived
from aioquic.quic.packet import pull_quic_header

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path
    from typing import TypeAlias

    from tests.e2e.apps.socks_udp import Where

    Send: TypeAlias = Callable[[Where, bytes], Awaitable[object]]
    Receive: TypeAlias = Callable[[], Awaitable[tuple[Where, bytes]]]

ALPN = "echo"


class QuicError(Exception):
    """The connection has ended otherwise than by our wish."""


class Stream:
    """What came in it so far."""

    def __init__(self) -> None:
        self.size = 0
        self.ended = trio.Event()
        self._digest = hashlib.sha256()
        self._more = trio.Event()  # set and replaced

    async def reached(self, size: int) -> None:
        while self.size < size:
            await self._more.wait()

    def add(self, data: bytes, *, ends: bool) -> None:
        self.size += len(data)
        self._digest.update(data)
        self._more.set()
        self._more = trio.Event()
        if ends:
            self.ended.set()

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()


class End:
    """Drives a connection: aioquic's does no I/O of its own. `run` has to run."""

    def __init__(self, connection: QuicConnection, send: Send, receive: Receive) -> None:
        self.connection = connection
        self.streams: defaultdict[int, Stream] = defaultdict(Stream)
        self.ready = trio.Event()
        self._send = send
        self._receive = receive
        self._wakeup = trio.Event()  # replaced before what it may tell of is looked at

    def send_stream(self, number: int, data: bytes) -> None:
        self.connection.send_stream_data(number, data, end_stream=True)
        self._wake()

    def close(self) -> None:
        self.connection.close()
        self._wake()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read)
            await self._write()
            nursery.cancel_scope.cancel()

    async def _read(self) -> None:
        while True:
            sender, data = await self._receive()
            self.connection.receive_datagram(data, sender, now=time.monotonic())
            self._wake()

    async def _write(self) -> None:
        """Until the connection is closed by us."""
        while self._handle_events():
            self._wakeup = trio.Event()
            for data, there in self.connection.datagrams_to_send(now=time.monotonic()):
                await self._send(there, data)
            timer = self.connection.get_timer()
            with trio.move_on_after(max(0.0, timer - time.monotonic()) if timer is not None else 60.0) as scope:
                await self._wakeup.wait()
            if scope.cancelled_caught and timer is not None:
                self.connection.handle_timer(now=time.monotonic())

    def _handle_events(self) -> bool:
        """Whether there is a connection still. Raises QuicError."""
        while (event := self.connection.next_event()) is not None:
            if isinstance(event, ConnectionTerminated):
                if event.error_code:
                    raise QuicError(f"{event.error_code}: {event.reason_phrase}")
                return False
            self.handle(event)
        return True

    def handle(self, event: QuicEvent) -> None:
        if isinstance(event, HandshakeCompleted):
            self.ready.set()
        elif isinstance(event, StreamDataReceived):
            self.streams[event.stream_id].add(event.data, ends=event.end_stream)

    def _wake(self) -> None:
        self._wakeup.set()


class Echo(End):
    """Sends everything back."""

    def handle(self, event: QuicEvent) -> None:
        super().handle(event)
        if isinstance(event, StreamDataReceived):
            self.connection.send_stream_data(event.stream_id, event.data, event.end_stream)


def connect(there: Where, authority: Path, send: Send, receive: Receive) -> End:
    configuration = QuicConfiguration(alpn_protocols=[ALPN], server_name="localhost", cafile=str(authority))
    connection = QuicConnection(configuration=configuration)
    connection.connect(there, now=time.monotonic())
    return End(connection, send, receive)


async def accept(certificate: Path, send: Send, receive: Receive) -> Echo:
    """For the first that comes. `certificate` has the key in the same file."""
    sender, data = await receive()
    configuration = QuicConfiguration(is_client=False, alpn_protocols=[ALPN])
    configuration.load_cert_chain(certificate, certificate)
    first = pull_quic_header(Buffer(data=data), host_cid_length=configuration.connection_id_length)
    connection = QuicConnection(configuration=configuration, original_destination_connection_id=first.destination_cid)
    connection.receive_datagram(data, sender, now=time.monotonic())
    return Echo(connection, send, receive)
