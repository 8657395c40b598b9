"""A destination that echoes, and what an app says to get there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import trio

SOCKS_ANSWER = b"\x05\x00" + b"\x05\x00\x00\x01" + bytes(6)


async def echo(stream: trio.SocketStream) -> None:
    async for data in stream:
        await stream.send_all(data)


def socks_request(port: int) -> bytes:
    return b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01" + port.to_bytes(2, "big")


async def received(stream: trio.SocketStream, expected: bytes) -> bool:
    got = b""
    while len(got) < len(expected):
        got += bytes(await stream.receive_some())
    return got == expected
