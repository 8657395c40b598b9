"""A lab: a host at home and a host abroad, joined by a bad link, and what runs in them."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.e2e.apps import Answer, curl
from tests.e2e.machine import Program, Programs, free_port, missing, program
from tests.e2e.pairs import Exit, Local, Pair, folder_for
from tests.lab.addresses import ABROAD, EXIT_PORT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: What the figures of the project's goals are for: a link between continents.
RATE_MBIT, ROUND_TRIP = 20.0, 0.1
#: Kilobytes that wait before the link: twice what it holds, as in the routers of those links.
QUEUE = 512
#: Whether the forms that take hours together were asked for, or those that take minutes.
LONG = os.environ.get("LAB") == "long"
#: Figures are held to in the long forms. CI's machines are slow and shared, and no test may fail because one of them was busy.
TOLERANCE = 1.0 if LONG else 3.0
#: A user of every exit besides the one whom the local side has the link of.
OTHER = "other"
#: `ip netns exec` gives each program a view of the file system of its own.
_REPLACE = 'mount --bind "$0" "$1" && shift && exec "$@"'
#: So that labs that run side by side have names of their own.
_numbers = itertools.count()


class Host(Programs):
    """Starts programs that have this host's network. Each host has a loopback of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(folder)
        folder.mkdir()
        self._name = name
        self.prefix: tuple[str, ...] = ("ip", "netns", "exec", name)

    def start(self, name: str, argv: Sequence[str | Path], *, stdin: int = subprocess.DEVNULL) -> Program:
        return super().start(name, [*self.prefix, *argv], stdin=stdin)

    def start_ropeway(self, name: str, *arguments: str | Path, prefix: Sequence[str] = ()) -> Program:
        # As everywhere, and it tells how many tasks it has.
        observed = [sys.executable, "-W", "default::ResourceWarning", "-m", "tests.lab.observed"]
        return self.start(name, [*prefix, *observed, *arguments])

    def start_module(self, name: str, *arguments: str | Path) -> Program:
        """One of the programs beside this file."""
        return self.start(name, [sys.executable, "-m", f"tests.lab.{name}", *arguments])

    def change_network(self, *lines: str) -> None:
        """Lines such as `route add ...`, for the program ip."""
        argv = [program("ip"), "-n", self._name, "-batch", "-"]
        subprocess.run(argv, input="\n".join(lines), check=True, capture_output=True, text=True)

    def replace(self, path: str, text: str) -> None:
        """What programs that are started from now on find in place of that file."""
        other = self.folder / path.replace("/", "-")
        other.write_text(text)
        self.prefix = (*self.prefix, "sh", "-c", _REPLACE, str(other), path)


def connected(path: Path) -> socket.socket:
    if sys.platform != "linux":  # the type checker reads no further there
        raise NotImplementedError
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    return connection


class LinkControl:
    """Says lines to the link; see link.py for what it understands. Any thread may."""

    def __init__(self, path: Path) -> None:
        self._connection = connected(path)
        self._answers = self._connection.makefile()
        self._one_at_a_time = threading.Lock()

    def say(self, line: str) -> str:
        with self._one_at_a_time:
            self._connection.sendall(f"{line}\n".encode())
            answer = self._answers.readline().strip()
        assert answer, "the link has ended"
        assert not answer.startswith("error"), answer
        return answer

    def stats(self) -> Any:
        return json.loads(self.say("stats"))

    def carriers(self) -> int:
        """How many connections to the exit were begun so far, as somebody on the way counts them."""
        return int(self.stats()["connections"].get(str(EXIT_PORT), 0))

    def close(self) -> None:
        self._answers.close()
        self._connection.close()


@dataclass(frozen=True)
class Lab:
    home: Host
    abroad: Host
    link: LinkControl
    folder: Path

    def curl(self, *arguments: str | Path, folder: Path) -> Answer:
        """Run curl at home."""
        return curl(*arguments, folder=folder, prefix=self.home.prefix)


