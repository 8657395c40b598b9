"""What shells are offered, by the very words that they run when Tab is pressed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.share import Link
    from tests.command_line import Done

ROOT = Path(__file__).parent.parent


def asked(line: str) -> dict[str, str]:
    """What bash tells the program when Tab is pressed behind this line."""
    return {
        "_ROPEWAY_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
    }


@pytest.fixture
def offered(ropeway: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """What bash is offered behind a line."""

    def offer(line: str) -> list[str]:
        with monkeypatch.context() as context:
            for name, value in asked(line).items():
                context.setenv(name, value)
            done = ropeway()
        assert (done.code, done.err) == (0, "")
        return done.out.split()

    return offer


def test_commands(offered: Callable[[str], list[str]]) -> None:
    line = "ropeway "
    argv = [sys.executable, "-m", "proxy"]
    done = subprocess.run(argv, cwd=ROOT, env=os.environ | asked(line), capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert {"run", "join", "exit", "exits"} <= set(done.stdout.split())
    assert offered(line) == done.stdout.split()
    assert offered("ropeway exits u") == ["use"]


def test_users(
    ropeway: Callable[..., Done], path: Path, exit_of_anna: Link, offered: Callable[[str], list[str]]
) -> None:
    ropeway("exit", "user", "add", "alf", "--config", path)
    ropeway("exit", "user", "add", "ben", "--config", path)
    for words in ("exit link", "exit user remove"):
        assert offered(f"ropeway {words} --config {path} a") == ["anna", "alf"]
    assert "anna" not in offered(f"ropeway exit user add --config {path} a")  # it is to be a new one


def test_exits(
    ropeway: Callable[..., Done], path: Path, exit_of_anna: Link, offered: Callable[[str], list[str]]
) -> None:
    others = [replace(exit_of_anna, host=f"{number}.example.com", pin=bytes([number] * 32)) for number in (1, 2)]
    ropeway("join", replace(others[0], name="home"), "--config", path)
    for link in (exit_of_anna, others[1]):
        ropeway("join", "--add", link, "--config", path)
    for words in ("use", "remove", "rename"):
        assert offered(f"ropeway exits {words} --config {path} ") == [
            "home",
            "exit.example.com:443",
            "2.example.com:443",
        ]
    assert offered(f"ropeway exits use --config {path} h") == ["home"]


@pytest.mark.parametrize("content", [None, "no TOML", "[exit]\nnonsense = 1\n", '[local]\nexit = "ropeway://x"\n'])
def test_there_is_nothing_to_offer(path: Path, content: str | None, offered: Callable[[str], list[str]]) -> None:
    if content is not None:
        path.parent.mkdir()
        path.write_text(content)
    for words in ("exit link", "exits use"):
        assert offered(f"ropeway {words} --config {path} ") == []


@pytest.mark.parametrize(
    ("shell", "check", "file"),
    [
        ("bash", "bash -n {}", ".bash_completions/ropeway.sh"),
        ("zsh", "zsh -n {}", ".zfunc/_ropeway"),
        ("fish", "fish -n {}", ".config/fish/completions/ropeway.fish"),
    ],
)
def test_shells_get_a_file_that_they_can_read(tmp_path: Path, shell: str, check: str, file: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    argv = [sys.executable, "-m", "proxy", "--install-completion", shell]
    environment = os.environ | {
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",  # the shell is the one that runs it, but for tests
    }
    subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, check=True)
    installed = tmp_path / file
    assert "_ROPEWAY_COMPLETE" in installed.read_text()
    subprocess.run(check.format(installed).split(), env=environment, check=True)
