"""What people install has all that it needs, and is the same for the same source. Each kind in a place of its own: scripts/try-packages."""

from __future__ import annotations

import email
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.e2e.machine import ENVIRONMENT, program

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
VERSION = PROJECT["version"]


def run(*argv: str, seconds: float = 200) -> str:
    """Standard output. The Python of the tests is the one on the path."""
    path = f"{Path(sys.executable).parent}:{ENVIRONMENT['PATH']}"
    done = subprocess.run(
        argv,
        cwd=ROOT,
        env=ENVIRONMENT | {"PATH": path, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def known_to_git(*below: str) -> set[str]:
    names = set(run(program("git"), "ls-files", "-z", *below).split("\0")) - {""}
    return {name for name in names if (ROOT / name).exists()}


def sums(said: str) -> dict[str, str]:
    """The SHA-256 of each file, by the file's name."""
    return {name: digest for digest, name in (line.split(maxsplit=1) for line in said.splitlines())}


@pytest.fixture(scope="module")
def packed() -> dict[str, str]:
    if not (ROOT / ".git").exists():
        pytest.skip("what belongs into a package is what git knows, and this is not a checkout")
    return sums(run("scripts/package", "wheel", "sdist", "single"))


@pytest.fixture(scope="module")
def wheel(packed: dict[str, str]) -> Path:
    return ROOT / "build" / "dist" / f"ropeway-{VERSION}-py3-none-any.whl"


@pytest.fixture(scope="module")
def sdist(packed: dict[str, str]) -> Path:
    return ROOT / "build" / "dist" / f"ropeway-{VERSION}.tar.gz"


def test_the_wheel_has_every_file_of_the_program_and_no_other(wheel: Path) -> None:
    """A file of a new kind wants a line in [tool.setuptools.package-data]."""
    with zipfile.ZipFile(wheel) as opened:
        packed = {name for name in opened.namelist() if ".dist-info/" not in name}
    manual = f"ropeway-{VERSION}.data/data/share/man/man1/ropeway.1"  # man(1) finds it below the prefix
    assert packed == known_to_git("proxy") | {manual}


def test_what_the_wheel_says_of_itself(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        said = email.message_from_bytes(opened.read(f"ropeway-{VERSION}.dist-info/METADATA"))
        entries = opened.read(f"ropeway-{VERSION}.dist-info/entry_points.txt").decode()
    assert (said["Name"], said["Version"], said["License-Expression"]) == ("ropeway", VERSION, "Apache-2.0")
    assert said["Requires-Python"] == ">=3.11"
    assert "Typing :: Typed" in said.get_all("Classifier", [])
    assert "ropeway = proxy.cli:main" in entries


def test_the_sdist_is_the_project(sdist: Path) -> None:
    with tarfile.open(sdist) as opened:
        members = opened.getmembers()
    files = {member.name.partition("/")[2] for member in members if member.isfile()}
    made = {"PKG-INFO", "setup.cfg"} | {name for name in files if name.startswith("ropeway.egg-info/")}
    assert files - made == known_to_git()
    assert {(member.uid, member.gid) for member in members} == {(0, 0)}
    assert len({member.mtime for member in members}) == 1


def test_the_same_source_makes_the_same_bytes(packed: dict[str, str], wheel: Path, sdist: Path) -> None:
    before = {name: packed[name] for name in (wheel.name, sdist.name)}
    again = sums(run("scripts/package", "wheel", "sdist"))
    assert {name: again[name] for name in before} == before


def test_the_single_file_carries_a_page(packed: dict[str, str]) -> None:
    program("curl")
    said = run("scripts/try-packages", "single")
    assert said == f"single: ropeway {VERSION}, and a page came through its demo\n"


def test_the_pinned_versions_are_those_that_the_program_allows() -> None:
    text = (ROOT / "release" / "program.txt").read_text()
    pinned = dict(re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE))
    assert len(re.findall(r"--hash=sha256:", text)) >= len(pinned)
    for wanted in map(Requirement, PROJECT["dependencies"]):
        assert wanted.specifier.contains(pinned[canonicalize_name(wanted.name)]), f"{wanted}: scripts/package lock"


@pytest.mark.parametrize(
    "script",
    [
        "scripts/package",
        "scripts/try-packages",
        "scripts/record-start",
        "release/debian",
        "release/try-container",
        "release/postinst",
        "release/prerm",
        "release/postrm",
    ],
)
def test_the_scripts_are_read_by_their_shell(script: str) -> None:
    path = ROOT / script
    first = path.read_text().splitlines()[0]
    shell = first.removeprefix("#!") if first.startswith("#!") else "/bin/bash"
    assert subprocess.run([shell, "-n", path], check=False).returncode == 0
    assert os.access(path, os.X_OK) or not script.startswith("scripts/")
