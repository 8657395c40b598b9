"""Apps that flood with datagrams by way of SOCKS5 (RFC 1928, section 7), and what sends them back. Both on loopback, for flood.py.

python bench/datagrams.py echo
python bench/datagrams.py flood SOCKS_PORT PORT ASSOCIATIONS SIZE

`echo` prints the port that it listens on, and serves until it is killed. `flood` has so many associations at that local port, each of which sends datagrams
of that size to that port as fast as its socket takes them. It prints "open" when it has them all, and at the end of its input a line of JSON: for how many
seconds that went on, how many datagrams were sent and how many came back.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import select
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Self

from target import receive

from proxy.address import Address
from proxy.protocol.socks import encode_datagram

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1"
#: No method but none; the port that it will send from is not known yet.
ASSOCIATE = b"\5\1\0" + b"\5\3\0\1" + bytes(6)
#: Of the answer to both: the reply has an IPv4 address.
ANSWER = 12
#: What the kernel keeps of an app's datagrams: some of the largest.
ROOM = 1 << 20
_LONGEST = 65_535


@dataclass(frozen=True)
class Flooded:
    seconds: float
    sent: int
    came_back: int


def echo() -> None:
    """Until it is killed."""
    with bound() as mine:
        print(mine.getsockname()[1], flush=True)
        while True:
            data, sender = mine.recvfrom(_LONGEST)
            with contextlib.suppress(OSError):  # its exit has ended
                mine.sendto(data, sender)


def bound() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for kind in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        made.setsockopt(socket.SOL_SOCKET, kind, ROOM)
    made.bind((HOST, 0))
    return made


def associated(socks: int) -> tuple[socket.socket, socket.socket]:
    """The connection on which an association was asked for, and the app's socket. Raises OSError."""
    control = socket.create_connection((HOST, socks), timeout=20)
    try:
        control.sendall(ASSOCIATE)
        answer = receive(control, ANSWER)
        if answer[3]:
            raise ConnectionError(f"the proxy takes no datagrams: SOCKS5 reply {answer[3]}")
    except BaseException:
        control.close()
        raise
    app = bound()
    app.connect((HOST, int.from_bytes(answer[-2:], "big")))
    app.setblocking(False)
    return control, app


def send(app: socket.socket, datagram: bytes) -> int:
    """How many: it is dropped where there is no room."""
    with contextlib.suppress(OSError):
        app.send(datagram)
        return 1
    return 0


def read(app: socket.socket) -> int:
    """All that is there; how many."""
    came = 0
    with contextlib.suppress(OSError):  # there is no more
        while app.recv(_LONGEST):
            came += 1
    return came


def flood(socks: int, port: int, associations: int, size: int) -> Flooded:
    """Until standard input ends. Raises OSError where there are no such associations."""
    raise_limit()
    opened = [associated(socks) for _ in range(associations)]
    print("open", flush=True)
    datagram = encode_datagram(Address(HOST, port), bytes(size))
    began, sent, came_back = time.monotonic(), 0, 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        for _, app in opened:
            sent += send(app, datagram)
            came_back += read(app)
    came_back += sum(read(app) for _, app in opened)
    return Flooded(time.monotonic() - began, sent, came_back)


def raise_limit() -> None:
    """Of descriptors, of which each association takes two."""
    if sys.platform != "win32":
        import resource

        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


# ---- for who starts it


def command(*words: str) -> list[str]:
    return [sys.executable, __file__, *words]


@contextlib.contextmanager
def echoing() -> Iterator[int]:
    """An echo as a process of its own; its port."""
    with subprocess.Popen(command("echo"), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


class Flood:
    """A flood as a process of its own, which begins and ends with the block."""

    def __init__(self, socks: int, port: int, associations: int, size: int) -> None:
        words = [str(word) for word in (socks, port, associations, size)]
        self._process = subprocess.Popen(
            command("flood", *words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        """Once all associations are there. Raises RuntimeError where they are not."""
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "open\n":
            self.__exit__()
            raise RuntimeError("the flood did not begin")
        return self

    def finish(self) -> Flooded:
        """Raises RuntimeError where it had ended before, or moved nothing."""
        said, _ = self._process.communicate(timeout=60)
        if self._process.returncode:
            raise RuntimeError("the flood ended")
        flooded = Flooded(**json.loads(said))
        if not flooded.came_back:
            raise RuntimeError(f"of {flooded.sent} datagrams none came back")
        return flooded

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("echo")
    of_flood = kinds.add_parser("flood")
    for name in ("socks", "port", "associations", "size"):
        of_flood.add_argument(name, type=int)
    words = vars(parser.parse_args())
    if words.pop("kind") == "echo":
        echo()
    print(json.dumps(asdict(flood(**words))))


if __name__ == "__main__":
    main()
