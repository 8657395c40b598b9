"""Lets a program that cannot speak SOCKS use it: what connects here is led to one port of the exit's machine.

python -m tests.lab.relay LISTEN_PORT PROXY_PORT PORT
"""

from __future__ import annotations

import sys
from functools import partial

import trio

from tests.lab.programs import connect_by_socks


async def pass_on(source: trio.SocketStream, sink: trio.SocketStream) -> None:
    while data := await source.receive_some(65536):
        await sink.send_all(data)
    await sink.send_eof()


async def relay(proxy_port: int, port: int, near: trio.SocketStream) -> None:
    try:
        async with await connect_by_socks(proxy_port, port) as far, trio.open_nursery() as nursery:
            nursery.start_soon(pass_on, near, far)
            nursery.start_soon(pass_on, far, near)
    except* (OSError, EOFError, trio.BrokenResourceError):
        pass  # the program at the other end sees its connection end


async def main(listen_port: int, proxy_port: int, port: int) -> None:
    await trio.serve_tcp(partial(relay, proxy_port, port), listen_port, host="127.0.0.1")


if __name__ == "__main__":
    listen, proxy, there = map(int, sys.argv[1:])
    trio.run(main, listen, proxy, there)
