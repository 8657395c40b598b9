"""Tells systemd how the service is: ready, reading its files again, stopping, and that its event loop still turns (sd_notify(3))."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import MutableMapping

# Our choice: what people read of a service is a line of a terminal.
MAX_STATUS = 200


class Notifier:
    """Says nothing where nobody asked for it, so callers need not know whether systemd started them. It never raises or waits: news that the
    supervisor does not take is of no use to anybody else.
    """

    def __init__(self, address: str = "", watchdog: float = 0.0) -> None:
        """`address` is that of a datagram socket, with `@` first where it is an abstract one. `watchdog` is after how many seconds without a
        sign of life the service is started again, and 0 where nobody looks.
        """
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog = watchdog if address else 0.0

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] = os.environ, pid: int | None = None) -> Notifier:
        """What systemd put into the environment, and takes it out: it is for this process, not for those that it starts."""
        address, usec = environ.pop("NOTIFY_SOCKET", ""), environ.pop("WATCHDOG_USEC", "")
        watched = environ.pop("WATCHDOG_PID", "") in ("", str(os.getpid() if pid is None else pid))
        if not address.startswith(("/", "@")):  # there are others, for virtual machines
            return cls()
        return cls(address, int(usec) / 1e6 if watched and usec.isascii() and usec.isdigit() else 0.0)

    def ready(self, status: str = "") -> None:
        """After the start, and after each `reloading`."""
        self._send("READY=1", _status(status))

    def reloading(self) -> None:
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")  # which Type=notify-reload asks for

    def stopping(self) -> None:
        self._send("STOPPING=1", _status("stopping"))

    def status(self, text: str) -> None:
        self._send(_status(text))

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address or sys.platform == "win32":
            return
        message = "\n".join(filter(None, lines)).encode(errors="replace")
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(message, self._address)


def _status(text: str) -> str:
    return f"STATUS={' '.join(text.split())[:MAX_STATUS]}" if text else ""


async def keep_alive(notifier: Notifier) -> None:
    """Until it is cancelled: a sign of life from the event loop, twice in the time that the watchdog gives (sd_watchdog_enabled(3)). A loop that
    hangs gives none, and systemd starts the service again. Returns at once where nobody looks.
    """
    while notifier.watchdog:
        notifier.alive()
        await trio.sleep(notifier.watchdog / 2)
