"""To somebody without a key the exit is a web server, byte for byte, whatever is sent to it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import random
import socket
import ssl
import struct
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.e2e.apps import curl, receive, receive_until_end, request
from tests.e2e.pairs import Exit, start_exit
from tests.e2e.servers import HEADER_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.machine import Programs
    from tests.e2e.pairs import Pair
    from tests.e2e.servers import Nginx

pytestmark = pytest.mark.e2e

_noise = random.Random(1)


@pytest.fixture(scope="module")
def front(programs: Programs, nginx: Nginx) -> Exit:
    """An exit before nginx."""
    return start_exit(programs, "--website", f"server:127.0.0.1:{nginx.http_port}")


def visit(port: int) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=30))


def without_date(answer: bytes) -> bytes:
    lines = answer.split(b"\r\n")
    return b"\r\n".join(line for line in lines if not line.startswith(b"Date:"))


def ask(connection: socket.socket, data: bytes) -> tuple[bytes, float]:
    """The whole answer and how long the other side took to end the connection."""
    began = time.monotonic()
    with connection:
        connection.sendall(data)
        return without_date(receive_until_end(connection)), time.monotonic() - began


def key_of(link: str) -> tuple[bytes, bytes]:
    """Key id and key, out of a link."""
    text = urlsplit(link).username or ""
    both = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return both[:8], both[8:]


def hello(link: str, certificate: bytes, *, key_id: bytes | None = None, wrong: bool = False) -> bytes:
    """As in docs/protocol.md, section 3, written from the text alone."""
    known_id, key = key_of(link)
    padding = os.urandom(300)
    body = (key_id or known_id) + os.urandom(16) + bytes([1, 1]) + bytes(16) + struct.pack("!QQH", 0, 0, len(padding))
    binding = hashlib.sha256(certificate).digest()
    mac = hmac.digest(key, b"ropeway hello 1" + binding + body + padding, "sha256")
    return body + padding + (os.urandom(32) if wrong else mac)


def test_who_has_the_key_is_welcome(front: Exit) -> None:
    """The hello that the tests below spoil is a true one."""
    with visit(front.port) as connection:
        certificate = connection.getpeercert(binary_form=True)
        assert certificate
        connection.sendall(hello(front.link, certificate))
        welcome = receive(connection, 16 + 1 + 16 + 8)
        assert welcome[16] == 1  # a new session


SPOILED: dict[str, Callable[[str, bytes], bytes]] = {
    "unknown key id": lambda link, certificate: hello(link, certificate, key_id=os.urandom(8)),
    "wrong MAC": lambda link, certificate: hello(link, certificate, wrong=True),
    "another certificate": lambda link, _: hello(link, b"another one"),
}

SENT: dict[str, bytes] = {
    "request": request("/").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
    "two requests": request("/1") + request("/1").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
    "not there": request("/nowhere").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
    "HEAD": b"HEAD / HTTP/1.0\r\n\r\n",
    "wrong method": b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi",
    "half a request": b"GET / HTTP/1.1\r\nHost: loc",
    "half a line": b"GE",
    "nothing": b"",
    "garbage": b"GET / HTTP/9.9\r\n:::\r\n\x00\x01\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "long header": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "SOCKS": b"\5\1\0",
    "TLS inside TLS": bytes.fromhex("1603010200010001fc0303") + _noise.randbytes(300),
} | {f"{size} random bytes": _noise.randbytes(size) for size in (2, 8, 91, 1000, 100_000)}


def test_a_browser_sees_the_built_in_page(pair: Pair, folder: Path) -> None:
    page = folder / "page"
    answer = curl("-k", "-o", page, f"https://127.0.0.1:{pair.exit.port}/", folder=folder)
    text = page.read_text().lower()
    assert (answer.code, answer.status, "<html" in text) == (0, 200, True)
    assert not any(word in text for word in ("ropeway", "proxy", "tunnel"))


def test_a_browser_sees_the_server_behind(front: Exit, nginx: Nginx, folder: Path) -> None:
    page = folder / "page"
    answer = curl("-k", "-o", page, f"https://127.0.0.1:{front.port}/", folder=folder)
    assert (answer.code, answer.status) == (0, 200)
    assert page.read_bytes() == (nginx.site / "index.html").read_bytes()


@pytest.mark.usefixtures("bodies")
@pytest.mark.parametrize("name", SENT)
def test_whatever_is_sent(front: Exit, nginx: Nginx, name: str) -> None:
    expected, nginx_took = ask(socket.create_connection(("127.0.0.1", nginx.http_port), timeout=30), SENT[name])
    answer, took = ask(visit(front.port), SENT[name])
    assert answer == expected
    if SENT[name]:  # who says nothing at all may still have a key: the exit waits for it
        assert abs(took - nginx_took) < HEADER_SECONDS / 2


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_hello(front: Exit, nginx: Nginx, name: str) -> None:
    connection = visit(front.port)
    certificate = connection.getpeercert(binary_form=True)
    assert certificate
    data = SPOILED[name](front.link, certificate)
    answer, took = ask(connection, data)
    expected, nginx_took = ask(socket.create_connection(("127.0.0.1", nginx.http_port), timeout=30), data)
    assert answer == expected
    assert abs(took - nginx_took) < HEADER_SECONDS / 2


def test_a_request_that_comes_in_pieces(front: Exit) -> None:
    data = SENT["request"]
    with visit(front.port) as connection:
        for position in range(len(data)):
            connection.sendall(data[position : position + 1])
        assert receive_until_end(connection).startswith(b"HTTP/1.1 200 OK\r\n")
