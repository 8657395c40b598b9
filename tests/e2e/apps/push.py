"""HTTP/2 as LINE uses it: what is said goes in a request each, and what others say comes in one answer that never ends.

The server is hypercorn, started with PORT FOLDER BEAT_SECONDS; in the folder is its certificate. See push_client.py for the other side.
Each piece of the endless answer has a length (u16) and a kind (u8): a sign of life, or a message.
"""

from __future__ import annotations

import sys
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from tests.e2e.apps.push_client import PING, SAY, piece
from tests.e2e.apps.room import Room

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Service:
    """An ASGI application."""

    def __init__(self, beat: float) -> None:
        self._room = Room()
        self._beat = beat

    async def __call__(
        self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        if scope["type"] == "lifespan":
            for state in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{state}.complete"})
            return
        name = scope["query_string"].decode().partition("=")[2]
        if scope["path"] == "/say":
            await self._take(name, receive, send)
        else:
            await self._push(name, receive, send)

    async def _take(
        self, to: str, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        body = bytearray()
        while (event := await receive())["type"] == "http.request":
            body += event["body"]
            if not event.get("more_body"):
                break
        self._room.say(to, body.decode())
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def _push(
        self, to: str, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        async with trio.open_nursery() as nursery, aclosing(self._room.listen(to, self._beat)) as told:
            nursery.start_soon(self._until_gone, receive, nursery.cancel_scope)
            async for text in told:
                data = piece(PING) if text is None else piece(SAY, text.encode())
                await send({"type": "http.response.body", "body": data, "more_body": True})

    async def _until_gone(self, receive: Callable[[], Awaitable[Any]], scope: trio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()


def main() -> None:
    port, folder, beat = sys.argv[1:]
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.certfile = config.keyfile = str(Path(folder) / "server.pem")
    config.alpn_protocols = ["h2"]
    trio.run(serve, Service(float(beat)), config)


if __name__ == "__main__":
    main()
