"""What the loads of the benchmarks talk to: `E` and it sends back what it gets, `D` and it sends without end, `U` and it takes what comes.

python bench/target.py PORT
"""

from __future__ import annotations

import sys

import trio

BLOCK = bytes(262_144)


async def serve(stream: trio.SocketStream) -> None:
    try:
        kind = bytes(await stream.receive_some(1))
        if kind == b"D":
            while True:
                await stream.send_all(BLOCK)
        while data := await stream.receive_some(65_536):
            if kind == b"E":
                await stream.send_all(data)
    except trio.BrokenResourceError:
        pass  # the load has ended


async def main(port: int) -> None:
    await trio.serve_tcp(serve, port, host="0.0.0.0")


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
