"""The proxy of Windows (WinINET), in the registry of the user; most programs follow it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

from .errors import DesktopError

if TYPE_CHECKING:
    from .address import Address
    from .desktop import Values

_KEY = r"Software\Microsoft\Windows\CurrentVersion\Internet Settings"
_NAMES = ("AutoConfigURL", "ProxyOverride", "ProxyServer", "ProxyEnable")
_ON = "dword:1"
#: wininet.h: programs that run are told that there is something new, and that they have to read it.
_CHANGED, _REFRESH = 39, 37


class Registry(Protocol):
    def get(self, name: str) -> str | None: ...
    def set(self, name: str, value: str | None) -> None: ...
    def tell_programs(self) -> None: ...


class Windows:
    """Settings are the values of the registry, with their type before them: "sz:TEXT", "expand_sz:TEXT" or "dword:NUMBER"."""

    name = "Windows"

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def read(self) -> dict[str, str | None]:
        return {name: self._registry.get(name) for name in _NAMES}

    def wanted(self, place: Address) -> dict[str, str | None]:
        # As one proxy for all it is used as an HTTP proxy. What is given as "socks=" is taken for SOCKS4, which looks names up here.
        return {
            "AutoConfigURL": None,
            "ProxyOverride": "sz:localhost;127.*;[::1]",
            "ProxyServer": f"sz:{place}",
            "ProxyEnable": _ON,
        }

    def write(self, values: Values) -> None:
        for name, value in values.items():
            self._registry.set(name, value)
        self._registry.tell_programs()

    def leads_to(self, place: Address, found: Values) -> bool:
        return found.get("ProxyEnable") == _ON and found.get("ProxyServer") == f"sz:{place}"

    def agree(self, wanted: str | None, found: str | None) -> bool:
        return wanted == found


if sys.platform == "win32":
    import ctypes
    import winreg

    _TYPES = {"sz": winreg.REG_SZ, "expand_sz": winreg.REG_EXPAND_SZ, "dword": winreg.REG_DWORD}

    class UserRegistry:
        """That of the user who runs us."""

        def get(self, name: str) -> str | None:
            try:
                with winreg.OpenKey(winreg.HKEY_CURRENT_USER, _KEY) as key:
                    value, kind = winreg.QueryValueEx(key, name)
            except FileNotFoundError:
                return None
            for word, known in _TYPES.items():
                if kind == known:
                    return f"{word}:{value}"
            raise DesktopError(f"the registry value {name} has a type that it should not have; set the proxy by hand")

        def set(self, name: str, value: str | None) -> None:
            with winreg.CreateKey(winreg.HKEY_CURRENT_USER, _KEY) as key:
                if value is not None:
                    word, _, text = value.partition(":")
                    winreg.SetValueEx(key, name, 0, _TYPES[word], int(text) if word == "dword" else text)
                    return
                try:
                    winreg.DeleteValue(key, name)
                except FileNotFoundError:
                    return

        def tell_programs(self) -> None:
            set_option = ctypes.windll.wininet.InternetSetOptionW
            for option in (_CHANGED, _REFRESH):
                set_option(None, option, None, 0)

    def here() -> Windows:
        return Windows(UserRegistry())

else:

    def here() -> Windows:
        raise DesktopError("this system is not Windows")
