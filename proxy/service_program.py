"""What a service runs: this very program, found again without a shell, a search path or the folder that somebody stands in."""

from __future__ import annotations

import os
import site
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from .errors import ServiceError

#: What a system service does not see (ProtectHome=, PrivateTmp=), and other users cannot read as a rule.
_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108  (no file of ours is put there)


@dataclass(frozen=True, slots=True)
class Program:
    """`words` are what stands behind `ropeway`. `root` is where the package is imported from, where Python does not find it by itself."""

    python: str
    words: tuple[str, ...]
    root: str = ""
    version: str = ""

    @property
    def argv(self) -> tuple[str, ...]:
        """`-P`: a folder named `proxy` where it happens to run is not taken for ours."""
        return self.python, "-P", "-m", "proxy", *self.words


def this_program(*words: str) -> Program:
    """`sys.executable` is taken as it is: where it links to is another environment."""
    package = Path(__file__).absolute().parent
    try:
        version = metadata.version("ropeway")
    except metadata.PackageNotFoundError:
        version = ""
    root = str(package.parent)
    # A single file has unpacked itself into a folder that is named like those of Python, and is none of them.
    found_by_itself = root in (*site.getsitepackages(), site.getusersitepackages())
    return Program(sys.executable, words, "" if found_by_itself else root, version)


def check_readable_by_services(program: Program) -> None:
    """Raises ServiceError where a system service with a user of its own could not run this program."""
    places = [program.python, os.path.realpath(program.python), sys.prefix, str(Path(__file__).resolve().parent)]
    for place in places:
        if hindrance := _hindrance(Path(place)):
            text = "install Ropeway where services can read it: `python3 -m venv /opt/ropeway && /opt/ropeway/bin/pip install ropeway`"
            raise ServiceError(f"a system service cannot run {place}: {hindrance}; {text}")


def _hindrance(path: Path) -> str:
    for hidden in _HIDDEN:
        if path.is_relative_to(hidden):
            return f"{hidden} is hidden from it"
    for folder in [path, *path.parents]:
        try:
            open_to_all = folder.stat().st_mode & 0o001
        except OSError as error:
            return f"{folder}: {error.strerror}"
        if not open_to_all:
            return f"{folder} is not open to other users"
    return ""
