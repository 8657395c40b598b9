"""A bad network on one machine: two hosts joined by a link with delay, rate, loss and a censor.

    python -m tests.lab.link --name NAME --control SOCKET [--delay MS] [--rate MBIT] [--loss FRACTION] [--queue KB]

makes two network namespaces, NAME-a (home) and NAME-b (abroad), and joins them by two TUN devices whose packets pass through this
process. It needs root, /dev/net/tun and iproute2; nothing leaves the machine. It says `ready`, and takes one connection at the socket, on
which each line is answered by a line. When that connection ends, or at SIGTERM, what runs in the hosts is killed and everything is removed.

    delay MS | rate MBIT | loss FRACTION | queue KB    change the link: each is for one direction, and rate 0 has no limit
    down SECONDS                    drop every packet
    up                              drop nothing any more, whatever was said before
    reset [PORT]                    forge a TCP RST at both ends of every connection (with that port), as a national firewall does
    block ADDRESS PORT SECONDS      drop what goes to and comes from there, silently; `inf` is for good
    mute PORT SECONDS               drop what comes from that TCP port and carries data: a black hole behind the handshake
    readdress                       the home host loses its address and gets its other one
    stats                           as JSON: packets, bytes and drops of each direction, and connections made, by port
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.addresses import ABROAD, ABROAD_TOO, HOME, HOME_MOVED, NETWORK
from tests.lab.middlebox import Block, Censor, Connections, Down, Mute, parse

assert sys.platform == "linux"  # the type checker reads no further elsewhere

import fcntl  # noqa: E402  (elsewhere there is none)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.middlebox import Packet

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
#: What is read from one host before the other one has its turn.
_BATCH = 64
#: Whoever started this comes at once, or was killed.
_CONTROLLER_SECONDS = 20.0


# ---- the link


@dataclass(frozen=True, slots=True)
class Conditions:
    """Of each direction: milliseconds, Mbit/s (0 has no limit), a fraction of packets, and kilobytes that wait for the rate."""

    delay: float = 0.0
    rate: float = 0.0
    loss: float = 0.0
    queue: float = 256.0


@dataclass
class Counts:
    packets: int = 0
    bytes: int = 0
    lost: int = 0
    overflowed: int = 0
    censored: int = 0


@dataclass
class Way:
    """One direction: a queue of limited size that is drained at a rate, then a constant delay. `tun` is where it comes out."""

    tun: int
    counts: Counts = field(default_factory=Counts)
    waiting: deque[tuple[float, Packet]] = field(default_factory=deque)
    _free_at: float = 0.0

    def enter(self, packet: Packet, conditions: Conditions, now: float) -> None:
        size, rate = len(packet.data), conditions.rate * 1e6 / 8
        leaves = now
        if rate:
            start = max(now, self._free_at)
            if (start - now) * rate + size > conditions.queue * 1000:
                self.counts.overflowed += 1
                return
            leaves = self._free_at = start + size / rate
        self.waiting.append((leaves + conditions.delay / 1000, packet))

    def next_at(self) -> float:
        return self.waiting[0][0] if self.waiting else math.inf

    def take(self, now: float) -> Iterator[Packet]:
        """What has arrived by now."""
        while self.waiting and self.waiting[0][0] <= now:
            packet = self.waiting.popleft()[1]
            self.counts.packets += 1
            self.counts.bytes += len(packet.data)
            yield packet


class Link:
    """Carries packets between two TUN devices."""

    def __init__(self, home: int, abroad: int, conditions: Conditions, seed: int) -> None:
        self.conditions = conditions
        self.censor = Censor()
        self.connections = Connections()
        self.ways = {home: Way(abroad), abroad: Way(home)}
        self._random = random.Random(seed)

    def next_at(self) -> float:
        return min(way.next_at() for way in self.ways.values())

    def read(self, tun: int, now: float) -> None:
        """Take what that host has sent."""
        for _ in range(_BATCH):
            try:
                packet = parse(os.read(tun, 65535))
            except BlockingIOError:
                return
            if packet:
                self._enter(packet, tun, now)

    def _enter(self, packet: Packet, tun: int, now: float) -> None:
        way = self.ways[tun]
        if packet.flags:
            self.connections.sent(packet, tun)
        if self.censor.stops(packet, now):
            way.counts.censored += 1
        elif self.conditions.loss and self._random.random() < self.conditions.loss:
            way.counts.lost += 1
        else:
            way.enter(packet, self.conditions, now)

    def deliver(self, now: float) -> None:
        for way in self.ways.values():
            for packet in way.take(now):
                write(way.tun, packet.data)
                self.connections.delivered(packet)

    def reset(self, port: int | None) -> int:
        """How many connections there were."""
        count = self.connections.count(port)
        for tun, data in self.connections.resets(port):
            write(tun, data)
        return count

    def stats(self) -> str:
        counts = {
            name: dataclasses.asdict(way.counts) for name, way in zip(("up", "down"), self.ways.values(), strict=True)
        }
        return json.dumps({**counts, "connections": self.connections.made})


def write(tun: int, data: bytes) -> None:
    with suppress(OSError):  # a host that does not take it loses it
        os.write(tun, data)


# ---- the hosts


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def ip_inside(host: str, *lines: str) -> None:
    """All in one process: the link stands still meanwhile."""
    subprocess.run(
        ["ip", "-n", host, "-batch", "-"], input="\n".join(lines), check=True, capture_output=True, text=True
    )


class Host:
    """One end: a network namespace, its TUN device and the addresses on it."""

    def __init__(self, name: str, device: str) -> None:
        self.name, self._device = name, device

    @contextmanager
    def made(self, addresses: list[str]) -> Iterator[int]:
        """The TUN device's descriptor."""
        ip("netns", "add", self.name)
        try:
            with self._tun() as tun:
                ip("link", "set", self._device, "netns", self.name)
                # Most servers' loss-based control; the kernel's default may have been set to another one.
                setting = "echo reno >/proc/sys/net/ipv4/tcp_congestion_control"
                ip("netns", "exec", self.name, "sh", "-c", setting)
                added = [f"address add {address}/32 dev {self._device}" for address in addresses]
                # A queue of its own would hide what the link's queue does.
                ip_inside(self.name, "link set lo up", f"link set {self._device} mtu 1500 txqueuelen 20000 up", *added)
                self.route(addresses[0])
                yield tun
        finally:
            self._remove()

    def route(self, source: str) -> None:
        ip_inside(self.name, f"route replace {NETWORK} dev {self._device} src {source}")

    def readdress(self, old: str, new: str) -> None:
        """The routes from the old address go with it."""
        device = self._device
        ip_inside(self.name, f"address delete {old}/32 dev {device}", f"address add {new}/32 dev {device}")
        self.route(new)

    @contextmanager
    def _tun(self) -> Iterator[int]:
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        try:
            fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", self._device.encode(), _IFF_TUN | _IFF_NO_PI))
            yield tun
        finally:
            os.close(tun)

    def _remove(self) -> None:
        """What still runs there would keep a namespace without a name."""
        for pid in ip("netns", "pids", self.name).split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        ip("netns", "delete", self.name)


