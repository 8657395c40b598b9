"""The proxy of GNOME and what takes its settings from there: Cinnamon, MATE, Budgie, Unity, Xfce with GTK programs, Chromium."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .errors import DesktopError
from .supervisor import ask, complaint, tell

if TYPE_CHECKING:
    from .address import Address
    from .desktop import Values

_SCHEMA = "org.gnome.system.proxy"
_MODE = f"{_SCHEMA} mode"
_PROTOCOLS = ("http", "https", "socks")
#: Only this computer itself: where the local network goes is for the rules to say.
_IGNORED = "['localhost', '127.0.0.0/8', '::1']"


class Gnome:
    """Settings are in the text form of GVariant, as `gsettings` reads and writes them."""

    name = "GNOME"

    def read(self) -> dict[str, str | None]:
        return {key: self._read(key) for key in self._wanted("", 0)}

    def wanted(self, place: Address) -> dict[str, str | None]:
        return dict(self._wanted(place.host, place.port))

    def write(self, values: Values) -> None:
        """What is the default is reset, so that nothing of ours stays behind."""
        for key, value in values.items():
            schema, name = key.split(" ")
            if value is None or value == self._default(schema, name):
                tell("gsettings", "reset", schema, name)
            else:
                tell("gsettings", "set", schema, name, value)

    def leads_to(self, place: Address, found: Values) -> bool:
        if found.get(_MODE) != "'manual'":
            return False
        wanted = self._wanted(place.host, place.port)
        return any(
            all(
                found.get(f"{_SCHEMA}.{each} {part}") == wanted[f"{_SCHEMA}.{each} {part}"] for part in ("host", "port")
            )
            for each in _PROTOCOLS
        )

    def agree(self, wanted: str | None, found: str | None) -> bool:
        return wanted is None or wanted == found

    def _wanted(self, host: str, port: int) -> dict[str, str]:
        values = {}
        for protocol in _PROTOCOLS:
            values[f"{_SCHEMA}.{protocol} host"] = f"'{host}'"
            values[f"{_SCHEMA}.{protocol} port"] = str(port)
        # Of the web proxy's own: it would be asked for a name and a password that are another one's.
        values[f"{_SCHEMA}.http use-authentication"] = "false"
        values[f"{_SCHEMA} ignore-hosts"] = _IGNORED
        values[_MODE] = "'manual'"
        return values

    def _read(self, key: str) -> str:
        answer = ask("gsettings", "get", *key.split(" "))
        if answer.code:
            raise DesktopError(f"the proxy of GNOME cannot be set here: {complaint(answer)}")
        return answer.out.strip()

    def _default(self, schema: str, name: str) -> str:
        """A memory has nothing but defaults."""
        return ask("gsettings", "get", schema, name, environ={**os.environ, "GSETTINGS_BACKEND": "memory"}).out.strip()
