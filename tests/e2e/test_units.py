"""The units by systemd's own judgement, on a machine that need not run it: they are clean, whatever is in a path, and the exit's is tight."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from proxy.service_program import Program
from proxy.systemd_unit import exit_unit, local_unit, socket_unit
from tests.e2e.machine import program

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e

SECURITY = 20  # of systemd-analyze, which counts from 0 to 100 here
#: A blank, a specifier, variables, and letters beyond ASCII.
FOLDERS = ["plain", "a b", "100%", "%h$HOME${PATH}", "旅行"]
#: These as well, where it is no path of a program.
ODD = ('it\'s "so"', "back\\slash", "two\nlines")


@pytest.fixture(params=FOLDERS)
def python(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path: Path = tmp_path / request.param / "python"
    path.parent.mkdir()
    path.symlink_to(sys.executable)
    return path


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    argv = [program("systemd-analyze"), "--no-pager", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def judged(folder: Path, name: str, text: str, *words: str) -> str:
    """What `verify` has against it."""
    (folder / name).write_text(text)
    done = analyze(*words, "verify", "--man=no", folder / name)
    ours = [line for line in done.stderr.splitlines() if "ropeway" in line]
    return "\n".join(ours) or ("" if done.returncode == 0 else done.stderr)


def test_every_unit_is_clean(python: Path, tmp_path: Path) -> None:
    made = Program(str(python), ("run", str(python.parent), *ODD), str(python.parent / ODD[0] / ODD[1]), "1.2.3")
    for ports in ([443], [8443]):
        text = exit_unit(made, "ropeway-exit", "ropeway-exit", memory=256_000_000, ports=ports)
        assert judged(tmp_path, "ropeway-exit.service", text) == ""
    assert judged(tmp_path, "ropeway.service", local_unit(made, "ropeway")) == ""
    assert judged(tmp_path, "ropeway.socket", socket_unit(made, "127.0.0.1:1080")) == ""


def test_verify_finds_what_is_wrong(tmp_path: Path) -> None:
    """The test above would notice."""
    text = local_unit(Program(str(tmp_path / "none"), ("run",)), "ropeway")
    assert "is not executable" in judged(tmp_path, "ropeway.service", text)
    text = local_unit(Program(sys.executable, ("run",)), "ropeway").replace("RestartSec=2", "RestartSec=soon")
    assert "Failed to parse" in judged(tmp_path, "ropeway.service", text)


@pytest.mark.parametrize("ports", [[443], [8443]])
def test_the_exit_s_is_tight(tmp_path: Path, ports: list[int]) -> None:
    path = tmp_path / "ropeway-exit.service"
    made = Program(sys.executable, ("exit", "run"))
    path.write_text(exit_unit(made, "ropeway-exit", "ropeway-exit", memory=256_000_000, ports=ports))
    done = analyze("security", "--offline=true", f"--threshold={SECURITY}", "--json=short", path)
    assert done.returncode == 0, done.stdout
    findings = json.loads(done.stdout)
    assert len(findings) > 50


def test_the_threshold_is_one(tmp_path: Path) -> None:
    path = tmp_path / "loose.service"
    path.write_text(f"[Service]\nExecStart={sys.executable}\n")
    assert analyze("security", "--offline=true", f"--threshold={SECURITY}", path).returncode != 0
