"""Whether a port is free to listen on, and who has it where it is not."""

from __future__ import annotations

import errno
import re
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import supervisor
from .errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .settings import Listen

_COMMANDS = (b"ropeway", b"ropeway.pyz")
_LISTENING = "0A"  # TCP_LISTEN, include/net/tcp_states.h


@dataclass(frozen=True, slots=True)
class Holder:
    """`pid` is 0, and `name` empty, where the system does not tell us."""

    pid: int = 0
    name: str = ""

    def __str__(self) -> str:
        return f"{self.name or 'a program'} (process {self.pid})" if self.pid else "another program"


def holder_of(listen: Listen) -> Holder | None:
    """Who listens where we want to; None where nobody does, or what stands in the way is not another program."""
    if listen.port == 0 or not _taken(listen):
        return None
    try:
        return _ASK.get(sys.platform, _by_lsof)(listen.port) or Holder()
    except (OSError, ServiceError):
        return Holder()


def _taken(listen: Listen) -> bool:
    """As Ropeway will listen: at all addresses of both families where none is given."""
    hosts = [listen.host] if listen.host else ["0.0.0.0", "::"]  # noqa: S104  (that is the question)
    return any(_refused(host, listen.port) for host in hosts)


def _refused(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if sys.platform == "win32":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            else:
                probe.setsockopt(
                    socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
                )  # what lingers in TIME_WAIT stands in nobody's way
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((host, port))
            probe.listen(1)
    except OSError as error:
        return error.errno in (errno.EADDRINUSE, getattr(errno, "WSAEADDRINUSE", errno.EADDRINUSE))
    return False


# ---- Linux


def _by_proc(port: int) -> Holder | None:
    inodes = {inode for name in ("tcp", "tcp6") for inode in _listening(Path("/proc/net") / name, port)}
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and _holds(folder / "fd", wanted):
            return Holder(int(folder.name), _first_words(folder))
    return None


def _listening(table: Path, port: int) -> Iterator[str]:
    """The inodes of sockets that listen there (proc_net_tcp.rst: local address, state, inode)."""
    lines = table.read_text().splitlines()[1:] if table.exists() else []
    for fields in map(str.split, lines):
        if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
            yield fields[9]


def _holds(descriptors: Path, wanted: set[str]) -> bool:
    try:
        return any(_target(each) in wanted for each in descriptors.iterdir())
    except OSError:  # another user's, or it has ended
        return False


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def _first_words(process: Path) -> str:
    """Its name; for Python, what it runs."""
    try:
        words = (process / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        name = (process / "comm").read_text().strip()
    except OSError:
        return ""
    ours = [b"-m", b"proxy"] in (words[1:3], words[2:4]) or any(
        word.rpartition(b"/")[2] in _COMMANDS for word in words[:2]
    )
    return "Ropeway" if ours else name


# ---- the others


def _by_lsof(port: int) -> Holder | None:
    """`-F` is for programs: a line for each field, `p` the process, `c` the command."""
    answer = supervisor.ask("lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc")
    return holder_in_lsof(answer.out)


def holder_in_lsof(text: str) -> Holder | None:
    pid = re.search(r"^p(\d+)$", text, re.MULTILINE)
    name = re.search(r"^c(.+)$", text, re.MULTILINE)
    return Holder(int(pid[1]), name[1] if name else "") if pid else None


def _by_netstat(port: int) -> Holder | None:
    pid = pid_in_netstat(supervisor.ask("netstat", "-ano", "-p", "TCP").out, port)
    if pid is None:
        return None
    rows = supervisor.ask("tasklist", "/FI", f"PID eq {pid}", "/FO", "CSV", "/NH").out
    name = re.match(r'\s*"([^"]+)"', rows)
    return Holder(pid, name[1] if name else "")


def pid_in_netstat(text: str, port: int) -> int | None:
    """Of the socket that listens: its foreign port is 0. The word for the state is in the system's language."""
    for fields in map(str.split, text.splitlines()):
        if len(fields) == 5 and fields[1].endswith(f":{port}") and fields[2].endswith(":0") and fields[4].isdigit():
            return int(fields[4])
    return None


_ASK = {"linux": _by_proc, "win32": _by_netstat}
