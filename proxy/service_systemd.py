"""systemd, for a user's own service and for one of the system."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from . import supervisor
from .errors import ServiceError
from .finding import Text
from .supervisor import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SYSTEM_UNITS = Path("/etc/systemd/system")
_PROPERTIES = ("ActiveState", "SubState", "MainPID", "ActiveEnterTimestamp", "Result", "ExecMainStatus")


class Systemd:
    """The service `name`, whose units are these texts; None for a unit that is not to be there."""

    def __init__(self, name: str, units: Mapping[str, str | None], *, user: bool) -> None:
        self._name = name
        self._user = user
        folder = user_units() if user else SYSTEM_UNITS
        self.files: Mapping[Path, bytes | None] = {
            folder / unit: None if text is None else _encoded(text) for unit, text in units.items()
        }

    @property
    def _service(self) -> str:
        return f"{self._name}.service"

    @property
    def _units(self) -> list[str]:
        """Those on disk, the socket first: it cannot be started beside a service that runs without it."""
        return sorted((path.name for path in self.files if path.exists()), reverse=True)

    def state(self) -> State:
        found = self._properties(self._service)
        pid = int(found.get("MainPID", "0"))
        socket = f"{self._name}.socket"
        listening = socket in self._units and self._properties(socket).get("ActiveState") == "active"
        since = found.get("ActiveEnterTimestamp", "")
        return State(bool(self._units), pid > 0, pid, since, _failure(found), listening)

    def _properties(self, unit: str) -> dict[str, str]:
        lines = self._tell("show", unit, *(f"--property={name}" for name in _PROPERTIES)).splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def load(self) -> None:
        self._tell("daemon-reload")

    def start(self) -> None:
        self._tell("enable", "--quiet", *self._units)
        self._tell("start", *self._units)

    def restart(self) -> None:
        self._tell("stop", *self._units)
        self.start()

    def stop(self) -> None:
        self._tell("stop", *self._units)

    def forget(self) -> None:
        if units := self._units:
            self._tell("disable", "--quiet", "--now", *units)

    def unload(self) -> None:
        self._tell("daemon-reload")
        self._ask("reset-failed", self._service)  # it fails where there was no failure

    def last_lines(self, count: int) -> str:
        answer = supervisor.ask(*self._journal(), f"--lines={count}", "--no-pager", environ=self._environ())
        return answer.out or answer.err

    def follow(self) -> list[str]:
        return [*self._journal(), "--lines=50", "--follow"]

    def remarks(self) -> Iterator[str]:
        if self._user and _lingers() is False:
            yield "It runs from your log-in to your log-out. To have it run all the time: loginctl enable-linger"

    def _journal(self) -> list[str]:
        return ["journalctl", "--quiet", *(["--user"] if self._user else []), f"--unit={self._service}"]

    def _ask(self, *words: str) -> supervisor.Answer:
        return supervisor.ask("systemctl", *(["--user"] if self._user else []), *words, environ=self._environ())

    def _tell(self, *words: str) -> str:
        answer = self._ask(*words)
        if answer.code == 0:
            return answer.out
        text = supervisor.complaint(answer)
        if self._user and "connect to bus" in text:
            raise ServiceError(
                "systemd has no session of this user: log in at the screen or by SSH as this user, not with su or sudo, and try again"
            )
        if "not been booted with systemd" in text:
            raise ServiceError(
                "this system does not run systemd; run Ropeway by hand, or under what supervises it here"
            )
        raise ServiceError(f"`systemctl {' '.join(words)}` failed: {text}")

    def _environ(self) -> dict[str, str]:
        """In English, and with the way to the user's own systemd where a shell without a full log-in has lost it."""
        environ = os.environ | {"LC_ALL": "C.UTF-8", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}
        if self._user and sys.platform != "win32" and "XDG_RUNTIME_DIR" not in environ:
            folder = Path(f"/run/user/{os.getuid()}")
            if folder.is_dir():
                environ["XDG_RUNTIME_DIR"] = str(folder)
        return environ


def user_units() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ServiceError("systemd takes only UTF-8: rename the folder whose name is in another encoding") from None


def _failure(found: Mapping[str, str]) -> str:
    result, status = found.get("Result", "success"), found.get("ExecMainStatus", "0")
    if result == "success":
        return ""
    how = f"{result} {status}" if status != "0" else result
    if found.get("SubState") == "auto-restart":
        return Text("it ended with {result}, and is started again", result=how)
    return Text("it ended with {result}", result=how)


def _lingers() -> bool | None:
    """Whether this user's services run without a log-in; None where nobody knows."""
    if sys.platform == "win32":
        return None
    try:
        answer = supervisor.ask("loginctl", "show-user", str(os.getuid()), "--property=Linger", "--value")
    except ServiceError:
        return None
    return {"yes": True, "no": False}.get(answer.out.strip())
