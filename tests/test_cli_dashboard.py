"""`ropeway dashboard`, as a user types it."""

from __future__ import annotations

import hmac
import json
import threading
import webbrowser
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest
import typer

from proxy import cli_dashboard, peer_user
from proxy.dashboard_token import TokenFile
from proxy.entry_files import EntryFiles
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
    """Answers as the interface does, by a token."""

    token, asked = "", ""
    relayed = 0  # the port of the true one, to which the question was passed on

    def do_GET(self) -> None:
        type(self).asked += f"{self.path} {self.headers}"
        nonce = self.path.partition("?nonce=")[2]
        port = type(self).relayed or self.connection.getsockname()[1]
        purpose = f"ropeway dashboard proof {port} {nonce}".encode()
        self._answer({"proof": hmac.digest(self.token.encode(), purpose, "sha256").hex()})

    def do_POST(self) -> None:
        right = self.headers["Authorization"] == f"Bearer {self.token}"
        self._answer({"path": "/dashboard/enter/code", "token": "of-the-page"} if right else {"error": "no"})

    def _answer(self, content: object) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port(opened: list[str]) -> Iterator[int]:
    """Of somebody that answers as the interface does."""
    Handler.token, Handler.asked = TokenFile.of_user().read(), ""
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
    monkeypatch.setattr(peer_user, "is_known", lambda: True)
    monkeypatch.setattr(EntryFiles, "of_user", lambda: EntryFiles(tmp_path / "state"))
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
    assert opened == [f"http://127.0.0.1:{port}/dashboard/enter/code"]
    assert token not in opened[0]  # others can read what a browser is started with
    assert token not in Handler.asked  # and whoever it is that listens
    assert token not in "".join(capsys.readouterr())


def test_where_the_system_does_not_tell_who_comes_a_file_has_the_code(
    run: Callable[..., None], port: int, opened: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(peer_user, "is_known", lambda: False)
    run(port)
    (path,) = tmp_path.joinpath("state").glob("*.html")
    assert opened == [path.as_uri()]
    assert f"http://127.0.0.1:{port}/dashboard/enter/code" in path.read_text()


def test_it_prints_the_address(
    run: Callable[..., None], port: int, opened: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run(port, "--print")
    old = TokenFile.of_user().read()
    assert capsys.readouterr().out == f"http://127.0.0.1:{port}/#token=of-the-page\n"
    with pytest.raises(ConfigError, match="is no Ropeway of yours"):
        run(port, "--print", "--new-token")  # of which ours has a file and knows it
    new = Handler.token = TokenFile.of_user().read()
    assert new != old
    run(port, "--print")
    assert capsys.readouterr().out == f"http://127.0.0.1:{port}/#token=of-the-page\n"
    assert opened == []


def test_it_prints_the_secret_for_dashboards_of_others(
    run: Callable[..., None], opened: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run(unused_port(), "--secret")
    assert capsys.readouterr().out == f"{TokenFile.of_user().read()}\n"
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
    Handler.token = "of somebody else"
    with pytest.raises(ConfigError, match="is no Ropeway of yours"):
        run(port)
    assert opened == []
    Handler.token = TokenFile.of_user().read()
    monkeypatch.setattr(Handler, "relayed", port + 1)
    with pytest.raises(ConfigError, match="is no Ropeway of yours"):
        run(port)
    assert Handler.token not in Handler.asked
    monkeypatch.setattr(Handler, "relayed", 0)
    monkeypatch.setattr(webbrowser, "open", lambda _: False)
    with pytest.raises(ConfigError, match=r"^no browser could be started; `ropeway dashboard --print"):
        run(port)
