"""The variables by which programs of the command line find a proxy, as lines for a shell."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable

    from .address import Address
    from .protocol.socks import Credentials

#: What never leaves the computer. Programs differ in what else they understand there.
NOT_PROXIED = "localhost,127.0.0.1,::1"


class Shell(enum.Enum):
    SH = "sh"
    FISH = "fish"
    POWERSHELL = "powershell"

    @classmethod
    def guess(cls, path: str, *, windows: bool) -> Shell:
        """From the path of the user's shell."""
        if path.rpartition("/")[2] == "fish":
            return cls.FISH
        return cls.POWERSHELL if windows and not path else cls.SH


def variables(port: Address, credentials: Credentials | None = None) -> dict[str, str]:
    """By name. curl reads http_proxy in small letters only, and Node programs some of the others in capital ones only."""
    user = ""
    if credentials is not None:
        user = f"{quote(credentials.username, safe='')}:{quote(credentials.password, safe='')}@"
    values = {
        "http_proxy": f"http://{user}{port}",
        "https_proxy": f"http://{user}{port}",
        "all_proxy": f"socks5h://{user}{port}",  # h: the proxy looks names up
        "no_proxy": NOT_PROXIED,
    }
    return values | {name.upper(): value for name, value in values.items()}


def exports(shell: Shell, values: dict[str, str]) -> list[str]:
    """The lines with which the shell sets them for the programs that it starts."""
    # The names of the environment are the same in small and capital letters on Windows.
    names = [name for name in values if shell is not Shell.POWERSHELL or name.islower()]
    return [_LINES[shell](name, values[name]) for name in names]


def _sh(name: str, value: str) -> str:
    quoted = value.replace("'", "'\\''")
    return f"export {name}='{quoted}'"


def _fish(name: str, value: str) -> str:
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"set -gx {name} '{quoted}'"


def _powershell(name: str, value: str) -> str:
    quoted = value.replace("'", "''")
    return f"$env:{name} = '{quoted}'"


_LINES: dict[Shell, Callable[[str, str], str]] = {Shell.SH: _sh, Shell.FISH: _fish, Shell.POWERSHELL: _powershell}
