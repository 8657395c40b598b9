"""One HTTP request of an app on its way up, and its answer on its way down, and the two sides between which they go."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import h11
import trio

from .errors import OpenError
from .opener import GIVEN_UP
from .protocol import http_proxy
from .protocol.http_proxy import StatusError
from .relay import abort

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from .connections import Connection
    from .protocol.heads import Head

CHUNK = 65536
#: Of a head little is read at once, as what comes behind it waits here until it can go on.
HEAD_CHUNK = 4096
#: Requests sent ahead of an answer are rare; what is beyond this waits in the socket.
READ_AHEAD = 2 * HEAD_CHUNK
#: A client that has shut down its side may still read, or may be gone: TCP tells only when something is sent to it.
HALF_CLOSED_LIMIT = 60.0


class ClientGoneError(Exception):
    """Nobody is left to be answered."""


class SiteGoneError(StatusError):
    """The stream to the site ended where an answer, or more of it, was due."""

    def __init__(self, why: str = "") -> None:
        super().__init__(502, "the site closed the connection without a whole answer" + (why and f": {why}"))


def open_fault(error: OpenError) -> StatusError:
    return StatusError(http_proxy.STATUS[error.reason], str(error))


class _Side:
    """A stream and the HTTP on it."""

    broken: type[Exception]  # raised where the stream breaks

    def __init__(self, stream: trio.abc.HalfCloseableStream, http: http_proxy.Connection) -> None:
        self.stream = stream
        self.http = http
        self.sent = 0  # bytes

    def _fault(self, error: trio.BrokenResourceError) -> Exception:
        """What to tell: the exit's own reason, where it never connected and nobody had waited for that."""
        cause = error.__cause__
        return (
            open_fault(cause) if isinstance(cause, OpenError) else self.broken(getattr(self.stream, "reset_text", ""))
        )

    @property
    def appetite(self) -> int:
        """How much is read at once."""
        return CHUNK

    async def receive(self) -> int:
        try:
            data = await self.stream.receive_some(self.appetite)
        except trio.BrokenResourceError as exc:
            raise self._fault(exc) from exc
        self.http.receive_data(bytes(data))
        return len(data)

    async def send_all(self, data: bytes) -> None:
        try:
            await self.stream.send_all(data)
        except trio.BrokenResourceError as exc:
            raise self._fault(exc) from exc
        self.sent += len(data)

    async def next_event(self) -> http_proxy.Event:
        while (event := self.http.next_event()) is h11.NEED_DATA:
            await self.receive()
        return event


class Client(_Side):
    broken = ClientGoneError

    def __init__(self, stream: trio.abc.HalfCloseableStream, http: http_proxy.Connection, head: Head) -> None:
        super().__init__(stream, http)
        self._head = head

    def count(self, request: int = 0) -> None:
        """What it holds: what came in that nothing has taken, and so many bytes of a request that was not passed on yet."""
        self._head.count(self.http.held + request, trio.current_time())

    def forget(self) -> None:
        self.http.drop()
        self.count()

    @contextmanager
    def giving_way(self) -> Iterator[None]:
        """Raises StatusError where it holds too much, and others need the room."""
        with trio.CancelScope() as scope:
            self._head.ends_with(scope.cancel)
            yield
        if scope.cancelled_caught:
            raise self.http.refusal(
                503, "too many requests are waiting to be finished or passed on; try again in a moment"
            )

    async def receive(self) -> int:
        size = await super().receive()
        self.count()
        return size

    @property
    def appetite(self) -> int:
        return CHUNK if self.http.in_body else HEAD_CHUNK


class Site(_Side):
    broken = SiteGoneError

    def __init__(self, connection: Connection, stream: trio.abc.HalfCloseableStream) -> None:
        super().__init__(stream, http_proxy.Connection(h11.CLIENT))
        self.connection = connection

    async def receive(self) -> int:
        if size := await super().receive():
            self.connection.traffic.down(size, trio.current_time())
        return size

    async def send_all(self, data: bytes) -> None:
        self.connection.traffic.up(len(data), trio.current_time())
        await super().send_all(data)

    async def close(self) -> None:
        """For one that is idle: it gets a clean end."""
        self.connection.close(trio.current_time())
        with suppress(trio.BrokenResourceError):
            await self.stream.aclose()

    async def abort(self) -> None:
        """For one that may have a part of a request: it must not take it for all."""
        self.connection.close(trio.current_time(), getattr(self.stream, "reset_text", "") or GIVEN_UP)
        await abort(self.stream)