def check_machine() -> None:
    """Ends the test where this machine cannot have a lab."""
    if sys.platform != "linux":
        missing("the lab needs Linux")
    if os.geteuid() != 0:
        missing("the lab needs root: it makes networks")
    if not Path("/dev/net/tun").exists():
        missing("the lab needs /dev/net/tun")
    if shutil.which("ip") is None:
        missing("the lab needs the program ip, of iproute2")
    if subprocess.run([program("unshare"), "--net", "true"], capture_output=True, check=False).returncode:
        missing("this machine does not let us make network namespaces")


@contextmanager
def open_lab(folder: Path, *, rate: float = RATE_MBIT, round_trip: float = ROUND_TRIP) -> Iterator[Lab]:
    """Rate in Mbit/s, and seconds."""
    check_machine()
    name = f"rw{os.getpid()}x{next(_numbers)}"
    root = folder / name
    root.mkdir()
    control = root / "control"
    way = (f"--rate={rate}", f"--delay={round_trip * 1000 / 2}", f"--queue={QUEUE}")
    around = Programs(root)
    argv: list[str | Path] = [sys.executable, "-m", "tests.lab.link", "--name", name, "--control", control, *way]
    process = around.start("link", argv)
    try:
        process.wait_for("ready")
        with closing_link(control) as link:
            lab = Lab(Host(f"{name}-a", root / "home"), Host(f"{name}-b", root / "abroad"), link, root)
            try:
                yield lab
            finally:
                lab.home.stop_all()
                lab.abroad.stop_all()
    finally:
        assert process.stop() == 0, process.text()
    assert not lab.home.complaints() + lab.abroad.complaints() + around.complaints()


@contextmanager
def closing_link(path: Path) -> Iterator[LinkControl]:
    link = LinkControl(path)
    try:
        yield link
    finally:
        link.close()


# ---- the proxy in it


def configure(config: Path, section: str, text: str) -> None:
    """Put these lines into that section, which the file may have already."""
    old, heading = config.read_text(), f"[{section}]\n"
    config.write_text(old.replace(heading, heading + text) if heading in old else f"{old}\n{heading}{text}")


def start_exit(lab: Lab, settings: str = "", *, port: int = EXIT_PORT) -> Exit:
    """`settings` are lines for its configuration's [exit]; the link, of its user `first`, is made after them. There is a user OTHER as well."""
    programs = lab.abroad
    config = folder_for(programs, "exit") / "ropeway.toml"
    public = ["--host", ABROAD, "--port", str(port), "--listen", f":{port}", "--allow-private"]
    for words in (["exit", "init", *public], ["exit", "user", "add", OTHER]):
        done = programs.run_ropeway(*words, "--config", config)
        assert done.returncode == 0, done.stderr
    configure(config, "log", 'level = "debug"\n')
    configure(config, "exit", settings)
    return Exit(run_exit(lab, config), config, port, link_of(lab, config, "first"))


def link_of(lab: Lab, config: Path, user: str) -> str:
    done = lab.abroad.run_ropeway("exit", "link", user, "--config", config)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def run_exit(lab: Lab, config: Path) -> Program:
    started = lab.abroad.start_ropeway("exit", "exit", "run", "--config", config)
    started.wait_for("ready")
    return started


def start_local(lab: Lab, link: str, settings: str = "", *, mode: str = "all", others: str = "") -> Local:
    """`settings` are lines for its configuration's [local], `others` whole sections. In the other mode the lab's private networks go direct."""
    programs = lab.home
    config = folder_for(programs, "local") / "ropeway.toml"
    port = free_port()
    where = ["--listen", f"127.0.0.1:{port}", "--mode", mode]
    done = programs.run_ropeway("join", link, *where, "--config", config)
    assert done.returncode == 0, done.stderr
    configure(config, "log", 'level = "debug"\n')
    configure(config, "local", settings)
    config.write_text(config.read_text() + others)
    started = programs.start_ropeway("local", "run", "--config", config)
    started.wait_for("connected to the exit")
    return Local(started, config, port)


def start_pair(
    lab: Lab, *, exit_settings: str = "", local_settings: str = "", mode: str = "all", others: str = ""
) -> Pair:
    there = start_exit(lab, exit_settings)
    return Pair(there, start_local(lab, there.link, local_settings, mode=mode, others=others))
