"""Chromium without a window, driven over WebDriver (W3C) by chromedriver."""

from __future__ import annotations

import base64
import http.client
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from proxy.address import Address
from proxy.browser_profile import Family, Profile
from tests.e2e.machine import free_port, program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.machine import Programs

WIDTH, HEIGHT = 1280, 800
#: Longer than any script here takes; a page that hangs fails the test.
SECONDS = 60

SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--proxy-bypass-list=<-loopback>",  # else it would go directly to every address here
    "--ignore-certificate-errors",
    f"--window-size={WIDTH},{HEIGHT}",
)


class BrowserError(Exception):
    """What WebDriver answered in place of a value."""


class Browser:
    def __init__(self, driver_port: int) -> None:
        self._driver_port = driver_port
        self._session = ""

    def call(self, method: str, path: str, **body: Any) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._driver_port, timeout=SECONDS)
        try:
            data = json.dumps(body) if method == "POST" else None
            connection.request(method, self._session + path, data, {"Content-Type": "application/json"})
            value = json.loads(connection.getresponse().read())["value"]
        finally:
            connection.close()
        if isinstance(value, dict) and "error" in value:
            raise BrowserError(value["message"])
        return value

    def begin(self, switches: list[str], *, logs: bool = False) -> None:
        options = {"binary": program("chromium"), "args": switches}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "timeouts": {"script": SECONDS * 1000}}
        if logs:
            wanted["goog:loggingPrefs"] = {"browser": "ALL", "performance": "ALL"}
        answer = self.call("POST", "/session", capabilities={"alwaysMatch": wanted})
        self._session = f"/session/{answer['sessionId']}"

    def end(self) -> None:
        if self._session:
            self.call("DELETE", "")

    def load(self, url: str) -> None:
        """Returns when the page has loaded with all that it names. Raises BrowserError where it cannot be had."""
        self.call("POST", "/url", url=url)

    def address(self) -> str:
        """Of the page, also while another one comes: a script would be lost then."""
        return str(self.call("GET", "/url"))

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression, awaited."""
        return self.call("POST", "/execute/async", script=awaited(script), args=[])

    def press(self, *keys: str) -> None:
        """One after the other, where the focus is; WebDriver's code points stand for keys without a character."""
        steps = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.call("POST", "/actions", actions=[{"type": "key", "id": "keyboard", "actions": steps}])

    def log(self, kind: str) -> list[dict[str, Any]]:
        """What was logged since the last time: "browser", the console and what went wrong, or "performance", the events of DevTools."""
        lines: list[dict[str, Any]] = self.call("POST", "/se/log", type=kind)
        return lines

    def devtools(self, command: str, **parameters: Any) -> Any:
        """A command of the DevTools protocol to the page."""
        return self.call("POST", "/goog/cdp/execute", cmd=command, params=parameters)

    def screenshot(self) -> bytes:
        return base64.b64decode(self.call("GET", "/screenshot"))


def awaited(script: str) -> str:
    """As the body of a function that WebDriver waits for."""
    return f"const done = arguments[0]; Promise.resolve({script}).then(done, e => done('' + e))"


def arguments(folder: Path, proxy: str | None) -> tuple[str, ...]:
    """For that profile, and that proxy, which is a URL."""
    if proxy is None:
        return f"--user-data-dir={folder}", "--no-proxy-server"
    scheme, _, port = proxy.partition("://")
    profile = Profile(Family.CHROMIUM, folder, Address.parse(port), asks=scheme == "http")
    profile.write()
    return profile.arguments()


@contextmanager
def open_browser(programs: Programs, folder: Path, proxy: str | None, *, logs: bool = False) -> Iterator[Browser]:
    """A browser with an empty profile, as `ropeway apps setup` makes it where there is a proxy; every connection of it goes there then. With
    `logs` it keeps what `log` gives.
    """
    port = free_port()
    driver = programs.start("chromedriver", [program("chromedriver"), f"--port={port}"])
    driver.wait_for_port(port)
    browser = Browser(port)
    try:
        browser.begin([*SWITCHES, *arguments(folder / "profile", proxy)], logs=logs)
        yield browser
    finally:
        browser.end()
        driver.stop()
