"""Firefox without a window, driven over Marionette: what Debian has of WebDriver for it is in the browser itself.

Each message is its length, a colon, and JSON: [0, number, command, parameters], answered by [1, number, error, result]
(firefox-source-docs.mozilla.org/testing/marionette/Protocol.html).
"""

from __future__ import annotations

import json
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from proxy.address import Address
from proxy.browser_profile import firefox_settings
from tests.e2e.apps import receive
from tests.e2e.browser import SECONDS, BrowserError, awaited
from tests.e2e.machine import free_port, program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.machine import Programs

#: Nothing of its own is to be on the way while a page is watched.
_QUIET: dict[str, str | int | bool] = {
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.aboutConfig.showWarning": False,
    "browser.newtabpage.enabled": False,
    "browser.region.update.enabled": False,
    "browser.safebrowsing.downloads.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.safebrowsing.provider.mozilla.updateURL": "",
    "browser.search.update": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage": "about:blank",
    "browser.startup.homepage_override.mstone": "ignore",
    "browser.startup.page": 0,
    "datareporting.healthreport.uploadEnabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "dom.push.enabled": False,
    "extensions.getAddons.cache.enabled": False,
    "extensions.systemAddon.update.enabled": False,
    "extensions.update.enabled": False,
    "media.gmp-manager.updateEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.http.http3.enable": False,
    "network.trr.mode": 5,  # no DNS over HTTPS, which would look nothing up here either
    "services.settings.server": "http://127.0.0.1:9/",
    "toolkit.telemetry.enabled": False,
    "toolkit.telemetry.server": "",
}


def settings(proxy: str | None, marionette: int) -> dict[str, str | int | bool]:
    """Those of `ropeway apps setup` where there is a proxy, which is a URL, and what the tests need."""
    made = _QUIET | {"marionette.port": marionette, "network.proxy.type": 0}
    if proxy is None:
        return made
    there = urlsplit(proxy)
    port = Address(str(there.hostname), int(there.port or 0))
    # Else it would go directly to every address here.
    made |= {"network.proxy.allow_hijacking_localhost": True, "network.proxy.no_proxies_on": ""}
    return made | firefox_settings(port, asks=there.scheme == "http")


class Firefox:
    def __init__(self, port: int) -> None:
        self._connection = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self._sent = 0
        self._receive()  # what it is

    def close(self) -> None:
        self._connection.close()

    def call(self, command: str, **parameters: Any) -> Any:
        self._sent += 1
        message = json.dumps([0, self._sent, command, parameters]).encode()
        self._connection.sendall(b"%d:" % len(message) + message)
        _, number, error, result = self._receive()
        assert number == self._sent
        if error:
            raise BrowserError(f"{error['error']}: {error['message']}")
        return result

    def begin(self) -> None:
        times = {"script": SECONDS * 1000, "pageLoad": SECONDS * 1000}
        self.call("WebDriver:NewSession", acceptInsecureCerts=True, timeouts=times)

    def load(self, url: str) -> None:
        """Returns when the page has loaded with all that it names. Raises BrowserError where it cannot be had."""
        self.call("WebDriver:Navigate", url=url)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression, awaited."""
        return self.call("WebDriver:ExecuteAsyncScript", script=awaited(script), args=[])["value"]

    def _receive(self) -> Any:
        length = b""
        while not length.endswith(b":"):
            length += receive(self._connection, 1)
        return json.loads(receive(self._connection, int(length[:-1])))


@contextmanager
def open_firefox(programs: Programs, folder: Path, proxy: str | None) -> Iterator[Firefox]:
    """A browser with an empty profile, and every connection of it goes to the proxy, where there is one."""
    profile, port = folder / "firefox", free_port()
    profile.mkdir()
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in settings(proxy, port).items()]
    (profile / "user.js").write_text("\n".join(lines))
    argv: list[str | Path] = [program("firefox-esr"), "--headless", "--no-remote", "--marionette", "--profile", profile]
    process = programs.start("firefox", argv)
    try:
        process.wait_for_port(port)
        browser = Firefox(port)
        try:
            browser.begin()
            yield browser
        finally:
            browser.close()
    finally:
        process.stop()
