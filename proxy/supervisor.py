"""What runs services on a system, as the commands see it: systemd, launchd or the Windows Task Scheduler; and the way its programs are called."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from .errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

# Our choices.
#: In seconds. A start may take as long as the unit allows, which is less.
PATIENCE = 90.0
MAX_TEXT = 300  # characters of what a program complains of that go into our line


@dataclass(frozen=True, slots=True)
class State:
    """`pid` and `since`, which is for people, are 0 and empty where the system does not say. `failure` says how it ended, if not in peace.
    `listening`: the supervisor holds the service's port itself.
    """

    installed: bool
    running: bool = False
    pid: int = 0
    since: str = ""
    failure: str = ""
    listening: bool = False


class Supervisor(Protocol):
    """One service at one supervisor. Every method raises ServiceError with a line that says what to do."""

    @property
    def files(self) -> Mapping[Path, bytes | None]:
        """What has to be on disk, whole; None where nothing may be."""

    def state(self) -> State: ...

    def load(self) -> None:
        """Takes notice of files that have changed; the service does not run then where it cannot go on with the old ones."""

    def start(self) -> None:
        """Now and at each log-in or start of the system. Where it runs already, nothing happens to it."""

    def restart(self) -> None: ...

    def stop(self) -> None:
        """Until it is told to start, or until the next log-in or start of the system."""

    def forget(self) -> None:
        """Stops it, and takes away what starts it by itself. The files are still there."""

    def unload(self) -> None:
        """Takes notice that the files are gone."""

    def last_lines(self, count: int) -> str: ...

    def follow(self) -> list[str]:
        """The command that shows its log as it grows."""

    def remarks(self) -> Iterable[str]:
        """What people should know about services on this system, each in a line."""


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    out: str
    err: str


def ask(*argv: str, environ: Mapping[str, str] | None = None) -> Answer:
    """Runs a program of the system and returns what it says. Raises ServiceError where there is none of that name, or it does not come to an end."""
    path = shutil.which(argv[0])
    if path is None:
        raise ServiceError(f"this system has no {argv[0]}, so it cannot run services in its way; run Ropeway by hand")
    try:
        done = subprocess.run(  # noqa: S603  (our own words, and no shell)
            [path, *argv[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            env=dict(os.environ if environ is None else environ),
            text=True,
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ServiceError(f"{argv[0]} did not answer within {PATIENCE:.0f} s; try again") from None
    except OSError as error:
        raise ServiceError(f"{path} cannot be run: {error.strerror}") from None
    return Answer(done.returncode, done.stdout, done.stderr)


def tell(*argv: str, environ: Mapping[str, str] | None = None) -> str:
    """As `ask`, for what has to succeed. Raises ServiceError with what the program complains of."""
    answer = ask(*argv, environ=environ)
    if answer.code:
        raise ServiceError(f"`{' '.join(argv)}` failed: {complaint(answer)}")
    return answer.out


def complaint(answer: Answer) -> str:
    """One line."""
    text = " ".join((answer.err or answer.out).split())
    return text[:MAX_TEXT] or f"it ended with status {answer.code}"
