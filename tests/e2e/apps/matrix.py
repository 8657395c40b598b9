"""Somebody at a Matrix server by way of the proxy, with matrix-nio: an account, a room, messages, and a long poll for those of others.

A program of its own environment (scripts/matrix), so it is started as a file, and imports nothing of the tests but the talk.
"""

from __future__ import annotations

import asyncio  # noqa: TID251  (nio's; this is a process of its own)
import ssl
from typing import Any

import aiohttp
import nio

from tests.e2e.talk import Ear, Part, part, tell

PASSWORD = "a word"
ROOM = "chat"
#: As the apps do it.
POLL_MILLISECONDS = 30_000
#: Between two attempts to enter a room that the other one may not have opened yet.
AGAIN_SECONDS = 0.1
#: More than are ever said: the server leaves out what is beyond.
TIMELINE = 5000
#: What fails is not repeated: nothing is to fail.
_CONFIG = nio.AsyncClientConfig(max_timeouts=0, max_limit_exceeded=0)
_FILTER = {"room": {"timeline": {"limit": TIMELINE}}}


class Person:
    def __init__(self, given: Part, scheme: str) -> None:
        self._given = given
        self._me, self._other = (f"@{name}:localhost" for name in (given.me, given.other))
        self._ear = Ear(given.me, given.plan)
        self._heard_all = False
        self._met = asyncio.Event()
        self._room = ""
        self._client = nio.AsyncClient(
            f"https://localhost:{given.port}",
            self._me,
            config=_CONFIG,
            proxy=f"{scheme}://127.0.0.1:{given.proxy}",
            ssl=ssl.create_default_context(cafile=given.authority),
        )
        self._client.add_event_callback(self._hear, nio.RoomMessageText)
        self._client.add_event_callback(self._see, nio.RoomMemberEvent)

    async def talk(self) -> None:
        try:
            await self._enter()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen())
                group.create_task(self._say())
        finally:
            await self._client.close()

    async def _enter(self) -> None:
        tell(f"{self._given.me} connected")
        worked(await self._client.register(self._given.me, PASSWORD), nio.RegisterResponse)
        worked(await self._client.logout(), nio.LogoutResponse)
        worked(await self._client.login(PASSWORD), nio.LoginResponse)
        self._count_connections()
        if self._given.me < self._given.other:
            opened = await self._client.room_create(alias=ROOM, preset=nio.RoomPreset.public_chat)
            self._room = worked(opened, nio.RoomCreateResponse).room_id
            return
        while not isinstance(entered := await self._client.join(f"#{ROOM}:localhost"), nio.JoinResponse):  # noqa: ASYNC110
            await asyncio.sleep(AGAIN_SECONDS)
        self._room = entered.room_id

    def _count_connections(self) -> None:
        """nio, and the library below it, might connect again without a word."""

        async def connected(*_: object) -> None:
            tell(f"{self._given.me} connected")

        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(connected)
        trace.freeze()
        self._client.client_session.trace_configs.append(trace)

    async def _say(self) -> None:
        await self._met.wait()
        for number, rest in self._given.plan.numbers():
            content = {"msgtype": "m.text", "body": str(number)}
            worked(await self._client.room_send(self._room, "m.room.message", content), nio.RoomSendResponse)
            await asyncio.sleep(rest)

    async def _listen(self) -> None:
        while not self._heard_all:
            worked(await self._client.sync(timeout=POLL_MILLISECONDS, sync_filter=_FILTER), nio.SyncResponse)

    async def _hear(self, _: object, message: Any) -> None:
        if message.sender == self._other:
            self._heard_all = self._ear.hear(message.body)

    async def _see(self, _: object, member: Any) -> None:
        if (member.state_key, member.membership) == (self._other, "join"):
            self._met.set()


def worked(answer: Any, kind: type) -> Any:
    assert isinstance(answer, kind), answer
    return answer


if __name__ == "__main__":
    given, more = part("scheme")
    asyncio.run(Person(given, more.scheme).talk())
