"""The commands of the exit, as a user types them."""

from __future__ import annotations

import io
import os
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from proxy import config
from proxy.address import Address
from proxy.keys import der_of, new_certificate, pin_of
from proxy.settings import Folder, Listen
from proxy.share import Link

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.command_line import Done

pytestmark = pytest.mark.usefixtures("log_as_before")

ROOT = Path(__file__).parent.parent


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
    (path.parent / "www").mkdir(parents=True)
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
        (["--host", "a.example", "--website", "folder:nowhere"], "there is no folder"),
        (["--host", "a.example", "--cert", "cert.pem"], "--key: "),
        (["--host", "a.example", "--key", "key.pem"], "--cert: "),
        (["--host", "a.example", "--cert", "nowhere.pem", "--key", "key.pem"], "nowhere.pem cannot be read"),
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
    ropeway("exit", "user", "remove", "ben", "--config", path)
    none = ropeway("exit", "user", "list", "--config", path)
    assert (none.code, none.out) == (0, "")
    assert f"`ropeway exit user add NAME --config {path}` adds one" in none.err


def test_users_who_are_not_there(ropeway: Callable[..., Done], path: Path, exit_of_anna: Link) -> None:
    for words in (["exit", "user", "remove"], ["exit", "link"]):
        line = ropeway(*words, "zoe", "--config", path).failure
        assert "'zoe'" in line
        assert "anna" in line
    line = ropeway("exit", "user", "add", "anna", "--config", path).failure
    assert f"there is a user 'anna' already; `ropeway exit link anna --config {path}` prints the link again" in line
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


def test_a_name_that_the_output_cannot_show(ropeway: Callable[..., Done], path: Path) -> None:
    ropeway("exit", "init", "--host", "192.0.2.1", "--user", "J\u00fcrg", "--config", path)
    argv = [sys.executable, "-m", "proxy", "exit", "user", "list", "--config", str(path)]
    done = subprocess.run(
        argv, cwd=ROOT, env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "J\\xfcrg\n")


def test_commands_at_the_same_time_lose_nobody(ropeway: Callable[..., Done], path: Path) -> None:
    ropeway("exit", "init", "--host", "192.0.2.1", "--config", path)
    names = [f"user{number}" for number in range(4)]
    argv = [sys.executable, "-m", "proxy", "exit", "user", "add"]
    running = [
        subprocess.Popen([*argv, name, "--config", str(path)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for name in names
    ]
    for process in running:
        process.communicate()
        assert process.returncode == 0
    assert {user.name for user in config.load(path).exit.users} == {"first", *names}


def test_an_exit_with_a_certificate_of_its_own(
    ropeway: Callable[..., Done], path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = new_certificate("exit.example.com")
    (tmp_path / "fullchain.pem").write_bytes(certificate)
    (tmp_path / "privkey.pem").write_bytes(key)
    monkeypatch.chdir(tmp_path)
    options = ["--cert", "fullchain.pem", "--key", "privkey.pem"]
    done = ropeway("exit", "init", "--host", "exit.example.com", *options, "--config", path)
    settings = config.load(path).exit
    assert (settings.certificate, settings.key) == (tmp_path / "fullchain.pem", tmp_path / "privkey.pem")
    assert [link.pin for link in done.links] == [pin_of(der_of(certificate))]
    assert [file.name for file in path.parent.iterdir()] == [path.name]  # they were not copied
    assert ropeway("exit", "link", "first", "--config", path).links == done.links


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo terminals")
def test_a_terminal_is_asked_three_questions(path: Path) -> None:
    """On a real terminal: defaults, an answer that will not do, and what was answered."""
    if sys.platform == "win32":  # for the type checker, which reads no further there
        return
    import pty

    argv = [sys.executable, "-m", "proxy", "exit", "init", "--config", str(path)]
    ours, theirs = pty.openpty()
    try:
        os.write(ours, b"exit.example.com\nfolder:/nowhere\n\nanna\n")
        done = subprocess.run(argv, cwd=ROOT, stdin=theirs, capture_output=True, text=True, check=False)
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 0
    link = Link.parse(done.stdout.splitlines()[0])
    assert (link.host, link.name) == ("exit.example.com", "anna")
    assert "there is no folder /nowhere" in done.stderr
    assert done.stderr.count("]:") == 3  # a default for the website, twice, and for the user


def test_nobody_is_asked_for_an_exit_that_cannot_be_made(
    ropeway: Callable[..., Done], path: Path, exit_of_anna: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    assert "--force" in ropeway("exit", "init", "--config", path).failure