async def _pump(source: _Side, sink: _Side, pieces: list[bytes]) -> None:
    """Sends the pieces, which are a head, and the source's body as it comes in, one send for each receive. What was sent leaves the list.

    Trailer fields are left out, as RFC 9110, section 6.5.1, allows: nobody has asked for them, since TE is not passed on.
    """
    while True:
        event = source.http.next_event()
        if isinstance(event, h11.Data):
            pieces.append(sink.http.send(event))
        elif isinstance(event, h11.EndOfMessage):
            pieces.append(sink.http.send(h11.EndOfMessage()))
            await sink.send_all(b"".join(pieces))
            return pieces.clear()
        else:
            await sink.send_all(b"".join(pieces))
            pieces.clear()
            await source.receive()


class Exchange:
    """One request on its way up, and its answer on its way down."""

    def __init__(self, client: Client, site: Site, pieces: list[bytes], *, informs: bool) -> None:
        """`informs`: the client knows interim answers."""
        self.answered = False  # the client has a part of the final answer
        self.switched = False  # both sides speak another protocol from here on
        self._client = client
        self._site = site
        self._pieces = pieces  # the head, until it is sent
        self._informs = informs
        self._fault: Exception | None = None

    async def run(self) -> None:
        """Raises StatusError or ClientGoneError; then neither side can be used any more, but for an answer of ours."""
        async with trio.open_nursery() as nursery:
            self._site.connection.ends_with(nursery.cancel_scope)
            nursery.start_soon(self._guard, self._pass_request, nursery.cancel_scope)
            await self._guard(self._pass_answer, nursery.cancel_scope)
            nursery.cancel_scope.cancel()
        if self._fault is None and self._site.connection.ending:
            raise SiteGoneError(self._site.connection.ending)
        if self._fault is not None:
            raise self._fault

    async def _guard(self, step: Callable[[], Awaitable[None]], scope: trio.CancelScope) -> None:
        """The first fault ends both directions, and leaves the nursery as itself and not as a group."""
        try:
            await step()
        except (StatusError, ClientGoneError) as exc:
            self._fault = self._fault or exc
            scope.cancel()

    async def _pass_request(self) -> None:
        try:
            await _pump(self._client, self._site, self._pieces)
        except SiteGoneError:
            return  # perhaps after it had answered: that is for _pass_answer to find out
        await self._watch_client()

    async def _watch_client(self) -> None:
        """Notices a client that goes away while it waits. What it sends ahead stays for the next request."""
        self._client.count()
        room = READ_AHEAD
        while room > 0 and not self._client.http.closed:
            room -= await self._client.receive()
        while self._client.http.closed:
            sent = self._client.sent
            await trio.sleep(HALF_CLOSED_LIMIT)
            if self._client.sent == sent:
                raise ClientGoneError

    async def _pass_answer(self) -> None:
        event = await self._site.next_event()
        while isinstance(event, h11.InformationalResponse):
            await self._pass_information(event)
            if self.switched:
                return
            event = await self._site.next_event()
        if not isinstance(event, h11.Response):
            raise SiteGoneError
        # With a request that is still coming in, it is not known whether the client will finish it: end with this answer.
        response = http_proxy.forwarded_response(event, close=not self._client.http.complete)
        self.answered = True
        await _pump(self._site, self._client, [self._client.http.send(response)])

    async def _pass_information(self, response: h11.InformationalResponse) -> None:
        switched = response.status_code == 101
        if switched and not self._client.http.complete:
            raise StatusError(502, "the site's answer switches protocols within the request")
        if self._informs:  # RFC 9110, section 15.2: HTTP/1.0 does not know them
            await self._client.send_all(self._client.http.send(http_proxy.forwarded_information(response)))
        self.switched = switched
