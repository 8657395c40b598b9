"""Programs of this computer that are not ours: where they are, how a shell starts them, and starting them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from .errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_LOOK = 4096  # bytes of a script, among which the name of what it starts is found
_STARTS_A_SNAP = re.compile(rb"#!.*?/snap/bin/([A-Za-z0-9.-]+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class AppProgram:
    """Where it was not found, `path` is the name that it has as a rule."""

    path: str
    found: bool = True


@dataclass(frozen=True, slots=True)
class Computer:
    """`system` is as in sys.platform. `state` is our own folder of this user."""

    system: str
    state: Path
    environ: Mapping[str, str]
    which: Callable[[str], str | None] = field(default=shutil.which)

    @classmethod
    def of_user(cls) -> Self:
        import platformdirs

        return cls(sys.platform, platformdirs.user_state_path("ropeway", appauthor=False), os.environ)

    def locate(self, names: Sequence[str], chosen: Path | None = None) -> AppProgram:
        """The first of the programs that is there, by name or by path; or the one that the user has chosen. Raises ConfigError where that is none."""
        if chosen is not None:
            if (found := self.which(str(chosen))) is None:
                raise ConfigError("", f"{chosen} is no program that can be started")
            return AppProgram(found)
        for name in names:
            try:
                path = name.format_map(self.environ)
            except KeyError:  # 32-bit systems have one folder for programs
                continue
            if (found := self.which(path)) is not None:
                return AppProgram(found)
        return AppProgram(names[0].replace("\\", "/").rpartition("/")[2], found=False)

    def folder_for(self, program: AppProgram, name: str) -> Path:
        """Where a program may keep what we make for it. A snap sees no hidden folder of its user but has a folder of its own."""
        snap = _snap(program.path) if program.found and self.system == "linux" else ""
        if snap and (home := self.environ.get("HOME")):
            return Path(home, "snap", snap, "common", "ropeway", name)
        return self.state / "apps" / name

    def command(self, argv: Iterable[str], variables: Mapping[str, str]) -> str:
        """As it is typed: in PowerShell on Windows, and in any other shell elsewhere."""
        if self.system == "win32":
            assigned = [f"$env:{name} = {_powershell(value)}; " for name, value in variables.items()]
            return "".join(assigned) + "& " + " ".join(map(_powershell, argv))
        return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in variables.items()), shlex.join(argv)])


def _snap(program: str) -> str:
    """The name of the snap that the program is, or that the script in its place starts, as Ubuntu's do."""
    if program.startswith("/snap/bin/"):
        return Path(program).name
    try:
        with Path(program).open("rb") as file:
            found = _STARTS_A_SNAP.match(file.read(_LOOK))
    except OSError:
        return ""
    return found[1].decode() if found else ""


def _powershell(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def start(argv: Iterable[str], variables: Mapping[str, str] | None = None) -> None:
    """Starts a program that goes on when we have ended. Raises ConfigError where it cannot be started."""
    words = list(argv)
    detached = 0
    if sys.platform == "win32":
        detached = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
    try:
        started = subprocess.Popen(  # noqa: S603  (no shell)
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | (variables or {}),
            start_new_session=True,
            creationflags=detached,
        )
    except OSError as error:
        raise ConfigError("", f"{words[0]} cannot be started: {error.strerror}") from None
    started.returncode = 0  # nobody waits for it


def open_link(link: str) -> None:
    """In the app that is there for such links. Raises ConfigError where the system cannot."""
    if sys.platform == "win32":
        try:
            os.startfile(link)  # noqa: S606  (the system finds the app)
        except OSError as error:
            raise ConfigError("", f"the link cannot be opened: {error.strerror}; open it in the app") from None
        return
    opener = shutil.which("open" if sys.platform == "darwin" else "xdg-open")
    if opener is None:
        raise ConfigError("", "this system has no xdg-open (xdg-utils): open the link in the app by hand")
    start([opener, link])
