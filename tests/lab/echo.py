"""A server that sends everything back, and ends when its peer does.

python -m tests.lab.echo PORT
"""

from __future__ import annotations

import sys

import trio

#: An echo that holds more than the peer reads would only fill kernels.
_CHUNK = 65536


async def echo(stream: trio.SocketStream) -> None:
    try:
        while data := await stream.receive_some(_CHUNK):
            await stream.send_all(data)
        await stream.send_eof()
    except trio.BrokenResourceError:
        pass  # the test has ended it


async def main(port: int) -> None:
    await trio.serve_tcp(echo, port, host="127.0.0.1")


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
