"""In place of a running local side: what it says of itself over the dashboard's interface."""

from __future__ import annotations

import hmac
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from proxy.address import Address

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "t" * 43
STATE = {
    "version": "0.1.0",
    "started": 1000.0,
    "now": 4600.0,
    "listen": ["127.0.0.1:1080"],
    "mode": "home-direct",
    "carrier": {
        "exit": "exit.example:443",
        "state": "up",
        "since": 1060.0,
        "rtt_ms": 84.1,
        "carriers": 2,
        "last_loss": {"at": 1050.0, "reason": "the connection was reset"},
    },
    "rate": {"up": 1200.0, "down": 88000.0},
    "total": {"up": 120000, "down": 8800000},
    "open": 2,
    "connections": 140,
    "memory": 52000000,
    "unheard_of": {"by": "this version"},
}


def connection(number: int, host: str, **more: Any) -> dict[str, Any]:
    known = {"app": "", "protocol": "socks5", "route": "tunnel", "rule": "default", "state": "open", "opened": 4000.0}
    return {"id": number, "host": host, "port": 443, "up": 0, "down": 0, "new": None} | known | more


class Standin(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.state: Any = dict(STATE)
        self.open: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.status = 0  # in place of what is right
        self.content = b""

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self.server_port)

    def answer(self, method: str, path: str) -> tuple[int, bytes]:
        self.asked.append(f"{method} {path}")
        if self.status:
            return self.status, self.content
        if method == "DELETE":
            number = int(path.rpartition("/")[2])
            left = [each for each in self.open if each["id"] != number]
            status = 404 if len(left) == len(self.open) else 204
            self.open = left
            return status, b""
        if path == "/api/v1/state":
            return 200, json.dumps(self.state).encode()
        return 200, json.dumps({"open_count": len(self.open), "open": self.open, "closed": []}).encode()


class _Handler(BaseHTTPRequestHandler):
    server: Standin

    def do_GET(self) -> None:
        path, _, nonce = self.path.partition("?nonce=")
        if path == "/api/v1/proof":
            proof = hmac.digest(
                TOKEN.encode(), f"ropeway dashboard proof {self.server.server_port} {nonce}".encode(), "sha256"
            ).hex()
            self._send(200, json.dumps({"proof": proof}).encode())
        elif self.headers.get("Authorization") == f"Bearer {TOKEN}":
            self._send(*self.server.answer(self.command, self.path))
        else:
            self._send(401, b"{}")

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_DELETE = do_GET  # noqa: N815  (http.server finds it by this name)

    def log_message(self, *_arguments: object) -> None:
        pass


@contextmanager
def standin() -> Iterator[Standin]:
    with Standin() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
