"""What the commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from proxy.address import Address
from proxy.errors import ConfigError
from proxy.terminal import command, destination, until_interrupted

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


def test_an_error_of_ours_comes_out_of_the_nurseries_too() -> None:
    def failing() -> None:
        raise ExceptionGroup("", [ExceptionGroup("", [ConfigError("dns.listen", "taken")])])

    with pytest.raises(ConfigError, match="taken"):
        until_interrupted(failing)


def test_being_told_to_stop_is_no_failure_and_another_error_is_not_lost() -> None:
    def ending(*errors: BaseException) -> None:
        raise BaseExceptionGroup("", errors)

    until_interrupted(ending, KeyboardInterrupt())
    with pytest.raises(OSError, match="one"):
        until_interrupted(ending, KeyboardInterrupt(), OSError("one"))
    with pytest.raises(BaseExceptionGroup):
        until_interrupted(ending, OSError("one"), ValueError("two"))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("example.com", Address("example.com", 443)),
        ("example.com:80", Address("example.com", 80)),
        ("[2001:db8::1]", Address("2001:db8::1", 443)),
        ("https://example.com/a:b@c?d#e", Address("example.com", 443)),
        ("HTTP://Example.com", Address("example.com", 80)),
        ("http://anna:secret@example.com:8080/", Address("example.com", 8080)),
        ("ws://[2001:db8::1]/x", Address("2001:db8::1", 80)),
        ("wss://example.com", Address("example.com", 443)),
    ],
)
def test_a_destination_is_a_host_or_a_url(text: str, address: Address) -> None:
    assert destination(text) == address


@pytest.mark.parametrize("text", ["", "https://", "http://[::1", "https://example.com:x/", "example.com/path", "a b"])
def test_what_is_neither(text: str) -> None:
    with pytest.raises(ConfigError, match=r"HOST\[:PORT\]"):
        destination(text)
