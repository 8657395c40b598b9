"""Somebody at the server of push.py by way of the proxy, with httpx: one HTTP/2 connection for everything."""

from __future__ import annotations

import ssl
import struct
from contextlib import aclosing
from typing import TYPE_CHECKING

import httpx
import trio

from tests.e2e.talk import PATIENCE_SECONDS, Ear, Part, part, tell

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

PING, SAY = 0, 1
_HEAD = struct.Struct("!HB")


def piece(kind: int, body: bytes = b"") -> bytes:
    return _HEAD.pack(len(body), kind) + body


async def pieces(chunks: AsyncIterator[bytes]) -> AsyncGenerator[tuple[int, bytes], None]:
    """However they were cut on the way."""
    data = b""
    async for chunk in chunks:
        data += chunk
        while len(data) >= _HEAD.size:
            length, kind = _HEAD.unpack_from(data)
            if len(data) < _HEAD.size + length:
                break
            yield kind, data[_HEAD.size : _HEAD.size + length]
            data = data[_HEAD.size + length :]


class Person:
    def __init__(self, given: Part, scheme: str) -> None:
        self._given = given
        self._site = f"https://localhost:{given.port}"
        self._client = httpx.AsyncClient(
            http1=False,
            http2=True,
            proxy=f"{scheme}://127.0.0.1:{given.proxy}",
            verify=ssl.create_default_context(cafile=given.authority),
            timeout=PATIENCE_SECONDS,
            limits=httpx.Limits(max_connections=1),
        )
        self._pings = 0

    async def talk(self) -> None:
        async with self._client, trio.open_nursery() as nursery:
            await nursery.start(self._listen)
            for number, rest in self._given.plan.numbers():
                answer = await self._client.post(f"{self._site}/say?to={self._given.other}", content=str(number))
                assert answer.status_code == 204
                await trio.sleep(rest)

    async def _listen(self, task_status: trio.TaskStatus[None]) -> None:
        ear = Ear(self._given.me, self._given.plan)
        async with self._client.stream("POST", f"{self._site}/PUSH/1/subs?m={self._given.me}") as answer:
            assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
            tell(f"{self._given.me} connected")
            task_status.started()
            async with aclosing(pieces(answer.aiter_bytes())) as coming:
                async for kind, body in coming:
                    self._pings += kind == PING
                    if kind == SAY and ear.hear(body.decode()):
                        tell(f"{self._given.me} got {self._pings} signs of life")
                        return
        raise EOFError("the server has ended what should not end")


if __name__ == "__main__":
    given, more = part("scheme")
    trio.run(Person(given, more.scheme).talk)
