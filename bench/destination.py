"""What bulk streams talk to, and which counts: a connection begins as with target.py, with the number of its stream.

python bench/destination.py HOST PORT

    D NUMBER   it sends without end            E NUMBER   it sends back what it gets
    U NUMBER   it takes what comes             S NUMBER   it reads nothing
    C 0        it answers each byte with a line of JSON: its time, and the bytes of each stream so far
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter

import trio
from target import ASK

#: What is counted at once: far less than a share of any window here.
BLOCK = bytes(65_536)
#: One accept queue for all that a load opens at once.
BACKLOG = 4096


class Destination:
    def __init__(self) -> None:
        self._moved: Counter[int] = Counter()

    async def serve(self, stream: trio.SocketStream) -> None:
        try:
            asked = b""
            while len(asked) < ASK.size:
                more = await stream.receive_some(ASK.size - len(asked))
                if not more:
                    return
                asked += more
            kind, number = ASK.unpack(asked)
            await _KINDS[kind](self, stream, number)
        except trio.BrokenResourceError:
            pass  # the load has ended

    async def send(self, stream: trio.SocketStream, number: int) -> None:
        while True:
            await stream.send_all(BLOCK)
            self._moved[number] += len(BLOCK)

    async def take(self, stream: trio.SocketStream, number: int) -> None:
        while data := await stream.receive_some(len(BLOCK)):
            self._moved[number] += len(data)

    async def echo(self, stream: trio.SocketStream, _number: int) -> None:
        while data := await stream.receive_some(len(BLOCK)):
            await stream.send_all(data)

    async def stall(self, _stream: trio.SocketStream, _number: int) -> None:
        await trio.sleep_forever()

    async def count(self, stream: trio.SocketStream, _number: int) -> None:
        while await stream.receive_some(1):
            counts = {"time": time.monotonic(), "moved": self._moved}
            await stream.send_all(json.dumps(counts).encode() + b"\n")


_KINDS = {
    b"D": Destination.send,
    b"U": Destination.take,
    b"E": Destination.echo,
    b"S": Destination.stall,
    b"C": Destination.count,
}


async def main(host: str, port: int) -> None:
    await trio.serve_tcp(Destination().serve, port, host=host, backlog=BACKLOG)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], int(sys.argv[2]))
