"""A user who takes and gives nothing back: opens sessions and streams, asks for all there is and acknowledges nothing of it.

    python -m tests.lab.squatter --link LINK --port PORT --path PATH --sessions NUMBER --streams NUMBER --seconds SECONDS

Its sessions come one after the other. Each opens streams to the web server at that port of the exit's machine, asks for the path with all the
credit that there may be, shows that it lives for some seconds, and is left without a word. In the end it says how many it has `left`.
"""

from __future__ import annotations

import argparse
import struct

import trio

from proxy.errors import CarrierError
from proxy.greeting import Greeting
from proxy.protocol.frame import Type, encode
from proxy.protocol.handshake import NO_TOKEN, Wanted
from proxy.protocol.stream import MAX_WINDOW
from proxy.share import Link
from proxy.tls import TLSStream, connect_tls, local_context

#: The exit hears so often of a carrier that it is alive; it would take it for dead after 5 s.
_ALIVE_SECONDS = 1.0
#: What the greeting takes one round trip of the lab for.
_ROUND_TRIP = 0.1
_NAME = b"localhost"


def frames(given: argparse.Namespace) -> bytes:
    address = bytes([3, len(_NAME)]) + _NAME + struct.pack("!H", given.port)
    request = f"GET /{given.path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    each = ((Type.OPEN, address), (Type.DATA, request), (Type.CREDIT, struct.pack("!I", MAX_WINDOW)))
    return b"".join(encode(kind, number, data) for number in range(1, given.streams + 1) for kind, data in each)


async def squat(given: argparse.Namespace, link: Link) -> None:
    """One session, up to the moment when it is left. Raises CarrierError where the exit has none for us."""
    transport = await trio.open_tcp_stream(link.host, link.port)
    stream, binding = await connect_tls(transport, local_context(roots=False), link.sni, link.pin)
    greeting = Greeting(stream, binding, link.key, _ROUND_TRIP)
    await greeting.exchange(greeting.hello(Wanted.NEW, NO_TOKEN, 0, 0), frames(given))
    with trio.move_on_after(given.seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(seem_alive, stream)
            while await stream.receive_some():
                pass
            nursery.cancel_scope.cancel()
    await trio.aclose_forcefully(stream)


async def seem_alive(stream: TLSStream) -> None:
    while True:
        await stream.send_all(encode(Type.PING, 0, bytes(8)))
        await trio.sleep(_ALIVE_SECONDS)


async def run(given: argparse.Namespace) -> None:
    left = refused = 0
    for _ in range(given.sessions):
        try:
            await squat(given, Link.parse(given.link))
            left += 1
        except* (CarrierError, trio.BrokenResourceError, OSError):
            refused += 1
    print(f"left {left}, refused {refused}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, kind in {
        "link": str,
        "port": int,
        "path": str,
        "sessions": int,
        "streams": int,
        "seconds": float,
    }.items():
        parser.add_argument(f"--{name}", type=kind, required=True)
    trio.run(run, parser.parse_args())


if __name__ == "__main__":
    main()
