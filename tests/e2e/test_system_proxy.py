"""GNOME's own `gsettings` on a bus of its own: on, killed half-way, repair; and the settings are what they were."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.machine import ENVIRONMENT, free_port, program

if TYPE_CHECKING:
    from collections.abc import Iterator

BY_SIGKILL = -9  # Windows has no such signal
pytestmark = [pytest.mark.e2e, pytest.mark.skipif(sys.platform != "linux", reason="GNOME is of Linux")]

KILL = 9  # SIGKILL, which Windows has not
SCHEMA = "org.gnome.system.proxy"
#: What `ropeway` is, without what else it can do.
ROPEWAY = "import typer; from proxy import cli_system; p = typer.Typer(); cli_system.add_to(p); p()"
#: Kills itself with the signal that nothing can be done about, where it would run a program for the so many-th time.
KILLED = """
import os, signal, subprocess
run, left = subprocess.run, int(os.environ["RUNS"])
def last(argv, **options):
    global left
    if "set" in argv or "reset" in argv:
        left -= 1
        if left < 0:
            os.kill(os.getpid(), getattr(signal, "SIGKILL"))
    return run(argv, **options)
subprocess.run = last
"""


class Session:
    """A user's session with a bus and settings of its own."""

    def __init__(self, folder: Path) -> None:
        program("gsettings")
        (folder / "config").mkdir()
        self._environ = {
            **ENVIRONMENT,
            "HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_RUNTIME_DIR": str(folder),
            "XDG_CURRENT_DESKTOP": "GNOME",
            "GSETTINGS_BACKEND": "dconf",
        }
        # The service that writes settings is started by the bus, and has its environment.
        self._bus = subprocess.Popen(
            [program("dbus-daemon"), "--session", "--nofork", "--print-address"],
            env=self._environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._bus.stdout is not None
        self._environ["DBUS_SESSION_BUS_ADDRESS"] = self._bus.stdout.readline().strip()

    def end(self) -> None:
        self._bus.terminate()
        self._bus.wait()
        if self._bus.stdout is not None:
            self._bus.stdout.close()

    def gsettings(self, *words: str) -> str:
        done = subprocess.run(
            ["gsettings", *words], env=self._environ, capture_output=True, text=True, check=True, timeout=30
        )
        return done.stdout

    def settings(self) -> str:
        return self.gsettings("list-recursively", SCHEMA)

    def ropeway(self, *words: str, runs: int | None = None) -> subprocess.CompletedProcess[str]:
        text = ROPEWAY if runs is None else KILLED + ROPEWAY
        return subprocess.run(
            [sys.executable, "-c", text, "system-proxy", *words],
            env=self._environ | {"RUNS": str(runs), "PYTHONPATH": str(Path.cwd())},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    session = Session(tmp_path)
    yield session
    session.end()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "ropeway.toml"
    path.write_text(f'[local]\nlisten = "127.0.0.1:{free_port()}"\n')
    path.chmod(0o600)
    return path


OFFICE = [
    (SCHEMA, "mode", "'auto'"),
    (SCHEMA, "autoconfig-url", "'http://office.example/proxy.pac'"),
    (SCHEMA, "ignore-hosts", "@as []"),
    (f"{SCHEMA}.http", "host", "'office.example'"),
    (f"{SCHEMA}.http", "use-authentication", "true"),
    (f"{SCHEMA}.socks", "port", "9"),
]


@pytest.mark.parametrize("before", [[], OFFICE], ids=["as installed", "an office"])
def test_the_settings_come_back(session: Session, config: Path, before: list[tuple[str, str, str]]) -> None:
    for words in before:
        session.gsettings("set", *words)
    settings = session.settings()
    port = config.read_text().rpartition(":")[2].strip().strip('"')
    done = session.ropeway("on", "--config", str(config))
    assert done.returncode == 0, done.stderr
    assert session.gsettings("get", SCHEMA, "mode") == "'manual'\n"
    assert session.gsettings("get", f"{SCHEMA}.socks", "port") == f"{port}\n"
    assert session.ropeway("on", "--config", str(config)).returncode == 0
    assert session.ropeway("status").returncode == 1  # nobody listens
    done = session.ropeway("repair")
    assert done.returncode == 0, done.stderr
    assert session.settings() == settings
    assert session.ropeway("off").returncode == 0
    assert session.settings() == settings


@pytest.mark.parametrize("runs", [0, 1, 4, 8])
def test_killed_at_any_step(session: Session, config: Path, runs: int) -> None:
    for words in OFFICE:
        session.gsettings("set", *words)
    settings = session.settings()
    done = session.ropeway("on", "--config", str(config), runs=runs)
    assert done.returncode == BY_SIGKILL
    assert (session.settings() == settings) == (runs == 0)
    assert "half changed" in session.ropeway("status").stdout
    assert session.ropeway("repair").returncode == 0
    assert session.settings() == settings


def test_killed_while_it_is_turned_off(session: Session, config: Path) -> None:
    settings = session.settings()
    assert session.ropeway("on", "--config", str(config)).returncode == 0
    assert session.ropeway("off", runs=3).returncode == BY_SIGKILL
    assert session.settings() != settings
    assert session.ropeway("repair").returncode == 0
    assert session.settings() == settings


def test_without_a_bus_nothing_is_said_to_be_done(session: Session, config: Path) -> None:
    session._environ["DBUS_SESSION_BUS_ADDRESS"] = "unix:path=/nowhere"
    done = session.ropeway("on", "--config", str(config))
    assert done.returncode != 0
