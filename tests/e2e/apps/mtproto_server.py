"""Somebody like Telegram's servers (mtproto.py), at PORT: tells each what the other one said."""

from __future__ import annotations

import sys
from contextlib import aclosing
from functools import partial

import trio

from tests.e2e.apps.mtproto import HEAR, HELLO, PING, PONG, SAY, Message, Wire
from tests.e2e.apps.room import Room


async def serve(room: Room, stream: trio.SocketStream) -> None:
    wire = await Wire.accept(stream)
    writing = trio.Lock()

    async def send(message: Message) -> None:
        async with writing:
            await wire.send(message)

    async def push(name: str) -> None:
        async with aclosing(room.listen(name)) as told:
            async for text in told:
                await send(Message(HEAR, 0, str(text)))

    async with stream, trio.open_nursery() as nursery, aclosing(wire.messages()) as coming:
        async for message in coming:
            if message.kind == HELLO:
                nursery.start_soon(push, message.text)
            elif message.kind == SAY:
                room.say(*message.text.split(":", 1))
            elif message.kind == PING:
                await send(Message(PONG, message.number, message.text))
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(partial(trio.serve_tcp, partial(serve, Room()), int(sys.argv[1]), host="127.0.0.1"))
