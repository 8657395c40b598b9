"""What is asked of `gsettings`, by a stand-in; the real one is in tests/e2e/test_system_proxy.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.address import Address
from proxy.desktop_gnome import Gnome
from proxy.errors import DesktopError, ServiceError
from tests.standins import Standins, needs_a_shell

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_a_shell

PLACE = Address.make("127.0.0.1", 1080)


@pytest.fixture
def standins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Standins:
    return Standins(tmp_path, monkeypatch)


def test_what_is_set(standins: Standins) -> None:
    standins.answer("gsettings", "get *", "'a default'\n")
    standins.answer("gsettings", "set *")
    gnome = Gnome()
    gnome.write(gnome.wanted(PLACE))
    assert [line for line in standins.calls() if " set " in line] == [
        "gsettings set org.gnome.system.proxy.http host '127.0.0.1'",
        "gsettings set org.gnome.system.proxy.http port 1080",
        "gsettings set org.gnome.system.proxy.https host '127.0.0.1'",
        "gsettings set org.gnome.system.proxy.https port 1080",
        "gsettings set org.gnome.system.proxy.socks host '127.0.0.1'",
        "gsettings set org.gnome.system.proxy.socks port 1080",
        "gsettings set org.gnome.system.proxy.http use-authentication false",
        "gsettings set org.gnome.system.proxy ignore-hosts ['localhost', '127.0.0.0/8', '::1']",
        "gsettings set org.gnome.system.proxy mode 'manual'",
    ]


def test_what_is_the_default_is_reset(standins: Standins) -> None:
    standins.answer("gsettings", "get *", "'none'\n")
    standins.answer("gsettings", "reset *")
    Gnome().write({"org.gnome.system.proxy mode": "'none'", "org.gnome.system.proxy ignore-hosts": None})
    assert [line for line in standins.calls() if " get " not in line] == [
        "gsettings reset org.gnome.system.proxy mode",
        "gsettings reset org.gnome.system.proxy ignore-hosts",
    ]


def test_what_is_read(standins: Standins) -> None:
    standins.answer("gsettings", "get *", "''\n")
    standins.answer("gsettings", "get org.gnome.system.proxy ignore-hosts", "@as []\n")
    values = Gnome().read()
    assert values["org.gnome.system.proxy.http host"] == "''"
    assert values["org.gnome.system.proxy ignore-hosts"] == "@as []"
    assert list(values) == list(Gnome().wanted(PLACE))


def test_a_desktop_without_the_settings(standins: Standins) -> None:
    standins.answer("gsettings", err="No such schema “org.gnome.system.proxy”\n", code=1)
    with pytest.raises(DesktopError, match="the proxy of GNOME cannot be set here: No such schema"):
        Gnome().read()


def test_a_setting_that_is_locked(standins: Standins) -> None:
    standins.answer("gsettings", "get *", "'none'\n")
    standins.answer("gsettings", "set *", err="The key is not writable\n", code=1)
    with pytest.raises(ServiceError, match="The key is not writable"):
        Gnome().write(Gnome().wanted(PLACE))


def test_one_of_the_three_is_enough_to_lead_there() -> None:
    wanted = dict(Gnome().wanted(PLACE))
    for protocol in ("http", "https"):
        wanted[f"org.gnome.system.proxy.{protocol} host"] = "'office'"
    assert Gnome().leads_to(PLACE, wanted)
    wanted["org.gnome.system.proxy.socks port"] = "1081"
    assert not Gnome().leads_to(PLACE, wanted)
