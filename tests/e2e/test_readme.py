"""What the README and the usage notes tell people to type works as it is written."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.machine import ENVIRONMENT, program

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.machine import Programs
    from tests.e2e.pairs import Pair
    from tests.e2e.servers import Nginx

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parent.parent.parent
PAGES = (
    "README.md",
    "docs/usage.md",
    "docs/service.md",
    "docs/rules.md",
    "docs/apps.md",
    "docs/system.md",
    "bench/README.md",
    "docs/doctor.md",
)


def examples(page: str) -> list[str]:
    """The lines of its `sh` blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


def words_of(line: str) -> list[str]:
    """The last command of the line, without sudo and the comment."""
    words = shlex.split(line.rpartition("&&")[2], comments=True)
    return words[1:] if words[0] == "sudo" else words


def ropeway_examples(page: str) -> list[list[str]]:
    return [words[1:] for line in examples(page) if Path((words := words_of(line))[0]).name == "ropeway"]


ALL_ROPEWAY = [words for page in PAGES for words in ropeway_examples(page)]


def test_there_are_examples() -> None:
    assert len(ALL_ROPEWAY) >= 8


@pytest.fixture(scope="module")
def help_of(programs: Programs) -> Callable[..., str]:
    """Empty where that is no command. Each is asked once."""

    @cache
    def ask(*command: str) -> str:
        done = programs.run_ropeway(*command, "--help")
        return "" if done.returncode else done.stdout

    return ask


@pytest.mark.parametrize("words", ALL_ROPEWAY, ids=" ".join)
def test_the_flags_exist(help_of: Callable[..., str], words: list[str]) -> None:
    command: list[str] = []
    for word in words:
        if word.startswith("-") or not help_of(*command, word):
            break
        command.append(word)
    assert command
    shown = help_of(*command)
    assert all(word in shown for word in words if word.startswith("--"))


def test_the_set_up_and_the_users(programs: Programs, tmp_path: Path) -> None:
    """Every `ropeway` line that ends by itself, in the order of the pages; the link is pasted where the README says so."""
    link = ""
    for words in [*ropeway_examples("README.md"), *ropeway_examples("docs/usage.md")]:
        if words[-1] == "run" or words[:2] == ["exit", "run"]:
            continue
        local = [] if "--config" in words else ["--config", "local.toml"]
        argv = [sys.executable, "-m", "proxy", *words, *local]
        environment = ENVIRONMENT | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            argv, cwd=tmp_path, env=environment, input=link, capture_output=True, text=True, timeout=30, check=False
        )
        assert (words, done.returncode) == (words, 0), done.stderr
        link = next((line for line in done.stdout.splitlines() if line.startswith("ropeway://")), link)
    assert "exit.example.org" in link
    assert tomllib.loads((tmp_path / "local.toml").read_text())["local"]["exit"]
    assert tomllib.loads((tmp_path / "exit.toml").read_text())["exit"]["host"] == "exit.example.org"


@pytest.mark.parametrize("line", [line for line in examples("README.md") if line.startswith("curl ")])
def test_the_curl_examples(pair: Pair, nginx: Nginx, folder: Path, line: str) -> None:
    line = line.replace("127.0.0.1:1080", f"127.0.0.1:{pair.port}").replace(
        "https://example.org/", nginx.url("https", "")
    )
    argv = [
        program("curl"),
        *shlex.split(line)[1:],
        "--insecure",
        "--silent",
        "--show-error",
    ]  # the stand-in has a certificate of its own
    done = subprocess.run(argv, env=ENVIRONMENT, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, (nginx.site / "index.html").read_text())


@pytest.mark.parametrize("page", [*PAGES, "docs/architecture.md", "docs/install.md", "CHANGELOG.md"])
def test_what_the_pages_name_is_there(page: str) -> None:
    text = (ROOT / page).read_text()
    links = re.findall(r"\]\(([^)#:]+)\)", text) + re.findall(
        r"(?<![\w./])((?:scripts|bench|docs|tests)/[\w./-]*\w)", text
    )
    for link in links:
        assert ((ROOT / page).parent / link).exists() or (ROOT / link).exists(), link


@pytest.mark.parametrize("script", ["scripts/demo", "scripts/test", "scripts/lab", "scripts/manual", ".ci/run"])
def test_the_scripts_can_be_run(script: str) -> None:
    path = ROOT / script
    shell = path.read_text().splitlines()[0].removeprefix("#!")
    assert os.access(path, os.X_OK)
    assert subprocess.run([shell, "-n", path], check=False).returncode == 0
