"""Ropeway as a service: installed once or again, started, stopped, looked at and taken away, whatever the system's supervisor is."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ConfigError, ServiceError
from .port_holder import Holder, holder_of
from .service_launchd import Launchd
from .service_program import this_program
from .service_systemd import Systemd
from .service_windows import TaskScheduler
from .systemd_unit import local_unit, socket_unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .settings import Listen
    from .supervisor import State, Supervisor

NAME = "ropeway"
# Our choices.
LAST_LINES = 10  # of the log, where something failed
PATIENCE, LOOK_EVERY = 10.0, 0.1  # seconds for a program to listen where the supervisor does not wait for that


def local_service(config: Path, listen: Listen, *, socket_activation: bool = False) -> Supervisor:
    """The user's own service on this system, with this configuration. Raises ServiceError where it is asked for what this system has not."""
    config = config.absolute()
    if sys.platform == "win32" or sys.platform == "darwin":
        if socket_activation:
            raise ServiceError("--socket-activation needs systemd; leave it out here")
        log = log_path()
        program = this_program("service", "run", "--log", str(log), "--config", str(config))
        return Launchd(program, log) if sys.platform == "darwin" else TaskScheduler(program, log.parent, log)
    if os.geteuid() == 0 and os.environ.get("SUDO_USER"):
        raise ServiceError("the service of the local side belongs to its user: leave sudo out")
    program = this_program("run", "--config", str(config))
    socket = socket_unit(program, str(listen).removeprefix(":")) if socket_activation else None
    units = {f"{NAME}.service": local_unit(program, NAME), f"{NAME}.socket": socket}
    return Systemd(NAME, units, user=True)


def log_path() -> Path:
    """Of the supervisors that keep no log themselves."""
    import platformdirs

    return platformdirs.user_log_path(NAME, appauthor=False) / f"{NAME}.log"


def install(service: Supervisor, places: Sequence[tuple[str, Listen]]) -> Iterator[str]:
    """Installs and starts it, and says what changed, line by line. Again, it changes what is different and leaves alone what is not.

    `places` are where it will listen, each with the name of its setting. Raises ConfigError, with nothing changed, where another program
    listens there; ServiceError where the supervisor refuses or the service does not start.
    """
    files = service.files
    before = {path: _content(path) for path in files}
    state = service.state()
    changed = {path: content for path, content in files.items() if before[path] != content}
    check_ports(places, state)
    if any(content is None for content in changed.values()):  # as long as the supervisor still knows what it is
        service.forget()
    for path, content in changed.items():
        _put(path, content)
        yield f"{_WORDS[before[path] is not None, content is not None]} {path}"
    if changed:
        service.load()
    yield from _started(service, places, again=state.running and (bool(changed) or _elsewhere(places)))
    yield from service.remarks()


def _elsewhere(places: Sequence[tuple[str, Listen]]) -> bool:
    """Whether nobody listens where the configuration says by now."""
    return any(listen.port and holder_of(listen) is None for _, listen in places)


def _listens(service: Supervisor, places: Sequence[tuple[str, Listen]]) -> bool:
    """Whether it has come to listen everywhere. systemd has waited for it already."""
    deadline = time.monotonic() + PATIENCE
    while _elsewhere(places):
        if service.state().failure or time.monotonic() > deadline:
            return False
        time.sleep(LOOK_EVERY)
    return True


_WORDS = {(False, True): "Written:", (True, True): "Replaced, as it was another version:", (True, False): "Removed:"}


def _started(service: Supervisor, places: Sequence[tuple[str, Listen]], *, again: bool) -> Iterator[str]:
    was_running = service.state().running
    try:
        (service.restart if again else service.start)()
    except ServiceError as error:
        raise ServiceError(f"it does not start, and is tried again: {reason(service) or error}") from None
    if not _listens(service, places):
        said = reason(service) or service.state().failure or "nobody listens at its port yet"
        raise ServiceError(f"it was started, but does not run: {said}; `ropeway service logs` shows more")
    if again:
        yield "Started again."
    else:
        yield "It runs already, and nothing had to change." if was_running else "Started."


def start(service: Supervisor, places: Sequence[tuple[str, Listen]]) -> Iterator[str]:
    """Raises as `install` does, and ServiceError where nothing is installed."""
    state = _installed(service)
    check_ports(places, state)
    yield from _started(service, places, again=False)


def stop(service: Supervisor) -> str:
    state = _installed(service)
    service.stop()
    return "Stopped." if state.running else "It was not running."


def uninstall(service: Supervisor) -> Iterator[str]:
    """Where nothing is installed, it says so."""
    there = [path for path in service.files if path.exists()]
    if not there and not service.state().installed:
        yield "Nothing is installed."
        return
    service.forget()
    for path in there:
        path.unlink(missing_ok=True)
        yield f"Removed: {path}"
    service.unload()


def status(service: Supervisor) -> Iterator[str]:
    """For people; the last lines of the log where it does not run and should."""
    state = service.state()
    if not state.installed:
        yield "Not installed; `ropeway service install` does it."
    elif state.running:
        yield (
            "Running"
            + (f" since {state.since}" if state.since else "")
            + (f", process {state.pid}" if state.pid else "")
        )
    else:
        yield f"Not running: {state.failure}" if state.failure else "Stopped; `ropeway service start` starts it."
    if state.failure:
        yield from service.last_lines(LAST_LINES).splitlines()


def reason(service: Supervisor) -> str:
    """The last line of the program's own that says why it failed, or nothing."""
    lines = service.last_lines(LAST_LINES).splitlines()
    own = [line.partition("ropeway: ")[2] for line in lines if "ropeway: " in line]
    return own[-1] if own else ""


def check_ports(places: Sequence[tuple[str, Listen]], state: State) -> None:
    """Raises ConfigError where somebody other than our own service listens in one of the places."""
    for field, listen in places:
        holder = None if state.listening else holder_of(listen)
        if holder is not None and not _is_ours(holder, state):
            raise ConfigError(field, f"{listen} is in use by {holder}; stop it, or choose another address")


def _is_ours(holder: Holder, state: State) -> bool:
    """On Linux our own processes are always found; elsewhere what is not known may be ours, and is, as a rule."""
    unknown = sys.platform != "linux" and 0 in (holder.pid, state.pid)
    return state.running and (unknown or holder.pid == state.pid)


def _installed(service: Supervisor) -> State:
    state = service.state()
    if not state.installed:
        raise ServiceError("nothing is installed; `ropeway service install` does it")
    return state


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _put(path: Path, content: bytes | None) -> None:
    """Whole or not at all. There are no secrets in it, and systemd wants everybody to read it."""
    if content is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
