"""The system's proxy, turned on and off; and what it was before, which comes back exactly whatever happens in between.

What was there is on disk before anything is changed, with what stands in its place, and goes when it is back. Each step says on disk that it
has begun and that it is done, so after a crash or a power cut it is known whether a setting that is not ours is the user's or half of a change.

Everything is sent to the proxy, whose rules decide: a PAC file that cannot be fetched, as when the port is not open yet, would mean "direct".
"""

from __future__ import annotations

import enum
import json
import os
import shutil
import socket
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from . import desktop_windows
from .address import Address
from .config_file import replace_file
from .desktop_gnome import Gnome
from .desktop_kde import Kde
from .desktop_macos import MacOS
from .errors import DesktopError
from .finding import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from .desktop import Desktop, Values

_VERSION = 1
_MAX_SIZE = 262_144  # our choice: a desktop takes some 2 KB, a computer with many network services more


class Phase(enum.Enum):
    """How far it is with one desktop. PAUSED: as it was before, until Ropeway runs again."""

    TURNING_ON = "turning on"
    ON = "on"
    TURNING_OFF = "turning off"
    PAUSING = "pausing"
    PAUSED = "paused"


#: What is there may be half of a change of ours.
_UNDER_WAY = (Phase.TURNING_ON, Phase.TURNING_OFF, Phase.PAUSING)


@dataclass(frozen=True, slots=True)
class Remembered:
    """Of one desktop: what was there before, and what stands in its place."""

    phase: Phase
    place: Address
    before: Values
    ours: Values


