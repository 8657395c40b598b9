"""Processes, ports and what the kernel knows about them."""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

#: The other programs must use the proxy that they are told to, and no other.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
#: What a log shows only where something was forgotten or not caught.
FORBIDDEN_IN_LOGS = ("Traceback", "Exception ignored", "ResourceWarning", "never awaited", "Task exception")
#: Below the range that the kernel gives to outgoing connections, so that none of those takes a port that was free.
PORTS = range(20_000, 32_000)
#: scripts/test runs several sessions at the same time: none is given a port that another was given and does not use yet.
LANE, LANES = int(os.environ.get("LANE", "0")), 3
ESTABLISHED, LISTENING = "01", "0A"  # include/net/tcp_states.h

_given: set[int] = set()


def program(name: str) -> str:
    """Where the program is. Without it a test fails in CI, and elsewhere is skipped with the reason."""
    path = shutil.which(name)
    if path is None:
        missing(f"the program {name} is not installed")
    return path


def server_program(name: str) -> str:
    """The same for a server, which Debian has where only root's path leads."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") or program(name)


def missing(reason: str) -> NoReturn:
    """End the test: a failure in CI, where everything has to be there, and a skip elsewhere."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    """One that nobody listens on, and that was not asked for before: it may be used later than it is given."""
    while True:
        port = random.choice(PORTS[LANE::LANES])
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port


def wait_until(true: Callable[[], object], what: str, *, seconds: float = 20) -> None:
    """Poll real processes: there is nothing of theirs to wait on. Raises AssertionError with `what`."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


class Program:
    """A process in the background; what it prints goes to one file."""

    def __init__(
        self, argv: Sequence[str | Path], log: Path, env: Mapping[str, str], *, stdin: int = subprocess.DEVNULL
    ) -> None:
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(argv, stdin=stdin, stdout=output, stderr=output, env=env)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def lines(self, *words: str) -> list[str]:
        """The lines with any of the words, whatever their case."""
        return [line for line in self.text().splitlines() if any(word in line.lower() for word in words)]

    def wait_for(self, *words: str, seconds: float = 20) -> str:
        """The first line with any of the words."""
        wait_until(lambda: self.lines(*words) or not self.alive, f"{words} in\n{self.text()}", seconds=seconds)
        lines = self.lines(*words)
        assert lines, f"the process ended without {words}:\n{self.text()}"
        return lines[0]

    def wait_for_port(self, port: int) -> None:
        """Asks the kernel and does not knock: the process may be on a network of its own."""

        def listening() -> bool:
            with contextlib.suppress(FileNotFoundError):  # it has ended just now
                return (port, LISTENING) in tcp_table(self.pid)
            return False

        wait_until(lambda: not self.alive or listening(), f"port {port}")
        assert self.alive, self.text()

    def tell(self, sign: signal.Signals) -> None:
        self._process.send_signal(sign)

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code; one that does not stop in time is killed, and the code is then negative."""
        if self.alive:
            self._process.send_signal(sign)
        try:
            return self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def resident(self) -> int:
        """Bytes of memory in use."""
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * mmap.PAGESIZE


class Programs:
    """Starts programs, and knows what all of them said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[Program] = []
        self._home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}

    def start(self, name: str, argv: Sequence[str | Path], *, stdin: int = subprocess.DEVNULL) -> Program:
        """`stdin` is what it reads: a descriptor, which the caller closes."""
        log = self.folder / f"{len(self._started):03}-{name}.log"
        started = Program(argv, log, ENVIRONMENT | self._home, stdin=stdin)
        self._started.append(started)
        return started

    def start_ropeway(self, name: str, *arguments: str | Path, prefix: Sequence[str] = ()) -> Program:
        # What is not closed shows in the log, at no cost in speed.
        watched = [sys.executable, "-W", "default::ResourceWarning", "-m", "proxy"]
        return self.start(name, [*prefix, *watched, *arguments])

    def run_ropeway(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "proxy", *arguments]
        return subprocess.run(
            argv, env=ENVIRONMENT | self._home, capture_output=True, text=True, timeout=30, check=False
        )

    def stop_all(self) -> None:
        for started in reversed(self._started):
            started.stop()

    def complaints(self) -> list[str]:
        """Lines in any log that no program of ours should ever write."""
        return [
            f"{started.log.name}: {line}"
            for started in self._started
            for line in started.text().splitlines()
            if any(word in line for word in FORBIDDEN_IN_LOGS)
        ]


def connections(port: int) -> int:
    """How many TCP connections this machine holds with `port` at the accepting end, as the kernel says."""
    return list(tcp_table()).count((port, ESTABLISHED))


def tcp_table(pid: int | None = None) -> Iterator[tuple[int, str]]:
    """Local port and state of every TCP connection on the network of that process, or of this one."""
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid or 'self'}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            yield int(fields[1].rpartition(":")[2], 16), fields[3]
