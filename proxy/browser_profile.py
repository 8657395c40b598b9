"""A profile of a browser whose proxy is the local port, apart from the one that its user has; and WebRTC is kept inside.

By default WebRTC sends UDP around every proxy, and pages learn the computer's own addresses from it. Here it has what goes through the proxy, which
is TCP, or nothing: calls in such a browser work where the service takes them over TCP.
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .address import Address


class Family(enum.Enum):
    """How a browser is told."""

    CHROMIUM = "chromium"
    FIREFOX = "firefox"


@dataclass(frozen=True, slots=True)
class Browser:
    """`programs` are names or paths of it, by system, the likeliest first; an environment's variables in them are written as in `{HOME}`."""

    name: str
    label: str
    family: Family
    programs: Mapping[str, tuple[str, ...]]


_WINDOWS_FOLDERS = ("{PROGRAMFILES}", "{PROGRAMFILES(X86)}", "{LOCALAPPDATA}")


def _places(linux: tuple[str, ...], macos: str, windows: str) -> Mapping[str, tuple[str, ...]]:
    return {
        "linux": linux,
        "darwin": (f"/Applications/{macos}", f"{{HOME}}/Applications/{macos}"),
        "win32": tuple(rf"{folder}\{windows}" for folder in _WINDOWS_FOLDERS),
    }


BROWSERS = {
    browser.name: browser
    for browser in (
        Browser(
            "chromium",
            "Chromium",
            Family.CHROMIUM,
            _places(
                ("chromium", "chromium-browser"),
                "Chromium.app/Contents/MacOS/Chromium",
                r"Chromium\Application\chrome.exe",
            ),
        ),
        Browser(
            "chrome",
            "Google Chrome",
            Family.CHROMIUM,
            _places(
                ("google-chrome-stable", "google-chrome"),
                "Google Chrome.app/Contents/MacOS/Google Chrome",
                r"Google\Chrome\Application\chrome.exe",
            ),
        ),
        Browser(
            "edge",
            "Microsoft Edge",
            Family.CHROMIUM,
            _places(
                ("microsoft-edge-stable", "microsoft-edge"),
                "Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
                r"Microsoft\Edge\Application\msedge.exe",
            ),
        ),
        Browser(
            "firefox",
            "Firefox",
            Family.FIREFOX,
            _places(("firefox", "firefox-esr"), "Firefox.app/Contents/MacOS/firefox", r"Mozilla Firefox\firefox.exe"),
        ),
    )
}

#: UDP only by way of a proxy that carries it, which a browser's does not.
_WEBRTC = "disable_non_proxied_udp"


@dataclass(frozen=True, slots=True)
class Profile:
    """`asks`: the port wants a user name and a password. Browsers ask for them where it is an HTTP proxy, and cannot say them over SOCKS."""

    family: Family
    folder: Path
    port: Address
    asks: bool = False

    def arguments(self) -> tuple[str, ...]:
        """What stands behind the program."""
        return _ARGUMENTS[self.family](self)

    def write(self) -> None:
        """Makes what has to be in the folder. What the user has done in the profile stays. Raises OSError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _WRITE[self.family](self)


# ---- Chromium, and what is made of it


def _chromium_arguments(profile: Profile) -> tuple[str, ...]:
    scheme = "http" if profile.asks else "socks5"  # both have the proxy look names up
    return (
        f"--user-data-dir={profile.folder}",
        f"--proxy-server={scheme}://{profile.port}",
        f"--webrtc-ip-handling-policy={_WEBRTC}",
        "--no-first-run",
        "--no-default-browser-check",
    )


def _write_chromium(profile: Profile) -> None:
    """The switch for WebRTC had another name in older versions, while the preference was always there. The browser keeps it in its file from then on."""
    preferences = profile.folder / "Default" / "Preferences"
    if not preferences.exists():
        preferences.parent.mkdir(mode=0o700, exist_ok=True)
        preferences.write_text(json.dumps({"webrtc": {"ip_handling_policy": _WEBRTC}}), encoding="utf-8")


# ---- Firefox


def firefox_settings(port: Address, *, asks: bool) -> dict[str, str | int | bool]:
    """By the names of about:config."""
    settings: dict[str, str | int | bool] = {
        "browser.shell.checkDefaultBrowser": False,
        "media.peerconnection.ice.no_host": True,
        "media.peerconnection.ice.proxy_only": True,
        "network.http.http3.enable": False,  # it is UDP
        "network.proxy.allow_bypass": False,  # else it asks its makers directly where the proxy does not answer
        "network.proxy.socks_remote_dns": True,
        "network.proxy.type": 1,  # set by hand
        "network.trr.mode": 5,  # no DNS over HTTPS: the exit looks names up
    }
    if asks:
        for kind in ("http", "ssl"):
            settings |= {f"network.proxy.{kind}": port.host, f"network.proxy.{kind}_port": port.port}
        return settings
    return settings | {
        "network.proxy.socks": port.host,
        "network.proxy.socks_port": port.port,
        "network.proxy.socks_version": 5,
    }


#: What the other kind of proxy leaves behind would be used beside it.
_KINDS = ("http", "ssl", "socks")


def _firefox_arguments(profile: Profile) -> tuple[str, ...]:
    return "--profile", str(profile.folder)


def _write_firefox(profile: Profile) -> None:
    """Firefox takes the settings of this file each time it starts, whatever was set in it before."""
    cleared: dict[str, str | int | bool] = {f"network.proxy.{kind}": "" for kind in _KINDS}
    settings = cleared | firefox_settings(profile.port, asks=profile.asks)
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in sorted(settings.items())]
    (profile.folder / "user.js").write_text("".join(lines), encoding="utf-8")


_ARGUMENTS = {Family.CHROMIUM: _chromium_arguments, Family.FIREFOX: _firefox_arguments}
_WRITE = {Family.CHROMIUM: _write_chromium, Family.FIREFOX: _write_firefox}
