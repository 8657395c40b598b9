"""One side of a call: numbered packets at a steady pace, each with its time, and a report of those that came from the other side.

python -m tests.e2e.apps.call caller --proxy PORT --turn PORT --peer PORT --packets N --report FILE
python -m tests.e2e.apps.call peer --port PORT --packets N --report FILE

The caller is behind a SOCKS5 proxy and talks by way of a TURN server, which is on the peer's machine. The peer answers where it hears from.
"""

from __future__ import annotations

import argparse
import json
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import trio

from tests.e2e.apps.socks_udp import datagram_socket
from tests.e2e.apps.turn import HOST, Turn, turn_client

if TYPE_CHECKING:
    from tests.e2e.apps.socks_udp import Where

#: As in the calls of apps: a packet every 20 ms, of 160 bytes.
EVERY, SIZE = 0.02, 160
_STAMP = struct.Struct("!Id")
#: Seconds without a packet after which nothing comes any more, and for which the first of the other side is waited for.
QUIET, PATIENCE = 2.0, 20.0

Say: TypeAlias = Callable[[bytes], Awaitable[object]]
Hear: TypeAlias = Callable[[], Awaitable[tuple[bytes, float]]]


@dataclass
class Heard:
    """What came from the other side, in its order: the numbers, and the seconds that each was on its way.

    `seen_as` is how others see the caller, before and after the call.
    """

    numbers: list[int] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    seen_as: list[Where] = field(default_factory=list)
    _more: trio.Event = field(default_factory=trio.Event)  # set and replaced

    async def reached(self, count: int) -> None:
        while len(self.numbers) < count:
            await self._more.wait()

    def add(self, data: bytes, now: float) -> None:
        assert len(data) == SIZE
        number, sent_at = _STAMP.unpack_from(data)
        self.numbers.append(number)
        self.delays.append(now - sent_at)
        self._more.set()
        self._more = trio.Event()

    def lost(self, packets: int) -> float:
        """Their part of all."""
        return (packets - len(set(self.numbers))) / packets


async def speak(say: Say, packets: int) -> None:
    """A packet is late rather than left out where this machine was busy."""
    began = trio.current_time()
    for number in range(packets):
        await trio.sleep_until(began + number * EVERY)
        await say(_STAMP.pack(number, time.monotonic()).ljust(SIZE, b"\0"))


async def listen(hear: Hear, packets: int, heard: Heard) -> None:
    """Until all have come, or none does any more."""
    wait = PATIENCE
    while len(heard.numbers) < packets:
        with trio.move_on_after(wait) as scope:
            heard.add(*await hear())
        if scope.cancelled_caught:
            return
        wait = QUIET


async def call(turn: Turn, peer_port: int, packets: int, heard: Heard) -> None:
    await turn.allocate()
    await turn.bind_channel((HOST, peer_port))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(speak, turn.say, packets)
        nursery.start_soon(listen, turn.heard.receive, packets, heard)
    await turn.release()


async def answer(mine: trio.socket.SocketType, packets: int, heard: Heard) -> None:
    """Begins when the caller is heard."""
    known = False

    async def hear() -> tuple[bytes, float]:
        nonlocal known
        data, sender = await mine.recvfrom(2 * SIZE)
        now = time.monotonic()
        if not known:
            known = True
            nursery.start_soon(speak, lambda data: mine.sendto(data, sender), packets)
        return data, now

    async with trio.open_nursery() as nursery:
        await listen(hear, packets, heard)


async def main(given: argparse.Namespace) -> Heard:
    heard = Heard()
    if given.role == "caller":
        async with turn_client(given.proxy, (HOST, given.turn)) as turn:
            heard.seen_as.append(await turn.binding())
            await call(turn, given.peer, given.packets, heard)
            heard.seen_as.append(await turn.binding())
    else:
        with datagram_socket(HOST, given.port) as mine:
            await answer(mine, given.packets, heard)
    return heard


def write(heard: Heard, path: Path) -> None:
    told = {"numbers": heard.numbers, "delays": heard.delays, "seen_as": heard.seen_as}
    path.write_text(json.dumps(told))


def read(path: Path) -> Heard:
    told = json.loads(path.read_text())
    return Heard(told["numbers"], told["delays"], [(host, port) for host, port in told["seen_as"]])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    roles = parser.add_subparsers(dest="role", required=True)
    options = {"caller": ("--proxy", "--turn", "--peer"), "peer": ("--port",)}
    for role, names in options.items():
        its = roles.add_parser(role)
        for name in (*names, "--packets"):
            its.add_argument(name, type=int, required=True)
        its.add_argument("--report", required=True)
    return parser.parse_args()


if __name__ == "__main__":
    words = arguments()
    write(trio.run(main, words), Path(words.report))
