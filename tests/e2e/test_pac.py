"""Chromium with the PAC file of a running Ropeway: what the rules say is direct does not touch it, all else goes through it."""

from __future__ import annotations

import sys
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from tests.e2e.browser import SWITCHES, Browser
from tests.e2e.machine import free_port, program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.machine import Programs

pytestmark = pytest.mark.e2e

#: The port of Ropeway, with a tunnel in whose place stands one answer.
SERVER = """
import sys, trio
from functools import partial
from pathlib import Path
from proxy.listener import serve_local
from proxy.opener import always
from proxy.own_site import OwnSite, PacFile
from proxy.rule_terms import AnyOf
from proxy.rules import RuleSettings
from proxy.ruleset import Ruleset

settings = RuleSettings.parse(["direct suffix:direct.example"], "all", "CN", "tunnel", folder=Path())
ruleset = Ruleset(settings, presets={}, read_list=lambda _: AnyOf())

async def tunnel(address):
    near, far = trio.testing.memory_stream_pair()
    async def site():
        async with far:
            await far.receive_some(65536)
            await far.send_all(b"HTTP/1.1 200 OK\\r\\nContent-Type: text/html\\r\\nContent-Length: 6\\r\\n\\r\\ntunnel")
            await trio.sleep(1)
    nursery.start_soon(site)
    return near

async def main():
    global nursery
    import trio.testing
    listeners = await trio.open_tcp_listeners(int(sys.argv[1]), host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        site = OwnSite(PacFile(lambda: ruleset).pages)
        await serve_local(listeners, always(tunnel), None, own_site=site.serve)

trio.run(main)
"""


class _Direct(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"direct")

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[int]:
    """The port of a server on this computer."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Direct) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_chromium_goes_by_the_file(programs: Programs, site: int, tmp_path: Path) -> None:
    port, driver_port = free_port(), free_port()
    proxy = programs.start("port", [sys.executable, "-c", SERVER, str(port)])
    proxy.wait_for_port(port)
    driver = programs.start("chromedriver", [program("chromedriver"), f"--port={driver_port}"])
    driver.wait_for_port(driver_port)
    browser = Browser(driver_port)
    switches = [
        *(each for each in SWITCHES if not each.startswith("--proxy")),
        f"--proxy-pac-url=http://127.0.0.1:{port}/proxy.pac",
        "--host-resolver-rules=MAP *.example 127.0.0.1",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    text = partial(browser.run, "document.body.innerText")
    try:
        browser.begin(switches)
        browser.load(f"http://www.direct.example:{site}/")
        assert text() == "direct"
        browser.load(f"http://www.other.example:{site}/")
        assert text() == "tunnel"
        # A page gets nothing of it, neither as a script nor as data.
        script = (
            "new Promise(r => { const s = document.createElement('script'); s.src = %r; %s; document.head.append(s) })"
        )
        outcome = "s.onload = () => r('load'); s.onerror = () => r('error')"
        browser.load(f"http://127.0.0.1:{site}/")
        assert browser.run(script % (f"http://127.0.0.1:{port}/proxy.pac", outcome)) == "error"
        assert browser.run("typeof FindProxyForURL") == "undefined"
        proxy.stop()
        # With the proxy gone what is tunnelled does not go directly.
        with pytest.raises(Exception, match="ERR_PROXY_CONNECTION_FAILED"):
            browser.load(f"http://again.other.example:{site}/")
    finally:
        browser.end()
        driver.stop()
        proxy.stop()
