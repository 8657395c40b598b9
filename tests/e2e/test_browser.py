"""Chromium and Firefox through SOCKS5 and through the HTTP proxy: a page with 100 resources over HTTPS, a WebSocket, a screenshot."""

from __future__ import annotations

import os
import socket
import struct
import uuid
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.e2e.apps import receive, receive_head
from tests.e2e.browser import HEIGHT, WIDTH, BrowserError, open_browser
from tests.e2e.firefox import open_firefox
from tests.e2e.machine import free_port
from tests.e2e.servers import websocket_echo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.browser import Browser
    from tests.e2e.firefox import Firefox
    from tests.e2e.machine import Programs
    from tests.e2e.pairs import Pair
    from tests.e2e.servers import Authority, Nginx

pytestmark = pytest.mark.e2e

RESOURCES = 100

_SCRIPT = "window.ran = (window.ran || 0) + 1; // {filler}\n"
_STYLE = "#box{number} {{ background: hsl({hue} 80% 50%) }} /* {filler} */\n"
_IMAGE = """<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40"><circle cx="20" cy="20" r="18"
fill="hsl({hue} 90% 40%)"/><!-- {filler} --></svg>\n"""

#: What the page says about itself: scripts that ran, rules that apply, images that show.
_ARRIVED = """[window.ran, document.styleSheets.length,
[...document.images].filter(image => image.complete && image.naturalWidth === 40).length]"""

#: Text, and more bytes than fit into one frame of ours, there and back.
_ECHO = """new Promise((good, bad) => {
  const socket = new WebSocket(%r), sent = new Uint8Array(300000).map((_, i) => i * 7);
  socket.binaryType = 'arraybuffer';
  socket.onerror = () => bad('the WebSocket failed');
  socket.onopen = () => { socket.send('hello'); socket.send(sent); };
  const got = [];
  socket.onmessage = event => {
    got.push(event.data);
    if (got.length < 2) return;
    socket.close();
    const back = new Uint8Array(got[1]);
    good([got[0], back.length, back.every((byte, i) => byte === sent[i])]);
  };
})"""

#: The candidates that a WebRTC connection finds, with the help of a STUN server on this computer.
_CANDIDATES = """new Promise(good => {
  const found = [], connection = new RTCPeerConnection({iceServers: [{urls: 'stun:127.0.0.1:%d'}]});
  connection.onicecandidate = event => event.candidate ? found.push(event.candidate.candidate) : good(found);
  connection.createDataChannel('any');
  connection.setLocalDescription();
})"""


@contextmanager
def stun_port() -> Iterator[socket.socket]:
    """A port for datagrams at which nobody answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
        port.bind(("127.0.0.1", 0))
        port.settimeout(60)
        yield port


@pytest.fixture
def page(nginx: Nginx) -> str:
    """The name of a folder in nginx's site with a page that names 100 resources: 60 images, 20 scripts, 20 styles."""
    name = f"page-{uuid.uuid4().hex}"
    folder = nginx.site / name
    folder.mkdir()
    parts = ["<!doctype html><html><head><meta charset=utf-8><title>A hundred</title>"]
    for number in range(RESOURCES):
        filler = os.urandom(50 * (number + 1)).hex()
        kind, template, tag = (
            ("js", _SCRIPT, "<script src={}></script>")
            if number % 5 == 0
            else ("css", _STYLE, "<link rel=stylesheet href={}>")
            if number % 5 == 1
            else ("svg", _IMAGE, "<img src={}>")
        )
        (folder / f"{number}.{kind}").write_text(template.format(number=number, hue=number * 3, filler=filler))
        parts.append(tag.format(f"{number}.{kind}"))
    parts += [f"<p id=box{number}>{number}</p>" for number in range(RESOURCES)]
    (folder / "index.html").write_text("\n".join(parts))
    return name


