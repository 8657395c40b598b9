"""The commands about apps, as a user types them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
import typer

from proxy import cli, socks_client
from proxy.address import Address
from proxy.cli_apps import apps_commands
from proxy.errors import LocalPortError, OpenError, Reason
from proxy.presets import load_presets
from proxy.protocol.socks import Credentials
from proxy.terminal import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Ropeway = Callable[..., tuple[int, str, str]]

pytestmark = pytest.mark.usefixtures("log_as_before")

ALL = load_presets()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


@pytest.fixture
def ropeway(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], path: Path) -> Ropeway:
    """Runs it; returns the status, and what went to standard output and to standard error."""
    program = typer.Typer(**PLAIN)
    program.add_typer(apps_commands, name="apps")
    monkeypatch.setattr(cli, "program", program)
    monkeypatch.setattr("platformdirs.user_config_path", lambda *_arguments, **_options: path.parent)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["ropeway", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        assert isinstance(caught.value.code, int)
        return (caught.value.code, *capsys.readouterr())

    return run


def save(path: Path, text: str) -> None:
    path.write_text(text)
    if sys.platform != "win32":
        path.chmod(0o600)


class LocalPort:
    """In place of the connections through it: an answer from each host, but for those that are given."""

    def __init__(self, answers: dict[str, Exception]) -> None:
        self.answers = answers
        self.asked: list[tuple[Address, Credentials | None, Address]] = []

    async def connect(
        self, server: Address, credentials: Credentials | None, address: Address
    ) -> trio.abc.HalfCloseableStream:
        self.asked.append((server, credentials, address))
        if (error := self.answers.get(address.host, self.answers.get("*"))) is not None:
            raise error
        near, far = trio.testing.memory_stream_pair()
        await far.send_eof()
        return near


@pytest.fixture
def local_port(monkeypatch: pytest.MonkeyPatch) -> LocalPort:
    port = LocalPort({})
    monkeypatch.setattr(socks_client, "connect_through", port.connect)
    return port


# ---- apps, apps show


def test_the_list(ropeway: Ropeway) -> None:
    code, out, err = ropeway("apps")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["NAME", *ALL]
    assert "ropeway apps show NAME" in err


@pytest.mark.parametrize("name", [*ALL, *(alias for preset in ALL.values() for alias in preset.aliases)])
def test_each_app_is_shown(ropeway: Ropeway, name: str) -> None:
    code, out, err = ropeway("apps", "show", name)
    assert (code, err) == (0, "")
    assert out.startswith(ALL[name].label)
    assert "Messages: " in out
    assert "Calls: " in out
    assert "127.0.0.1:1080" in out or ALL[name].route == "direct"


@pytest.mark.parametrize(
    ("listen", "shown"),
    [
        ("127.0.0.1:9050", "127.0.0.1, port 9050"),
        ("[::1]:9050", "::1, port 9050"),
        (":9050", "127.0.0.1, port 9050"),
        ("0.0.0.0:9050", "127.0.0.1, port 9050"),
        ("[::]:9050", "::1, port 9050"),
    ],
)
def test_the_local_port_is_that_of_the_configuration(ropeway: Ropeway, path: Path, listen: str, shown: str) -> None:
    save(path, f'[local]\nlisten = "{listen}"\nusername = "alice"\npassword = "wonderland"\n')
    for option in ((), ("--config", path)):
        code, out, _ = ropeway("apps", "show", "telegram", *option)
        assert code == 0
        assert shown in " ".join(out.split())
        assert "wonderland" not in out
        assert "alice" not in out


def test_a_broken_configuration_is_told(ropeway: Ropeway, path: Path) -> None:
    save(path, "[local]\nlisten = 7\n")
    code, out, err = ropeway("apps", "show", "telegram")
    assert (code, out) == (1, "")
    assert err.startswith("ropeway: local.listen: ")
    assert len(err.splitlines()) == 1


def test_a_configuration_that_was_named_has_to_be_there(ropeway: Ropeway, path: Path) -> None:
    code, _, err = ropeway("apps", "show", "telegram", "--config", path)
    assert (code, "there is no configuration" in err) == (1, True)


def test_a_port_that_the_system_chooses_is_not_known(ropeway: Ropeway, path: Path) -> None:
    save(path, '[local]\nlisten = "127.0.0.1:0"\n')
    for command in ("show", "check"):
        code, out, err = ropeway("apps", command, "telegram")
        assert (code, out) == (1, "")
        assert err.startswith("ropeway: local.listen: with port 0")


@pytest.mark.parametrize("command", ["show", "check"])
def test_an_unknown_app_is_one_line_with_what_comes_close(ropeway: Ropeway, command: str) -> None:
    code, out, err = ropeway("apps", command, "whatsap")
    assert (code, out) == (1, "")
    assert err == "ropeway: no app is known by the name 'whatsap'; did you mean whatsapp?\n"


# ---- apps setup


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr("platformdirs.user_state_path", lambda *_arguments, **_options: tmp_path / "state")
    monkeypatch.setattr("proxy.system_proxy.listens", lambda place: place.port == 9050)
    return tmp_path / "state"


def test_a_link_is_the_result(ropeway: Ropeway, state: Path) -> None:
    code, out, err = ropeway("apps", "setup", "telegram")
    assert (code, out) == (0, "tg://socks?server=127.0.0.1&port=1080\n")
    assert "Nothing listens on 127.0.0.1:1080 yet" in err


def test_the_password_has_to_be_asked_for(ropeway: Ropeway, state: Path, path: Path) -> None:
    save(path, '[local]\nlisten = "127.0.0.1:9050"\nusername = "alice"\npassword = "wonderland"\n')
    code, out, err = ropeway("apps", "setup", "telegram")
    assert (code, "wonderland" in out + err, "Nothing listens" in err) == (0, False, False)
    code, out, err = ropeway("apps", "setup", "telegram", "--with-password")
    assert (code, "&pass=wonderland" in out) == (0, True)
    code, out, err = ropeway("apps", "setup", "telegram", "--open")
    assert (code, err.splitlines()[-1].endswith("open it in Telegram by hand")) == (1, True)


def test_a_browser_is_started(ropeway: Ropeway, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr("proxy.app_setup.start", lambda argv, variables: started.append(argv))
    code, out, err = ropeway("apps", "setup", "firefox", "--program", sys.executable, "--open")
    assert code == 0
    assert started == [[sys.executable, "--profile", str(state / "apps" / "firefox")]]
    assert "a profile of its own" in err
    assert str(state) in out


def test_steps_are_the_result_where_there_is_nothing_to_copy(ropeway: Ropeway, state: Path) -> None:
    code, out, _ = ropeway("apps", "setup", "slack")
    assert (code, out.splitlines()[0].startswith("Desktop: ")) == (0, True)


# ---- apps check


def test_all_answer(ropeway: Ropeway, local_port: LocalPort) -> None:
    code, out, err = ropeway("apps", "check", "whatsapp")
    assert code == 0
    hosts = ALL["whatsapp"].hosts
    assert {line.split()[0] for line in out.splitlines()} == {str(address) for address in hosts}
    assert all(" answered in " in line and line.endswith(" ms") for line in out.splitlines())
    assert {asked[:2] for asked in local_port.asked} == {(Address("127.0.0.1", 1080), None)}
    assert f"{len(hosts)} of {len(hosts)} answered." in err


def test_one_that_does_not_answer_is_named_with_the_reason(ropeway: Ropeway, local_port: LocalPort) -> None:
    local_port.answers["mmg.whatsapp.net"] = OpenError(Reason.REFUSED)
    code, out, err = ropeway("apps", "check", "whatsapp")
    assert code == 1
    (line,) = [line for line in out.splitlines() if "answered" not in line]
    assert line.split(maxsplit=1) == ["mmg.whatsapp.net:443", "the destination refused the connection"]
    assert "6 of 7 answered." in err


def test_the_credentials_are_those_of_the_configuration(ropeway: Ropeway, local_port: LocalPort, path: Path) -> None:
    save(path, '[local]\nlisten = "[::1]:9050"\nusername = "alice"\npassword = "wonderland"\n')
    code, out, err = ropeway("apps", "check", "slack")
    assert code == 0
    assert {asked[:2] for asked in local_port.asked} == {(Address("::1", 9050), Credentials("alice", "wonderland"))}
    assert "wonderland" not in out + err


def test_without_ropeway_run_there_is_one_line(ropeway: Ropeway, local_port: LocalPort) -> None:
    local_port.answers["*"] = LocalPortError("nothing listens at 127.0.0.1:1080; start `ropeway run`")
    code, out, err = ropeway("apps", "check", "signal")
    assert (code, out) == (1, "")
    assert err.splitlines()[1:] == ["ropeway: nothing listens at 127.0.0.1:1080; start `ropeway run`"]


@pytest.mark.parametrize(("name", "words"), [("wechat", "they go direct"), ("line", "your rules decide")])
def test_it_says_which_way_the_hosts_go(ropeway: Ropeway, local_port: LocalPort, name: str, words: str) -> None:
    _, _, err = ropeway("apps", "check", name)
    assert words in err.splitlines()[0]


def test_what_was_interrupted_has_not_succeeded(
    ropeway: Ropeway, local_port: LocalPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(trio, "run", interrupted)
    code, out, err = ropeway("apps", "check", "line")
    assert (code, out) == (1, "")
    assert "0 of 5 answered." in err
