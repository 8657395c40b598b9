"""Somebody who talks by way of the proxy and of mtproto.py, with a server that is known by its address only."""

from __future__ import annotations

from contextlib import aclosing

import trio

from tests.e2e.apps import connect_by_socks
from tests.e2e.apps.mtproto import HEAR, HELLO, PING, PONG, SAY, Message, Wire
from tests.e2e.talk import Ear, Part, part, tell


class Person:
    def __init__(self, given: Part, wire: Wire) -> None:
        self._given = given
        self._wire = wire
        self._writing = trio.Lock()  # two tasks send
        self._pings = 0
        self._pongs = 0
        self._said_all = False
        self._over = False

    async def talk(self) -> None:
        await self._send(Message(HELLO, 0, self._given.me))
        tell(f"{self._given.me} connected")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._beat)
            nursery.start_soon(self._say)
            await self._listen()
            nursery.cancel_scope.cancel()
        tell(f"{self._given.me} got {self._pongs} signs of life")

    async def _say(self) -> None:
        for number, rest in self._given.plan.numbers():
            await self._send(Message(SAY, 0, f"{self._given.other}:{number}"))
            await trio.sleep(rest)
        self._said_all = True

    async def _beat(self) -> None:
        while not self._over:
            number, self._pings = self._pings, self._pings + 1
            await self._send(Message(PING, number, "last" if self._said_all else ""))
            await trio.sleep(self._given.plan.beat)

    async def _listen(self) -> None:
        """Until all is heard, and the server has answered all, and something that was sent behind all messages."""
        ear, heard_all = Ear(self._given.me, self._given.plan), False
        async with aclosing(self._wire.messages()) as coming:
            async for message in coming:
                if message.kind == HEAR:
                    heard_all = ear.hear(message.text)
                else:
                    assert (message.kind, message.number) == (PONG, self._pongs)
                    self._pongs += 1
                    self._over = heard_all and message.text == "last"
                if self._over and self._pongs == self._pings:
                    return
        raise EOFError("the server has ended the connection")

    async def _send(self, message: Message) -> None:
        async with self._writing:
            await self._wire.send(message)


async def run() -> None:
    given, _ = part()
    reply, connection = connect_by_socks(given.proxy, "127.0.0.1", given.port, by_address=True)
    assert reply == 0
    async with trio.SocketStream(trio.socket.from_stdlib_socket(connection)) as stream:
        await Person(given, await Wire.begin(stream)).talk()


if __name__ == "__main__":
    trio.run(run)
