"""An app that goes to many places by way of the local port, and says at each where it wanted to go.

python -m tests.lab.knock PROXY-PORT PLACES REPORT

Each line of the file PLACES is `tcp HOST:PORT` or `udp HOST:PORT`. The report, in JSON, has for each of them what was answered, or why nothing was.
"""

from __future__ import annotations

import argparse
import socket
from pathlib import Path

import trio

from proxy.address import Address
from tests.lab.programs import socks_request, write_report

#: Long, for a machine that has other things to do; fewer at a time have their answers sooner.
_SECONDS = 60.0
_AT_ONCE = 24
#: So many places by one association, which knows 32 names at a time, and again where a datagram was dropped.
_GROUP = 16
_TRIES, _TRY_SECONDS = 20, 1.0
_CONNECT, _ASSOCIATE = 1, 3  # RFC 1928, section 4


class Knocking:
    """At all places, and what came of it."""

    def __init__(self, proxy_port: int) -> None:
        self._proxy_port = proxy_port
        self._slots = trio.CapacityLimiter(_AT_ONCE)
        self.answers: dict[str, str] = {}

    async def connect(self, place: str) -> None:
        async with self._slots:
            try:
                with trio.fail_after(_SECONDS):
                    self.answers[place] = await self._told(place.partition(" ")[2])
            except (OSError, EOFError, trio.TooSlowError, trio.BrokenResourceError) as error:
                self.answers[place] = f"{type(error).__name__}: {error}"

    async def _told(self, there: str) -> str:
        async with await trio.open_tcp_stream("127.0.0.1", self._proxy_port) as stream:
            await socks_request(stream, _CONNECT, Address.parse(there).encode())
            await stream.send_all(f"{there}\n".encode())
            return "".join([data.decode() async for data in stream])

    async def send_datagrams(self, places: list[str]) -> None:
        """By one association: what comes back says what it was for."""
        async with self._slots, await trio.open_tcp_stream("127.0.0.1", self._proxy_port) as control:
            bound = await socks_request(control, _ASSOCIATE, bytes([1, *bytes(6)]))
            with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                await sock.connect(("127.0.0.1", int.from_bytes(bound[-2:], "big")))
                await self._exchange(sock, places)

    async def _exchange(self, sock: trio.socket.SocketType, group: list[str]) -> None:
        for _ in range(_TRIES):
            missing = [place for place in group if place not in self.answers]
            if missing:
                await self._send(sock, missing)
                with trio.move_on_after(_TRY_SECONDS):
                    await self._receive(sock, missing)
        for place in group:
            self.answers.setdefault(place, "silence")

    async def _send(self, sock: trio.socket.SocketType, places: list[str]) -> None:
        for place in places:
            there = place.partition(" ")[2]
            await sock.send(bytes(3) + Address.parse(there).encode() + f"{there}\n".encode())

    async def _receive(self, sock: trio.socket.SocketType, places: list[str]) -> None:
        while any(place not in self.answers for place in places):
            data = await sock.recv(2048)
            said, word = data[3 + _encoded_size(data[3:]) :].decode().split("\n")
            self.answers[f"udp {said}"] = word


def _encoded_size(data: bytes) -> int:
    return {1: 7, 4: 19}[data[0]]  # a sender is never a name


async def run(given: argparse.Namespace, places: list[str]) -> None:
    knocking = Knocking(int(given.proxy_port))
    async with trio.open_nursery() as nursery:
        for place in places:
            if place.startswith("tcp"):
                nursery.start_soon(knocking.connect, place)
        datagrams = [place for place in places if place.startswith("udp")]
        for start in range(0, len(datagrams), _GROUP):
            nursery.start_soon(knocking.send_datagrams, datagrams[start : start + _GROUP])
    write_report(given, knocking.answers)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("proxy_port", "places", "report"):
        parser.add_argument(name)
    given = parser.parse_args()
    trio.run(run, given, Path(given.places).read_text().splitlines())


if __name__ == "__main__":
    main()
