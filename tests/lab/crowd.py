"""Streams that come and go: each sends some bytes to an echo server by way of a SOCKS proxy, and compares what comes back.

    python -m tests.lab.crowd --proxy PORT --port PORT --streams NUMBER --report FILE

keeps that many streams open. At SIGTERM it opens no more, waits for those that are open and writes the report.
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import asdict, dataclass, field

import trio

from tests.lab.programs import connect_by_socks, told_to_stop, write_report

#: Shorter than the patience of whoever stops us (machine.Program.stop).
_DRAIN_SECONDS = 9.0
#: Of a stream: most are small, as on the web.
_SMALLEST, _LARGEST = 1, 100_000
#: It is sent in so many pieces, with pauses of so many seconds at most, so that trouble finds streams in every state.
_PIECES, _PAUSE = 5, 1.0
#: Before another attempt where the proxy has no way to the exit, and says so.
_REFUSED_PAUSE = 0.5


@dataclass
class Seen:
    """`refused`: connections that were never made; whoever asked was told so."""

    streams: int = 0
    bytes: int = 0
    refused: int = 0
    faults: list[str] = field(default_factory=list)


class Crowd:
    def __init__(self, proxy: int, port: int) -> None:
        self.seen = Seen()
        self._proxy, self._port = proxy, port

    async def come_and_go(self, stop: trio.Event) -> None:
        while not stop.is_set():
            try:
                stream = await connect_by_socks(self._proxy, self._port)
            except (OSError, EOFError):
                self.seen.refused += 1
                await trio.sleep(_REFUSED_PAUSE)
                continue
            await self._use(stream, random.randbytes(int(_LARGEST ** random.random())))

    async def _use(self, stream: trio.SocketStream, data: bytes) -> None:
        came, began = bytearray(), time.monotonic()
        try:
            async with stream, trio.open_nursery() as nursery:
                nursery.start_soon(self._send, stream, data)
                while chunk := await stream.receive_some(65536):
                    came += chunk
        except* trio.BrokenResourceError as broken:
            self._fault(broken.exceptions[0].__cause__, data, came, began)
        else:
            if came != data:
                self._fault("wrong bytes, or too few", data, came, began)
        self.seen.streams += 1
        self.seen.bytes += len(came)

    def _fault(self, what: object, data: bytes, came: bytearray, began: float) -> None:
        self.seen.faults.append(f"{what!r}: {len(came)} of {len(data)} bytes came in {time.monotonic() - began:.1f} s")

    async def _send(self, stream: trio.SocketStream, data: bytes) -> None:
        size = -(-len(data) // _PIECES)
        for begin in range(0, len(data), size):
            await stream.send_all(data[begin : begin + size])
            await trio.sleep(random.uniform(0, _PAUSE))
        await stream.send_eof()


async def run(given: argparse.Namespace) -> None:
    crowd = Crowd(given.proxy, given.port)
    with trio.CancelScope() as scope:
        async with told_to_stop() as stop, trio.open_nursery() as nursery:
            for _ in range(given.streams):
                nursery.start_soon(crowd.come_and_go, stop)
            print("coming and going", flush=True)
            await stop.wait()
            scope.deadline = trio.current_time() + _DRAIN_SECONDS
    if scope.cancelled_caught:
        crowd.seen.faults.append(f"streams had not ended {_DRAIN_SECONDS:g} s after the network was well")
    write_report(given, asdict(crowd.seen))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--proxy", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--report", required=True)
    trio.run(run, parser.parse_args())


if __name__ == "__main__":
    main()
