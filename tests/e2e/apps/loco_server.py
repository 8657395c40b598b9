"""The three servers of loco.py in one program, with TLS: BOOKING_PORT TICKET_PORT CHAT_PORT FOLDER; in the folder is the certificate."""

from __future__ import annotations

import ssl
import sys
from contextlib import aclosing
from functools import partial
from pathlib import Path

import trio

from tests.e2e.apps.loco import Document, Packet, encode, packets
from tests.e2e.apps.room import Room


async def direct(answer: Document, stream: trio.SSLStream[trio.SocketStream]) -> None:
    """Whatever is asked."""
    async with stream, aclosing(packets(stream)) as asked:
        async for packet in asked:
            await stream.send_all(encode(Packet(packet.number, packet.method, answer)))


async def chat(room: Room, stream: trio.SSLStream[trio.SocketStream]) -> None:
    writing = trio.Lock()  # a record of TLS is written by one task at a time

    async def send(packet: Packet) -> None:
        async with writing:
            await stream.send_all(encode(packet))

    async def push(name: str) -> None:
        async with aclosing(room.listen(name)) as told:
            async for text in told:
                await send(Packet(0, "MSG", {"msg": str(text)}))

    async with stream, trio.open_nursery() as nursery, aclosing(packets(stream)) as asked:
        async for packet in asked:
            if packet.method == "LOGINLIST":
                nursery.start_soon(push, str(packet.body["name"]))
            elif packet.method == "WRITE":
                room.say(str(packet.body["to"]), str(packet.body["msg"]))
            await send(Packet(packet.number, packet.method, {"status": 0}))
        nursery.cancel_scope.cancel()


async def run(booking_port: int, ticket_port: int, chat_port: int, certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    services = (
        (booking_port, partial(direct, {"host": "localhost", "port": ticket_port})),
        (ticket_port, partial(direct, {"host": "127.0.0.1", "port": chat_port, "time": 1 << 40})),
        (chat_port, partial(chat, Room())),
    )
    async with trio.open_nursery() as nursery:
        for port, serve in services:
            nursery.start_soon(partial(trio.serve_ssl_over_tcp, serve, port, context, host="127.0.0.1"))


if __name__ == "__main__":
    booking_port, ticket_port, chat_port = map(int, sys.argv[1:4])
    trio.run(run, booking_port, ticket_port, chat_port, Path(sys.argv[4]) / "server.pem")