class Memory:
    """The file that says what is turned on where, and what was there before. It outlives a power cut."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, Remembered]:
        """By desktop. Raises DesktopError where it cannot be used, as nothing must be changed then."""
        try:
            with self.path.open("rb") as file:
                document = json.loads(file.read(_MAX_SIZE))
            if document["version"] != _VERSION:
                raise ValueError
            return {str(name): _remembered(entry) for name, entry in document["desktops"].items()}
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise DesktopError(f"{self.path} cannot be read: {error.strerror}") from None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            text = "does not say what the system's proxy was before; set it by hand and remove the file"
            raise DesktopError(f"{self.path} {text}") from None

    def put(self, name: str, entry: Remembered | None) -> None:
        """Replaces one entry; None: it is done with. Returns when it is on the disk."""
        entries = self.read()
        entries.pop(name, None)
        if entry is not None:
            entries[name] = entry
        if entries:
            document = {"version": _VERSION, "desktops": {key: _plain(each) for key, each in entries.items()}}
            replace_file(self.path, json.dumps(document, indent=1).encode())
        else:
            self.path.unlink(missing_ok=True)
        if self.path.parent.exists():
            _sync_folder(self.path.parent)


def _remembered(entry: dict[str, object]) -> Remembered:
    place = Address.parse(str(entry["place"]))
    return Remembered(Phase(entry["phase"]), place, _values(entry["before"]), _values(entry["ours"]))


def _values(table: object) -> dict[str, str | None]:
    if not isinstance(table, dict) or not all(value is None or isinstance(value, str) for value in table.values()):
        raise ValueError
    return table


def _plain(entry: Remembered) -> dict[str, object]:
    return {
        "phase": entry.phase.value,
        "place": str(entry.place),
        "before": dict(entry.before),
        "ours": dict(entry.ours),
    }


def _sync_folder(folder: Path) -> None:
    """A file's new name is on the disk when its folder is. Windows has no such call and does not need it."""
    if os.name != "nt":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class SystemProxy:
    """Each method says in lines for people what it did. Raises RopewayError; what is remembered stays then, and the same can be asked again."""

    def __init__(self, desktops: Iterable[Desktop], memory: Memory) -> None:
        self._desktops = {each.name: each for each in desktops}
        self._memory = memory

    def turn_on(self, place: Address) -> list[str]:
        if not self._desktops:
            raise DesktopError(
                "no GNOME, KDE, macOS or Windows was found here; `ropeway env` helps programs in a shell"
            )
        for desktop in self._desktops.values():
            self._point(desktop, place)
        return [f"{name}: programs that follow the system's proxy go to {place}." for name in self._desktops]

    def turn_off(self) -> list[str]:
        lines = [self._restore(desktop, entry, paused=False) for desktop, entry in self._known()]
        return lines or ["The system's proxy was not turned on by Ropeway; nothing was changed."]

    def pause(self) -> list[str]:
        """What was there before comes back until `resume`: for the time in which Ropeway does not run."""
        known = self._known()
        return [self._restore(each, entry, paused=True) for each, entry in known if entry.phase is not Phase.PAUSED]

    def resume(self, place: Address) -> list[str]:
        """For Ropeway's start: what is turned on leads to this place, and what was begun is brought to its end. What the user has changed
        meanwhile stays.
        """
        return [line for desktop, entry in self._known() if (line := self._resume_one(desktop, entry, place))]

    def repair(self, listens: Callable[[Address], bool]) -> list[str]:
        """Where the settings lead to a port at which nobody listens, what was there before comes back until Ropeway runs again."""
        lines = []
        for desktop, entry in self._known():
            if entry.phase is Phase.TURNING_OFF:
                lines.append(self._restore(desktop, entry, paused=False))
            elif entry.phase is not Phase.PAUSED and not listens(entry.place):
                lines.append(f"Nothing listens on {entry.place}. {self._restore(desktop, entry, paused=True)}")
        return lines

    def is_dead(self, listens: Callable[[Address], bool]) -> bool:
        """Whether programs are sent to a port at which nobody listens."""
        return any(
            entry.phase is not Phase.PAUSED
            and desktop.leads_to(entry.place, desktop.read())
            and not listens(entry.place)
            for desktop, entry in self._known()
        )

    def status(self, listens: Callable[[Address], bool]) -> list[str]:
        entries = self._memory.read()
        lines: list[str] = [self._state(each, entries.get(name), listens) for name, each in self._desktops.items()]
        return lines or [Text("No GNOME, KDE, macOS or Windows was found here")]

    # ---- one desktop

    def _known(self) -> list[tuple[Desktop, Remembered]]:
        entries = self._memory.read()
        return [(each, entries[name]) for name, each in self._desktops.items() if name in entries]

    def _point(self, desktop: Desktop, place: Address) -> None:
        name = desktop.name
        entry = self._memory.read().get(name)
        if entry is not None and entry.place != place:
            self._restore(desktop, entry, paused=True)  # else what leads to the old place might be taken for the user's
            entry = self._memory.read().get(name)
        before = self._before(desktop, entry, place)
        entry = Remembered(Phase.TURNING_ON, place, before, desktop.wanted(place))
        self._memory.put(name, entry)
        self._write(desktop, entry.ours)
        self._memory.put(name, replace(entry, phase=Phase.ON))

    def _before(self, desktop: Desktop, entry: Remembered | None, place: Address) -> Values:
        """What comes back one day: what is there, as far as that is not of our making."""
        found = desktop.read()
        if entry is not None and (entry.phase in _UNDER_WAY or _leads(desktop, entry, found)):
            ours = _ours(desktop, entry, found)
            found = {key: entry.before.get(key) if key in ours else value for key, value in found.items()}
        # What led here and is not remembered must not come back: it would be a dead proxy one day.
        return dict.fromkeys(found) if desktop.leads_to(place, found) else found

    def _restore(self, desktop: Desktop, entry: Remembered, *, paused: bool) -> str:
        name, found = desktop.name, desktop.read()
        if entry.phase is Phase.PAUSED:
            self._memory.put(name, entry if paused else None)
            return f"{name}: the settings are those from before already."
        if _left(desktop, entry, found):
            self._memory.put(name, None)
            return f"{name}: {_CHANGED}"
        ours = _ours(desktop, entry, found)
        others = {key: value for key, value in found.items() if key not in ours}
        self._memory.put(name, replace(entry, phase=Phase.PAUSING if paused else Phase.TURNING_OFF))
        # What puts the others into force is written last, and so taken back first.
        self._write(desktop, {key: entry.before.get(key) for key in reversed(list(entry.ours)) if key in ours})
        self._memory.put(name, replace(entry, phase=Phase.PAUSED) if paused else None)
        changed = "" if _same(desktop, others, entry.before) else "; what was changed meanwhile stays"
        return f"{name}: the settings from before are back{changed}."

    def _resume_one(self, desktop: Desktop, entry: Remembered, place: Address) -> str:
        name, found = desktop.name, desktop.read()
        if entry.phase is Phase.TURNING_OFF:
            return self._restore(desktop, entry, paused=False)
        if _left(desktop, entry, found):
            self._memory.put(name, None)
            return f"{name}: {_CHANGED}"
        if entry.phase is Phase.ON and entry.place == place:
            return ""
        self._point(desktop, place)
        return f"{name}: the system's proxy leads to {place} again."

    def _write(self, desktop: Desktop, values: Values) -> None:
        desktop.write(values)
        if not _same(desktop, values, desktop.read()):
            text = "the settings were written and are not what was written; is this the session of your desktop?"
            raise DesktopError(f"{desktop.name}: {text}")

    def _state(self, desktop: Desktop, entry: Remembered | None, listens: Callable[[Address], bool]) -> Text:
        name = desktop.name
        if entry is None:
            return Text("{desktop}: off", desktop=name)
        place = entry.place
        if entry.phase is Phase.PAUSED:
            return Text("{desktop}: on when Ropeway runs, at {place}", desktop=name, place=place)
        if entry.phase in _UNDER_WAY:
            return Text(
                "{desktop}: half changed; `ropeway system-proxy off` brings back what was there before", desktop=name
            )
        if not desktop.leads_to(place, desktop.read()):
            return Text("{desktop}: off; the proxy was set to something else meanwhile", desktop=name)
        if not listens(place):
            return Text(
                "{desktop}: on, but nothing listens on {place}; `ropeway run`, or `ropeway system-proxy off`",
                desktop=name,
                place=place,
            )
        return Text("{desktop}: on, at {place}", desktop=name, place=place)