def pixels(png: bytes) -> tuple[int, int, bytes]:
    """Width, height and the filtered bytes of a PNG (RFC 2083)."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack_from("!II", png, 16)
    position, data = 8, b""
    while position < len(png):
        size, kind = struct.unpack_from("!I4s", png, position)
        if kind == b"IDAT":
            data += png[position + 8 : position + 8 + size]
        position += size + 12
    return width, height, zlib.decompress(data)


def check_all_arrives(browser: Browser | Firefox, nginx: Nginx, page: str, echo_port: int) -> None:
    browser.load(nginx.url("https", f"{page}/index.html"))
    assert browser.run(_ARRIVED) == [20, 20, 60]
    assert browser.run(_ECHO % f"wss://localhost:{echo_port}/") == ["hello", 300_000, True]


@pytest.mark.parametrize("scheme", ["socks5", "http"])
def test_a_page_with_a_hundred_resources(
    programs: Programs, pair: Pair, nginx: Nginx, authority: Authority, page: str, folder: Path, scheme: str
) -> None:
    with open_browser(programs, folder, pair.local.url(scheme)) as browser, websocket_echo(authority) as echo_port:
        check_all_arrives(browser, nginx, page, echo_port)
        assert found_by_webrtc(browser) == []
        width, height, data = pixels(browser.screenshot())
    requests = [line.split() for line in nginx.requests(f"/{page}/")]
    assert {status for _, _, status, *_ in requests} == {"200"}
    assert len({path for _, path, *_ in requests}) == 1 + RESOURCES
    assert {line[-1] for line in requests} == {"HTTP/2.0"}
    assert WIDTH / 2 < width <= WIDTH
    assert HEIGHT / 2 < height <= HEIGHT
    assert len(set(data)) > 20  # it shows something


def found_by_webrtc(browser: Browser) -> list[str]:
    """Its candidates, when it has looked for all. No packet of it came to a server on this computer meanwhile."""
    with stun_port() as server:
        found: list[str] = browser.run(_CANDIDATES % server.getsockname()[1])
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.recv(2048)
    return found


def test_webrtc_goes_around_a_browser_that_nobody_set_up(programs: Programs, nginx: Nginx, folder: Path) -> None:
    """Else the test above would say nothing."""
    with open_browser(programs, folder, None) as browser, stun_port() as server:
        browser.load(nginx.url("https", "0"))
        browser.run(f"void {_CANDIDATES % server.getsockname()[1]}")
        assert server.recv(2048)[4:8] == b"\x21\x12\xa4\x42"  # RFC 8489, section 5


@pytest.mark.parametrize("scheme", ["socks5", "http"])
def test_chromium_does_not_go_around_the_proxy(
    programs: Programs, nginx: Nginx, page: str, folder: Path, scheme: str
) -> None:
    """Else the test above would say nothing."""
    nowhere = f"{scheme}://127.0.0.1:{free_port()}"
    failure = pytest.raises(BrowserError, match="ERR_PROXY_CONNECTION_FAILED")
    with open_browser(programs, folder, nowhere) as browser, failure:
        browser.load(nginx.url("https", f"{page}/index.html"))
    assert not nginx.requests(f"/{page}/")


@pytest.mark.parametrize("scheme", ["socks5", "http"])
def test_firefox(
    programs: Programs, pair: Pair, nginx: Nginx, authority: Authority, page: str, folder: Path, scheme: str
) -> None:
    with open_firefox(programs, folder, pair.local.url(scheme)) as browser, websocket_echo(authority) as echo_port:
        check_all_arrives(browser, nginx, page, echo_port)
    requests = [line.split() for line in nginx.requests(f"/{page}/")]
    assert {status for _, _, status, *_ in requests} == {"200"}
    assert len({path for _, path, *_ in requests}) == 1 + RESOURCES


@pytest.mark.parametrize("scheme", ["socks5", "http"])
def test_firefox_does_not_go_around_the_proxy(
    programs: Programs, nginx: Nginx, page: str, folder: Path, scheme: str
) -> None:
    nowhere = f"{scheme}://127.0.0.1:{free_port()}"
    failure = pytest.raises(BrowserError, match="proxyConnectFailure")
    with open_firefox(programs, folder, nowhere) as browser, failure:
        browser.load(nginx.url("https", f"{page}/index.html"))
    assert not nginx.requests(f"/{page}/")


def test_a_websocket_by_upgrade(pair: Pair) -> None:
    """Browsers tunnel WebSockets; simpler apps ask the proxy itself to upgrade (RFC 9110, section 7.8)."""
    with websocket_echo(None) as port, socket.create_connection(("127.0.0.1", pair.port), timeout=30) as connection:
        connection.sendall(
            f"GET http://localhost:{port}/ HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        assert receive_head(connection).startswith(b"HTTP/1.1 101 ")
        connection.sendall(b"\x81\x85" + bytes(4) + b"hello")  # RFC 6455, section 5.2: text, masked with zeros
        assert receive(connection, 7) == b"\x81\x05hello"
        connection.sendall(b"\x88\x82" + bytes(4) + b"\x03\xe8")
        assert receive(connection, 4) == b"\x88\x02\x03\xe8"
