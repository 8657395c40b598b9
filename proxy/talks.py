"""Which programs of this user talk to hosts elsewhere, as the kernel's tables say: on Linux only, elsewhere nothing is known."""

from __future__ import annotations

import ipaddress
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .address import Address, is_public
from .local_check import Talk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .address import IPAddress

_PROC = Path("/proc")
_ESTABLISHED = "01"  # include/net/tcp_states.h
#: What apps of people talk to; connections to other ports are the business of servers and tools. Our choice: the web, mail, XMPP, MTProto.
PORTS = frozenset({80, 443, 993, 5222, 5223, 5228, 8443})


def read_talks(proc: Path = _PROC, own: str = "Ropeway") -> Sequence[Talk]:
    """Each program and place once; those of the program `own` are left out. What other users' programs do is not told."""
    if sys.platform != "linux":
        return []
    remotes = {inode: remote for name in ("tcp", "tcp6") for inode, remote in _established(proc / "net" / name)}
    if not remotes:
        return []
    talks: dict[Talk, None] = {}
    for folder in proc.iterdir():
        if folder.name.isdigit():
            for inode in _sockets(folder / "fd"):
                if inode in remotes and (name := program_of(folder)) not in ("", own):
                    talks[Talk(name, remotes[inode])] = None
    return list(talks)


def _established(table: Path) -> Iterator[tuple[str, Address]]:
    """The inode of each connection, and where it leads (proc_net_tcp.rst: remote address, state, inode)."""
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return
    for fields in map(str.split, lines):
        if len(fields) > 9 and fields[3] == _ESTABLISHED:
            host, _, port = fields[2].rpartition(":")
            ip, number = _address(host), int(port, 16)
            if number in PORTS and is_public(ip):
                yield fields[9], Address(str(ip), number)


def _address(text: str) -> IPAddress:
    """Words of four bytes, each in the order of this machine; IPv4 inside IPv6 becomes IPv4."""
    words = [bytes.fromhex(text[at : at + 8]) for at in range(0, len(text), 8)]
    packed = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    ip = ipaddress.ip_address(packed)
    return ip.ipv4_mapped or ip if isinstance(ip, ipaddress.IPv6Address) else ip


def _sockets(descriptors: Path) -> Iterator[str]:
    try:
        for each in descriptors.iterdir():
            kind, _, inode = str(each.readlink()).partition(":")
            if kind == "socket":
                yield inode.strip("[]")
    except OSError:  # another user's, or it has ended
        return


def program_of(process: Path) -> str:
    """Its name; "Ropeway" for ours, which is Python to the kernel."""
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
        name = (process / "comm").read_text().strip()
    except OSError:
        return ""
    return "Ropeway" if b"proxy" in words[1:4] or any(word.endswith(b"/ropeway") for word in words[:2]) else name
