"""Which user of this computer a connection comes from. Linux tells (proc(5), /proc/net/tcp); elsewhere nothing is known."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import trio

_TABLES: dict[socket.AddressFamily, Path] = {
    socket.AF_INET: Path("/proc/net/tcp"),
    socket.AF_INET6: Path("/proc/net/tcp6"),
}
_LOCAL, _REMOTE, _USER = 1, 2, 7  # columns


def is_known() -> bool:
    """Whether this system tells it."""
    return sys.platform == "linux"


def is_of_another_user(connection: trio.socket.SocketType) -> bool:
    """Whether somebody else on this computer is at the other end, for certain. Reads a table with all connections of the computer: not for each."""
    try:
        here, there = connection.getsockname(), connection.getpeername()
        with _TABLES[socket.AddressFamily(connection.family)].open(encoding="ascii") as lines:
            user = user_in(lines, _end(there), _end(here))
    except (OSError, KeyError, ValueError):  # it is gone, or there is no such table
        return False
    return user is not None and user != own_user()


def own_user() -> int:
    """There are no numbers for them on Windows, nor tables that have them."""
    if sys.platform == "win32":
        return -1
    return os.getuid()


def user_in(lines: Iterable[str], local: str, remote: str) -> int | None:
    """Of the end of a connection that is `local` to it, in a table of the kernel."""
    for line in lines:
        columns = line.split()
        if len(columns) > _USER and (columns[_LOCAL], columns[_REMOTE]) == (local, remote):
            return int(columns[_USER]) if columns[_USER].isdecimal() else None
    return None


def _end(name: tuple[str, int]) -> str:
    """As the kernel writes it: in words of 32 bits, each in the computer's order of bytes."""
    host, port = name[:2]
    packed = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host.partition("%")[0])
    words = (int.from_bytes(packed[i : i + 4], sys.byteorder) for i in range(0, len(packed), 4))
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"
