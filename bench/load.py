"""The load: transfers, short connections, and a chat beside bulk, through a SOCKS5 proxy or directly, to a target (target.py).

python bench/load.py SOCKS_PORT HOST PORT [--up] [--streams N] [--seconds S] [--beside N] [--quiet S] [--warm-up S] [--pause S]

watches a chat beside bulk and prints what it saw as one line of JSON. A SOCKS_PORT of 0 connects directly.
Plain sockets in threads: what is measured is to be the proxy.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import statistics
import struct
import sys
import threading
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from target import ASK, BLOCK, COUNT, count, receive, send_zeros

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: A chat message, and what a short connection asks.
MESSAGE = bytes(64)
#: Nothing moves for so many seconds: it hangs.
PATIENCE = 20
#: At once, as a browser and its neighbours do.
WORKERS = 32


@dataclass(frozen=True)
class Way:
    """Through the SOCKS5 proxy on that local port, or directly where it is 0, to the target."""

    socks: int
    host: str
    port: int


def connect(way: Way, kind: bytes, size: int = 0, *, buffer: int = 0, patience: int = PATIENCE) -> socket.socket:
    """Raises OSError; so does everything on the socket when nothing moves for so many seconds.

    `buffer`: of what was received and not read, in bytes; 0 is the system's.
    """
    stream = socket.socket()
    try:
        if buffer:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        stream.settimeout(patience)
        stream.connect(("127.0.0.1", way.socks) if way.socks else (way.host, way.port))
        stream.settimeout(None)
        if sys.platform == "linux":  # Python's own limit costs a system call for each of ours
            limit = struct.pack("ll", patience, 0)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if way.socks:
            ask_proxy(stream, way)
        stream.sendall(ASK.pack(kind, size))
    except BaseException:
        stream.close()
        raise
    return stream


def ask_proxy(stream: socket.socket, way: Way) -> None:
    stream.sendall(b"\5\1\0")
    receive(stream, 2)
    stream.sendall(b"\5\1\0\1" + socket.inet_aton(way.host) + struct.pack("!H", way.port))
    reply = receive(stream, 10)[1]
    if reply:
        raise ConnectionError(f"the proxy does not connect: SOCKS5 reply {reply}")


# ---- transfers


def download(way: Way, size: int) -> None:
    """Raises OSError where not all of it came."""
    with connect(way, b"D", size) as stream:
        check(count(stream, size), size)


def upload(way: Way, size: int) -> None:
    """Until the target has confirmed all of it. Raises OSError where it did not."""
    with connect(way, b"U", size) as stream:
        send_zeros(stream, size)
        check(COUNT.unpack(receive(stream, COUNT.size))[0], size)


def half_close(way: Way, size: int) -> None:
    """Send, end, and still get the answer. Raises OSError where it does not come, or is wrong."""
    with connect(way, b"U") as stream:
        send_zeros(stream, size)
        stream.shutdown(socket.SHUT_WR)
        check(COUNT.unpack(receive(stream, COUNT.size))[0], size)


def check(arrived: int, size: int) -> None:
    if arrived != size:
        raise ConnectionError(f"{arrived} of {size} bytes arrived")


def side_by_side(work: Callable[[], None], threads: int) -> float:
    """Seconds until all have done it. Raises what the first of them raised."""
    failures: list[Exception] = []

    def once() -> None:
        try:
            work()
        except Exception as failure:
            failures.append(failure)

    workers = [threading.Thread(target=once) for _ in range(threads)]
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if failures:
        raise failures[0]
    return time.perf_counter() - began


def rate(transfer: Callable[[Way, int], None], way: Way, size: int, streams: int) -> float:
    """MB/s of all streams together, which share the size. Raises OSError."""
    each = size // streams
    return each * streams / side_by_side(lambda: transfer(way, each), streams) / 1e6


# ---- short connections


class Times(list[float]):
    """In milliseconds."""

    @property
    def median(self) -> float:
        return statistics.median(self)

    @property
    def p99(self) -> float:
        return percentile(self, 0.99)


@dataclass(frozen=True)
class Connects:
    """How many a second, and how long each took."""

    rate: float
    times: Times


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def connects(way: Way, seconds: float, workers: int = WORKERS) -> Connects:
    """Connect, one echo, close, again and again in each of the workers, and once at least. Raises OSError."""
    times = Times()
    until = time.perf_counter() + seconds

    def work() -> None:
        while True:
            began = time.perf_counter()
            with connect(way, b"E") as stream:
                stream.sendall(MESSAGE)
                receive(stream, len(MESSAGE))
            times.append((time.perf_counter() - began) * 1000)
            if time.perf_counter() >= until:
                break

    took = side_by_side(work, workers)
    return Connects(len(times) / took, times)


# ---- a chat beside bulk


@dataclass(frozen=True)
class Plan:
    """Round trips with a pause after each, beside so many bulk streams, and others that go directly to the same target.

    `quiet`: seconds of chat before bulk begins. `later`: how many seconds after it the others begin, or before it where that is less than 0.
    `warm_up`: seconds after all that which the figures leave out. `seconds`: those which they are of.
    """

    streams: int = 1
    up: bool = False
    beside: int = 0
    later: float = 0.0
    quiet: float = 0.0
    warm_up: float = 3.0
    seconds: float = 30.0
    pause: float = 0.05

    @property
    def counted(self) -> float:
        """Seconds until the figures begin."""
        return self.quiet + abs(self.later) + self.warm_up

    def words(self) -> list[str]:
        """As arguments of this program."""
        named = {
            "streams": self.streams,
            "beside": self.beside,
            "later": self.later,
            "quiet": self.quiet,
            "warm-up": self.warm_up,
        }
        named |= {"seconds": self.seconds, "pause": self.pause}
        return [word for name, value in named.items() for word in (f"--{name}", str(value))] + ["--up"] * self.up


@dataclass(frozen=True)
class Watched:
    """All since `began`, on the machine's monotonic clock: each round trip (seconds, milliseconds) and, at the same time, bytes moved so far.

    The figures are of what came after `counted` seconds. Bytes that go up are those that the kernel took.
    """

    began: float
    counted: float
    trips: list[list[float]]
    bulk: list[list[int]]
    beside: list[int]

    def _since(self) -> int:
        """The first that counts."""
        return next(index for index, (at, _) in enumerate(self.trips) if at >= self.counted)

    @property
    def times(self) -> Times:
        return Times(took for _, took in self.trips[self._since() :])

    @property
    def mbit(self) -> float:
        """Of all bulk streams together, a second."""
        return sum(self._mbit(list(of_one)) for of_one in zip(*self.bulk, strict=True))

    @property
    def beside_mbit(self) -> float:
        return self._mbit(self.beside)

    @property
    def least_share(self) -> float:
        """What the slowest bulk stream got, of the mean."""
        each = [self._mbit(list(of_one)) for of_one in zip(*self.bulk, strict=True)]
        return min(each) / statistics.mean(each) if sum(each) else 0.0

    def _mbit(self, moved: list[int]) -> float:
        first = self._since()
        return (moved[-1] - moved[first]) * 8 / 1e6 / (self.trips[-1][0] - self.trips[first][0])


class Bulk:
    """One stream in a thread of its own, from `after` seconds on; `moved` is how many bytes so far."""

    def __init__(self, way: Way, up: bool, after: float) -> None:
        self._way, self._after, self._work = way, after, self._send if up else self._receive
        self._kind = b"U" if up else b"D"
        self._stream: socket.socket | None = None
        self._stopped = threading.Event()
        self._failure: OSError | None = None
        self.moved = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Raises OSError where it ended before."""
        self._stopped.set()
        if self._stream:
            with contextlib.suppress(OSError):  # it has ended by itself
                self._stream.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        if self._failure:
            raise self._failure

    def _run(self) -> None:
        if self._stopped.wait(self._after):
            return
        try:
            with connect(self._way, self._kind) as stream:
                self._stream = stream
                if not self._stopped.is_set():
                    self._work(stream)
        except OSError as failure:
            if not self._stopped.is_set():
                self._failure = failure

    def _receive(self, stream: socket.socket) -> None:
        buffer = bytearray(BLOCK)
        # Linux goes on giving what comes after a shutdown.
        while not self._stopped.is_set() and (more := stream.recv_into(buffer)):
            self.moved += more
        if not self._stopped.is_set():
            raise ConnectionError("the download ended")

    def _send(self, stream: socket.socket) -> None:
        block = bytes(65_536)
        while True:
            self.moved += stream.send(block)


