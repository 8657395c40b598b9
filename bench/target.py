"""What the loads talk to. A connection begins with a letter and a number of 8 bytes, which say what it is for.

python bench/target.py [--host ADDRESS]

    D n   it sends n bytes, or without end where n is 0
    U n   it takes n bytes, or all until the end where n is 0, and answers with their count in 8 bytes
    E 0   it sends back what it gets

It prints the port that it listens on, and serves until it is killed.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import struct
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ASK = struct.Struct("!cQ")
COUNT = struct.Struct("!Q")
#: Large enough that system calls cost little for each byte, small enough to stay in the processor's cache.
BLOCK = 262_144
#: Connections served at once: 32 of connections.py which open and close, the bulk streams, a chat, and some that are closing.
#: They wait in `accept` from the beginning, as a thread for each connection would cost more than the connection.
WORKERS = 96
BACKLOG = 1024


def receive(stream: socket.socket, size: int) -> bytes:
    """Raises ConnectionError where it ends before."""
    data = b""
    while len(data) < size:
        more = stream.recv(size - len(data))
        if not more:
            raise ConnectionError(f"closed after {len(data)} of {size} bytes")
        data += more
    return data


def send_zeros(stream: socket.socket, size: int) -> None:
    block = memoryview(bytes(BLOCK))
    left = size
    while left:
        part = min(left, BLOCK)
        stream.sendall(block[:part])
        left -= part


def count(stream: socket.socket, size: int) -> int:
    """Takes bytes until there are so many, or until the end; how many came."""
    buffer, taken = bytearray(BLOCK), 0
    while taken < size:
        more = stream.recv_into(buffer)
        if not more:
            break
        taken += more
    return taken


#: What 0 stands for: no transfer here reaches it.
ENDLESS = 1 << 62


def send(stream: socket.socket, size: int) -> None:
    send_zeros(stream, size or ENDLESS)


def take(stream: socket.socket, size: int) -> None:
    stream.sendall(COUNT.pack(count(stream, size or ENDLESS)))


def echo(stream: socket.socket, _size: int) -> None:
    while data := stream.recv(BLOCK):
        stream.sendall(data)


KINDS = {b"D": send, b"U": take, b"E": echo}


def serve(stream: socket.socket) -> None:
    with stream, contextlib.suppress(OSError):  # the load has ended
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        kind, size = ASK.unpack(receive(stream, ASK.size))
        KINDS[kind](stream, size)


def work(listener: socket.socket) -> None:
    while True:
        serve(listener.accept()[0])


@contextlib.contextmanager
def serving(host: str = "127.0.0.1", prefix: Sequence[str] = ()) -> Iterator[int]:
    """A target as a process of its own; its port. `prefix` stands before the command, to run it in a host of the lab."""
    argv = [*prefix, sys.executable, __file__, "--host", host]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    listener = socket.create_server((parser.parse_args().host, 0), backlog=BACKLOG)
    print(listener.getsockname()[1], flush=True)
    workers = [threading.Thread(target=work, args=(listener,)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()


if __name__ == "__main__":
    main()
