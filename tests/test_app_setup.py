"""What each app needs: the link, the profile, the command, the steps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from proxy import app_setup
from proxy.address import Address
from proxy.app_program import Computer
from proxy.app_setup import Port, Setup, set_up
from proxy.errors import ConfigError
from proxy.presets import load_presets
from proxy.protocol.socks import Credentials

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ALL = load_presets()
PORT = Port(Address("127.0.0.1", 9050))
ALICE = Credentials("alice", "wonder&land")
SYSTEMS = ("linux", "darwin", "win32")


class Desk:
    """In place of what is started and opened."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.started: list[tuple[list[str], dict[str, str]]] = []
        self.opened: list[str] = []
        monkeypatch.setattr(app_setup, "start", self._start)
        monkeypatch.setattr(app_setup, "open_link", self.opened.append)

    def _start(self, argv: Iterable[str], variables: Mapping[str, str]) -> None:
        self.started.append((list(argv), dict(variables)))

    def set_up(self, name: str, port: Port = PORT, system: str = "linux", *there: str) -> Setup:
        return set_up(name, port, Computer(system, self.folder, {}, lambda path: path if path in there else None))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch)


# ---- Telegram


def test_telegram_has_a_link(desk: Desk) -> None:
    setup = desk.set_up("telegram")
    assert setup.printed == "tg://socks?server=127.0.0.1&port=9050"
    setup.act()
    assert desk.opened == [setup.printed]


def test_an_ipv6_address_in_a_link_is_quoted(desk: Desk) -> None:
    assert desk.set_up("telegram", Port(Address("::1", 1080))).printed == "tg://socks?server=%3A%3A1&port=1080"


def test_the_password_is_in_the_link_where_it_is_asked_for(desk: Desk) -> None:
    hidden = desk.set_up("telegram", Port(PORT.address, ALICE))
    assert "alice" not in hidden.printed + "".join(hidden.steps)
    assert any("--with-password" in line for line in hidden.steps)
    shown = desk.set_up("telegram", Port(PORT.address, ALICE, shown=True))
    assert shown.printed == "tg://socks?server=127.0.0.1&port=9050&user=alice&pass=wonder%26land"


@pytest.mark.parametrize("shown", [True, False])
def test_a_link_with_a_password_is_opened_by_hand(desk: Desk, shown: bool) -> None:
    """A program's arguments can be read by everybody on the computer."""
    with pytest.raises(ConfigError, match="by hand"):
        desk.set_up("telegram", Port(PORT.address, ALICE, shown)).act()
    assert desk.opened == []


# ---- Signal


def test_signal_is_started_with_its_environment(desk: Desk) -> None:
    setup = desk.set_up("signal", PORT, "linux", "signal-desktop")
    assert setup.printed == "HTTPS_PROXY=http://127.0.0.1:9050 signal-desktop"
    setup.act()
    assert desk.started == [(["signal-desktop"], {"HTTPS_PROXY": "http://127.0.0.1:9050"})]


def test_signals_password_is_only_in_its_environment(desk: Desk) -> None:
    setup = desk.set_up("signal", Port(PORT.address, ALICE), "linux", "signal-desktop")
    assert "wonder" not in setup.printed + "".join(setup.steps)
    setup.act()
    assert desk.started == [(["signal-desktop"], {"HTTPS_PROXY": "http://alice:wonder%26land@127.0.0.1:9050"})]
    assert "wonder" in desk.set_up("signal", Port(PORT.address, ALICE, shown=True)).printed


def test_signal_for_powershell(desk: Desk) -> None:
    assert desk.set_up("signal", PORT, "win32").printed == "$env:HTTPS_PROXY = 'http://127.0.0.1:9050'; & 'Signal.exe'"


# ---- browsers


@pytest.mark.parametrize(
    ("name", "program"),
    [
        ("chromium", "chromium-browser"),
        ("chrome", "google-chrome"),
        ("edge", "microsoft-edge"),
        ("firefox", "firefox-esr"),
    ],
)
def test_a_browser_gets_a_profile_and_is_started_with_it(desk: Desk, name: str, program: str) -> None:
    setup = desk.set_up(name, PORT, "linux", program)
    profile = desk.folder / "apps" / name
    assert profile.is_dir()
    setup.act()
    ((argv, variables),) = desk.started
    assert (argv[0], variables) == (program, {})
    assert str(profile) in " ".join(argv)
    assert setup.printed.startswith(f"{program} --")


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_browser_that_is_not_there_is_told(desk: Desk, system: str) -> None:
    setup = desk.set_up("chrome", PORT, system)
    assert "was not found" in setup.steps[-1]
    assert "{" not in setup.printed
    with pytest.raises(ConfigError, match="--program"):
        setup.act()
    assert desk.started == []


def test_a_browser_of_the_users_choice(desk: Desk) -> None:
    computer = Computer("linux", desk.folder, {}, lambda path: path)
    assert set_up("Firefox ", PORT, computer, Path("/opt/firefox")).printed.startswith("/opt/firefox --profile ")


def test_a_browser_will_ask_for_the_password(desk: Desk) -> None:
    setup = desk.set_up("chromium", Port(PORT.address, ALICE, shown=True))
    assert any("will ask" in line for line in setup.steps)
    assert "--proxy-server=http://127.0.0.1:9050" in setup.printed
    assert "wonder" not in setup.printed


def test_a_profile_that_cannot_be_made_is_one_line(desk: Desk) -> None:
    (desk.folder / "apps").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        desk.set_up("firefox")


# ---- the others


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("preset", ALL.values(), ids=list(ALL))
def test_every_app_has_something_to_do_here(desk: Desk, preset: object, system: str) -> None:
    name = next(name for name, each in ALL.items() if each is preset)
    setup = desk.set_up(name, PORT, system)
    text = "\n".join(setup.steps) + setup.printed
    assert text
    assert "{" not in text
    assert not any(line.startswith(("Phone: ", "Android: ")) for line in setup.steps)
    assert system == "win32" or not any(line.startswith("Windows") for line in setup.steps)
    if ALL[name].web and ALL[name].route == "tunnel" and not setup.printed:
        assert any(ALL[name].web in line for line in setup.steps)


def test_what_is_done_by_hand_cannot_be_opened(desk: Desk) -> None:
    setup = desk.set_up("discord")
    assert setup.steps[0] == "Desktop: It has no setting: start it with --proxy-server=socks5://127.0.0.1:9050"
    with pytest.raises(ConfigError, match="nothing to open"):
        setup.act()


def test_an_unknown_name_is_one_line_that_names_the_browsers_too(desk: Desk) -> None:
    with pytest.raises(ConfigError, match=r"did you mean telegram.*chromium, chrome, edge, firefox"):
        desk.set_up("telegramm")
