"""The local DNS port, over UDP and TCP (RFC 1035, RFC 7766). It stands on loopback only, so nobody else can ask, and nobody can make it answer somebody else."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from . import telemetry
from .acceptor import Acceptor
from .names import MOST_IN_FLIGHT
from .protocol.dns_message import LONGEST_QUERY, Framing, MessageError, Query, failure, framed, read_query, render

if TYPE_CHECKING:
    from .names import Names

log = telemetry.logger("dns")

# Our choices.
MOST_CLIENTS = 64  # TCP connections
#: RFC 7766, section 6.2.3: some seconds are enough; seconds.
IDLE = 30.0
#: Questions of one connection that wait: who does not read what it is answered cannot take the places of all.
MOST_PIPELINED = 32
_BACKLOG = 64
_TRIES = 10  # for a port that is free for both, where any will do
_CHUNK = 4096
_LONGEST = 65_535  # also over TCP (RFC 1035, section 4.2.2)
_FATAL = {errno.EBADF, errno.EINVAL, errno.ENOTSOCK}


@dataclass(frozen=True, slots=True)
class DnsPort:
    """Both sockets, on the same port."""

    udp: trio.socket.SocketType
    tcp: trio.SocketListener

    @property
    def number(self) -> int:
        name: tuple[str, int] = self.udp.getsockname()
        return name[1]

    def close(self) -> None:
        self.udp.close()
        self.tcp.socket.close()


async def open_port(host: str, port: int) -> DnsPort:
    """`host` is a loopback address; port 0 lets the system choose. Raises OSError."""
    for attempt in range(_TRIES):
        (tcp,) = await trio.open_tcp_listeners(port, host=host, backlog=_BACKLOG)
        udp = trio.socket.socket(tcp.socket.family, socket.SOCK_DGRAM)
        try:
            await udp.bind((host, tcp.socket.getsockname()[1]))
        except OSError:
            udp.close()
            tcp.socket.close()
            if port or attempt == _TRIES - 1:
                raise
        except BaseException:
            udp.close()
            tcp.socket.close()
            raise
        else:
            return DnsPort(udp, tcp)
    raise AssertionError


async def serve_dns(
    port: DnsPort, names: Names, *, task_status: trio.TaskStatus[DnsPort] = trio.TASK_STATUS_IGNORED
) -> None:
    """Until it is cancelled; then it closes the port. `names` need not run before. Raises OSError where a socket fails."""
    service = _Service(port.udp, names)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(names.run)
            await nursery.start(Acceptor(service.serve_stream, MOST_CLIENTS).run, [port.tcp])
            nursery.start_soon(service.serve_datagrams)
            task_status.started(port)
    finally:
        port.close()


class _Service:
    def __init__(self, udp: trio.socket.SocketType, names: Names) -> None:
        self._udp = udp
        self._names = names
        self._in_flight = 0

    async def _answer(self, wire: bytes, *, stream: bool) -> bytes | None:
        """What to answer, if anything. The error boundary of a question."""
        query = read_query(wire)
        if not isinstance(query, Query):
            await trio.lowlevel.checkpoint()
            return query
        limit = _LONGEST if stream else query.size
        if self._in_flight >= MOST_IN_FLIGHT:
            await trio.lowlevel.checkpoint()
            return render(query, failure(), 0, limit)
        self._in_flight += 1
        try:
            answer, age = await self._names.resolve(query.question)
        except Exception:
            log.error("a question about a name ended with an error that is a bug of Ropeway", exc_info=True)
            answer, age = failure(), 0.0
        finally:
            self._in_flight -= 1
        return render(query, answer, age, limit)

    # ---- UDP

    async def serve_datagrams(self) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    wire, sender = await self._udp.recvfrom(_LONGEST)
                except OSError as exc:  # Windows tells here that an app has gone before its answer came
                    if exc.errno in _FATAL:
                        raise
                    await trio.lowlevel.checkpoint()
                    continue
                nursery.start_soon(self._serve_datagram, wire, sender)

    async def _serve_datagram(self, wire: bytes, sender: tuple[str, int]) -> None:
        answer = await self._answer(wire, stream=False)
        if answer is None:
            return
        try:
            await self._udp.sendto(answer, sender)
        except OSError as exc:
            log.debug("an app did not get its answer: %s", exc.strerror)

    # ---- TCP

    async def serve_stream(self, stream: trio.abc.HalfCloseableStream) -> None:
        """Until the app ends it, is silent for long or does not read; what it asked for before it ended is answered."""
        send, receive = trio.open_memory_channel[bytes](0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, stream, receive, nursery.cancel_scope)
            async with send, trio.open_nursery() as questions:
                await self._read(stream, send, questions)

    async def _read(
        self, stream: trio.abc.HalfCloseableStream, send: trio.MemorySendChannel[bytes], questions: trio.Nursery
    ) -> None:
        framing, places = Framing(LONGEST_QUERY), trio.Semaphore(MOST_PIPELINED)
        while True:
            with trio.move_on_after(IDLE) as idle:
                try:
                    data = await stream.receive_some(_CHUNK)
                    wires = framing.receive_data(data)
                except (trio.BrokenResourceError, MessageError):
                    questions.cancel_scope.cancel()
                    return
            if idle.cancelled_caught:
                if places.value < MOST_PIPELINED:
                    continue
                return
            if not data:
                return
            for wire in wires:
                await places.acquire()
                questions.start_soon(self._serve_question, wire, send, places)

    async def _serve_question(self, wire: bytes, send: trio.MemorySendChannel[bytes], places: trio.Semaphore) -> None:
        try:
            answer = await self._answer(wire, stream=True)
            if answer is not None:
                with suppress(trio.BrokenResourceError):  # the app has gone
                    await send.send(answer)
        finally:
            places.release()

    async def _write(
        self,
        stream: trio.abc.HalfCloseableStream,
        receive: trio.MemoryReceiveChannel[bytes],
        connection: trio.CancelScope,
    ) -> None:
        async with receive:
            async for wire in receive:
                try:
                    with trio.move_on_after(IDLE) as slow:
                        await stream.send_all(framed(wire))
                except trio.BrokenResourceError:
                    connection.cancel()
                    return
                if slow.cancelled_caught:
                    connection.cancel()
                    return
