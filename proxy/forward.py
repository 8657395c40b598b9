"""HTTP on the local port: CONNECT, and requests with a whole URL passed on to many sites over one connection of the app.

The way of one request: the head is read (http_proxy judges it), a stream to its site is opened or kept from the request
before, and then an `_Exchange` carries the request up and the answer down at the same time. So an answer that comes early
is not held up by a long request, and a client that waits for "100 Continue" gets it.

What ends how: before an answer has begun, a StatusError becomes an answer of ours that says why. After that, all that can
be done is to break the connection, so that half an answer never looks like a whole one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

import h11
import trio

from .connections import AppProtocol
from .errors import OpenError
from .opener import GIVEN_UP, carry
from .protocol import http_proxy
from .protocol.http_proxy import StatusError
from .relay import abort

if TYPE_CHECKING:
    from .address import Address
    from .connections import Connection
    from .opener import Opener
    from .protocol.socks import Credentials

#: Answers a request for the port itself and closes the stream, or returns False.
ServeOwnSite: TypeAlias = Callable[[h11.Request, trio.abc.HalfCloseableStream, http_proxy.Connection], Awaitable[bool]]

CHUNK = 65536
#: How long a connection may wait for its next request: longer than sites keep theirs (nginx 75 s), so that they decide.
IDLE_LIMIT = 120.0
#: RFC 1928, section 6, gives 10 s to close after a failure; an app that reads needs one round trip on loopback.
LINGER = 5.0
#: Requests sent ahead of an answer are rare; what is beyond this waits in the socket.
READ_AHEAD = 65536
#: A client that has shut down its side may still read, or may be gone: TCP tells only when something is sent to it.
HALF_CLOSED_LIMIT = 60.0


class _ClientGoneError(Exception):
    """Nobody is left to be answered."""


class _SiteGoneError(StatusError):
    """The stream to the site ended where an answer, or more of it, was due."""

    def __init__(self, why: str = "") -> None:
        super().__init__(502, "the site closed the connection without a whole answer" + (why and f": {why}"))


def _open_fault(error: OpenError) -> StatusError:
    return StatusError(http_proxy.STATUS[error.reason], str(error))


async def answer_and_close(stream: trio.abc.HalfCloseableStream, answer: bytes) -> None:
    """Closes the stream so that the app gets the answer even where it is still sending.

    A TCP socket that is closed with unread data resets the connection, and a reset may overtake the answer.
    """
    with trio.move_on_after(LINGER), suppress(trio.BrokenResourceError):
        await stream.send_all(answer)
        await stream.send_eof()
        while await stream.receive_some(CHUNK):
            pass
    await stream.aclose()


async def serve_http(
    stream: trio.abc.HalfCloseableStream,
    data: bytes,
    opener: Opener,
    credentials: Credentials | None,
    *,
    deadline: float,
    own_site: ServeOwnSite | None = None,
) -> None:
    """Serves an app that speaks HTTP and has sent `data`, until one of the two closes. Closes the stream.

    The head of the first request has to be complete at `deadline`. `own_site` is asked for requests that are for the port itself.
    """
    app = _App(_Client(stream, http_proxy.Connection(h11.SERVER, data)), opener, credentials, own_site)
    await app.serve(deadline)
    await stream.aclose()


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
            _open_fault(cause) if isinstance(cause, OpenError) else self.broken(getattr(self.stream, "reset_text", ""))
        )

    async def receive(self) -> int:
        try:
            data = await self.stream.receive_some(CHUNK)
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


class _Client(_Side):
    broken = _ClientGoneError


class _Site(_Side):
    broken = _SiteGoneError

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


async def _pump(source: _Side, sink: _Side, head: bytes) -> None:
    """Sends the head and the source's body as it comes in, one send for each receive.

    Trailer fields are left out, as RFC 9110, section 6.5.1, allows: nobody has asked for them, since TE is not passed on.
    """
    pieces = [head]
    while True:
        event = source.http.next_event()
        if isinstance(event, h11.Data):
            pieces.append(sink.http.send(event))
        elif isinstance(event, h11.EndOfMessage):
            pieces.append(sink.http.send(h11.EndOfMessage()))
            return await sink.send_all(b"".join(pieces))
        else:
            await sink.send_all(b"".join(pieces))
            pieces.clear()
            await source.receive()


class _Exchange:
    """One request on its way up, and its answer on its way down."""

    def __init__(self, client: _Client, site: _Site, request: h11.Request, target: http_proxy.Forward) -> None:
        self.answered = False  # the client has a part of the final answer
        self.switched = False  # both sides speak another protocol from here on
        self._client = client
        self._site = site
        self._request = request
        self._target = target
        self._fault: Exception | None = None

    async def run(self) -> None:
        """Raises StatusError or _ClientGoneError; then neither side can be used any more, but for an answer of ours."""
        async with trio.open_nursery() as nursery:
            self._site.connection.ends_with(nursery.cancel_scope)
            nursery.start_soon(self._guard, self._pass_request, nursery.cancel_scope)
            await self._guard(self._pass_answer, nursery.cancel_scope)
            nursery.cancel_scope.cancel()
        if self._fault is None and self._site.connection.ending:
            raise _SiteGoneError(self._site.connection.ending)
        if self._fault is not None:
            raise self._fault

    async def _guard(self, step: Callable[[], Awaitable[None]], scope: trio.CancelScope) -> None:
        """The first fault ends both directions, and leaves the nursery as itself and not as a group."""
        try:
            await step()
        except (StatusError, _ClientGoneError) as exc:
            self._fault = self._fault or exc
            scope.cancel()

    async def _pass_request(self) -> None:
        head = self._site.http.send(http_proxy.forwarded_request(self._request, self._target))
        try:
            await _pump(self._client, self._site, head)
        except _SiteGoneError:
            return  # perhaps after it had answered: that is for _pass_answer to find out
        await self._watch_client()

    async def _watch_client(self) -> None:
        """Notices a client that goes away while it waits. What it sends ahead stays for the next request."""
        room = READ_AHEAD
        while room > 0 and not self._client.http.closed:
            room -= await self._client.receive()
        while self._client.http.closed:
            sent = self._client.sent
            await trio.sleep(HALF_CLOSED_LIMIT)
            if self._client.sent == sent:
                raise _ClientGoneError

    async def _pass_answer(self) -> None:
        event = await self._site.next_event()
        while isinstance(event, h11.InformationalResponse):
            await self._pass_information(event)
            if self.switched:
                return
            event = await self._site.next_event()
        if not isinstance(event, h11.Response):
            raise _SiteGoneError
        # With a request that is still coming in, it is not known whether the client will finish it: end with this answer.
        response = http_proxy.forwarded_response(event, close=not self._client.http.complete)
        self.answered = True
        await _pump(self._site, self._client, self._client.http.send(response))

    async def _pass_information(self, response: h11.InformationalResponse) -> None:
        switched = response.status_code == 101
        if switched and not self._client.http.complete:
            raise StatusError(502, "the site's answer switches protocols within the request")
        if self._request.http_version == b"1.1":  # RFC 9110, section 15.2: HTTP/1.0 does not know them
            await self._client.send_all(self._client.http.send(http_proxy.forwarded_information(response)))
        self.switched = switched


class _App:
    """One connection of an app, request after request. Keeps the stream to the last request's site for the next one."""

    def __init__(
        self, client: _Client, opener: Opener, credentials: Credentials | None, own_site: ServeOwnSite | None
    ) -> None:
        self._client = client
        self._opener = opener
        self._credentials = credentials
        self._own_site = own_site
        self._site: _Site | None = None

    async def serve(self, deadline: float) -> None:
        try:
            while await self._serve_one(deadline):
                deadline = trio.current_time() + IDLE_LIMIT
            await self._close_site()
        except _ClientGoneError:
            pass
        finally:
            await self._abort_site()

    async def _serve_one(self, deadline: float) -> bool:
        """One request. Returns whether there may be another."""
        head = page = False
        try:
            request = await self._next_request(deadline)
            if request is None:
                return False
            head, page = request.method == b"HEAD", http_proxy.accepts_page(request)
            target = http_proxy.parse_target(request)
            if target is None:
                await self._show_own(request)
                return False
            self._authorize(request)
            if isinstance(target, http_proxy.Connect):
                await self._connect(target.address)
                return False
            return await self._forward(request, target)
        except StatusError as exc:
            await self._end(http_proxy.fault_answer(exc, head=head, page=page))
            return False

    async def _show_own(self, request: h11.Request) -> None:
        await self._close_site()
        client = self._client
        if self._own_site is None or not await self._own_site(request, client.stream, client.http):
            await self._end(http_proxy.nameless_answer())

    async def _end(self, answer: bytes) -> None:
        await self._abort_site()
        await answer_and_close(self._client.stream, answer)

    async def _next_request(self, deadline: float) -> h11.Request | None:
        with trio.move_on_at(deadline):
            if self._site is not None and not self._client.http.trailing_data:
                await self._wait_beside(self._site)
            event = await self._client.next_event()
            return event if isinstance(event, h11.Request) else None
        return None

    async def _wait_beside(self, site: _Site) -> None:
        """Waits for the client's next bytes, and meanwhile for the site's close, so that no request goes to a dead stream."""
        async with trio.open_nursery() as nursery:
            site.connection.ends_with(nursery.cancel_scope)
            nursery.start_soon(self._watch_site, site)
            try:
                await self._client.receive()
            except _ClientGoneError:
                self._client.http.receive_data(b"")
            nursery.cancel_scope.cancel()
        if site.connection.ending:
            await self._close_site()

    async def _watch_site(self, site: _Site) -> None:
        with suppress(_SiteGoneError):
            await site.receive()
        # The end, or an answer that nobody asked for: it is of no use either way.
        await self._close_site()

    def _authorize(self, request: h11.Request) -> None:
        if self._credentials is None:
            return
        given = http_proxy.basic_credentials(request)
        if given is None or not self._credentials.match(*given):
            raise StatusError(407, "this port wants the user name and the password of its configuration")

    async def _open(self, protocol: AppProtocol, address: Address) -> tuple[Connection, trio.abc.HalfCloseableStream]:
        try:
            return await self._opener.open(protocol, address)
        except OpenError as exc:
            raise _open_fault(exc) from exc

    async def _connect(self, address: Address) -> None:
        await self._carry(*await self._open(AppProtocol.CONNECT, address), http_proxy.CONNECTED)

    async def _carry(self, connection: Connection, tunnel: trio.abc.HalfCloseableStream, reply: bytes) -> None:
        with suppress(trio.BrokenResourceError):
            await carry(self._client.stream, connection, tunnel, reply, self._client.http.trailing_data)

    async def _forward(self, request: h11.Request, target: http_proxy.Forward) -> bool:
        kept = self._site is not None and self._site.connection.address == target.address
        if self._site is None or not kept:
            await self._close_site()
            self._site = _Site(*await self._open(AppProtocol.HTTP, target.address))
        site = self._site
        exchange = _Exchange(self._client, site, request, target)
        try:
            await exchange.run()
        except StatusError as exc:
            await self._abort_site()
            if exchange.answered:
                await abort(self._client.stream)
                return False
            if kept and isinstance(exc, _SiteGoneError):
                # The site closed while the request was under way. The client's connection was a kept one too, and when it
                # closes without an answer, the client knows best whether the request may be sent again.
                return False
            raise
        if exchange.switched:
            self._site = None
            await self._carry(site.connection, site.stream, site.http.trailing_data)
            return False
        return await self._finish(site)

    async def _finish(self, site: _Site) -> bool:
        """After a whole answer: keep what can be kept. Returns whether the client's connection can."""
        if not self._client.http.complete:
            await self._abort_site()
        elif not site.http.start_next_cycle() or site.http.trailing_data or site.http.closed:
            await self._close_site()
        if self._client.http.start_next_cycle():
            return True
        await self._end(b"")
        return False

    async def _close_site(self) -> None:
        site, self._site = self._site, None
        if site is not None:
            await site.close()

    async def _abort_site(self) -> None:
        site, self._site = self._site, None
        if site is not None:
            await site.abort()
