"""The values of the registry, in one that is in memory; what is of the system's own is checked by its types."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from proxy import desktop_windows
from proxy.address import Address
from proxy.desktop_windows import Windows
from proxy.errors import DesktopError
from proxy.system_proxy import Memory, SystemProxy

if TYPE_CHECKING:
    from pathlib import Path

PLACE = Address.make("127.0.0.1", 1080)


class Registry:
    def __init__(self, **values: str) -> None:
        self.values: dict[str, str] = values
        self.told = 0

    def get(self, name: str) -> str | None:
        return self.values.get(name)

    def set(self, name: str, value: str | None) -> None:
        self.values.pop(name, None)
        if value is not None:
            self.values[name] = value

    def tell_programs(self) -> None:
        self.told += 1


BEFORE = [{}, {"ProxyEnable": "dword:0"}, {"ProxyEnable": "dword:1", "ProxyServer": "sz:office:3128", "Beside": "sz:x"}]


@pytest.mark.parametrize("before", [*BEFORE, {"AutoConfigURL": "expand_sz:http://office/proxy.pac"}])
def test_on_and_off(before: dict[str, str], tmp_path: Path) -> None:
    registry = Registry(**before)
    proxy = SystemProxy([Windows(registry)], Memory(tmp_path / "memory.json"))
    proxy.turn_on(PLACE)
    assert registry.values == {
        **{name: value for name, value in before.items() if name == "Beside"},
        "ProxyEnable": "dword:1",
        "ProxyServer": "sz:127.0.0.1:1080",
        "ProxyOverride": "sz:localhost;127.*;[::1]",
    }
    assert registry.told == 1
    proxy.turn_off()
    assert (registry.values, registry.told) == (before, 2)


def test_switched_off_by_the_user_it_stays_off(tmp_path: Path) -> None:
    registry = Registry()
    proxy = SystemProxy([Windows(registry)], Memory(tmp_path / "memory.json"))
    proxy.turn_on(PLACE)
    registry.values["ProxyEnable"] = "dword:0"
    (line,) = proxy.resume(PLACE)
    assert "stays as it is" in line
    assert registry.values["ProxyEnable"] == "dword:0"


@pytest.mark.skipif(sys.platform == "win32", reason="there is a registry")
def test_elsewhere_there_is_none() -> None:
    with pytest.raises(DesktopError, match="not Windows"):
        desktop_windows.here()
