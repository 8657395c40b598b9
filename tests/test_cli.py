"""The commands, as a user types them: results on standard output, one line for each failure, and the three statuses."""

from __future__ import annotations

import io
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

import proxy
from proxy import config
from proxy.address import Address
from proxy.errors import ConfigError
from proxy.settings import Listen
from proxy.share import Link
from tests.command_line import Done

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("log_as_before")

ROOT = Path(__file__).parent.parent


def exits_in(path: Path) -> list[Link]:
    return [chosen.link for chosen in config.load(path).local.exits]


def test_join_may_say_what_goes_through_the_tunnel(
    ropeway: Callable[..., Done], tmp_path: Path, exit_of_anna: Link
) -> None:
    local = tmp_path / "local.toml"
    done = ropeway("join", exit_of_anna, "--mode", "all", "--config", local)
    assert done.code == 0
    assert 'mode = "all"' in local.read_text()
    assert "home-direct" in ropeway("join", exit_of_anna, "--mode", "some", "--config", tmp_path / "other.toml").failure
    assert not (tmp_path / "other.toml").exists()


def test_join(ropeway: Callable[..., Done], tmp_path: Path, exit_of_anna: Link) -> None:
    path = tmp_path / "local.toml"
    done = ropeway("join", str(exit_of_anna), "--config", path)
    assert (done.code, done.out) == (0, "")
    assert "exit.example.com:443" in done.err
    assert f"ropeway run --config {shlex.quote(str(path))}" in done.err
    assert str(exit_of_anna).partition("@")[0] not in done.err
    assert exits_in(path) == [exit_of_anna]
    assert config.load(path).local.listen == Listen("127.0.0.1", 1080)


