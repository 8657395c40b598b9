"""What an app needs on this computer to go through the local port: steps, a link that sets it, or a command that starts it so."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from .app_program import open_link, start
from .browser_profile import BROWSERS, Profile
from .environment import variables
from .errors import ConfigError
from .guide import steps
from .presets import load_presets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from .address import Address
    from .app_program import AppProgram, Computer
    from .browser_profile import Browser
    from .presets import Preset
    from .protocol.socks import Credentials


@dataclass(frozen=True, slots=True)
class Port:
    """Where apps connect, and what they have to say there. `shown`: the password may stand in what is printed."""

    address: Address
    credentials: Credentials | None = None
    shown: bool = False

    @property
    def asks(self) -> bool:
        return self.credentials is not None


def _nothing_to_open() -> None:
    raise ConfigError("", "there is nothing to open for this app; the steps are done by hand")


@dataclass(frozen=True, slots=True)
class Setup:
    """`steps` are for people; `printed` is what can be copied, a link or a command, and `act` opens or starts it. Raises ConfigError."""

    steps: tuple[str, ...]
    printed: str = ""
    act: Callable[[], None] = _nothing_to_open


@dataclass(frozen=True, slots=True)
class _Start:
    """How a program is started. `shown` are the variables as they may be printed."""

    program: AppProgram
    arguments: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    shown: Mapping[str, str] = field(default_factory=dict)

    def __call__(self) -> None:
        if not self.program.found:
            raise ConfigError("", self.remark)
        start([self.program.path, *self.arguments], self.variables)

    @property
    def remark(self) -> str:
        if self.program.found:
            return "To start it so, now and later:"
        return f"{self.program.path} was not found on this computer; --program PATH says where it is"

    def setup(self, lines: Sequence[str], computer: Computer) -> Setup:
        printed = computer.command([self.program.path, *self.arguments], self.shown)
        return Setup((*lines, self.remark), printed, self)


def set_up(name: str, port: Port, computer: Computer, program: Path | None = None) -> Setup:
    """What is to be done for an app by its name. A browser's profile is made. Raises ConfigError."""
    if (browser := BROWSERS.get(name.strip().lower())) is not None:
        return _browser(browser, port, computer, program)
    try:
        preset = load_presets().find(name)
    except ConfigError as error:
        raise ConfigError("", f"{error}; and there are browsers: {', '.join(BROWSERS)}") from None
    return _OWN_WAYS.get(preset.name, _by_hand)(preset, port, computer, program)


def _browser(browser: Browser, port: Port, computer: Computer, chosen: Path | None) -> Setup:
    program = computer.locate(browser.programs.get(computer.system, browser.programs["linux"]), chosen)
    profile = Profile(browser.family, computer.folder_for(program, browser.name), port.address, port.asks)
    try:
        profile.write()
    except OSError as error:
        raise ConfigError("", f"{profile.folder} cannot be written: {error.strerror}") from None
    lines = [
        f"{browser.label} has a profile of its own in {profile.folder}, apart from yours:",
        f"what it loads comes through {port.address}, which looks names up, and WebRTC does not go around it.",
    ]
    if port.asks:
        lines.append("It will ask for the user name and the password of the local port.")
    return _Start(program, profile.arguments()).setup(lines, computer)


def _telegram(preset: Preset, port: Port, _computer: Computer, _program: Path | None) -> Setup:
    link = preset.links[0].format(proxy=port.address, host=quote(port.address.host, safe=""), port=port.address.port)
    lines = ["Open this link in Telegram, or click on it in a chat with yourself; Telegram asks, then uses the proxy."]
    lines += ['In the desktop app, set "Use proxy for calls" beside it: Settings > Advanced > Connection type.']
    if port.credentials is None:
        return Setup(tuple(lines), link, lambda: open_link(link))
    if not port.shown:
        lines.append("The port wants a user name and a password; with --with-password they are in the link.")
        return Setup(tuple(lines), link, _refuse_to_open)
    words = (port.credentials.username, port.credentials.password)
    return Setup(
        tuple(lines), "{}&user={}&pass={}".format(link, *(quote(word, safe="") for word in words)), _refuse_to_open
    )


def _refuse_to_open() -> None:
    text = "the link would have the password of the port in it, and others on this computer see what programs are started with"
    raise ConfigError("", f"{text}; open it in Telegram by hand")


_SIGNAL = {
    "linux": ("signal-desktop",),
    "darwin": (
        "/Applications/Signal.app/Contents/MacOS/Signal",
        "{HOME}/Applications/Signal.app/Contents/MacOS/Signal",
    ),
    "win32": (r"{LOCALAPPDATA}\Programs\signal-desktop\Signal.exe",),
}


def _signal(preset: Preset, port: Port, computer: Computer, chosen: Path | None) -> Setup:
    program = computer.locate(_SIGNAL.get(computer.system, _SIGNAL["linux"]), chosen)
    lines = [
        f"{preset.label} takes the proxy from its environment when it starts: quit it first, in the tray as well.",
        f"Calls: {preset.calls.how}",
    ]
    if port.asks and not port.shown:
        lines.append("The port wants a user name and a password; with --with-password they are in the command.")
    meant, shown = (
        {"HTTPS_PROXY": variables(port.address, credentials)["HTTPS_PROXY"]}
        for credentials in (port.credentials, port.credentials if port.shown else None)
    )
    return _Start(program, (), meant, shown).setup(lines, computer)


def _by_hand(preset: Preset, port: Port, computer: Computer, _program: Path | None) -> Setup:
    lines = steps(preset, port.address, credentials=port.asks, system=computer.system)
    if preset.web and preset.route == "tunnel":
        lines.append(f"A browser for {preset.web}: `ropeway apps setup firefox`, or {', '.join(list(BROWSERS)[:-1])}.")
    return Setup(tuple(lines))


_OWN_WAYS: dict[str, Callable[[Preset, Port, Computer, Path | None], Setup]] = {
    "telegram": _telegram,
    "signal": _signal,
}
