"""A server for whatever is asked of a host: it takes what comes at many ports, says what it was told, and answers with a word of its own.

python -m tests.lab.catch_all WORD TCP-PORTS UDP-PORTS    the ports with commas between them

For each connection and datagram it says `NETWORK WHAT-IT-WAS-TOLD`: who comes says where it wants to go. It says `NETWORK PORT is silent` of a
connection on which nothing is said.
"""

from __future__ import annotations

import socket
import sys
from functools import partial

import trio
import trio.testing

LONGEST = 1024
_SECONDS = 10.0


async def serve(word: bytes, stream: trio.SocketStream) -> None:
    port = stream.socket.getsockname()[1]
    said = b""
    with trio.move_on_after(_SECONDS):
        while not said.endswith(b"\n") and (more := await stream.receive_some(LONGEST)):
            said += more
    print(f"tcp {said.decode().strip()}" if said else f"tcp {port} is silent", flush=True)
    await stream.send_all(word)
    await stream.aclose()


async def answer(word: bytes, port: int) -> None:
    with trio.socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, False)
        await sock.bind(("::", port))
        while True:
            said, peer = await sock.recvfrom(LONGEST)
            print(f"udp {said.decode().strip()}", flush=True)
            await sock.sendto(said + word, peer)


async def run() -> None:
    name, tcp_ports, udp_ports = sys.argv[1:]
    word = name.encode()
    async with trio.open_nursery() as nursery:
        for port in map(int, tcp_ports.split(",")):
            listening = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
            listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
            nursery.start_soon(partial(trio.serve_listeners, partial(serve, word), [listener]))
        for port in map(int, udp_ports.split(",")):
            nursery.start_soon(answer, word, port)
        await trio.testing.wait_all_tasks_blocked()
        print("ready", flush=True)


if __name__ == "__main__":
    trio.run(run)
