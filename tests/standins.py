"""Programs of the system that are not there, or must not be run: in their place stand those that write down how they are called."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

needs_a_shell = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are shell scripts")


class Standins:
    """First in the search path."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder / "bin"
        self._folder.mkdir()
        self._log = folder / "calls"
        self._answers: dict[str, list[str]] = {}
        monkeypatch.setenv("PATH", f"{self._folder}{os.pathsep}/usr/bin:/bin")

    def answer(self, name: str, to: str = "*", out: str = "", *, err: str = "", code: int = 0) -> None:
        """What the program says where its arguments, with one space between them, fit this pattern of the shell. The latest answer counts."""
        says = f"printf %s {shlex.quote(out)}; printf %s {shlex.quote(err)} >&2; exit {code}"
        pattern = "*".join(shlex.quote(part) if part else "" for part in to.split("*"))
        self._answers.setdefault(name, []).insert(0, f"    {pattern}) {says} ;;\n")
        log = f"printf '%s\\n' {shlex.quote(name)}\" $*\" >> {shlex.quote(str(self._log))}"
        path = self._folder / name
        path.write_text(f'#!/bin/sh\n{log}\ncase "$*" in\n{"".join(self._answers[name])}esac\n')
        path.chmod(0o755)

    def calls(self, *words: str) -> list[str]:
        """All that was asked so far, or what has one of these words; and forgets it."""
        found: Sequence[str] = self._log.read_text().splitlines() if self._log.exists() else []
        self._log.unlink(missing_ok=True)
        return [line for line in found if not words or any(word in line.split() for word in words)]
