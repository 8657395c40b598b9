"""The texts of systemd units (systemd.unit(5), systemd.service(5), systemd.exec(5))."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from .errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .service_program import Program

# Our choices, in seconds. A loop that has hung for half a minute does not come back. The exit takes 5 s at most to say goodbye; a start takes one.
WATCHDOG = 30
STOP_LIMIT = 15
START_LIMIT = 60
PAUSE = 2  # until it is started again
#: `memory` is what the program holds itself to; the kernel's buffers of its sockets come on top, and a bound that is met is a restart.
MEMORY_ROOM = 1.5
#: Two for each of 8,192 streams of several devices: what the hand-made unit of earlier versions had.
DESCRIPTORS = 65_536
FIRST_FREE_PORT = 1024  # net.ipv4.ip_unprivileged_port_start

#: "Executable name contains special characters" (load-fragment.c, string_is_safe).
_REFUSED = re.compile(r"""[\x00-\x1f\x7f"'\\]""")
_PLAIN = re.compile(r"[A-Za-z0-9_./:=,+-]+")

_COMMON = """\
Type=notify
NotifyAccess=main
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
{environment}Restart=on-failure
RestartSec={pause}
TimeoutStartSec={start_limit}
TimeoutStopSec={stop_limit}
WatchdogSec={watchdog}
# No core dump: there would be keys in it.
WatchdogSignal=SIGKILL
LimitCORE=0
UMask=0077
NoNewPrivileges=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
"""

_LOCAL = """\
# Written by `ropeway service install`{version}, which replaces it; put changes into `systemctl --user edit {name}`.
[Unit]
Description=Ropeway, a local SOCKS and HTTP proxy
# It never gives up: a port may become free, and a mistake in the configuration be mended.
StartLimitIntervalSec=0

[Service]
{common}# Where the system's proxy is on, a crash leaves it leading to nobody; a start leads it here again.
ExecStopPost=-{repair}

[Install]
WantedBy=default.target
"""

_SOCKET = """\
# Written by `ropeway service install --socket-activation`{version}, which replaces it.
[Unit]
Description=The port of Ropeway

[Socket]
ListenStream={listen}
# As many as Ropeway's own listener lets wait.
Backlog=1024
NoDelay=yes

[Install]
WantedBy=sockets.target
"""

_EXIT = """\
# Written by `ropeway exit install`{version}, which replaces it; put changes into `systemctl edit {name}`.
[Unit]
Description=Ropeway exit
After=network-online.target nss-lookup.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
{common}MemoryMax={memory}
LimitNOFILE={descriptors}
TasksMax=128
# A user of its own while it runs, to whom its files belong: root changes them, the exit only reads them.
DynamicUser=yes
StateDirectory={state}
StateDirectoryMode=0700
ReadOnlyPaths=/var/lib/private/{state}
{port_right}PrivateDevices=yes
PrivateTmp=yes
ProtectSystem=strict
ProtectHome=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
RemoveIPC=yes
# Netlink is where the C library asks which of its own addresses it has, to put those of a name in order (RFC 6724).
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK

[Install]
WantedBy=multi-user.target
"""

_LOW_PORT = "AmbientCapabilities=CAP_NET_BIND_SERVICE\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE\n"
_HIGH_PORT = "CapabilityBoundingSet=\nPrivateUsers=yes\n"


def local_unit(program: Program, name: str) -> str:
    """The user's own service."""
    repair = command_line(replace(program, words=("system-proxy", "repair")).argv)
    return _LOCAL.format(version=_version(program), name=name, common=_common(program), repair=repair)


def socket_unit(program: Program, listen: str) -> str:
    return _SOCKET.format(version=_version(program), listen=listen)


def exit_unit(program: Program, name: str, state: str, *, memory: int, ports: Sequence[int]) -> str:
    """The exit's service of the system. `memory` is the setting, in bytes; `state` is the folder in /var/lib that has its files."""
    return _EXIT.format(
        version=_version(program),
        name=name,
        common=_common(program),
        memory=int(memory * MEMORY_ROOM),
        descriptors=DESCRIPTORS,
        state=state,
        port_right=_LOW_PORT if any(0 < port < FIRST_FREE_PORT for port in ports) else _HIGH_PORT,
    )


def _common(program: Program) -> str:
    return _COMMON.format(
        command=command_line(program.argv),
        environment=f"Environment={quoted(f'PYTHONPATH={program.root}')}\n" if program.root else "",
        pause=PAUSE,
        start_limit=START_LIMIT,
        stop_limit=STOP_LIMIT,
        watchdog=WATCHDOG,
    )


def _version(program: Program) -> str:
    """In it, so that an update counts as a change, and the new version is started."""
    return f" of Ropeway {program.version}" if program.version else ""


def command_line(argv: Sequence[str]) -> str:
    """As ExecStart= takes it. The dollar is doubled from the second word on: the first is a path, in which no variable is put (systemd.service(5)).

    Raises ServiceError for a path that systemd refuses to run, however it is quoted.
    """
    first, *others = argv
    if _REFUSED.search(first):
        raise ServiceError(f"systemd runs no program with a quote or a backslash in its path; put {first} elsewhere")
    return " ".join([quoted(first), *(quoted(word).replace("$", "$$") for word in others)])


def quoted(word: str) -> str:
    """One word of a setting, whatever is in it (systemd.syntax(7), "Quoting"; systemd.unit(5), "Specifiers")."""
    if _PLAIN.fullmatch(word):
        return word
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    word = "".join(f"\\x{ord(c):02x}" if ord(c) < 0x20 or c == "\x7f" else c for c in word)
    return f'"{word}"'
