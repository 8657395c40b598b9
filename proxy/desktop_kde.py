"""The proxy of KDE, in the file `kioslaverc`: the group [Proxy Settings]. Everything else in the file stays as it is, to the letter."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .config_file import replace_file
from .errors import DesktopError
from .supervisor import ask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .address import Address
    from .desktop import Values

_GROUP = "[Proxy Settings]"
_MANUAL = "1"
_PROTOCOLS = {"httpProxy": "http", "httpsProxy": "http", "socksProxy": "socks"}
_MAX_SIZE = 1_048_576  # our choice: the file has a few hundred bytes
_ENTRY = re.compile(r"(\s*([^=\[#\s][^=\[]*?)\s*=[ \t]*)(.*?)\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Kde:
    """Settings are the texts in the file."""

    path: Path
    name: str = "KDE"

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Kde:
        folder = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME") or Path.home()) / ".config")
        return cls(Path(folder) / "kioslaverc")

    def read(self) -> dict[str, str | None]:
        there = dict(_entries(self._text()))
        return {key: there.get(key) for key in _wanted("", 0)}

    def wanted(self, place: Address) -> dict[str, str | None]:
        return dict(_wanted(f"[{place.host}]" if ":" in place.host else place.host, place.port))

    def write(self, values: Values) -> None:
        old = self._text()
        new = edited(old, values)
        if new != old:
            if new.strip():
                mode = self.path.stat().st_mode & 0o777 if self.path.exists() else 0o600
                replace_file(self.path, new.encode("utf-8", "surrogateescape"))
                self.path.chmod(mode)
            else:
                self.path.unlink()
        _tell_programs()

    def leads_to(self, place: Address, found: Values) -> bool:
        wanted = self.wanted(place)
        return found.get("ProxyType") == _MANUAL and any(found.get(key) == wanted[key] for key in _PROTOCOLS)

    def agree(self, wanted: str | None, found: str | None) -> bool:
        return wanted == found

    def _text(self) -> str:
        try:
            with self.path.open("rb") as file:
                return file.read(_MAX_SIZE).decode("utf-8", "surrogateescape")
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise DesktopError(f"{self.path} cannot be read: {error.strerror}") from None


def _wanted(host: str, port: int) -> dict[str, str]:
    # A space before the port is how KDE writes it; a colon would be read as well.
    values = {key: f"{scheme}://{host} {port}" for key, scheme in _PROTOCOLS.items()}
    return values | {"NoProxyFor": "localhost,127.0.0.0/8,::1", "ReversedException": "false", "ProxyType": _MANUAL}


def _entries(text: str) -> list[tuple[str, str]]:
    """Those of the group, in their order; of two with one name the last one counts."""
    inside, found = False, []
    for line in text.split("\n"):
        if line.lstrip().startswith("["):
            inside = line.strip() == _GROUP
        elif inside and (match := _ENTRY.fullmatch(line)):
            found.append((match[2], match[3]))
    return found


def edited(text: str, values: Values) -> str:
    """The file with these values in the group: those that are there are changed in their places, None takes an entry away, and with its last
    entry goes the group.
    """
    lines = [f"{line}\n" for line in text.removesuffix("\n").split("\n")] if text else []
    start, end = _group(lines)
    missing = dict(values)
    body = []
    for line in lines[start + 1 : end]:
        match = _ENTRY.fullmatch(line)
        if match is None or match[2] not in values:
            body.append(line)
        elif (value := missing.pop(match[2], None)) is not None:
            body.append(line if match[3] == value else f"{match[1]}{value}\n")
    emptied = not body and end - start > 1
    blanks: list[str] = []
    while body and not body[-1].strip():
        blanks.insert(0, body.pop())
    body += [f"{key}={value}\n" for key, value in missing.items() if value is not None]
    header = lines[start : start + 1] if not emptied or body else []
    if body and not header:
        header = [f"{_GROUP}\n"]
    return "".join([*lines[:start], *header, *body, *blanks, *_without(lines[end:], values)])


def _without(lines: list[str], values: Values) -> Iterator[str]:
    """A later group of the same name goes on with the first, and what it says counts: it says nothing of these."""
    inside = False
    for line in lines:
        if line.lstrip().startswith("["):
            inside = line.strip() == _GROUP
        match = _ENTRY.fullmatch(line)
        if not (inside and match and match[2] in values):
            yield line


def _group(lines: list[str]) -> tuple[int, int]:
    """Where the group begins and where the next one does; both at the end where there is none."""
    headers = [number for number, line in enumerate(lines) if line.lstrip().startswith("[")]
    for number in headers:
        if lines[number].strip() == _GROUP:
            return number, next((each for each in headers if each > number), len(lines))
    return len(lines), len(lines)


def _tell_programs() -> None:
    """KIO reads its settings again at this signal; where there is no bus nobody has to be told."""
    if os.environ.get("DBUS_SESSION_BUS_ADDRESS") and shutil.which("dbus-send"):
        ask(
            "dbus-send", "--type=signal", "/KIO/Scheduler", "org.kde.KIO.Scheduler.reparseSlaveConfiguration", "string:"
        )
