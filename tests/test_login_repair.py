"""The file that runs at log-in: what its reader makes of it, for each system."""

from __future__ import annotations

import plistlib
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.login_repair import LoginRepair

if TYPE_CHECKING:
    from pathlib import Path

ARGV = ("/usr/bin/python3", "-P", "-m", "proxy", "system-proxy", "repair")


def entry(content: bytes) -> dict[str, str]:
    lines = content.decode().splitlines()
    assert lines[0] == "[Desktop Entry]"
    return dict(line.split("=", 1) for line in lines[1:])


def words_of_exec(value: str) -> list[str]:
    """By the Desktop Entry Specification: first the escapes of any string, then quotes, then fields."""
    value = re.sub(r"\\(.)", r"\1", value)
    words = re.findall(r'"((?:\\.|[^"\\])*)"(?: |$)|([^" ]+)', value)
    return [re.sub(r"\\(.)", r"\1", quoted or bare).replace("%%", "%") for quoted, bare in words]


def test_linux(tmp_path: Path) -> None:
    repair = LoginRepair.of("linux", {"HOME": str(tmp_path)}, ARGV)
    assert repair.path == tmp_path / ".config/autostart/ropeway.system-proxy.desktop"
    fields = entry(repair.content)
    assert (fields["Type"], fields["NoDisplay"]) == ("Application", "true")
    assert fields["Exec"] == "/usr/bin/python3 -P -m proxy system-proxy repair"
    elsewhere = LoginRepair.of("linux", {"HOME": "/h", "XDG_CONFIG_HOME": str(tmp_path)}, ARGV)
    assert elsewhere.path == tmp_path / "autostart/ropeway.system-proxy.desktop"


@given(st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1), min_size=1, max_size=3))
def test_any_path_can_stand_in_the_command(words: list[str]) -> None:
    fields = entry(LoginRepair.of("linux", {"HOME": "/h"}, words).content)
    assert words_of_exec(fields["Exec"]) == words


def test_a_program_that_is_not_installed() -> None:
    linux = entry(LoginRepair.of("linux", {"HOME": "/h"}, ARGV, "/src").content)
    assert linux["Exec"].startswith("env PYTHONPATH=/src /usr/bin/python3")
    mac = plistlib.loads(LoginRepair.of("darwin", {"HOME": "/h"}, ARGV, "/src").content)
    assert mac["EnvironmentVariables"] == {"PYTHONPATH": "/src"}
    windows = LoginRepair.of("win32", {"HOME": "/h"}, ARGV, "C:\\src").content
    assert windows.startswith(b'@set "PYTHONPATH=C:\\src"\r\n@start')


def test_macos(tmp_path: Path) -> None:
    repair = LoginRepair.of("darwin", {"HOME": str(tmp_path)}, ARGV)
    assert repair.path == tmp_path / "Library/LaunchAgents/ropeway.system-proxy.plist"
    assert plistlib.loads(repair.content) == {
        "Label": "ropeway.system-proxy",
        "ProgramArguments": list(ARGV),
        "RunAtLoad": True,
    }


def test_windows(tmp_path: Path) -> None:
    argv = ("C:\\Program Files\\100%\\python.exe", "-m", "proxy")
    repair = LoginRepair.of("win32", {"HOME": "/h", "APPDATA": str(tmp_path)}, argv)
    assert repair.path.parent == tmp_path / "Microsoft/Windows/Start Menu/Programs/Startup"
    assert repair.content == b'@start "" /b "C:\\Program Files\\100%%\\python.exe" -m proxy\r\n'


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_installed_and_removed(platform: str, tmp_path: Path) -> None:
    repair = LoginRepair.of(platform, {"HOME": str(tmp_path)}, ARGV)
    repair.remove()
    repair.install()
    written = repair.path.stat().st_mtime_ns
    repair.install()
    assert repair.path.read_bytes() == repair.content
    assert repair.path.stat().st_mtime_ns == written
    repair.remove()
    assert not repair.path.exists()
