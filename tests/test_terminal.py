"""What the commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from proxy.terminal import command, until_interrupted

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.command_line import Done

pytestmark = pytest.mark.usefixtures("log_as_before")


def test_the_usual_place_of_the_configuration(
    ropeway: Callable[..., Done], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable in ("HOME", "XDG_CONFIG_HOME", "APPDATA"):
        monkeypatch.setenv(variable, str(tmp_path))
    ropeway("exit", "init", "--host", "exit.example.com")
    (path,) = tmp_path.rglob("config.toml")
    assert path.parent.name == "ropeway"
    assert ropeway("exit", "user", "list").out == "first\n"


def test_a_command_is_told_with_the_same_configuration() -> None:
    assert command("run", None) == "ropeway run"
    assert command("exit run", Path("my exit.toml")) == "ropeway exit run --config 'my exit.toml'"


def test_an_interrupt_is_no_failure() -> None:
    def interrupted(_what: str) -> None:
        raise BaseExceptionGroup("", [KeyboardInterrupt()])

    until_interrupted(interrupted, "at once")


def test_the_first_error_of_nurseries_is_told() -> None:
    def failing() -> None:
        raise ExceptionGroup("", [ExceptionGroup("", [OSError("one")]), OSError("two")])

    with pytest.raises(OSError, match="one"):
        until_interrupted(failing)


def test_being_told_to_stop_is_no_failure_and_another_error_is_not_lost() -> None:
    def ending(*errors: BaseException) -> None:
        raise BaseExceptionGroup("", errors)

    until_interrupted(ending, KeyboardInterrupt())
    with pytest.raises(OSError, match="one"):
        until_interrupted(ending, KeyboardInterrupt(), OSError("one"))
    with pytest.raises(BaseExceptionGroup):
        until_interrupted(ending, OSError("one"), ValueError("two"))
