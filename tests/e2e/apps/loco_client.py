"""Somebody who talks by way of the proxy and of loco.py. The last connection goes to an address, as that is what the ticket server names."""

from __future__ import annotations

import ssl
from collections import Counter
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeAlias

import trio

from tests.e2e.apps import connect_by_socks
from tests.e2e.apps.loco import Packet, encode, packets
from tests.e2e.talk import Ear, Part, part, tell

if TYPE_CHECKING:
    Stream: TypeAlias = trio.SSLStream[trio.SocketStream]


class Person:
    def __init__(self, given: Part) -> None:
        self._given = given
        self._context = ssl.create_default_context(cafile=given.authority)
        self._writing = trio.Lock()  # a record of TLS is written by one task at a time
        self._sent = 0
        self._unanswered: dict[int, str] = {}
        self._answered: Counter[str] = Counter()
        self._over = False

    async def talk(self) -> None:
        ticket = await self._ask("localhost", self._given.port, Packet(1, "GETCONF", {"os": "test"}))
        host, port = ticket.body["host"], ticket.body["port"]
        chat = await self._ask(str(host), int(port), Packet(2, "CHECKIN", {"userId": 1 << 40}))
        assert chat.body["time"] == 1 << 40
        stream = await self._connect(str(chat.body["host"]), int(chat.body["port"]))
        async with stream:
            await self._send(stream, "LOGINLIST", name=self._given.me)
            tell(f"{self._given.me} connected")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._beat, stream)
                nursery.start_soon(self._say, stream)
                await self._listen(stream)
                nursery.cancel_scope.cancel()
        tell(f"{self._given.me} got {self._answered['PING']} signs of life")

    async def _say(self, stream: Stream) -> None:
        for number, rest in self._given.plan.numbers():
            await self._send(stream, "WRITE", to=self._given.other, msg=str(number))
            await trio.sleep(rest)

    async def _beat(self, stream: Stream) -> None:
        while not self._over:
            await self._send(stream, "PING")
            await trio.sleep(self._given.plan.beat)

    async def _listen(self, stream: Stream) -> None:
        """Until all is heard, and all that was sent is answered: once each. Who leaves sooner resets the connection."""
        ear, heard_all = Ear(self._given.me, self._given.plan), False
        async with aclosing(packets(stream)) as coming:
            async for packet in coming:
                if packet.method == "MSG":
                    heard_all = ear.hear(str(packet.body["msg"]))
                else:
                    assert self._unanswered.pop(packet.number) == packet.method
                    self._answered[packet.method] += 1
                self._over = heard_all and self._answered["WRITE"] == self._given.plan.messages
                if self._over and not self._unanswered:
                    return
        raise EOFError("the server has ended the connection")

    async def _send(self, stream: Stream, method: str, **body: str | int) -> None:
        self._sent += 1
        packet = Packet(self._sent, method, body)
        self._unanswered[packet.number] = method
        async with self._writing:
            await stream.send_all(encode(packet))

    async def _connect(self, host: str, port: int) -> Stream:
        reply, connection = connect_by_socks(self._given.proxy, host, port, by_address=host[0].isdigit())
        assert reply == 0
        raw = trio.SocketStream(trio.socket.from_stdlib_socket(connection))
        return trio.SSLStream(raw, self._context, server_hostname=host)

    async def _ask(self, host: str, port: int, question: Packet) -> Packet:
        async with await self._connect(host, port) as stream, aclosing(packets(stream)) as answers:
            await stream.send_all(encode(question))
            answer = await anext(answers)
            assert (answer.number, answer.method) == (question.number, question.method)
            return answer


if __name__ == "__main__":
    trio.run(Person(part()[0]).talk)
