"""The load of latency.py: round trips of 64 bytes beside bulk, through a SOCKS5 proxy or directly, as one line of JSON.

python bench/round_trips.py SOCKS_PORT HOST PORT [--way down|up] [--streams N] [--seconds S] [--beside N]

A SOCKS_PORT of 0 connects directly. `--beside`: so many downloads that go directly at the same time, whose rate is told apart.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import struct
import threading
import time

MESSAGE = bytes(64)
BLOCK = bytes(65_536)
#: Between round trips; and until bulk has found its rate.
PAUSE, WARM_UP = 0.05, 3.0


def connect(socks: int, host: str, port: int, kind: bytes) -> socket.socket:
    """Raises OSError."""
    if not socks:
        stream = socket.create_connection((host, port), 20)
    else:
        stream = socket.create_connection(("127.0.0.1", socks), 20)
        stream.sendall(b"\5\1\0")
        receive(stream, 2)
        stream.sendall(b"\5\1\0\1" + socket.inet_aton(host) + struct.pack("!H", port))
        if receive(stream, 10)[1]:
            raise ConnectionError("the proxy does not connect")
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.sendall(kind)
    return stream


def receive(stream: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = stream.recv(size - len(data))
        if not more:
            raise ConnectionError("it was closed")
        data += more
    return data


class Bulk:
    """One stream in a thread of its own; `moved` is how many bytes so far. Going up, that counts what the kernel took."""

    def __init__(self, stream: socket.socket, way: str) -> None:
        self._stream = stream
        self.moved = 0
        self.samples: list[tuple[float, int]] = []
        threading.Thread(target=self._down if way == "down" else self._up, daemon=True).start()

    def _down(self) -> None:
        while data := self._stream.recv(262_144):
            self.moved += len(data)

    def _up(self) -> None:
        while True:
            self.moved += self._stream.send(BLOCK)


def rate(bulks: list[Bulk], seconds: float, before: list[int]) -> float:
    """Mbit/s of all of them."""
    return sum(bulk.moved - start for bulk, start in zip(bulks, before, strict=True)) * 8 / 1e6 / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("socks", type=int)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--way", choices=["down", "up"], default="down")
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--beside", type=int, default=0)
    args = parser.parse_args()
    chat = connect(args.socks, args.host, args.port, b"E")
    kind = b"D" if args.way == "down" else b"U"
    bulks = [Bulk(connect(args.socks, args.host, args.port, kind), args.way) for _ in range(args.streams)]
    others = [Bulk(connect(0, args.host, args.port, b"D"), "down") for _ in range(args.beside)]
    time.sleep(WARM_UP)
    start, trips = time.monotonic(), list[float]()
    before, before_others = [bulk.moved for bulk in bulks], [bulk.moved for bulk in others]
    while time.monotonic() - start < args.seconds:
        sent = time.monotonic()
        chat.sendall(MESSAGE)
        receive(chat, len(MESSAGE))
        trips.append((time.monotonic() - sent) * 1000)
        time.sleep(PAUSE)
    seconds = time.monotonic() - start
    trips.sort()
    each = [(bulk.moved - first) * 8 / 1e6 / seconds for bulk, first in zip(bulks, before, strict=True)]
    figures = {
        "median_ms": round(statistics.median(trips), 1),
        "p99_ms": round(trips[min(len(trips) * 99 // 100, len(trips) - 1)], 1),
        "bulk_mbit": round(rate(bulks, seconds, before), 1),
        "least_share": round(min(each) / statistics.mean(each), 2) if sum(each) else 0.0,
        "beside_mbit": round(rate(others, seconds, before_others), 1),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
