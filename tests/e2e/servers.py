"""Servers that nobody here wrote, on loopback."""

from __future__ import annotations

import hashlib
import os
import ssl
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trustme
from websockets.sync.server import ServerConnection, serve

from tests.e2e.machine import Program, Programs, free_port, program, server_program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: The sizes of the bodies that travel: nothing, one byte, one TLS record and more, and many windows.
SIZES = (0, 1, 64 * 1024, 200_000_000)
#: How long nginx waits for the rest of a request's head, and for more of a body: longer than the longest silence of the lab.
HEADER_SECONDS, BODY_SECONDS = 2, 900

_NGINX = """
daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile 8192;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    log_format short '$request_method $request_uri $status $body_bytes_sent $server_protocol';
    access_log {folder}/access.log short;
    types {{ text/html html; image/svg+xml svg; text/css css; text/javascript js; }}
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 0;
    client_header_timeout {header_seconds};
    keepalive_timeout 300;
    client_body_timeout {body_seconds};
    send_timeout {body_seconds};
    sendfile on;
    server {{
        listen 127.0.0.1:{http_port} backlog=2048;
        listen 127.0.0.1:{https_port} ssl http2 backlog=2048;
        ssl_certificate {folder}/server.pem;
        ssl_certificate_key {folder}/server.pem;
        root {folder}/site;
        location /up/ {{ root {folder}; dav_methods PUT; }}
    }}
}}
"""

_MOSQUITTO = """
user root
allow_anonymous true
persistence false
listener {port} 127.0.0.1
cafile {folder}/authority.pem
certfile {folder}/server.pem
keyfile {folder}/server.pem
listener {websocket_port} 127.0.0.1
# Else it listens on every address (2.0.11).
socket_domain ipv4
protocol websockets
cafile {folder}/authority.pem
certfile {folder}/server.pem
keyfile {folder}/server.pem
"""


class Authority:
    """Signs for `localhost` and 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self._server = self._authority.issue_cert("localhost", "127.0.0.1")
        self.path = folder / "authority.pem"
        self._authority.cert_pem.write_to_path(self.path)

    def give(self, folder: Path) -> None:
        """Put `authority.pem` and `server.pem` (key and certificate) there."""
        self._authority.cert_pem.write_to_path(folder / "authority.pem")
        self._server.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._server.configure_cert(context)
        return context


@dataclass(frozen=True)
class Nginx:
    program: Program
    folder: Path
    http_port: int
    https_port: int

    @property
    def site(self) -> Path:
        return self.folder / "site"

    @property
    def uploads(self) -> Path:
        return self.folder / "up"

    def url(self, scheme: str, path: str) -> str:
        port = self.https_port if scheme == "https" else self.http_port
        return f"{scheme}://localhost:{port}/{path}"

    def requests(self, word: str) -> list[str]:
        """The lines of its access log with that word: `method path status bytes protocol`."""
        return [line for line in (self.folder / "access.log").read_text().splitlines() if word in line]


def start_nginx(programs: Programs, folder: Path, authority: Authority) -> Nginx:
    """It gives what is in `site/` and takes what is PUT to `/up/`."""
    for name in ("site", "up"):
        (folder / name).mkdir()
    (folder / "site" / "index.html").write_text("<!doctype html><title>A website</title><p>Nothing to see here.\n")
    authority.give(folder)
    http_port, https_port = free_port(), free_port()
    config = folder / "nginx.conf"
    config.write_text(
        _NGINX.format(
            folder=folder,
            http_port=http_port,
            https_port=https_port,
            header_seconds=HEADER_SECONDS,
            body_seconds=BODY_SECONDS,
        )
    )
    started = programs.start("nginx", [program("nginx"), "-e", folder / "error.log", "-c", config])
    started.wait_for_port(https_port)
    return Nginx(started, folder, http_port, https_port)


@dataclass(frozen=True)
class Mosquitto:
    """Both ports speak TLS."""

    program: Program
    port: int
    websocket_port: int


def start_mosquitto(programs: Programs, folder: Path, authority: Authority) -> Mosquitto:
    authority.give(folder)
    port, websocket_port = free_port(), free_port()
    config = folder / "mosquitto.conf"
    config.write_text(_MOSQUITTO.format(folder=folder, port=port, websocket_port=websocket_port))
    started = programs.start("mosquitto", [server_program("mosquitto"), "-c", config])
    started.wait_for_port(websocket_port)
    return Mosquitto(started, port, websocket_port)


@contextmanager
def websocket_echo(authority: Authority | None) -> Iterator[int]:
    """The port of a server that sends every message back; over TLS where there is an authority."""

    def echo(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    context = authority.server_context() if authority else None
    with serve(echo, "127.0.0.1", 0, ssl=context) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield int(server.socket.getsockname()[1])
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Body:
    """A file of random bytes."""

    path: Path
    digest: str

    @property
    def size(self) -> int:
        return self.path.stat().st_size


def make_body(path: Path, size: int) -> Body:
    data = os.urandom(size)
    path.write_bytes(data)
    return Body(path, hashlib.sha256(data).hexdigest())
