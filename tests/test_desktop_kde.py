"""The file of KDE: our entries in it, and everything else as it was to the letter."""

from __future__ import annotations

from configparser import RawConfigParser
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.address import Address
from proxy.desktop_kde import Kde, edited
from proxy.errors import DesktopError
from proxy.system_proxy import Memory, SystemProxy
from tests.effort import EXAMPLES
from tests.standins import Standins, needs_a_shell

if TYPE_CHECKING:
    from pathlib import Path

PLACE = Address.make("127.0.0.1", 1080)
OWN = """[$Version]
update_info=kioslave.upd:kde2.2/r1

# the office
[Proxy Settings]
NoProxyFor=*.office
ProxyType=2
Proxy Config Script=http://office/proxy.pac
httpProxy = http://office 3128

[Other]
httpProxy=not a proxy
"""
FILES = ["", "[Other]\na=b\n", "[Proxy Settings]\nProxyType=0\n", "[Proxy Settings]\nhttpProxy=\n[Other]\n", OWN]


@pytest.fixture(autouse=True)
def no_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)


@pytest.mark.parametrize("text", FILES)
def test_the_file_comes_back_to_the_letter(text: str, tmp_path: Path) -> None:
    kde = Kde(tmp_path / "kioslaverc")
    if text:
        kde.path.write_text(text)
        kde.path.chmod(0o640)
    before = kde.read()
    assert not kde.leads_to(PLACE, before)
    kde.write(kde.wanted(PLACE))
    assert kde.leads_to(PLACE, kde.read())
    assert all(line in kde.path.read_text().splitlines() for line in text.splitlines() if "Other" in line)
    kde.write(before)
    assert (kde.path.read_text() if kde.path.exists() else "") == text
    assert not text or kde.path.stat().st_mode & 0o777 == 0o640


def test_what_kde_reads(tmp_path: Path) -> None:
    kde = Kde(tmp_path / "kioslaverc")
    kde.path.write_text(OWN)
    kde.write(kde.wanted(PLACE))
    parser = RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(kde.path.read_text())
    group = dict(parser["Proxy Settings"])
    assert group.pop("Proxy Config Script") == "http://office/proxy.pac"
    assert group == {
        "httpProxy": "http://127.0.0.1 1080",
        "httpsProxy": "http://127.0.0.1 1080",
        "socksProxy": "socks://127.0.0.1 1080",
        "NoProxyFor": "localhost,127.0.0.0/8,::1",
        "ReversedException": "false",
        "ProxyType": "1",
    }
    assert kde.wanted(Address.make("::1", 1080))["httpProxy"] == "http://[::1] 1080"


def test_on_and_off_as_a_whole(tmp_path: Path) -> None:
    kde = Kde(tmp_path / "kioslaverc")
    kde.path.write_text(OWN)
    proxy = SystemProxy([kde], Memory(tmp_path / "memory.json"))
    proxy.turn_on(PLACE)
    proxy.turn_on(PLACE)
    proxy.turn_off()
    assert kde.path.read_text() == OWN


_LINES = st.sampled_from(
    [
        "[Proxy Settings]",
        "[Other]",
        "",
        "# note",
        "ProxyType=1",
        "ProxyType=0",
        "httpProxy=x",
        "a=b=c",
        " [Proxy Settings]",
        "junk",
        "=",
        "\xa0",
    ]
)


def test_a_group_that_comes_twice_is_one(tmp_path: Path) -> None:
    kde = Kde(tmp_path / "kioslaverc")
    before = "[Proxy Settings]\nProxyType=2\n[Other]\nProxyType=7\n[Proxy Settings]\nProxyType=3\nmine=1\n"
    kde.path.write_text(before)
    wanted = kde.wanted(PLACE)
    kde.write(wanted)
    assert kde.read() == wanted
    kde.write(dict.fromkeys(wanted))
    assert kde.read() == dict.fromkeys(wanted)
    assert kde.path.read_text() == "[Other]\nProxyType=7\n[Proxy Settings]\nmine=1\n"


@settings(max_examples=4 * EXAMPLES)
@given(st.lists(_LINES | st.text(max_size=8), max_size=12), st.sampled_from([None, "1", "0"]))
def test_any_file_can_be_edited(lines: list[str], value: str | None) -> None:
    text = "\n".join(lines)
    once = edited(text, {"ProxyType": value})
    assert edited(once, {"ProxyType": value}) == once
    if value is not None:
        assert f"ProxyType={value}" in once.replace(" ", "")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DesktopError, match="cannot be read"):
        Kde(tmp_path).read()


def test_bytes_that_are_no_text_stay(tmp_path: Path) -> None:
    kde = Kde(tmp_path / "kioslaverc")
    kde.path.write_bytes(b"[Other]\na=\xff\xfe\n")
    before = kde.read()
    kde.write(kde.wanted(PLACE))
    assert b"a=\xff\xfe\n" in kde.path.read_bytes()
    kde.write(before)
    assert kde.path.read_bytes() == b"[Other]\na=\xff\xfe\n"


@needs_a_shell
def test_programs_that_run_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    standins = Standins(tmp_path, monkeypatch)
    standins.answer("dbus-send")
    kde = Kde(tmp_path / "kioslaverc")
    kde.write(kde.wanted(PLACE))
    assert standins.calls() == []
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
    kde.write(kde.wanted(PLACE))
    assert standins.calls() == [
        "dbus-send --type=signal /KIO/Scheduler org.kde.KIO.Scheduler.reparseSlaveConfiguration string:"
    ]


def test_where_the_file_is(tmp_path: Path) -> None:
    assert Kde.of({"HOME": str(tmp_path)}).path == tmp_path / ".config" / "kioslaverc"
    assert Kde.of({"XDG_CONFIG_HOME": str(tmp_path)}).path == tmp_path / "kioslaverc"
