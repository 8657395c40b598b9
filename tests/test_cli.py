"""The commands, as a user types them: results on standard output, one line for each failure, and the three statuses."""

from __future__ import annotations

import io
import os
import shlex
import stat
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

import proxy
from proxy import cli, config
from proxy.address import Address
from proxy.errors import ConfigError
from proxy.keys import der_of, new_certificate, pin_of
from proxy.settings import Folder, Listen
from proxy.share import Link

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("log_as_before")

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def links(self) -> list[Link]:
        return [Link.parse(line) for line in self.out.splitlines() if line.startswith("ropeway://")]

    @property
    def failure(self) -> str:
        """The one line of a command that failed."""
        assert (self.code, self.out) == (1, "")
        (line,) = self.err.splitlines()
        assert line.startswith("ropeway: ")
        return line


def exits_in(path: Path) -> list[Link]:
    return [chosen.link for chosen in config.load(path).local.exits]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "settings" / "config.toml"


@pytest.fixture
def ropeway(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    def run(*arguments: str | Path) -> Done:
        monkeypatch.setattr("sys.argv", ["ropeway", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        assert isinstance(caught.value.code, int)
        return Done(caught.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def exit_of_anna(ropeway: Callable[..., Done], path: Path) -> Link:
    done = ropeway("exit", "init", "--host", "exit.example.com", "--user", "anna", "--config", path)
    assert done.code == 0
    (link,) = done.links
    return link


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What was handed to the program itself, which does not run here."""
    calls: list[tuple[object, ...]] = []
    names = ("run_local", "run_exit", "run_demo")
    parts = {name: lambda *arguments, name=name: calls.append((name, *arguments)) for name in names}
    monkeypatch.setattr(proxy, "app", SimpleNamespace(**parts), raising=False)
    return calls


def test_an_exit_is_set_up(ropeway: Callable[..., Done], path: Path) -> None:
    done = ropeway("exit", "init", "--host", "exit.example.com", "--config", path)
    assert done.code == 0
    settings = config.load(path).exit
    (user,) = settings.users
    assert user.name == "first"
    assert (settings.host, settings.port, settings.listen) == ("exit.example.com", 443, (Listen("", 443),))
    assert done.links == [settings.link(user, pin_of(der_of(settings.certificate.read_bytes())))]
    link, *drawing = done.out.splitlines()
    assert link.startswith("ropeway://")
    assert len(drawing) > 20
    assert all(set(line) <= set("█▀▄ ") for line in drawing)
    assert f"ropeway exit run --config {shlex.quote(str(path))}" in done.err
    if sys.platform != "win32":
        for file in (path, settings.certificate, settings.key):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_exit_is_set_up_with_every_option(ropeway: Callable[..., Done], path: Path) -> None:
    options = shlex.split(
        "--host 2001:db8::1 --port 8443 --also a.example:443 --also 192.0.2.1:8443 --user anna --user ben --listen 127.0.0.1:9 --website folder:www"
    )
    done = ropeway("exit", "init", *options, "--allow-private", "--config", path)
    settings = config.load(path).exit
    assert (settings.host, settings.port, settings.listen) == ("2001:db8::1", 8443, (Listen("127.0.0.1", 9),))
    assert settings.addresses == (Address("a.example", 443), Address("192.0.2.1", 8443))
    assert settings.website == Folder(path.parent / "www")
    assert settings.allow_private
    assert [user.name for user in settings.users] == ["anna", "ben"]
    assert [(link.name, link.key) for link in done.links] == [(user.name, user.key) for user in settings.users]
    assert [str(each) for each in done.links[0].addresses] == ["[2001:db8::1]:8443", "a.example:443", "192.0.2.1:8443"]


def test_the_port_is_also_where_the_exit_listens(ropeway: Callable[..., Done], path: Path) -> None:
    ropeway("exit", "init", "--host", "192.0.2.1", "--port", "8443", "--config", path)
    assert config.load(path).exit.listen == (Listen("", 8443),)


def test_an_exit_is_not_replaced_by_accident(ropeway: Callable[..., Done], path: Path, exit_of_anna: Link) -> None:
    before = path.read_bytes()
    again = ("exit", "init", "--host", "other.example.com", "--config", path)
    for word in (str(path), "--force", "user add"):
        assert word in ropeway(*again).failure
    assert path.read_bytes() == before
    path.unlink()
    assert "exit-key.pem" in ropeway(*again).failure  # the key alone is worth keeping too


def test_force_makes_everything_new_but_keeps_other_settings(
    ropeway: Callable[..., Done], path: Path, exit_of_anna: Link
) -> None:
    path.write_text(path.read_text().replace("# max_streams = 8192", "max_streams = 7"))
    done = ropeway("exit", "init", "--host", "other.example.com", "--force", "--config", path)
    (link,) = done.links
    settings = config.load(path).exit
    assert (settings.host, settings.max_streams) == ("other.example.com", 7)
    assert [user.name for user in settings.users] == ["first"]
    assert link.pin != exit_of_anna.pin


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--host", "a b"], "exit.host"),
        (["--host", "a.example", "--listen", "nowhere"], "exit.listen"),
        (["--host", "a.example", "--also", "b.example"], "exit.addresses"),
        (["--host", "a.example", *["--also", "b.example:1"] * 9], "exit.addresses"),
        (["--host", "a.example", "--website", "blog"], "exit.website"),
        (["--host", "a.example", "--user", "x", "--user", "x"], "exit.users[1].name"),
        (["--host", "a.example", "--user", ""], "exit.users[0].name"),
    ],
)
def test_nothing_is_written_for_an_exit_that_cannot_be(
    ropeway: Callable[..., Done], path: Path, options: list[str], word: str
) -> None:
    assert word in ropeway("exit", "init", *options, "--config", path).failure
    assert not path.parent.exists()


def test_users_come_and_go(ropeway: Callable[..., Done], path: Path, exit_of_anna: Link) -> None:
    added = ropeway("exit", "user", "add", "ben", "--config", path)
    assert added.code == 0
    (line,) = added.out.splitlines()
    link = Link.parse(line)
    assert (link.name, link.host, link.pin) == ("ben", exit_of_anna.host, exit_of_anna.pin)
    assert link.key != exit_of_anna.key
    assert ropeway("exit", "user", "list", "--config", path).out == "anna\nben\n"
    assert ropeway("exit", "link", "ben", "--config", path).out == f"{link}\n"
    removed = ropeway("exit", "user", "remove", "anna", "--config", path)
    assert (removed.code, removed.out) == (0, "")
    assert ropeway("exit", "user", "list", "--config", path).out == "ben\n"


def test_users_who_are_not_there(ropeway: Callable[..., Done], path: Path, exit_of_anna: Link) -> None:
    for words in (["exit", "user", "remove"], ["exit", "link"]):
        line = ropeway(*words, "zoe", "--config", path).failure
        assert "'zoe'" in line
        assert "anna" in line
    assert "two users" in ropeway("exit", "user", "add", "anna", "--config", path).failure
    assert ropeway("exit", "user", "list", "--config", path).out == "anna\n"


def test_links_need_the_certificate(ropeway: Callable[..., Done], path: Path, exit_of_anna: Link) -> None:
    certificate = config.load(path).exit.certificate
    certificate.write_text("nothing")
    assert "no certificate" in ropeway("exit", "link", "anna", "--config", path).failure
    certificate.unlink()
    before = path.read_bytes()
    assert "exit.certificate" in ropeway("exit", "user", "add", "ben", "--config", path).failure
    assert path.read_bytes() == before


def test_links_follow_the_certificate(ropeway: Callable[..., Done], path: Path, exit_of_anna: Link) -> None:
    certificate, _ = new_certificate("exit.example.com")
    config.load(path).exit.certificate.write_bytes(certificate)
    (link,) = ropeway("exit", "link", "anna", "--config", path).links
    assert link.pin == pin_of(der_of(certificate))
    assert link.key == exit_of_anna.key


def test_a_terminal_gets_the_code_in_colour(
    ropeway: Callable[..., Done], path: Path, exit_of_anna: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    link, *drawing = ropeway("exit", "link", "anna", "--config", path).out.splitlines()
    assert link == str(exit_of_anna)
    assert len(drawing) > 20
    assert all(line.startswith("\x1b[") for line in drawing)


def test_an_output_without_blocks_gets_the_link_only(
    ropeway: Callable[..., Done], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", output)
    done = ropeway("exit", "init", "--host", "exit.example.com", "--config", path)
    assert done.code == 0
    assert "left out" in done.err
    output.seek(0)
    (line,) = output.read().splitlines()
    assert Link.parse(line).host == "exit.example.com"


def test_a_link_too_long_for_a_code(ropeway: Callable[..., Done], path: Path) -> None:
    names = [f"{number}.{'.'.join(['a' * 60] * 4)}:443" for number in range(8)]
    also = [word for name in names for word in ("--also", name)]
    done = ropeway(
        "exit", "init", "--host", names[0].removesuffix(":443"), *also, "--user", "😀" * 64, "--config", path
    )
    assert done.code == 0
    assert "too long for one" in done.err
    (line,) = done.out.splitlines()
    assert len(Link.parse(line).addresses) == 8


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
    other = str(exit_of_anna).replace("exit.example.com", "other.example.com")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{other}\n"))
    assert ropeway("join", "-", "--config", path).code == 0
    settings = config.load(path)
    assert (exits_in(path), settings.local.listen) == ([Link.parse(other)], Listen("::1", 1090))
    assert [user.name for user in settings.exit.users] == ["anna"]


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
    ropeway("join", exit_of_anna, "--config", path)
    assert exits_in(path) == [exit_of_anna, other]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["https://example.com"], "link: "),
        (["LINK"], "link: "),
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


def test_the_usual_place_of_the_configuration(
    ropeway: Callable[..., Done], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable in ("HOME", "XDG_CONFIG_HOME", "APPDATA"):
        monkeypatch.setenv(variable, str(tmp_path))
    ropeway("exit", "init", "--host", "exit.example.com")
    (path,) = tmp_path.rglob("config.toml")
    assert path.parent.name == "ropeway"
    assert ropeway("exit", "user", "list").out == "first\n"


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
    "words", ["", "exit", "exit user", "run", "join", "demo", "exit init", "exit link", "exit user add"]
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
    command = [sys.executable, "-m", "proxy", "join", "nonsense"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert Done(done.returncode, done.stdout, done.stderr).failure.startswith("ropeway: link: ")


# ---- what people type and pipe


@pytest.mark.parametrize("host", ["", " "])
def test_an_exit_needs_a_host(ropeway: Callable[..., Done], path: Path, host: str) -> None:
    assert "--host" in ropeway("exit", "init", "--host", host, "--config", path).failure
    assert not path.parent.exists()


@pytest.mark.parametrize("name", ["n" * 65, "a\tb", " a", ""])
def test_a_user_needs_a_name_that_can_be_shown(ropeway: Callable[..., Done], path: Path, name: str) -> None:
    ropeway("exit", "init", "--host", "192.0.2.1", "--config", path)
    before = path.read_bytes()
    assert "1 to 64 characters" in ropeway("exit", "user", "add", name, "--config", path).failure
    assert path.read_bytes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="redirections of a POSIX shell")
@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("join - <&-", 1, "a link begins with"),
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


def test_a_name_that_the_output_cannot_show(ropeway: Callable[..., Done], path: Path) -> None:
    ropeway("exit", "init", "--host", "192.0.2.1", "--user", "J\u00fcrg", "--config", path)
    argv = [sys.executable, "-m", "proxy", "exit", "user", "list", "--config", str(path)]
    done = subprocess.run(
        argv, cwd=ROOT, env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "J\\xfcrg\n")


def test_commands_at_the_same_time_lose_nobody(ropeway: Callable[..., Done], path: Path) -> None:
    ropeway("exit", "init", "--host", "192.0.2.1", "--config", path)
    names = [f"user{number}" for number in range(6)]
    argv = [sys.executable, "-m", "proxy", "exit", "user", "add"]
    running = [
        subprocess.Popen([*argv, name, "--config", str(path)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for name in names
    ]
    for process in running:
        process.communicate()
        assert process.returncode == 0
    assert {user.name for user in config.load(path).exit.users} == {"first", *names}
