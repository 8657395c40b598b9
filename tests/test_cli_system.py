"""The commands that point programs at Ropeway, as a user types them: the desktop is KDE's file."""

from __future__ import annotations

import socket
import sys
import threading
from typing import TYPE_CHECKING

import pytest
import typer

from proxy import cli, cli_system
from proxy.terminal import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Ropeway = Callable[..., tuple[int, str, str]]

pytestmark = [
    pytest.mark.usefixtures("log_as_before"),
    pytest.mark.skipif(sys.platform == "win32", reason="KDE is the desktop"),
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bin").mkdir()
    environ = {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path), "XDG_CURRENT_DESKTOP": "KDE", "SHELL": "/bin/sh"}
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "DBUS_SESSION_BUS_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.platform", "linux")
    return tmp_path


@pytest.fixture
def ropeway(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path) -> Ropeway:
    """Runs it; returns the status, and what went to standard output and to standard error."""
    program = typer.Typer(**PLAIN)
    cli_system.add_to(program)
    monkeypatch.setattr(cli, "program", program)
    monkeypatch.setattr("platformdirs.user_config_path", lambda *_arguments, **_options: home)
    monkeypatch.setattr("platformdirs.user_state_path", lambda *_arguments, **_options: home / "state")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["ropeway", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        assert isinstance(caught.value.code, int)
        return (caught.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def port(home: Path) -> Iterator[int]:
    """Ropeway, as far as it can be seen from outside."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        save(home, f'[local]\nlisten = "127.0.0.1:{number}"\n')

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(10)
                    connection.sendall(b"\x05\x00")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield number
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def save(home: Path, text: str) -> None:
    (home / "config.toml").write_text(text)
    (home / "config.toml").chmod(0o600)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def autostart(home: Path) -> Path:
    return home / ".config/autostart/ropeway.system-proxy.desktop"


def test_on_status_off(ropeway: Ropeway, home: Path, port: int) -> None:
    file = home / ".config/kioslaverc"
    assert ropeway("system-proxy", "status") == (0, "KDE: off\n", "")
    status, out, err = ropeway("system-proxy", "on")
    assert (status, out) == (0, "")
    assert err == f"KDE: programs that follow the system's proxy go to 127.0.0.1:{port}.\n"
    assert f"httpProxy=http://127.0.0.1 {port}" in file.read_text()
    assert "system-proxy repair --wait 60" in autostart(home).read_text()
    assert ropeway("system-proxy", "status") == (0, f"KDE: on, at 127.0.0.1:{port}\n", "")
    assert ropeway("system-proxy", "repair") == (0, "", "Nothing has to be mended.\n")
    assert autostart(home).exists()
    assert ropeway("system-proxy", "off") == (0, "", "KDE: the settings from before are back.\n")
    assert not file.exists()
    assert not autostart(home).exists()
    status, _, err = ropeway("system-proxy", "off")
    assert (status, err) == (0, "The system's proxy was not turned on by Ropeway; nothing was changed.\n")


def test_nobody_listens(ropeway: Ropeway, home: Path) -> None:
    number = free_port()
    save(home, f'[local]\nlisten = "127.0.0.1:{number}"\n')
    status, _, err = ropeway("system-proxy", "on")
    assert status == 0
    assert f"Nothing listens on 127.0.0.1:{number} yet: start `ropeway run`" in err
    status, out, _ = ropeway("system-proxy", "status")
    assert status == 1
    assert "nothing listens" in out
    status, _, err = ropeway("system-proxy", "repair")
    assert err == f"Nothing listens on 127.0.0.1:{number}. KDE: the settings from before are back.\n"
    assert not (home / ".config/kioslaverc").exists()
    assert autostart(home).exists()  # it is on again when Ropeway runs


def test_repair_waits_for_a_service_that_is_about_to_start(
    ropeway: Ropeway, home: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ropeway("system-proxy", "on")
    answers = [False, False, True, True]
    slept: list[float] = []
    monkeypatch.setattr("proxy.system_proxy.listens", lambda _place: answers.pop(0))
    monkeypatch.setattr("time.sleep", slept.append)
    assert ropeway("system-proxy", "repair", "--wait", "60") == (0, "", "Nothing has to be mended.\n")
    assert (answers, slept) == ([], [1, 1])


def test_a_password_cannot_be_set(ropeway: Ropeway, home: Path) -> None:
    save(home, '[local]\nusername = "anna"\npassword = "s3cret"\n')
    status, _, err = ropeway("system-proxy", "on")
    assert status == 0
    assert "wants a user name and a password" in err
    assert "s3cret" not in err + (home / ".config/kioslaverc").read_text()


def test_no_desktop(ropeway: Ropeway, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CURRENT_DESKTOP")
    status, out, err = ropeway("system-proxy", "on")
    assert (status, out) == (1, "")
    assert err.startswith("ropeway: no GNOME, KDE, macOS or Windows was found here")
    assert not autostart(home).exists()


def test_env(ropeway: Ropeway) -> None:
    status, out, err = ropeway("env")
    assert (status, err) == (0, "")
    assert "export all_proxy='socks5h://127.0.0.1:1080'\n" in out
    assert len(out.splitlines()) == 8
    status, out, _ = ropeway("env", "--shell", "fish")
    assert "set -gx https_proxy 'http://127.0.0.1:1080'\n" in out
    assert ropeway("env", "--shell", "tcsh")[0] == 2


def test_env_shows_the_password_only_where_it_is_asked_for(ropeway: Ropeway, home: Path) -> None:
    save(home, '[local]\nusername = "anna"\npassword = "s3cret"\n')
    status, out, err = ropeway("env")
    assert status == 0
    assert "s3cret" not in out + err
    assert "--with-password" in err
    assert "http://anna:s3cret@127.0.0.1:1080" in ropeway("env", "--with-password")[1]
