"""The commands of the services, as a user types them, with stand-ins for the system's programs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import typer

import proxy
from proxy import cli, service, service_exit
from proxy.cli_service import add_to
from proxy.config_file import replace_file, with_settings, with_user
from proxy.keys import UserKey, new_certificate
from proxy.settings import Listen, User
from proxy.share import Link
from proxy.systemd_unit import WATCHDOG
from proxy.terminal import PLAIN, exit_config_path
from tests.standins import Standins

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [
    pytest.mark.usefixtures("log_as_before"),
    pytest.mark.skipif(sys.platform != "linux", reason="the stand-in is for systemd"),
]

SHOWN = "ActiveState={}\nSubState={}\nMainPID={}\nActiveEnterTimestamp=Thu\nResult={}\nExecMainStatus=1\n"
INACTIVE, ACTIVE = SHOWN.format("inactive", "dead", 0, "success"), SHOWN.format("active", "running", 42, "success")
FAILED = SHOWN.format("activating", "auto-restart", 0, "exit-code")


@pytest.fixture
def standins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Standins:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr(service, "holder_of", lambda listen: None)
    monkeypatch.setattr(service, "_listens", lambda service, places: True)
    made = Standins(tmp_path, monkeypatch)
    made.answer("systemctl")
    made.answer("systemctl", "--user show *", INACTIVE)
    made.answer("journalctl", out="python[1]: ropeway: local.listen: cannot listen\n")
    made.answer("loginctl", out="no\n")
    return made


@pytest.fixture
def ropeway(
    standins: Standins, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[object, str, str]]:
    program, exit_commands = typer.Typer(**PLAIN), typer.Typer(**PLAIN)
    program.add_typer(exit_commands, name="exit")
    add_to(program, exit_commands)
    monkeypatch.setattr(cli, "program", program)

    def run(*arguments: object) -> tuple[object, str, str]:
        monkeypatch.setattr("sys.argv", ["ropeway", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return (caught.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def config(tmp_path: Path) -> Path:
    link = Link("192.0.2.1", 443, UserKey.new(), bytes(32))
    path = tmp_path / "ropeway" / "config.toml"
    replace_file(path, f'[local]\nexit = "{link}"\n'.encode())
    return path


def test_from_install_to_uninstall(
    ropeway: Callable[..., tuple[object, str, str]], standins: Standins, config: Path, tmp_path: Path
) -> None:
    unit = tmp_path / "systemd" / "user" / "ropeway.service"
    code, out, err = ropeway("service", "install")
    assert (code, out) == (0, "")
    assert err.startswith(f"Written: {unit}\nStarted.\nIt runs from your log-in to your log-out.")
    assert "Apps connect at 127.0.0.1:1080" in err
    assert f"run --config {config}" in unit.read_text()
    assert ropeway("service", "stop") == (0, "", "It was not running.\n")
    assert ropeway("service", "start") == (0, "", "Started.\n")
    assert ropeway("service", "status") == (1, "Stopped; `ropeway service start` starts it.\n", "")
    standins.answer("systemctl", "--user show *", ACTIVE)
    assert ropeway("service", "status") == (0, "Running since Thu, process 42\n", "")
    assert ropeway("service", "uninstall") == (0, "", f"Removed: {unit}\n")


def test_a_failure_is_one_line_and_status_shows_the_log(
    ropeway: Callable[..., tuple[object, str, str]], standins: Standins, config: Path
) -> None:
    standins.answer("systemctl", "--user start *", err="Job failed", code=1)
    code, _, err = ropeway("service", "install")
    assert code == 1
    assert err.splitlines()[-1].endswith("it does not start, and is tried again: local.listen: cannot listen")
    standins.answer("systemctl", "--user show *", FAILED)
    code, out, _ = ropeway("service", "status")
    assert (code, out.splitlines()[0]) == (1, "Not running: it ended with exit-code 1, and is started again")
    assert "cannot listen" in out


def test_without_a_configuration_or_an_exit_nothing_is_installed(
    ropeway: Callable[..., tuple[object, str, str]], standins: Standins, tmp_path: Path
) -> None:
    assert "ropeway join LINK" in ropeway("service", "install")[2]
    (tmp_path / "ropeway").mkdir()
    (tmp_path / "ropeway" / "config.toml").write_text("[local]\n")
    assert "ropeway join LINK" in ropeway("service", "install")[2]
    assert standins.calls() == []


def test_its_log(ropeway: Callable[..., tuple[object, str, str]], standins: Standins) -> None:
    assert ropeway("service", "logs", "-n", "3") == (0, "python[1]: ropeway: local.listen: cannot listen\n", "")
    assert standins.calls() == ["journalctl --quiet --user --unit=ropeway.service --lines=3 --no-pager"]
    assert ropeway("service", "logs", "--follow")[0] == 0
    assert standins.calls() == ["journalctl --quiet --user --unit=ropeway.service --lines=50 --follow"]


def test_there_is_no_log_of_what_is_not_installed(
    ropeway: Callable[..., tuple[object, str, str]], standins: Standins
) -> None:
    standins.answer("journalctl", "*", "")
    standins.answer("systemctl", "--user show *", "LoadState=not-found\n")
    code, out, err = ropeway("service", "logs")
    assert (code, out, "`ropeway service install`" in err) == (1, "", True)


def test_where_the_supervisor_keeps_no_log_ours_does(
    ropeway: Callable[..., tuple[object, str, str]], config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []

    def run_local(settings: object, path: Path) -> None:
        calls.append(path)
        print("what happens", file=sys.stderr)

    monkeypatch.setattr(proxy, "app", SimpleNamespace(run_local=run_local), raising=False)
    log = tmp_path / "logs" / "ropeway.log"
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, getattr(sys, stream))  # so that they are put back
    assert ropeway("service", "run", "--log", log, "--config", config)[0] == 0
    assert calls == [config]
    assert log.read_text() == "what happens\n"
    assert log.with_suffix(".pid").read_text() == str(os.getpid())


def test_what_ends_it_is_in_our_log_as_well(
    ropeway: Callable[..., tuple[object, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, getattr(sys, stream))
    log = tmp_path / "ropeway.log"
    assert ropeway("service", "run", "--log", log, "--config", tmp_path / "none.toml")[0] == 1
    assert log.read_text().startswith("ropeway: there is no configuration at")


def set_up_exit(folder: Path) -> None:
    values = {"host": "exit.example", "listen": "127.0.0.1:0"}
    text = with_user(with_settings("", "exit", values), User("anna", UserKey.new()).table())
    replace_file(folder / "config.toml", text.encode())
    for name, content in zip(("exit-cert.pem", "exit-key.pem"), new_certificate("exit.example"), strict=True):
        replace_file(folder / name, content)


def test_the_exit(
    ropeway: Callable[..., tuple[object, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_exit, "check_system", lambda words: None)
    monkeypatch.setattr(service_exit, "check_readable_by_services", lambda program: None)
    monkeypatch.setattr(service_exit, "FOLDER", tmp_path / "lib")
    monkeypatch.setattr(service_exit, "CONFIG", tmp_path / "lib" / "exit.toml")
    monkeypatch.setattr("proxy.service_systemd.SYSTEM_UNITS", tmp_path)
    assert "exit init --host" in ropeway("exit", "install")[2]
    set_up_exit(tmp_path / "ropeway")
    code, _, err = ropeway("exit", "install")
    assert code == 0
    assert f"Written: {tmp_path / 'ropeway-exit.service'}\nStarted.\n" in err
    assert f"about {tmp_path / 'lib' / 'exit.toml'}" in err
    assert exit_config_path(None) == tmp_path / "lib" / "exit.toml"
    assert exit_config_path(tmp_path / "other.toml") == tmp_path / "other.toml"
    code, _, err = ropeway("exit", "uninstall")
    assert code == 0
    assert f"keys are still in {tmp_path / 'lib'}" in err
    assert exit_config_path(None) == tmp_path / "ropeway" / "config.toml"
    assert ropeway("exit", "uninstall")[2].startswith("Nothing is installed.")


# ---- what is written about them


DOCUMENT = (Path(__file__).parent.parent / "docs" / "service.md").read_text(encoding="utf-8")
EXAMPLES = [
    shlex.split(line)
    for block in re.findall(r"^```sh\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]


@pytest.mark.parametrize("words", EXAMPLES, ids=" ".join)
def test_the_commands_of_the_document_exist(ropeway: Callable[..., tuple[object, str, str]], words: list[str]) -> None:
    words = words[words.index("ropeway") + 1 :]
    if words[:2] in (["exit", "init"], ["exit", "user"]):  # tests of these commands are elsewhere
        return
    code, out, _ = ropeway(*words[:2], "--help")
    assert code == 0
    assert all(word in out for word in words[2:] if word.startswith("-"))


@pytest.mark.parametrize(
    "words", ["service", "service install", "service logs", "service status", "exit", "exit install"]
)
def test_help(ropeway: Callable[..., tuple[object, str, str]], words: str) -> None:
    code, out, _ = ropeway(*words.split(), "--help")
    assert code == 0
    assert out.startswith(f"Usage: ropeway {words}")
    assert "..." not in out.replace("[ARGS]...", "")  # no line was too long for a terminal


def test_the_document_names_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("SUDO_USER", raising=False)
    for platform in ("linux", "darwin"):
        monkeypatch.setattr(sys, "platform", platform)
        files = service.local_service(tmp_path / "config.toml", Listen("127.0.0.1", 1080)).files
        for path, content in files.items():
            assert content is None or f"`~/{path.relative_to(tmp_path)}`" in DOCUMENT
    assert f"`{service_exit.FOLDER}`" in DOCUMENT
    assert str(service_exit.CONFIG) in DOCUMENT
    assert f"after {WATCHDOG} seconds" in DOCUMENT


def test_what_help_needs_is_little() -> None:
    script = "import sys, proxy.cli_service; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    heavy = {
        "trio",
        "cryptography",
        "msgspec",
        "tomlkit",
        "platformdirs",
        "xml.etree.ElementTree",
        "plistlib",
    }
    assert not heavy & set(done.stdout.split())
