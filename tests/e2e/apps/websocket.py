"""Somebody in a chat over a WebSocket by way of the proxy, with the library websockets: as Discord, Slack and Signal do it.

The server beside it gives what each says to all others.
"""

from __future__ import annotations

import ssl
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from tests.e2e.talk import Ear, part, tell

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def room(context: ssl.SSLContext, beat: float) -> Iterator[int]:
    """The port of a room for two, who are told to begin when both are there."""
    present: list[ServerConnection] = []
    complete = threading.Event()

    def attend(connection: ServerConnection) -> None:
        present.append(connection)
        if present.index(connection) == 1:
            for each in present:
                each.send("begin")
            complete.set()
        complete.wait()
        for message in connection:
            for other in present:
                if other is not connection:
                    other.send(message)

    with serve(attend, "127.0.0.1", 0, ssl=context, ping_interval=beat) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield int(server.socket.getsockname()[1])
        finally:
            complete.set()
            server.shutdown()
            thread.join()


def main() -> None:
    given, more = part("scheme")
    context = ssl.create_default_context(cafile=given.authority)
    proxy = f"{more.scheme}://127.0.0.1:{given.proxy}"
    ear, heard_all = Ear(given.me, given.plan), threading.Event()
    with connect(
        f"wss://localhost:{given.port}/", ssl=context, proxy=proxy, ping_interval=given.plan.beat
    ) as connection:
        tell(f"{given.me} connected")
        assert connection.recv() == "begin"

        def listen() -> None:
            while not heard_all.is_set():
                if ear.hear(str(connection.recv())):
                    heard_all.set()

        listening = threading.Thread(target=listen)
        listening.start()
        for number in given.plan.moments():
            connection.send(str(number))
        listening.join()


if __name__ == "__main__":
    main()