# ---- the program


class Control:
    """Carries out the lines of the module's text. ValueError, KeyError and TypeError mean a line that is none of them."""

    def __init__(self, link: Link, home: Host) -> None:
        self._link = link
        self._home = home
        self._addresses = [HOME, HOME_MOVED]

    def answer(self, line: str) -> str:
        word, *values = line.split()
        now = time.monotonic()
        match word, *values:
            case (("delay" | "rate" | "loss" | "queue"), value):
                self._link.conditions = dataclasses.replace(self._link.conditions, **{word: float(value)})
            case "down", seconds:
                self._link.censor.add(Down(now + float(seconds)))
            case ("up",):
                self._link.censor.forget()
            case "block", address, port, seconds:
                self._link.censor.add(Block(now + float(seconds), (socket.inet_aton(address), int(port))))
            case "mute", port, seconds:
                self._link.censor.add(Mute(now + float(seconds), int(port)))
            case "reset", *ports:
                return str(self._link.reset(int(ports[0]) if ports else None))
            case ("readdress",):
                self._home.readdress(*self._addresses)
                self._addresses.reverse()
            case ("stats",):
                return self._link.stats()
            case _:
                return f"error: no such command: {line}"
        return "ok"


def carry(link: Link, control: Control, controller: socket.socket) -> None:
    """Until the controller goes. One loop for everything, so that a command falls between two packets."""
    buffer = b""
    while True:
        pause = min(link.next_at() - time.monotonic(), 60.0)
        ready, _, _ = select.select([*link.ways, controller.fileno()], [], [], max(0.0, pause))
        now = time.monotonic()
        for tun in link.ways:
            if tun in ready:
                link.read(tun, now)
        if controller.fileno() in ready:
            if not (data := controller.recv(4096)):
                return
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                controller.sendall(control.answer(line.decode()).encode() + b"\n")
        link.deliver(time.monotonic())


def accept_one(path: str) -> socket.socket:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        print("ready", flush=True)
        listener.settimeout(_CONTROLLER_SECONDS)
        connection = listener.accept()[0]
    Path(path).unlink()
    connection.settimeout(None)
    return connection


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True)
    parser.add_argument("--control", required=True)
    parser.add_argument("--seed", type=int, default=1)
    for each in dataclasses.fields(Conditions):
        parser.add_argument(f"--{each.name}", type=float, default=each.default)
    given = vars(parser.parse_args())
    name, path, seed = given.pop("name"), given.pop("control"), given.pop("seed")
    # So that everything is removed on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started this, who then ends the connection
    home, abroad = Host(f"{name}-a", f"{name}a"), Host(f"{name}-b", f"{name}b")
    with ExitStack() as stack:
        near = stack.enter_context(home.made([HOME]))
        far = stack.enter_context(abroad.made([ABROAD, ABROAD_TOO]))
        link = Link(near, far, Conditions(**given), seed)
        carry(link, Control(link, home), stack.enter_context(accept_one(path)))


if __name__ == "__main__":
    main()
