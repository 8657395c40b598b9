"""`ropeway dashboard`, as a user types it."""

from __future__ import annotations

import threading
import webbrowser
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest
import typer

from proxy import cli_dashboard
from proxy.dashboard_token import TokenFile
from proxy.errors import ConfigError
from proxy.keys import UserKey
from proxy.share import Link
from proxy.terminal import PLAIN
from tests.planted import LOOPBACK, unused_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LINK = Link(LOOPBACK, 1, UserKey.new(), bytes(32))


class Handler(BaseHTTPRequestHandler):
    status, asked = 401, ""

    def do_GET(self) -> None:
        type(self).asked = f"{self.path} {self.headers}"
        self.send_response(self.status)
        self.send_header("WWW-Authenticate", "Bearer")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    """Of somebody that answers as the interface does without the token."""
    Handler.status, Handler.asked = 401, ""
    with HTTPServer((LOOPBACK, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What the browser was given."""
    given: list[str] = []

    def browse(address: str) -> bool:
        given.append(address)
        return True

    monkeypatch.setattr(webbrowser, "open", browse)
    monkeypatch.setattr(TokenFile, "of_user", lambda: TokenFile(tmp_path / "state" / "token"))
    return given


@pytest.fixture
def run(tmp_path: Path, opened: list[str]) -> Callable[..., None]:
    program = typer.Typer(**PLAIN)
    program.command()(cli_dashboard.dashboard)

    def command(port: int, *words: str, more: str = "", host: str = LOOPBACK) -> None:
        path = tmp_path / "config.toml"
        path.write_text(f'[local]\nlisten = "{host}:{port}"\nexit = "{LINK}"\n{more}')
        path.chmod(0o600)
        program([*words, "--config", str(path)], standalone_mode=False)

    return command


def test_it_opens_the_page_with_the_secret(
    run: Callable[..., None], port: int, opened: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run(port)
    token = TokenFile.of_user().read()
    assert opened == [f"http://127.0.0.1:{port}/#token={token}"]
    assert token not in Handler.asked  # whoever it is that listens
    assert token not in "".join(capsys.readouterr())


def test_it_prints_the_address(
    run: Callable[..., None], port: int, opened: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run(port, "--print")
    old = TokenFile.of_user().read()
    assert capsys.readouterr().out == f"http://127.0.0.1:{port}/#token={old}\n"
    run(port, "--print", "--new-token")
    assert old not in capsys.readouterr().out
    assert opened == []


def test_it_says_what_is_in_the_way(
    run: Callable[..., None], port: int, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"^nothing listens at 127.0.0.1:\d+; `ropeway run --config .*` or"):
        run(unused_port())
    with pytest.raises(ConfigError, match=r"^dashboard.enabled: it is false"):
        run(port, more="[dashboard]\nenabled = false")
    with pytest.raises(ConfigError, match=r"^local.listen: other computers can reach the port"):
        run(port, more='username = "a"\npassword = "b"', host="0.0.0.0")
    Handler.status = 400
    with pytest.raises(ConfigError, match="has no dashboard"):
        run(port)
    assert opened == []
    Handler.status = 401
    monkeypatch.setattr(webbrowser, "open", lambda _: False)
    with pytest.raises(ConfigError, match=r"^no browser could be started; `ropeway dashboard --print"):
        run(port)
