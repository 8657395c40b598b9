"""What may stand between the local side and the exit: a road that breaks, and somebody who reads along."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING

from tests.e2e.machine import free_port

if TYPE_CHECKING:
    import ssl

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s


def listen(port: int) -> socket.socket:
    listener = socket.create_server(("127.0.0.1", port), backlog=64)
    listener.settimeout(0.1)  # so that `close` is seen: closing does not wake an accept
    return listener


class Road:
    """Carries bytes to a port until it is cut; then again, for whoever comes."""

    def __init__(self) -> None:
        self.port = free_port()
        self.carriers = 0
        self.carried = 0
        self._target = 0
        self._rude = False
        self._open: tuple[socket.socket, ...] = ()
        self._closed = threading.Event()
        self._listener = listen(self.port)
        self._thread = threading.Thread(target=self._accept)

    def lead_to(self, port: int) -> None:
        self._target = port
        self._thread.start()

    def cut(self, *, rudely: bool) -> None:
        """End what is on its way now: with a reset, or with an orderly end in both directions."""
        self._rude = rudely
        for side in self._open:
            with contextlib.suppress(OSError):
                if rudely:
                    side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                # Wakes the thread that reads; where only that is shut, nothing is sent before the close resets.
                side.shutdown(socket.SHUT_RD if rudely else socket.SHUT_RDWR)

    def close(self) -> None:
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join()
        self.cut(rudely=True)
        self._listener.close()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                near, _ = self._listener.accept()
            except TimeoutError:
                continue
            near.settimeout(None)
            try:
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                near.close()
                continue
            self._rude, self._open = False, (near, far)
            self.carriers += 1
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 18):
                sink.sendall(data)
                self.carried += len(data)
        if not self._rude:
            for side in (source, sink):
                with contextlib.suppress(OSError):
                    side.shutdown(socket.SHUT_RDWR)
        source.close()


class Interceptor:
    """A man in the middle with a certificate of his own. `heard` is all that came inside TLS."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.port = free_port()
        self.handshakes = 0
        self.heard = b""
        self._context = context
        self._closed = threading.Event()
        self._listener = listen(self.port)
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            connection.settimeout(5)
            with contextlib.suppress(OSError), self._context.wrap_socket(connection, server_side=True) as inside:
                self.handshakes += 1
                while data := inside.recv(1 << 16):
                    self.heard += data
            connection.close()
