"""What is asked of `networksetup`, by a stand-in that answers as that of macOS 14 does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.address import Address
from proxy.desktop_macos import MacOS
from proxy.errors import DesktopError
from tests.standins import Standins, needs_a_shell

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_a_shell

PLACE = Address.make("127.0.0.1", 1080)
SERVICES = """An asterisk (*) denotes that a network service is disabled.
Wi-Fi
*Thunderbolt Bridge
USB 10/100 LAN
"""
OFF = "Enabled: No\nServer: \nPort: 0\nAuthenticated Proxy Enabled: 0\n"
OFFICE = "Enabled: Yes\nServer: office\nPort: 3128\nAuthenticated Proxy Enabled: 0\n"


@pytest.fixture
def standins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Standins:
    standins = Standins(tmp_path, monkeypatch)
    standins.answer("networksetup", "-set*")
    standins.answer("networksetup", "-get*proxy *", OFF)
    standins.answer("networksetup", "-getautoproxyurl *", "URL: (null)\nEnabled: No\n")
    standins.answer("networksetup", "-getproxyautodiscovery *", "Auto Proxy Discovery: Off\n")
    standins.answer("networksetup", "-getproxybypassdomains *", "*.local\n169.254/16\n")
    standins.answer("networksetup", "-listallnetworkservices", SERVICES)
    return standins


def test_what_is_read(standins: Standins) -> None:
    standins.answer("networksetup", "-getwebproxy Wi-Fi", OFFICE)
    standins.answer("networksetup", "-getautoproxyurl Wi-Fi", "URL: http://office/proxy.pac\nEnabled: Yes\n")
    standins.answer("networksetup", "-getproxybypassdomains USB*", "There aren't any bypass domains set on USB LAN.\n")
    values = MacOS().read()
    assert {key: value for key, value in values.items() if key.startswith("Wi-Fi/")} == {
        "Wi-Fi/proxybypassdomains": "*.local\n169.254/16",
        "Wi-Fi/autoproxyurl": "on http://office/proxy.pac",
        "Wi-Fi/proxyautodiscovery": "off",
        "Wi-Fi/webproxy": "on office 3128",
        "Wi-Fi/securewebproxy": "off",
        "Wi-Fi/socksfirewallproxy": "off",
    }
    assert values["USB 10/100 LAN/proxybypassdomains"] == ""
    assert not any(key.startswith("Thunderbolt") for key in values)
    assert set(MacOS().wanted(PLACE)) == set(values)


def test_what_is_set(standins: Standins) -> None:
    mac = MacOS()
    wanted = mac.wanted(PLACE)
    assert mac.leads_to(PLACE, wanted)
    standins.calls()
    mac.write({key: value for key, value in wanted.items() if key.startswith("Wi-Fi/")})
    assert [line for line in standins.calls() if "-set" in line] == [
        "networksetup -setproxybypassdomains Wi-Fi localhost 127.0.0.0/8 ::1",
        "networksetup -setautoproxystate Wi-Fi off",
        "networksetup -setproxyautodiscovery Wi-Fi off",
        "networksetup -setwebproxy Wi-Fi 127.0.0.1 1080",
        "networksetup -setwebproxystate Wi-Fi on",
        "networksetup -setsecurewebproxy Wi-Fi 127.0.0.1 1080",
        "networksetup -setsecurewebproxystate Wi-Fi on",
        "networksetup -setsocksfirewallproxy Wi-Fi 127.0.0.1 1080",
        "networksetup -setsocksfirewallproxystate Wi-Fi on",
    ]


def test_what_comes_back(standins: Standins) -> None:
    before = {
        "Wi-Fi/webproxy": "on office 3128",
        "Wi-Fi/securewebproxy": "off",
        "Wi-Fi/autoproxyurl": "off http://office/proxy.pac",
        "Wi-Fi/proxybypassdomains": "",
        "Gone/webproxy": "off",
    }
    MacOS().write(before)
    assert [line for line in standins.calls() if "-set" in line] == [
        "networksetup -setwebproxy Wi-Fi office 3128",
        "networksetup -setwebproxystate Wi-Fi on",
        "networksetup -setsecurewebproxystate Wi-Fi off",
        "networksetup -setautoproxyurl Wi-Fi http://office/proxy.pac",
        "networksetup -setautoproxystate Wi-Fi off",
        "networksetup -setproxybypassdomains Wi-Fi Empty",
    ]


def test_a_proxy_with_a_password_is_left_alone(standins: Standins) -> None:
    standins.answer("networksetup", "-getwebproxy Wi-Fi", OFFICE.replace("Enabled: 0", "Enabled: 1"))
    with pytest.raises(DesktopError, match="Wi-Fi has a proxy with a password"):
        MacOS().read()


@pytest.mark.parametrize(
    ("wanted", "found", "agree"),
    [
        ("off", "off 127.0.0.1 1080", True),
        (None, "off 127.0.0.1 1080", True),
        ("on office 3128", "on 127.0.0.1 1080", False),
        ("off", "on 127.0.0.1 1080", False),
        ("", "*.local", False),
        ("on office 3128", None, True),
    ],
)
def test_what_is_off_is_off(wanted: str | None, found: str | None, agree: bool) -> None:
    assert MacOS().agree(wanted, found) is agree
