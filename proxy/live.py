"""The dashboard's WebSockets (docs/api.md, "Live"): who watches what, and is told of it once a second."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import msgspec
import trio
from msgspec import Struct

from .api import error_answer
from .live_feed import PARTS, Feed, TooLateError
from .own_site import give
from .protocol.http_proxy import StatusError
from .watchers import MOST_WATCHERS, Lobby, Watchers
from .web_socket import CLOSE_LIMIT, MESSAGE_LIMIT, HandshakeError, WebSocket

if TYPE_CHECKING:
    import h11

    from .address import Address
    from .api import Source
    from .dashboard_token import RunTokens
    from .protocol.http_proxy import Connection

# Our choices.
FIRST_LIMIT = 2.0  # seconds until the message has come that has the token: it comes from this computer
FIRST_MESSAGE = 1024  # bytes
_CHECKED_EVERY = 5  # ticks: the token may be another one by now
#: Codes for the close, of those that are free for programs (RFC 6455, section 7.4.2).
NOT_UNDERSTOOD, WRONG_TOKEN, TOO_SLOW = 4400, 4401, 4408
#: "Try again later", in IANA's registry of codes for the close.
FULL = 1013

_Message = TypeVar("_Message", bound=Struct)


class Watch(Struct, frozen=True):
    watch: list[str]


class Hello(Watch, frozen=True):
    token: str


class _Watcher:
    """What somebody watches, and up to which tick it is known there."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._known: dict[str, int] = {}

    def watch(self, names: list[str]) -> None:
        """This and nothing else from now on. Parts that nobody knows are left out."""
        wanted = [name for name in PARTS if name in names]
        self._feed.watched.subtract(list(self._known))
        self._known = {name: self._known.get(name, 0) for name in wanted}
        self._feed.watched.update(wanted)

    def take(self) -> str:
        """What is new. Raises TooLateError."""
        told = {name: tick for name, tick in self._known.items() if name in self._feed.seen}
        message = self._feed.message(told)
        self._known |= dict.fromkeys(told, self._feed.tick)
        return message


class Live:
    """Feeds run in the nursery."""

    def __init__(self, source: Source, tokens: RunTokens, nursery: trio.Nursery) -> None:
        self._feed = Feed(source)
        self._tokens = tokens
        self._nursery = nursery
        self._running = False
        self._unknown = Lobby(MOST_WATCHERS, FIRST_LIMIT)
        self._leaving = Lobby(MOST_WATCHERS, CLOSE_LIMIT)
        self._watchers = Watchers(MOST_WATCHERS)

    async def serve(
        self, request: h11.Request, _place: Address, stream: trio.abc.HalfCloseableStream, http: Connection
    ) -> None:
        try:
            socket, hello = await self._greet(request, stream, http)
            if socket is not None:
                code, reason = await self._admit(socket, hello)
                with self._leaving.place():
                    await socket.aclose(code, reason)
        except HandshakeError as error:
            answer = error_answer(error.status, str(error), error.fields)
            await give(stream, answer, head=request.method == b"HEAD")
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _greet(
        self, request: h11.Request, stream: trio.abc.HalfCloseableStream, http: Connection
    ) -> tuple[WebSocket | None, Hello | None]:
        """What somebody says who may be anybody, if there is time and room for it."""
        socket = hello = None
        with self._unknown.place():
            socket = await WebSocket.accept(request, stream, http, message_limit=FIRST_MESSAGE)
            hello = _parsed(await socket.receive(), Hello)
        return socket, hello

    async def _admit(self, socket: WebSocket, hello: Hello | None) -> tuple[int, str]:
        """Why it is closed."""
        if hello is None:
            return NOT_UNDERSTOOD, "the first message has the token and what to watch"
        if not await self._is_right(hello.token):
            return WRONG_TOKEN, "the token is wrong"
        socket.message_limit = MESSAGE_LIMIT
        try:
            with self._watchers.place():
                return await self._watch(socket, hello)
        except StatusError as error:
            return FULL, str(error)

    async def _watch(self, socket: WebSocket, hello: Hello) -> tuple[int, str]:
        """Why it is over."""
        watcher = _Watcher(self._feed)
        ends: list[tuple[int, str]] = []
        try:
            self._change(watcher, hello.watch)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._tell, socket, watcher, hello.token, ends, nursery.cancel_scope)
                await self._listen(socket, watcher, ends)
                nursery.cancel_scope.cancel()
        finally:
            watcher.watch([])
        return ends[0] if ends else (1000, "")

    async def _listen(self, socket: WebSocket, watcher: _Watcher, ends: list[tuple[int, str]]) -> None:
        while (text := await socket.receive()) is not None:
            if (message := _parsed(text, Watch)) is None:
                ends.append((NOT_UNDERSTOOD, "a message has what to watch"))
                return
            self._change(watcher, message.watch)

    def _change(self, watcher: _Watcher, names: list[str]) -> None:
        watcher.watch(names)
        if not self._running:
            self._running = True
            self._nursery.start_soon(self._run)

    async def _tell(
        self, socket: WebSocket, watcher: _Watcher, token: str, ends: list[tuple[int, str]], scope: trio.CancelScope
    ) -> None:
        """Until there is a reason to end it. A WebSocket that is not read breaks off by itself."""
        ticks = 0
        with suppress(trio.BrokenResourceError, TooLateError):
            while True:
                await self._feed.ticked.wait()
                ticks += 1
                if ticks % _CHECKED_EVERY == 0 and not await self._is_right(token):
                    ends.append((WRONG_TOKEN, "there is another token now"))
                    break
                await socket.send(watcher.take())
        ends.append((TOO_SLOW, "it does not read what it is told"))
        scope.cancel()

    async def _run(self) -> None:
        try:
            await self._feed.run()
        finally:
            self._running = False

    async def _is_right(self, token: str) -> bool:
        return await trio.to_thread.run_sync(self._tokens.is_right, token)


def _parsed(text: str | None, kind: type[_Message]) -> _Message | None:
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError:
        return None
