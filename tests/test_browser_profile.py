"""What a profile holds; tests/e2e/test_browser.py has Chromium and Firefox use them."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING

import pytest

from proxy.address import Address
from proxy.browser_profile import BROWSERS, Family, Profile, firefox_settings

if TYPE_CHECKING:
    from pathlib import Path

PORT = Address("::1", 9050)


def profile(folder: Path, family: Family, *, asks: bool = False) -> Profile:
    made = Profile(family, folder / "a profile", PORT, asks)
    made.write()
    return made


def user_settings(made: Profile) -> dict[str, object]:
    lines = (made.folder / "user.js").read_text().splitlines()
    pairs = [re.fullmatch(r'user_pref\("([a-z0-9_.A-Z]+)", (.*)\);', line) for line in lines]
    assert all(pairs)
    return {pair[1]: json.loads(pair[2]) for pair in pairs if pair}


@pytest.mark.parametrize(("asks", "proxy"), [(False, "socks5://[::1]:9050"), (True, "http://[::1]:9050")])
def test_chromium_is_told_of_the_proxy_and_of_webrtc(tmp_path: Path, asks: bool, proxy: str) -> None:
    made = profile(tmp_path, Family.CHROMIUM, asks=asks)
    arguments = made.arguments()
    assert f"--user-data-dir={made.folder}" in arguments
    assert f"--proxy-server={proxy}" in arguments
    assert "--webrtc-ip-handling-policy=disable_non_proxied_udp" in arguments
    preferences = json.loads((made.folder / "Default" / "Preferences").read_text())
    assert preferences["webrtc"]["ip_handling_policy"] == "disable_non_proxied_udp"


def test_what_the_user_did_in_the_profile_stays(tmp_path: Path) -> None:
    made = profile(tmp_path, Family.CHROMIUM)
    preferences = made.folder / "Default" / "Preferences"
    preferences.write_text('{"bookmarks": 1}')
    made.write()
    assert preferences.read_text() == '{"bookmarks": 1}'


def test_firefox_is_told_of_the_proxy_and_of_webrtc(tmp_path: Path) -> None:
    made = profile(tmp_path, Family.FIREFOX)
    assert made.arguments() == ("--profile", str(made.folder))
    settings = user_settings(made)
    assert settings | firefox_settings(PORT, asks=False) == settings
    assert (settings["network.proxy.socks"], settings["network.proxy.socks_port"]) == ("::1", 9050)
    assert settings["network.proxy.http"] == settings["network.proxy.ssl"] == ""
    for name in ("network.proxy.socks_remote_dns", "media.peerconnection.ice.proxy_only"):
        assert settings[name] is True
    assert settings["network.proxy.allow_bypass"] is False


def test_a_port_that_asks_is_an_http_proxy_for_firefox(tmp_path: Path) -> None:
    settings = user_settings(profile(tmp_path, Family.FIREFOX, asks=True))
    for kind in ("http", "ssl"):
        assert (settings[f"network.proxy.{kind}"], settings[f"network.proxy.{kind}_port"]) == ("::1", 9050)
    assert settings["network.proxy.socks"] == ""


def test_another_port_is_taken_over(tmp_path: Path) -> None:
    made = profile(tmp_path, Family.FIREFOX)
    Profile(Family.FIREFOX, made.folder, Address("127.0.0.1", 1080)).write()
    assert user_settings(made)["network.proxy.socks_port"] == 1080


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps rights in another way")
@pytest.mark.parametrize("family", Family)
def test_only_the_user_can_look_into_it(tmp_path: Path, family: Family) -> None:
    assert profile(tmp_path, family).folder.stat().st_mode & 0o077 == 0


def test_each_browser_is_known_on_each_system() -> None:
    assert list(BROWSERS) == ["chromium", "chrome", "edge", "firefox"]
    for name, browser in BROWSERS.items():
        assert browser.name == name
        assert set(browser.programs) == {"linux", "darwin", "win32"}
        assert all(browser.programs.values())
