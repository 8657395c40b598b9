"""launchd of macOS: an agent of the user, which starts at log-in (launchd.plist(5), launchctl(1))."""

from __future__ import annotations

import os
import plistlib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from . import supervisor
from .errors import ServiceError
from .finding import Text
from .log_file import tail
from .supervisor import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .service_program import Program

LABEL = "ropeway.local"
#: Of launchctl: the service is not loaded.
_NOT_LOADED = {3, 113}  # ESRCH, and "Could not find service"


class Launchd:
    """`log` is where the program writes its log; what it says before it has one goes beside it."""

    def __init__(self, program: Program, log: Path, *, home: Path | None = None) -> None:
        self._log = log
        self._early = log.with_name("start.log")
        self._path = (home or Path.home()) / "Library" / "LaunchAgents" / f"{LABEL}.plist"
        self.files: Mapping[Path, bytes | None] = {self._path: agent(program, self._early)}

    @property
    def _domain(self) -> str:
        if sys.platform == "win32":  # for the type checker, which reads no further there
            raise NotImplementedError
        return f"gui/{os.getuid()}"

    @property
    def _target(self) -> str:
        return f"{self._domain}/{LABEL}"

    def state(self) -> State:
        answer = supervisor.ask("launchctl", "print", self._target)
        if answer.code:
            return State(self._path.exists())
        pid = int(_first(r"^\s*pid = (\d+)$", answer.out) or 0)
        since = supervisor.ask("ps", "-o", "lstart=", "-p", str(pid)).out.strip() if pid else ""
        code = _first(r"^\s*last exit code = (-?\d+)", answer.out)
        failure = Text("it ended with status {code}", code=code) if not pid and code not in ("", "0") else ""
        return State(self._path.exists(), pid > 0, pid, since, failure)

    def load(self) -> None:
        """launchd reads a file when it is loaded: what is loaded already goes first."""
        self.stop()

    def start(self) -> None:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        supervisor.tell("launchctl", "enable", self._target)
        answer = supervisor.ask("launchctl", "bootstrap", self._domain, str(self._path))
        if answer.code and not self._loaded():
            text = supervisor.complaint(answer)
            raise ServiceError(
                f"launchd does not take the agent: {text}; log in at the screen of this Mac and try again"
            )
        supervisor.tell("launchctl", "kickstart", self._target)

    def restart(self) -> None:
        self.stop()
        self.start()

    def stop(self) -> None:
        """Until the next log-in, when launchd reads the folder of agents again."""
        answer = supervisor.ask("launchctl", "bootout", self._target)
        if answer.code and answer.code not in _NOT_LOADED and self._loaded():
            raise ServiceError(f"launchd does not stop it: {supervisor.complaint(answer)}")

    def forget(self) -> None:
        self.stop()

    def unload(self) -> None:
        pass

    def last_lines(self, count: int) -> str:
        return tail(self._log, count) or tail(self._early, count)

    def follow(self) -> list[str]:
        return ["tail", "-n", "50", "-F", str(self._log)]

    def remarks(self) -> Iterator[str]:
        yield "It runs from your log-in to your log-out; macOS may ask whether it may run in the background."

    def _loaded(self) -> bool:
        return supervisor.ask("launchctl", "print", self._target).code == 0


def agent(program: Program, early_log: Path) -> bytes:
    settings: dict[str, object] = {
        "Label": LABEL,
        "ProgramArguments": list(program.argv),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 10,  # seconds between two starts; the least that launchd allows by default
        "ProcessType": "Interactive",  # the others are slowed down while somebody waits for a page
        "ExitTimeOut": 15,
        "Umask": 0o077,
        "StandardOutPath": str(early_log),
        "StandardErrorPath": str(early_log),
        "EnvironmentVariables": {
            "ROPEWAY_VERSION": program.version,  # nobody reads it; it makes an update a change of the file
            **({"PYTHONPATH": program.root} if program.root else {}),
        },
    }
    return plistlib.dumps(settings)


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    return found[1] if found else ""