def test_join_another_exit_with_the_same_settings(
    ropeway: Callable[..., Done], path: Path, exit_of_anna: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file may serve both sides; the link comes by standard input."""
    ropeway("join", str(exit_of_anna), "--listen", "[::1]:1090", "--config", path)
    other = str(replace(exit_of_anna, host="other.example.com", pin=b"\x01" * 32))
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{other}\n"))
    done = ropeway("join", "-", "--config", path)
    assert done.code == 0
    assert "exit.example.com:443 is no exit of this computer any more; `ropeway join --add LINK`" in done.err
    settings = config.load(path)
    assert (exits_in(path), settings.local.listen) == ([Link.parse(other)], Listen("::1", 1090))
    assert [user.name for user in settings.exit.users] == ["anna"]


def test_join_the_same_exit_at_another_address(ropeway: Callable[..., Done], path: Path, exit_of_anna: Link) -> None:
    """It has moved: nothing was replaced."""
    ropeway("join", str(exit_of_anna), "--config", path)
    moved = replace(exit_of_anna, host="other.example.com")
    done = ropeway("join", str(moved), "--config", path)
    assert (done.code, "any more" in done.err, exits_in(path)) == (0, False, [moved])


def test_join_mends_a_broken_link(ropeway: Callable[..., Done], path: Path, exit_of_anna: Link) -> None:
    path.write_text('[local]\nexit = "ropeway://broken"\n')
    assert ropeway("join", str(exit_of_anna), "--config", path).code == 0
    assert exits_in(path) == [exit_of_anna]


def test_join_adds_exits(ropeway: Callable[..., Done], tmp_path: Path, exit_of_anna: Link) -> None:
    path = tmp_path / "local.toml"
    other = replace(exit_of_anna, pin=b"\x01" * 32)
    assert "exit.example.com:443 is one of" not in ropeway("join", "--add", exit_of_anna, "--config", path).err
    done = ropeway("join", "--add", other, "--listen", "[::1]:1090", "--config", path)
    assert "[::1]:1090, exit.example.com:443 is one of 2 exits" in done.err
    assert len(done.err.splitlines()) == 2
    newer = replace(exit_of_anna, also=(Address("192.0.2.1", 443),))
    ropeway("join", newer, "--add", "--config", path)
    assert exits_in(path) == [newer, other]
    done = ropeway("join", exit_of_anna, "--config", path)
    assert "any more" not in done.err
    assert exits_in(path) == [exit_of_anna, other]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["https://example.com"], "link: "),
        (["LINK"], "LINK: "),
        (["{link}", "--listen", "0.0.0.0:1080"], "local.password"),
        (["{link}", "--listen", "x"], "local.listen"),
    ],
)
def test_nothing_is_written_for_a_local_side_that_cannot_be(
    ropeway: Callable[..., Done], tmp_path: Path, exit_of_anna: Link, arguments: list[str], word: str
) -> None:
    path = tmp_path / "local.toml"
    line = ropeway("join", *(each.format(link=exit_of_anna) for each in arguments), "--config", path).failure
    assert word in line
    assert not path.exists()


def test_the_sides_get_their_configuration(
    ropeway: Callable[..., Done], path: Path, exit_of_anna: Link, started: list[tuple[object, ...]]
) -> None:
    settings = config.load(path)
    assert ropeway("run", "--config", path) == Done(0, "", "")
    assert ropeway("exit", "run", "--config", path) == Done(0, "", "")
    assert started == [("run_local", settings, path), ("run_exit", path)]


def test_the_demo_needs_none(ropeway: Callable[..., Done], started: list[tuple[object, ...]]) -> None:
    assert ropeway("demo").code == 0
    assert ropeway("demo", "--port", "0", "--allow-private").code == 0
    assert [(name, *rest) for name, _settings, *rest in started] == [("run_demo", 1080, False), ("run_demo", 0, True)]


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (KeyboardInterrupt(), 0, ""),
        (BaseExceptionGroup("", [KeyboardInterrupt()]), 0, ""),
        (ConfigError("local.listen", "two\nlines"), 1, "ropeway: local.listen: two\\nlines\n"),
        (
            PermissionError(13, "Permission denied", "/x/exit-key.pem"),
            1,
            "ropeway: /x/exit-key.pem: Permission denied\n",
        ),
        (OSError(98, "Address already in use"), 1, "ropeway: Address already in use\n"),
        (OSError("odd"), 1, "ropeway: odd\n"),
        (KeyError("x"), 1, "ropeway: this is a bug of Ropeway: KeyError: 'x'\n"),
        (ExceptionGroup("", [KeyError("x")]), 1, "ropeway: this is a bug of Ropeway: KeyError: 'x'\n"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_end_of_the_program(
    ropeway: Callable[..., Done], monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, text: str
) -> None:
    def run_demo(*_: object) -> None:
        raise error

    monkeypatch.setattr(proxy, "app", SimpleNamespace(run_demo=run_demo), raising=False)
    assert ropeway("demo") == Done(code, "", text)


@pytest.mark.parametrize("words", ["run", "exit link x", "exit user add x", "exit user remove x", "exit user list"])
def test_commands_that_need_a_configuration_say_what_makes_one(
    ropeway: Callable[..., Done], path: Path, started: list[tuple[object, ...]], words: str
) -> None:
    line = ropeway(*words.split(), "--config", path).failure
    assert str(path) in line
    assert "ropeway join" in line
    assert started == []


@pytest.mark.parametrize(
    "words",
    [
        "fly",
        "run --nonsense",
        "join",
        "exit init",
        "exit init --host x --port 0",
        "exit link",
        "demo --port x",
        "exit user",
    ],
)
def test_wrong_usage(ropeway: Callable[..., Done], words: str) -> None:
    done = ropeway(*words.split())
    assert done.code == 2
    assert "Usage: ropeway" in done.err + done.out


def test_the_version(ropeway: Callable[..., Done]) -> None:
    done = ropeway("--version")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("ropeway")


@pytest.mark.parametrize(
    "words", ["", "exit", "exits", "exit user", "run", "join", "demo", "exit init", "exit link", "exit user add"]
)
def test_help(ropeway: Callable[..., Done], words: str) -> None:
    done = ropeway(*words.split(), "--help")
    assert done.code == 0
    assert done.out.startswith(f"Usage: ropeway {words}".rstrip())
    assert "..." not in done.out.replace("[ARGS]...", "")  # no line was too long for a terminal


def test_help_does_not_wait_for_what_it_does_not_need() -> None:
    script = "import sys, proxy.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy = {"trio", "cryptography", "msgspec", "segno", "tomlkit", "platformdirs", "utls", "h11", "rich"}
    assert not heavy & set(done.stdout.split())


def test_the_package_runs_as_a_program() -> None:
    command = [sys.executable, "-m", "proxy", "join", "https://x"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert Done(done.returncode, done.stdout, done.stderr).failure.startswith("ropeway: link: ")


# ---- what people type and pipe


@pytest.mark.skipif(sys.platform == "win32", reason="redirections of a POSIX shell")
@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("join - <&-", 1, "LINK: there is none"),
        ("exit user list >&-", 0, ""),
        ("exit link first >&-", 0, ""),
        ("exit user list >/dev/full", 1, "No space left"),
    ],
)
def test_streams_that_are_closed_or_full(
    ropeway: Callable[..., Done], path: Path, command: str, code: int, said: str
) -> None:
    ropeway("exit", "init", "--host", "192.0.2.1", "--config", path)
    words, _, redirection = command.rpartition(" ")
    line = f"{shlex.quote(sys.executable)} -m proxy {words} --config {shlex.quote(str(path))} {redirection}"
    done = subprocess.run(["/bin/sh", "-c", line], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert said in done.stderr
    assert "bug" not in done.stderr
    assert "Traceback" not in done.stderr
