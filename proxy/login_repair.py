"""What runs at log-in so that no dead proxy is left behind: a file that every system looks for by itself."""

from __future__ import annotations

import plistlib
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from .config_file import replace_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: Our choice, in seconds: a service that starts at log-in listens by then, also on a slow computer.
PATIENCE = 60
_LABEL = "ropeway.system-proxy"


class LoginRepair:
    """`argv` is the command. `environ` has what it needs besides what it gets at log-in."""

    def __init__(self, path: Path, content: bytes) -> None:
        self.path = path
        self.content = content

    @classmethod
    def of(cls, platform: str, environ: Mapping[str, str], argv: Sequence[str], root: str = "") -> LoginRepair:
        """`root` is where the program is imported from, where Python does not find it by itself."""
        home = Path(environ.get("HOME") or Path.home())
        return cls(_PLACES.get(platform, _xdg)(home, environ), _CONTENTS.get(platform, _desktop_entry)(argv, root))

    def install(self) -> None:
        """Raises ConfigError."""
        try:
            there = self.path.read_bytes()
        except OSError:
            there = b""
        if there != self.content:
            replace_file(self.path, self.content)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def _xdg(home: Path, environ: Mapping[str, str]) -> Path:
    """Desktop Application Autostart Specification."""
    return Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "autostart" / f"{_LABEL}.desktop"


def _launch_agents(home: Path, _environ: Mapping[str, str]) -> Path:
    return home / "Library" / "LaunchAgents" / f"{_LABEL}.plist"


def _startup_folder(home: Path, environ: Mapping[str, str]) -> Path:
    data = Path(environ.get("APPDATA") or home / "AppData" / "Roaming")
    return data / "Microsoft" / "Windows" / "Start Menu" / "Programs" / "Startup" / f"{_LABEL}.cmd"


def _desktop_entry(argv: Sequence[str], root: str) -> bytes:
    words = ["env", f"PYTHONPATH={root}", *argv] if root else list(argv)
    lines = [
        "[Desktop Entry]",
        "Type=Application",
        "Name=Ropeway: system proxy",
        "Comment=Brings back the proxy settings from before where Ropeway does not run",
        f"Exec={' '.join(map(_exec_word, words))}",
        "NoDisplay=true",
        "X-GNOME-Autostart-enabled=true",
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def _exec_word(word: str) -> str:
    """Desktop Entry Specification, "The Exec key": quoted, then escaped as any string is; % begins a field."""
    if shlex.quote(word) == word and "%" not in word:
        return word
    quoted = "".join(f"\\{character}" if character in '"`$\\' else character for character in word)
    return '"' + quoted.replace("\\", "\\\\").replace("%", "%%") + '"'


def _agent(argv: Sequence[str], root: str) -> bytes:
    """launchd.plist(5)."""
    environment = {"EnvironmentVariables": {"PYTHONPATH": root}} if root else {}
    return plistlib.dumps({"Label": _LABEL, "ProgramArguments": list(argv), "RunAtLoad": True} | environment)


def _batch(argv: Sequence[str], root: str) -> bytes:
    """A % would begin a variable."""
    command = subprocess.list2cmdline(argv).replace("%", "%%")
    place = f'@set "PYTHONPATH={root.replace("%", "%%")}"\r\n' if root else ""
    return f'{place}@start "" /b {command}\r\n'.encode()


_PLACES: dict[str, Callable[[Path, Mapping[str, str]], Path]] = {"darwin": _launch_agents, "win32": _startup_folder}
_CONTENTS: dict[str, Callable[[Sequence[str], str], bytes]] = {"darwin": _agent, "win32": _batch}
