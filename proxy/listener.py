"""The local port: SOCKS5, SOCKS4 and HTTP on one, told apart by the first byte that an app sends.

It needs nothing but a way to open a stream to an address, and one to serve apps that send datagrams, if they are to be served.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeAlias

import h11
import trio

from .acceptor import Acceptor
from .connections import AppProtocol, Connection, Connections
from .errors import OpenError
from .forward import answer_and_close, serve_http
from .opener import Choose, Opener, carry
from .protocol import http_proxy, socks
from .protocol.heads import Heads
from .shortcut import receive_soon, send_soon, shortcut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .forward import ServeOwnSite
    from .protocol.socks import Credentials

Listener: TypeAlias = trio.abc.Listener[trio.abc.HalfCloseableStream]
#: Answers the app's UDP ASSOCIATE and serves it until the connection ends. Closes the stream.
ServeAssociation: TypeAlias = Callable[[trio.abc.HalfCloseableStream, socks.Handshake], Awaitable[None]]

#: Chromium opens 32 connections to one proxy by default, a chat app a handful: room for many apps at once.
MAX_CONNECTIONS = 8192
HANDSHAKE_LIMIT = 30.0
#: More than any handshake, and little to allocate; what an app sends ahead is read in pieces.
_CHUNK = 4096
_PROTOCOLS = {bytes([socks.VERSION_5]): AppProtocol.SOCKS5, bytes([socks.VERSION_4]): AppProtocol.SOCKS4}
_SOCKS = tuple(_PROTOCOLS)


async def serve_local(
    listeners: Sequence[Listener],
    choose: Choose,
    credentials: Credentials | None,
    *,
    associate: ServeAssociation | None = None,
    max_connections: int = MAX_CONNECTIONS,
    connections: Connections | None = None,
    own_site: ServeOwnSite | None = None,
    heads: Heads | None = None,
    task_status: trio.TaskStatus[Sequence[Listener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves until it is cancelled, and then closes the listeners and every connection.

    `choose` says which way each connection goes; anything but an OpenError that goes wrong with a connection ends that connection and is logged.
    `own_site` answers requests for the port itself, beside the page that says what it is. Without `associate`, UDP ASSOCIATE is a command that is not supported.
    Beyond `max_connections` at once, new ones wait in the queue of the kernel. What is open stands in `connections`, and what apps have sent of
    requests that are not whole is counted in `heads`.
    Raises OSError where a listener fails.
    """
    serve = partial(serve_http, heads=heads or Heads(), own_site=own_site)
    port = _Port(Opener(choose, connections or Connections()), credentials, associate, serve)
    await Acceptor(port.serve, max_connections).run(listeners, task_status=task_status)


#: The entry in the table, the stream of the tunnel, the reply to the app, and what the app has sent already.
_Joined: TypeAlias = tuple[Connection, trio.abc.HalfCloseableStream, bytes, bytes]


class _ServeHTTP(Protocol):
    """`serve_http` with all that is the same for all connections."""

    async def __call__(
        self,
        stream: trio.abc.HalfCloseableStream,
        http: http_proxy.Connection,
        opener: Opener,
        credentials: Credentials | None,
        *,
        deadline: float,
    ) -> None: ...


class _Port:
    def __init__(
        self,
        opener: Opener,
        credentials: Credentials | None,
        associate: ServeAssociation | None,
        serve_http: _ServeHTTP,
    ) -> None:
        self._opener = opener
        self._credentials = credentials
        self._associate = associate
        self._serve_http = serve_http

    async def serve(self, stream: trio.abc.HalfCloseableStream) -> None:
        # What it took to get there is forgotten by then: a connection may be idle for days, and there may be thousands.
        app = shortcut(stream)
        if (joined := await self._greet(stream, app)) is not None:
            await carry(app, *joined)

    async def _greet(self, stream: trio.abc.HalfCloseableStream, app: trio.abc.HalfCloseableStream) -> _Joined | None:
        """None where it is done with. `app`: the stream, by its shorter way."""
        data, handshake = b"", None
        with trio.move_on_after(HANDSHAKE_LIMIT) as limit:
            data = bytes(await receive_soon(app)(_CHUNK))
            if data.startswith(_SOCKS):
                handshake = await self._shake_hands(app, data)
        if limit.cancelled_caught or not data:
            return None
        if not data.startswith(_SOCKS):
            http = http_proxy.Connection(h11.SERVER, data)
            del data  # or it is there as long as the connection
            await self._serve_http(stream, http, self._opener, self._credentials, deadline=limit.deadline)
            return None
        return None if handshake is None else await self._open(stream, _PROTOCOLS[data[:1]], handshake)

    async def _shake_hands(self, stream: trio.abc.HalfCloseableStream, data: bytes) -> socks.Handshake | None:
        """Returns the finished handshake, or None where there is no request; then the stream is done with."""
        handshake = socks.Handshake(self._credentials, associates=self._associate is not None)
        while data:
            answer = handshake.receive_data(data)
            if handshake.over and handshake.request is None:
                await answer_and_close(stream, answer)
                return None
            if answer:
                await send_soon(stream)(answer)
            if handshake.over:
                return handshake
            data = bytes(await receive_soon(stream)(_CHUNK))
        return None

    async def _open(
        self, stream: trio.abc.HalfCloseableStream, protocol: AppProtocol, handshake: socks.Handshake
    ) -> _Joined | None:
        if not isinstance(handshake.request, socks.Connect):
            assert self._associate is not None  # or the handshake would have refused
            await self._associate(stream, handshake)
            return None
        try:
            connection, tunnel = await self._opener.open(protocol, handshake.request.address, stream)
        except OpenError as exc:
            await answer_and_close(stream, handshake.failed(exc.reason))
            return None
        return connection, tunnel, handshake.succeeded(), handshake.trailing_data