_CHANGED = "the proxy was set to something else meanwhile, and stays as it is."


def _same(desktop: Desktop, wanted: Values, found: Values) -> bool:
    return all(desktop.agree(value, found.get(key)) for key, value in wanted.items())


def _ours(desktop: Desktop, entry: Remembered, found: Values) -> set[str]:
    """The settings that are still as we have written them."""
    return {key for key, value in found.items() if key in entry.ours and desktop.agree(entry.ours[key], value)}


def _leads(desktop: Desktop, entry: Remembered, found: Values) -> bool:
    return entry.phase is Phase.ON and desktop.leads_to(entry.place, found)


def _left(desktop: Desktop, entry: Remembered, found: Values) -> bool:
    """Whether the user has set something else since."""
    if entry.phase is Phase.PAUSED:
        return not _same(desktop, entry.before, found)
    return entry.phase is Phase.ON and not desktop.leads_to(entry.place, found)


def listens(place: Address) -> bool:
    """Whether a SOCKS5 proxy does, on this computer."""
    try:
        with socket.create_connection((place.host, place.port), timeout=_PATIENCE) as connection:
            connection.sendall(_GREETING)
            return connection.recv(1) == _GREETING[:1]
    except OSError:
        return False


#: RFC 1928, section 3: version 5, two methods, none and a password.
_GREETING = b"\x05\x02\x00\x02"
_PATIENCE = 2.0  # seconds; on loopback it takes less than one thousandth of one


def memory_of_this_user() -> Memory:
    import platformdirs

    return Memory(platformdirs.user_state_path("ropeway", appauthor=False) / "system-proxy.json")


def of_this_user(memory: Memory) -> SystemProxy:
    return SystemProxy(desktops_here(sys.platform, os.environ, memory.read()), memory)


def desktops_here(platform: str, environ: Mapping[str, str], remembered: Iterable[str] = ()) -> list[Desktop]:
    """Those whose settings programs of this session follow, and those in which something of ours stands."""
    if platform == "darwin":
        return [MacOS()]
    if platform == "win32":
        return [desktop_windows.here()]
    names = environ.get("XDG_CURRENT_DESKTOP", "").split(":")
    found: list[Desktop] = []
    # Programs made for GNOME run everywhere and ask there.
    if shutil.which("gsettings") and (any(names) or environ.get("DBUS_SESSION_BUS_ADDRESS")):
        found.append(Gnome())
    if "KDE" in names or environ.get("KDE_FULL_SESSION") or "KDE" in remembered:
        found.append(Kde.of(environ))
    return found
