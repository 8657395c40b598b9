"""HTTP on the local port: CONNECT, and requests with a whole URL passed on to many sites over one connection of the app.

The way of one request: the head is read (http_proxy judges it), a stream to its site is opened or kept from the request
before, and then an `Exchange` carries the request up and the answer down at the same time. So an answer that comes early
is not held up by a long request, and a client that waits for "100 Continue" gets it.

What ends how: before an answer has begun, a StatusError becomes an answer of ours that says why. After that, all that can
be done is to break the connection, so that half an answer never looks like a whole one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import h11
import trio

from .connections import AppProtocol
from .errors import OpenError
from .exchange import CHUNK, Client, ClientGoneError, Exchange, Site, SiteGoneError, open_fault
from .opener import carry
from .protocol import fault_answer, http_proxy
from .protocol.heads import Head, weight
from .protocol.http_proxy import StatusError
from .relay import abort

if TYPE_CHECKING:
    from .address import Address
    from .connections import Connection
    from .opener import Opener
    from .protocol.heads import Heads
    from .protocol.socks import Credentials

#: Answers a request for the port itself and closes the stream, or returns False.
ServeOwnSite: TypeAlias = Callable[[h11.Request, trio.abc.HalfCloseableStream, http_proxy.Connection], Awaitable[bool]]

#: How long a connection may wait for its next request: longer than sites keep theirs (nginx 75 s), so that they decide.
IDLE_LIMIT = 120.0
#: RFC 1928, section 6, gives 10 s to close after a failure; an app that reads needs one round trip on loopback.
LINGER = 5.0


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
    http: http_proxy.Connection,
    opener: Opener,
    credentials: Credentials | None,
    *,
    deadline: float,
    heads: Heads,
    own_site: ServeOwnSite | None = None,
) -> None:
    """Serves an app that speaks HTTP, until one of the two closes. `http` has what it has sent already. Closes the stream.

    The head of the first request has to be complete at `deadline`. What apps have sent of requests is counted in `heads`. `own_site` is asked for
    requests that are for the port itself.
    """
    client = Client(stream, http, Head(heads))
    try:
        await _App(client, opener, credentials, own_site).serve(deadline)
    finally:
        client.forget()
    await stream.aclose()


class _Shape:
    """What is known of how the client wants to be answered."""

    head = page = False


class _App:
    """One connection of an app, request after request. Keeps the stream to the last request's site for the next one."""

    def __init__(
        self, client: Client, opener: Opener, credentials: Credentials | None, own_site: ServeOwnSite | None
    ) -> None:
        self._client = client
        self._opener = opener
        self._credentials = credentials
        self._own_site = own_site
        self._site: Site | None = None

    async def serve(self, deadline: float) -> None:
        try:
            while await self._serve_one(deadline):
                deadline = trio.current_time() + IDLE_LIMIT
            await self._close_site()
        except ClientGoneError:
            pass
        finally:
            await self._abort_site()

    async def _serve_one(self, deadline: float) -> bool:
        """One request. Returns whether there may be another."""
        shape = _Shape()
        try:
            step = await self._next_step(deadline, shape)
            return step is not None and await step()
        except StatusError as exc:
            answer = fault_answer.fault_answer(exc, head=shape.head, page=shape.page)
        await self._end(answer)  # here, as the error has all that was read in its traceback
        return False

    async def _next_step(self, deadline: float, shape: _Shape) -> Callable[[], Awaitable[bool]] | None:
        """What the next request asks for, which returns whether there may be another; None where there is no request. The request itself is no part
        of it where it is not needed any more: a connection may be open for days.
        """
        with self._client.giving_way():
            request = await self._next_request(deadline)
        if request is None:
            return None
        shape.head, shape.page = request.method == b"HEAD", fault_answer.accepts_page(request)
        target = http_proxy.parse_target(request)
        if target is None:
            return partial(self._show_own, request)
        self._authorize(request)
        if isinstance(target, http_proxy.Connect):
            self._client.count()
            return partial(self._connect, target.address)
        self._client.count(weight(request))
        return partial(self._forward, [request], target)

    async def _show_own(self, request: h11.Request) -> bool:
        await self._close_site()
        client = self._client
        client.count()
        if self._own_site is None or not await self._own_site(request, client.stream, client.http):
            await self._end(fault_answer.nameless_answer())
        return False

    async def _end(self, answer: bytes) -> None:
        self._client.forget()
        await self._abort_site()
        await answer_and_close(self._client.stream, answer)

    async def _next_request(self, deadline: float) -> h11.Request | None:
        with trio.move_on_at(deadline):
            self._client.count()
            if self._site is not None and not self._client.http.trailing_data:
                await self._wait_beside(self._site)
            event = await self._client.next_event()
            return event if isinstance(event, h11.Request) else None
        return None

    async def _wait_beside(self, site: Site) -> None:
        """Waits for the client's next bytes, and meanwhile for the site's close, so that no request goes to a dead stream."""
        async with trio.open_nursery() as nursery:
            site.connection.ends_with(nursery.cancel_scope)
            nursery.start_soon(self._watch_site, site)
            try:
                await self._client.receive()
            except ClientGoneError:
                self._client.http.receive_data(b"")
            nursery.cancel_scope.cancel()
        if site.connection.ending:
            await self._close_site()

    async def _watch_site(self, site: Site) -> None:
        with suppress(SiteGoneError):
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
            return await self._opener.open(protocol, address, self._client.stream)
        except OpenError as exc:
            raise open_fault(exc) from exc

    async def _connect(self, address: Address) -> bool:
        await self._carry(*await self._open(AppProtocol.CONNECT, address), http_proxy.CONNECTED)
        return False

    async def _carry(self, connection: Connection, tunnel: trio.abc.HalfCloseableStream, reply: bytes) -> None:
        early = self._client.http.trailing_data
        self._client.forget()
        with suppress(trio.BrokenResourceError):
            await carry(self._client.stream, connection, tunnel, reply, early)

    async def _forward(self, requests: list[h11.Request], target: http_proxy.Forward) -> bool:
        """Takes the request out of the list: it is not kept until the answer has come."""
        kept = self._site is not None and self._site.connection.address == target.address
        with self._client.giving_way():
            site = await self._site_of(target)
        informs = requests[0].http_version == b"1.1"
        head = site.http.send(http_proxy.forwarded_request(requests.pop(), target))
        exchange = Exchange(self._client, site, [head], informs=informs)
        del head
        try:
            with self._client.giving_way():
                await exchange.run()
        except StatusError as exc:
            await self._abort_site()
            if exchange.answered:
                await abort(self._client.stream)
                return False
            if kept and isinstance(exc, SiteGoneError):
                # The site closed while the request was under way. The client's connection was a kept one too, and when it
                # closes without an answer, the client knows best whether the request may be sent again.
                return False
            raise
        if exchange.switched:
            self._site = None
            await self._carry(site.connection, site.stream, site.http.trailing_data)
            return False
        return await self._finish(site)

    async def _site_of(self, target: http_proxy.Forward) -> Site:
        """The one of the request before, or another."""
        if self._site is None or self._site.connection.address != target.address:
            await self._close_site()
            self._site = Site(*await self._open(AppProtocol.HTTP, target.address))
        return self._site

    async def _finish(self, site: Site) -> bool:
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
