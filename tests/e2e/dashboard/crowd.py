"""Thousands of connections of apps to a running local side, that stay and have something to say."""

from __future__ import annotations

import contextlib
import resource
import selectors
import socket
import sys
import threading
from typing import TYPE_CHECKING

from tests.e2e.apps import receive

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Opened together before their answers are read.
BATCH = 100
_ANSWERS = 12  # bytes of a SOCKS5 server: 2 for the method, 10 for the address (RFC 1928, sections 3 and 6)


class Crowd:
    """The apps' ends, and the port of the server where all of them lead."""

    def __init__(self, local_port: int) -> None:
        self.apps: list[socket.socket] = []
        self._local_port = local_port
        self._server = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._accepted: list[socket.socket] = []
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the server has closed
            while True:
                self._accepted.append(self._server.accept()[0])

    def grow(self, count: int) -> None:
        asked = b"\x05\x01\x00" + b"\x05\x01\x00\x01\x7f\x00\x00\x01" + self.port.to_bytes(2, "big")
        for _ in range(0, count, BATCH):
            new = []
            for _ in range(BATCH):
                app = socket.create_connection(("127.0.0.1", self._local_port), timeout=30)
                app.sendall(asked)
                new.append(app)
            for app in new:
                receive(app, _ANSWERS)
            self.apps += new

    def talk(self, every: int) -> None:
        """Each of so many says something."""
        for app in self.apps[::every]:
            with contextlib.suppress(OSError):  # it was closed by hand
                app.sendall(bytes(100))

    def ended(self) -> int:
        """How many have been ended from the other side, which says nothing."""
        with selectors.DefaultSelector() as selector:
            for app in self.apps:
                selector.register(app, selectors.EVENT_READ)
            return len(selector.select(0))

    def close(self) -> None:
        for end in (self._server, *self.apps, *self._accepted):
            end.close()


@contextlib.contextmanager
def crowd(local_port: int) -> Iterator[Crowd]:
    if sys.platform == "win32":  # the type checker reads no further there
        raise OSError("not here")
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    made = Crowd(local_port)
    try:
        yield made
    finally:
        made.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))
