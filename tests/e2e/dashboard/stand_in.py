"""A program that says what docs/api.md says, with as many connections as are wanted and no network: for the page alone.

python -m tests.e2e.dashboard.stand_in PORT COUNT
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import segno

from tests.e2e.dashboard.invented import FINDINGS, LINK, Invented

if TYPE_CHECKING:
    from collections.abc import Callable

TOKEN = "invented"
PAGE = Path(__file__).parents[3] / "proxy" / "dashboard"
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'"
KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


class StandIn(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, invented: Invented, *, findings: list[dict[str, Any]] | None = None) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.invented = invented
        self.findings = FINDINGS if findings is None else findings
        self.interval = 1.0
        self.silent = threading.Event()
        self.token = TOKEN

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Browsers leave as they like."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StandIn

    def log_request(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/" or path.startswith("/dashboard/"):
            self._page(path.removeprefix("/dashboard/").strip("/") or "index.html")
        elif path == "/api/v1/live":
            self._live()
        else:
            self._api()

    def do_POST(self) -> None:
        self._api()

    def do_PUT(self) -> None:
        self._api()

    def do_DELETE(self) -> None:
        self._api()

    def _page(self, name: str) -> None:
        file = PAGE / name
        if "/" in name or not file.is_file():
            self._say(HTTPStatus.NOT_FOUND)
            return
        fields = {"Content-Security-Policy": POLICY, "Content-Type": f"{KINDS[file.suffix]}; charset=utf-8"}
        self._answer(HTTPStatus.OK, file.read_bytes(), fields | {"X-Content-Type-Options": "nosniff"})

    def _api(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != f"Bearer {self.server.token}":
            self._say(HTTPStatus.UNAUTHORIZED, {"error": "the token is missing or wrong"})
            return
        path = unquote(self.path.partition("?")[0].removeprefix("/api/v1/"))
        invented = self.server.invented
        invented.calls.append(f"{self.command} {path}")
        for method, pattern, do in _ROUTES:
            match = re.fullmatch(pattern, path)
            if method == self.command and match:
                value = do(self.server, *match.groups(), *([json.loads(content)] if content else []))
                if value is False:
                    break
                if value is None or value is True:
                    self._answer(HTTPStatus.NO_CONTENT, b"", {})
                else:
                    self._say(HTTPStatus.OK, value)
                return
        self._say(HTTPStatus.NOT_FOUND, {"error": f"there is no {path}"})

    def _say(self, status: HTTPStatus, value: Any = None) -> None:
        self._answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: HTTPStatus, body: bytes, fields: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (fields | {"Content-Length": str(len(body)), "Cache-Control": "no-store"}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _live(self) -> None:
        """Messages to the browser as RFC 6455, section 5.2 has them; of what it says only the first is read."""
        key = self.headers["Sec-WebSocket-Key"].encode()
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()
        self.send_response(HTTPStatus.SWITCHING_PROTOCOLS)
        for name, value in (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept)):
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        if json.loads(self._read_message())["token"] != self.server.token:
            self._frame(0x88, (4401).to_bytes(2, "big"))
            return
        known: dict[int, str] = {}
        lines = 0
        while not self.server.silent.is_set():
            message, lines = _message(self.server.invented, known, lines)
            self._frame(0x81, json.dumps(message).encode())
            time.sleep(self.server.interval)
            self.server.invented.go_on(time.time())

    def _read_message(self) -> bytes:
        _, size = self.rfile.read(2)
        size &= 0x7F
        if size == 126:
            size = int.from_bytes(self.rfile.read(2), "big")
        mask = self.rfile.read(4)
        return bytes(byte ^ mask[i % 4] for i, byte in enumerate(self.rfile.read(size)))

    def _frame(self, kind: int, data: bytes) -> None:
        size = len(data)
        if size < 126:
            head = bytes([kind, size])
        elif size < 1 << 16:
            head = bytes([kind, 126]) + size.to_bytes(2, "big")
        else:
            head = bytes([kind, 127]) + size.to_bytes(8, "big")
        self.wfile.write(head + data)


def _message(invented: Invented, known: dict[int, str], lines: int) -> tuple[dict[str, Any], int]:
    """What is new to a client that knows these connections and so many lines of the log."""
    with invented.lock:
        now = {number: json.dumps(entry) for number, entry in invented.open.items()}
        new = [invented.open[number] for number, text in now.items() if known.get(number) != text]
        gone = [number for number in known if number not in now]
        closed = [entry for entry in invented.closed if not known or entry["id"] in known]
        known.clear()
        known.update(now)
        connections = {"open_count": len(now), "open": new, "closed": closed, "gone": gone}
        return {"state": invented.state(), "connections": connections, "log": invented.log[lines:]}, len(invented.log)


def _set_mode(server: StandIn, content: dict[str, str]) -> None:
    server.invented.mode = content["mode"]


def _count(server: StandIn, content: dict[str, bool]) -> None:
    server.invented.counts = content["kept"]


def _wipe(server: StandIn) -> None:
    server.invented.kept = False


def _link(server: StandIn, name: str) -> dict[str, str]:
    return {"link": LINK, "svg": segno.make(LINK).svg_inline(border=2)}


def _doctor(server: StandIn) -> dict[str, Any]:
    time.sleep(0.3)
    return {"findings": server.findings}


_ROUTES: list[tuple[str, str, Callable[..., Any]]] = [
    ("GET", "state", lambda server: server.invented.state()),
    ("GET", "history", lambda server: server.invented.history()),
    ("GET", "rules", lambda server: server.invented.rules()),
    ("GET", "usage", lambda server: server.invented.usage()),
    ("GET", "log", lambda server: {"lines": server.invented.log}),
    ("GET", "exits/(.+)/link", _link),
    ("DELETE", "connections", lambda server: server.invented.end_all()),
    ("DELETE", r"connections/(\d+)", lambda server, number: server.invented.end(int(number))),
    ("POST", "exits/(.+)/use", lambda server, name: server.invented.prefer(name)),
    ("PUT", "mode", _set_mode),
    ("PUT", "usage", _count),
    ("DELETE", "usage", _wipe),
    ("POST", "doctor", _doctor),
]


def main() -> None:
    port, count = map(int, sys.argv[1:])
    server = StandIn(port, Invented(count, now=time.time()))
    print(f"{server.url}#token={TOKEN}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
