"""What is asked, and what answers do."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Self

import pytest

from proxy import questions
from proxy.questions import Answers, ask, own_addresses

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """The questions with their defaults, which are what is answered."""
    found: list[tuple[str, str | None]] = []

    def prompt(question: str, default: str | None, *, err: bool) -> str:
        found.append((question, default))
        assert err  # what is a result goes to standard output
        return default or "exit.example.com"

    monkeypatch.setattr("typer.prompt", prompt)
    return found


def test_defaults(asked: list[tuple[str, str | None]], path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "own_addresses", lambda: ["198.51.100.7", "2001:db8::7"])
    assert ask(path, 443) == Answers("198.51.100.7", "page", ("first",))
    assert [default for _, default in asked] == ["198.51.100.7", "page", "first"]
    assert all(len(question) < 78 for question, _ in asked)


def test_what_is_known_is_not_asked(
    asked: list[tuple[str, str | None]], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "own_addresses", list)
    assert ask(path, 443, website="page", users=("anna",)) == Answers("exit.example.com", "page", ("anna",))
    assert [default for _, default in asked] == [None]


def test_each_is_asked_until_it_will_do(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path.parent.mkdir()
    (path.parent / "www").mkdir()
    answers = iter(["a b", " exit.example.com ", "blog", "server:x", "folder:nowhere", "folder:www", "\t", "anna"])
    monkeypatch.setattr("typer.prompt", lambda *_, **__: next(answers))
    assert ask(path, 443) == Answers("exit.example.com", "folder:www", ("anna",))
    complaints = [line for line in capsys.readouterr().err.splitlines() if line.startswith("That cannot be used: ")]
    assert len(complaints) == 5
    assert not any(str(path) in line or "exit.website" in line for line in complaints)
    assert "there is no folder" in complaints[3]


def test_own_addresses_are_found_without_a_packet(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are those of this machine, and only datagram sockets are asked, which send nothing to connect."""
    kinds = []
    real = socket.socket

    def made(family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
        kinds.append(kind)
        return real(family, kind)

    monkeypatch.setattr("socket.socket", made)
    assert all(ipaddress.ip_address(address).is_global for address in own_addresses())
    assert set(kinds) == {socket.SOCK_DGRAM}


class Probe:
    """A machine that has one address of each family."""

    def __init__(self, family: socket.AddressFamily, _: socket.SocketKind) -> None:
        self.family = family

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def connect(self, _: tuple[str, int]) -> None:
        if self.family == socket.AF_INET6:
            raise OSError(101, "Network is unreachable")

    def getsockname(self) -> tuple[str, int]:
        return self.address, 40000

    address = ""


@pytest.mark.parametrize(("address", "found"), [("8.8.4.4", ["8.8.4.4"]), ("10.1.2.3", []), ("100.64.0.1", [])])
def test_only_addresses_of_the_internet_will_do(
    monkeypatch: pytest.MonkeyPatch, address: str, found: list[str]
) -> None:
    monkeypatch.setattr(Probe, "address", address)
    monkeypatch.setattr("socket.socket", Probe)
    assert own_addresses() == found
