"""The loads of fairness.py and memory.py: many streams at once, through a SOCKS5 proxy, to destination.py. One line of JSON.

python bench/bulk.py SOCKS_PORT HOST PORT share|newcomer|stalled [--way down|up] [--streams N] [--seconds S] [--warm-up S] [--repeat N]

    share      so many streams in bulk: how many bytes each got, and in how many seconds
    newcomer   one more begins beside that many, again and again: when the bytes of each came
    stalled    one download and a chat, without and with that many streams that ask for data and never read
"""

from __future__ import annotations

import argparse
import json
import selectors
import threading
import time
from typing import TYPE_CHECKING, Any

from destination import BLOCK
from load import MESSAGE, Times, Way, connect
from target import receive

if TYPE_CHECKING:
    import socket

#: Between two messages of the chat, in seconds.
PAUSE = 0.05
#: How long a newcomer stays, in seconds, and how long the others have to themselves then.
STAY, APART = 4.0, 2.0
#: Streams that are stalled have filled every buffer on the way when nothing moved for this long; and that takes so long at most, in seconds.
STILL, FILLING = 2.0, 150.0
#: Of a stalled reader's socket, in bytes: it is not the kernel of this computer that is measured.
SMALL_BUFFER = 4096
_PATIENCE = 30
#: Numbers of streams: those that are stalled begin here.
STALLED = 100_000


class Proxy:
    """Where connections are made: through the SOCKS proxy at that port, or directly where it is 0."""

    def __init__(self, socks: int, host: str, port: int) -> None:
        self._way = Way(socks, host, port)

    def open(self, kind: bytes, number: int = 0, *, buffer: int = 0) -> socket.socket:
        """As `load.connect`."""
        return connect(self._way, kind, number, buffer=buffer, patience=_PATIENCE)

    def directly(self) -> Proxy:
        return Proxy(0, self._way.host, self._way.port)


class Counts:
    """What the destination has counted, asked for beside the proxy."""

    def __init__(self, proxy: Proxy) -> None:
        self._stream = proxy.directly().open(b"C")
        self._lines = self._stream.makefile()

    def now(self) -> tuple[float, dict[int, int]]:
        """Its time, and the bytes of each stream."""
        self._stream.sendall(b"?")
        told = json.loads(self._lines.readline())
        return told["time"], {int(number): size for number, size in told["moved"].items()}


class Pump:
    """Moves the bytes of all its streams, in a thread of its own. `arrivals`: when, which stream, how many bytes, where they are wanted."""

    def __init__(self, *, keep: bool = False) -> None:
        self.moved: dict[int, int] = {}
        self.arrivals: list[tuple[float, int, int]] = []
        self._keep = keep
        self._selector = selectors.DefaultSelector()
        self._buffer = memoryview(bytearray(4 * len(BLOCK)))
        threading.Thread(target=self._run, daemon=True).start()

    def add(self, stream: socket.socket, number: int, way: str = "down") -> None:
        stream.setblocking(False)
        self.moved[number] = 0
        event = selectors.EVENT_READ if way == "down" else selectors.EVENT_WRITE
        self._selector.register(stream, event, (number, self._receive if way == "down" else self._send))

    def remove(self, stream: socket.socket) -> None:
        self._selector.unregister(stream)

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select(0.1):
                number, move = key.data
                try:
                    size = move(key.fileobj)
                except OSError:  # it was removed meanwhile, or is not ready after all
                    continue
                if not size:
                    self._selector.unregister(key.fileobj)
                self.moved[number] += size
                if self._keep:
                    self.arrivals.append((time.monotonic(), number, size))

    def _receive(self, stream: socket.socket) -> int:
        return stream.recv_into(self._buffer)

    def _send(self, stream: socket.socket) -> int:
        return stream.send(BLOCK)


def share(proxy: Proxy, args: argparse.Namespace) -> dict[str, Any]:
    """Bytes are counted where they come out: here, or at the destination."""
    pump, counts = Pump(), Counts(proxy)

    def look() -> tuple[float, dict[int, int]]:
        return (time.monotonic(), dict(pump.moved)) if args.way == "down" else counts.now()

    for number in range(args.streams):
        pump.add(proxy.open(b"D" if args.way == "down" else b"U", number), number, args.way)
    time.sleep(args.warm_up)
    began, before = look()
    time.sleep(args.seconds)
    ended, after = look()
    got = [after.get(number, 0) - before.get(number, 0) for number in range(args.streams)]
    return {"got": got, "seconds": ended - began}


def newcomer(proxy: Proxy, args: argparse.Namespace) -> dict[str, Any]:
    """Of each repetition the arrivals of all, the newcomer's with the number -1."""
    pump = Pump(keep=True)
    for number in range(args.streams):
        pump.add(proxy.open(b"D", number), number)
    time.sleep(args.warm_up)
    seen = []
    for _ in range(args.repeat):
        pump.arrivals = []
        stream = proxy.open(b"D", args.streams)
        pump.add(stream, -1)
        time.sleep(STAY)
        pump.remove(stream)
        seen.append(pump.arrivals)
        stream.close()
        time.sleep(APART)
    return {"arrivals": seen}


def chat(stream: socket.socket, pump: Pump, seconds: float) -> dict[str, float]:
    """Round trips and the rate of the download beside them."""
    began, trips, before = time.monotonic(), Times(), sum(pump.moved.values())
    while time.monotonic() - began < seconds:
        sent = time.monotonic()
        stream.sendall(MESSAGE)
        receive(stream, len(MESSAGE))
        trips.append((time.monotonic() - sent) * 1000)
        time.sleep(PAUSE)
    took = time.monotonic() - began
    return {
        "median_ms": trips.median,
        "p99_ms": trips.p99,
        "bytes_per_s": (sum(pump.moved.values()) - before) / took,
    }


def stalled(proxy: Proxy, args: argparse.Namespace) -> dict[str, Any]:
    pump, talk, counts = Pump(), proxy.open(b"E"), Counts(proxy)
    pump.add(proxy.open(b"D"), 0)
    time.sleep(args.warm_up)
    without = chat(talk, pump, args.seconds)
    readers = [proxy.open(b"D", STALLED + number, buffer=SMALL_BUFFER) for number in range(args.streams)]
    filled = wait_until_still(counts)
    beside = chat(talk, pump, args.seconds)
    return {"without": without, "with": beside, "filled_s": filled, "stalled": len(readers)}


def wait_until_still(counts: Counts) -> float:
    """How many seconds it took. Raises TimeoutError where data flows on to streams that nobody reads."""
    began, last = time.monotonic(), -1
    while True:
        _, moved = counts.now()
        total = sum(size for number, size in moved.items() if number >= STALLED)
        if total == last:
            return time.monotonic() - began - STILL
        if time.monotonic() - began > FILLING:
            raise TimeoutError("streams that are not read still take data")
        last = total
        time.sleep(STILL)


LOADS = {"share": share, "newcomer": newcomer, "stalled": stalled}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("socks", type=int)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("load", choices=list(LOADS))
    parser.add_argument("--way", choices=["down", "up"], default="down")
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--warm-up", type=float, default=5)
    parser.add_argument("--repeat", type=int, default=7)
    args = parser.parse_args()
    print(json.dumps(LOADS[args.load](Proxy(args.socks, args.host, args.port), args)))


if __name__ == "__main__":
    main()