def watch(way: Way, plan: Plan) -> Watched:
    """Raises OSError where the chat or one of the bulk streams ends."""
    with connect(way, b"E") as chat:
        began = time.monotonic()
        begin, others_begin = plan.quiet + max(-plan.later, 0), plan.quiet + max(plan.later, 0)
        bulks = [Bulk(way, plan.up, begin) for _ in range(plan.streams)]
        others = [Bulk(Way(0, way.host, way.port), plan.up, others_begin) for _ in range(plan.beside)]
        watched = Watched(began, plan.counted, [], [], [])
        while (at := time.monotonic() - began) < plan.counted + plan.seconds:
            sent = time.perf_counter()
            chat.sendall(MESSAGE)
            receive(chat, len(MESSAGE))
            watched.trips.append([at, (time.perf_counter() - sent) * 1000])
            watched.bulk.append([bulk.moved for bulk in bulks])
            watched.beside.append(sum(bulk.moved for bulk in others))
            time.sleep(plan.pause)
        for bulk in (*bulks, *others):
            bulk.stop()
    return watched


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("socks", type=int)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--up", action="store_true")
    for name, default in asdict(Plan()).items():
        if name != "up":
            parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    args = vars(parser.parse_args())
    way = Way(args.pop("socks"), args.pop("host"), args.pop("port"))
    print(json.dumps(asdict(watch(way, Plan(**args)))))


if __name__ == "__main__":
    main()
