"""What dashboards for Clash watch: a message a second, in a WebSocket or as lines of an answer that goes on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import msgspec
import trio

from . import clash_views as views
from .protocol import own_answer
from .protocol.http_proxy import wants_upgrade
from .watchers import MOST_WATCHERS, Watchers
from .web_socket import PATIENCE, WebSocket

if TYPE_CHECKING:
    import h11

    from .api_request import ApiRequest
    from .clash_source import ClashSource
    from .log_memory import Line
    from .protocol.http_proxy import Connection

# Our choices.
#: Milliseconds between two messages, where a dashboard may wish for others.
_INTERVAL, _LEAST, _MOST = 1000, 250, 60_000
#: Lines of the log that one sees who comes: what is kept is more than a dashboard shows.
_FIRST_LINES = 200
_CHUNK = 4096
#: Messages between two looks at whether the secret is still the right one.
_CHECKED_EVERY = 5

#: What there is to say now, as JSON.
Feed: TypeAlias = Callable[[], Awaitable[list[bytes]]]
#: Whether who watches still may.
IsAllowed: TypeAlias = Callable[[], Awaitable[bool]]
_Send: TypeAlias = Callable[[bytes], Awaitable[None]]


class Feeds:
    def __init__(self, source: ClashSource) -> None:
        self._source = source
        self._watchers = Watchers(MOST_WATCHERS)

    def has(self, path: tuple[str, ...]) -> bool:
        return path in _MAKERS

    async def serve(
        self,
        asked: ApiRequest,
        request: h11.Request,
        stream: trio.abc.HalfCloseableStream,
        http: Connection,
        is_allowed: IsAllowed,
    ) -> None:
        """Until the client has enough, or may not watch any more; closes the stream. Raises StatusError while nothing was answered, and
        BrokenResourceError.
        """
        interval = max(_LEAST, asked.number("interval", _INTERVAL, _MOST)) / 1000
        with self._watchers.place():
            pump = _Pump(_MAKERS[asked.path](self._source, asked), interval, is_allowed)
            if wants_upgrade(request):
                await _in_socket(await WebSocket.accept(request, stream, http), pump)
            else:
                await _in_lines(stream, pump)


@dataclass(frozen=True, slots=True)
class _Pump:
    feed: Feed
    interval: float
    is_allowed: IsAllowed

    async def run(self, send: _Send, scope: trio.CancelScope) -> None:
        """Cancels the scope at the end, which is where nobody reads any more, or may."""
        rounds = 0
        with suppress(trio.BrokenResourceError, trio.TooSlowError):
            while rounds % _CHECKED_EVERY or await self.is_allowed():
                rounds += 1
                for message in await self.feed():
                    await send(message)
                await trio.sleep(self.interval)
        scope.cancel()


async def _in_socket(socket: WebSocket, pump: _Pump) -> None:
    async def send(message: bytes) -> None:
        await socket.send(message.decode())

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pump.run, send, nursery.cancel_scope)
            while await socket.receive() is not None:
                pass
            nursery.cancel_scope.cancel()
    finally:
        await socket.aclose()


async def _in_lines(stream: trio.abc.HalfCloseableStream, pump: _Pump) -> None:
    async def send(message: bytes) -> None:
        with trio.fail_after(PATIENCE):
            await stream.send_all(message + b"\n")

    try:
        await stream.send_all(own_answer.endless(own_answer.JSON))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pump.run, send, nursery.cancel_scope)
            with suppress(trio.BrokenResourceError):
                while await stream.receive_some(_CHUNK):
                    pass
            nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)


# ---- the feeds


def _connections(source: ClashSource, _asked: ApiRequest) -> Feed:
    async def feed() -> list[bytes]:
        return [await source.connections()]

    return feed


def _memory(source: ClashSource, _asked: ApiRequest) -> Feed:
    async def feed() -> list[bytes]:
        return [msgspec.json.encode(source.memory())]

    return feed


def _traffic(source: ClashSource, _asked: ApiRequest) -> Feed:
    before, at = source.total(), trio.current_time()

    async def feed() -> list[bytes]:
        nonlocal before, at
        now, total = trio.current_time(), source.total()
        seconds = max(now - at, _LEAST / 1000)
        up, down = (total.bytes_up - before.bytes_up) / seconds, (total.bytes_down - before.bytes_down) / seconds
        before, at = total, now
        return [msgspec.json.encode(views.Traffic(round(up), round(down), total.bytes_up, total.bytes_down))]

    return feed


def _logs(source: ClashSource, asked: ApiRequest) -> Feed:
    wanted = views.levels_from(asked.query.get("level", "info"))
    shape: Callable[[Line], object] = views.structured if asked.query.get("format") == "structured" else views.line_of
    seen = max(0, source.log.count - _FIRST_LINES)

    async def feed() -> list[bytes]:
        nonlocal seen
        lines, seen = source.log.since(seen), source.log.count
        return [msgspec.json.encode(shape(line)) for line in lines if line.level in wanted]

    return feed


_MAKERS: dict[tuple[str, ...], Callable[[ClashSource, ApiRequest], Feed]] = {
    ("connections",): _connections,
    ("memory",): _memory,
    ("traffic",): _traffic,
    ("logs",): _logs,
}
