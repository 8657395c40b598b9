"""How the system's programs are called, and what comes of it when they fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy import supervisor
from proxy.errors import ServiceError
from tests.standins import Standins, needs_a_shell

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_a_shell


@pytest.fixture
def standins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Standins:
    return Standins(tmp_path, monkeypatch)


def test_words_go_through_no_shell(standins: Standins) -> None:
    standins.answer("tool", out="fine\n")
    assert supervisor.tell("tool", "$HOME; `id`", "a  b") == "fine\n"
    assert standins.calls() == ["tool $HOME; `id` a  b"]


def test_a_failure_is_one_line_with_what_the_program_says(standins: Standins) -> None:
    standins.answer("tool", "no*", err="it is\n  not\n possible\n" + "x" * 1000, code=3)
    standins.answer("tool", "nothing", code=4)
    assert supervisor.ask("tool", "no").code == 3
    with pytest.raises(ServiceError, match="`tool no` failed: it is not possible x") as caught:
        supervisor.tell("tool", "no")
    assert len(str(caught.value)) < 2 * supervisor.MAX_TEXT
    with pytest.raises(ServiceError, match="status 4"):
        supervisor.tell("tool", "nothing")


def test_a_program_that_is_not_there(standins: Standins) -> None:
    with pytest.raises(ServiceError, match="this system has no no-such-tool"):
        supervisor.ask("no-such-tool")


def test_a_program_that_does_not_end(tmp_path: Path, standins: Standins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "PATIENCE", 0.05)
    with pytest.raises(ServiceError, match="sleep did not answer"):
        supervisor.ask("sleep", "60")
    (tmp_path / "bin" / "odd").write_bytes(b"\x7fELF")
    (tmp_path / "bin" / "odd").chmod(0o755)
    with pytest.raises(ServiceError, match="odd cannot be run"):
        supervisor.ask("odd")
