"""Which program of this user is at the other end of a connection to the local port. Linux tells (proc(5): the kernel's tables of TCP, and the open files of
each process); elsewhere nothing is known.
"""

from __future__ import annotations

import os
import sys
from collections import Counter, deque
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from .peer_user import own_user

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

#: The port of the program, and ours.
Ends: TypeAlias = tuple[int, int]

_PROCESSES = Path("/proc")
_LOCAL, _REMOTE, _USER, _INODE = 1, 2, 7, 9  # columns
# Our choices.
#: Rows of a table, and files of processes, that are looked at in one go: what comes then is for others, too.
_AT_ONCE = 256
#: Files of processes that are looked at for one answer: a tenth of a second and more.
MOST_FILES = 50_000
#: Processes that had connections lately are asked first: most that come are of a browser that has others.
_MOST_KNOWN = 32


class PeerProcesses:
    """Reads files, so it is for a thread. `pause` is called after each part."""

    def __init__(self, pause: Callable[[], None]) -> None:
        self._pause = pause
        self._known: deque[int] = deque(maxlen=_MOST_KNOWN)  # processes, the last one first

    def find(self, wanted: Collection[Ends], *, everywhere: bool) -> dict[Ends, str]:
        """The file of each program that is found; where it is not to be looked for `everywhere`, of those only that were found before."""
        if sys.platform != "linux":
            return {}
        sockets = self._sockets(wanted)
        found: dict[Ends, str] = {}
        left = MOST_FILES
        for process in self._processes(everywhere):
            if not sockets or left <= 0:
                break
            for target in self._files(process, left):
                left -= 1
                if (ends := sockets.pop(target, None)) is not None:
                    found[ends] = program_of(process)
                    self._remember(process)
                    if not sockets:
                        break
        return found

    def _sockets(self, wanted: Collection[Ends]) -> dict[str, Ends]:
        """What the files are called that these connections are. Ports alone do not tell two connections to other addresses from each other: there
        neither is taken for the one that was meant.
        """
        sockets: dict[str, Ends] = {}
        for table in ("tcp", "tcp6"):
            try:
                with (_PROCESSES / "net" / table).open(encoding="ascii") as lines:
                    sockets |= sockets_in(self._with_pauses(lines), wanted)
            except (OSError, ValueError):  # there is no IPv6, or no /proc
                continue
        times = Counter(sockets.values())
        return {name: ends for name, ends in sockets.items() if times[ends] == 1}

    def _processes(self, everywhere: bool) -> Iterator[int]:
        known = list(self._known)
        yield from known
        if everywhere:
            yield from (int(name) for name in _names_in(str(_PROCESSES)) if name.isdecimal() and int(name) not in known)

    def _files(self, process: int, most: int) -> Iterator[str]:
        """The latest first, as it is of new connections that one asks."""
        folder = f"{_PROCESSES}/{process}/fd"
        names = sorted(_names_in(folder), key=lambda name: (len(name), name), reverse=True)
        for name in self._with_pauses(names[:most]):
            if (target := _target_of(f"{folder}/{name}")) is not None:
                yield target

    def _with_pauses(self, things: Iterable[str]) -> Iterator[str]:
        for count, thing in enumerate(things, 1):
            yield thing
            if count % _AT_ONCE == 0:
                self._pause()

    def _remember(self, process: int) -> None:
        if process in self._known:
            self._known.remove(process)
        self._known.appendleft(process)


def sockets_in(lines: Iterable[str], wanted: Collection[Ends]) -> dict[str, Ends]:
    """Of this user's rows in a table of the kernel those of these ends, by what the file of a process says that is the socket."""
    ours = {f":{own:04X}" for _, own in wanted}
    user = str(own_user())
    sockets: dict[str, Ends] = {}
    for line in lines:
        columns = line.split(None, _INODE + 1)
        if len(columns) <= _INODE or columns[_REMOTE][-5:] not in ours or columns[_USER] != user:
            continue
        ends = int(columns[_LOCAL][-4:], 16), int(columns[_REMOTE][-4:], 16)
        if ends in wanted and columns[_INODE] != "0":  # that one is closed, and of no process
            sockets[f"socket:[{columns[_INODE]}]"] = ends
    return sockets


def program_of(process: int) -> str:
    """Its file; empty where it is gone meanwhile."""
    return (_target_of(f"{_PROCESSES}/{process}/exe") or "").removesuffix(
        " (deleted)"
    )  # an update has come since it began


# Of these there are thousands, and to make a Path takes longer than to ask.


def _names_in(folder: str) -> list[str]:
    """None where it is gone, or another user's."""
    try:
        return os.listdir(folder)  # noqa: PTH208
    except OSError:
        return []


def _target_of(link: str) -> str | None:
    try:
        return os.readlink(link)  # noqa: PTH115
    except OSError:
        return None
