"""Sockets that systemd listens on already when it starts the service (sd_listen_fds(3)): apps find the port open even while nobody runs yet."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import trio

from .errors import ConfigError
from .tcp import unpaced

if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence

FIRST = 3  # SD_LISTEN_FDS_START
MOST = 64  # our choice; a socket unit has a few
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


def inherited(
    environ: MutableMapping[str, str] = os.environ, pid: int | None = None, *, first: int = FIRST
) -> list[socket.socket]:
    """Those that were passed to this process, in their order; none where it was started in another way.

    Takes what says so out of the environment, as it is for this process alone. Raises ConfigError where one of them is not a TCP socket that
    listens, and closes them all then.
    """
    count, for_pid = environ.pop("LISTEN_FDS", ""), environ.pop("LISTEN_PID", "")
    environ.pop("LISTEN_FDNAMES", None)
    environ.pop("LISTEN_PIDFDID", None)
    if sys.platform == "win32" or for_pid != str(os.getpid() if pid is None else pid) or not count.isdigit():
        return []
    if int(count) > MOST:
        raise ConfigError("", f"{count} sockets were passed, and {MOST} are the most; mend the socket unit")
    with ExitStack() as held:
        taken = [held.enter_context(_socket(descriptor)) for descriptor in range(first, first + int(count))]
        held.pop_all()
    return taken


def _socket(descriptor: int) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)
        found = socket.socket(fileno=descriptor)
    except OSError as exc:
        raise ConfigError("", f"what systemd passed as descriptor {descriptor} is no socket: {exc.strerror}") from None
    if found.family not in _FAMILIES or found.type != socket.SOCK_STREAM or not _listens(found):
        found.close()
        raise ConfigError(
            "", "the socket unit has to be for TCP, with ListenStream=ADDRESS:PORT and without Accept=; mend it"
        )
    return found


def _listens(sock: socket.socket) -> bool:
    return sys.platform == "win32" or bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def listeners(sockets: Sequence[socket.socket]) -> list[trio.SocketListener]:
    """Listeners of these sockets, which they own from now on. Needs trio to run."""
    return unpaced([trio.SocketListener(trio.socket.from_stdlib_socket(each)) for each in sockets])
