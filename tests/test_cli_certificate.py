"""The command of the exit's certificate, with an authority that is not there; a real one is in tests/e2e/test_certificate.py."""

from __future__ import annotations

import stat
import sys
from typing import TYPE_CHECKING

import pytest

from proxy import authority, config
from proxy.authority import LETS_ENCRYPT, Account
from proxy.challenge import FILE_NAME
from proxy.errors import AuthorityError
from proxy.keys import check_pair, new_certificate
from tests.test_authority import ACCOUNT, ending_soon

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from proxy.authority import Prove
    from proxy.share import Link
    from tests.command_line import Done

pytestmark = pytest.mark.usefixtures("log_as_before")


class Stand:
    """In place of an authority: registers anybody, signs what it is asked to, and knows what was proved and asked."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.challenge = folder / FILE_NAME
        self.asked: list[tuple[str, str, str, bool]] = []
        self.signs: Callable[[bytes], bytes] = ending_soon
        self.due = True
        monkeypatch.setattr(authority, "register", self.register)
        monkeypatch.setattr(authority, "obtain", self.obtain)
        monkeypatch.setattr(authority, "is_due", lambda *_: self.due)

    def register(self, directory: str, domain: str, email: str, *, agreed: bool) -> Account:
        self.asked.append((directory, domain, email, agreed))
        return Account(directory, domain, "uri", ACCOUNT.key)

    def obtain(self, account: Account, key: bytes, prove: Prove) -> bytes:
        with prove(account.domain, "token.thumbprint"):
            assert b"PRIVATE KEY" in self.challenge.read_bytes()
            if sys.platform != "win32":
                assert stat.S_IMODE(self.challenge.stat().st_mode) == 0o600
            return self.signs(key)


@pytest.fixture
def stand(path: Path, exit_of_anna: Link, monkeypatch: pytest.MonkeyPatch) -> Stand:
    return Stand(path.parent, monkeypatch)


def test_what_the_exit_shows(ropeway: Callable[..., Done], path: Path, exit_of_anna: Link) -> None:
    first, second = ropeway("exit", "certificate", "--config", path).out.splitlines()
    assert first == "For exit.example.com, signed by itself"
    assert second.startswith("From 20")


def test_an_authority_signs_the_key_that_is_there(
    ropeway: Callable[..., Done], path: Path, exit_of_anna: Link, stand: Stand
) -> None:
    done = ropeway("exit", "certificate", "--acme", "Exit.Example.Com", "--agree", "--email", "a@b.c", "--config", path)
    assert done.code == 0
    assert "all links go on working" in done.err
    assert stand.asked == [(LETS_ENCRYPT, "exit.example.com", "a@b.c", True)]
    assert ropeway("exit", "link", "anna", "--config", path).links == [exit_of_anna]
    settings = config.load(path).exit
    check_pair(settings.certificate.read_bytes(), settings.key.read_bytes())
    assert not stand.challenge.exists()
    kept = Account.parse((path.parent / "acme-account.json").read_text())
    assert kept.domain == "exit.example.com"
    assert ropeway("exit", "certificate", "--renew", "--config", path).code == 0
    assert len(stand.asked) == 1  # the account is used again
    stand.due = False
    assert "not yet time" in ropeway("exit", "certificate", "--renew", "--config", path).err


def test_a_refusal_changes_nothing(ropeway: Callable[..., Done], path: Path, stand: Stand) -> None:
    def refuse(_: bytes) -> bytes:
        raise AuthorityError("the authority refuses: too many")

    def another(_: bytes) -> bytes:
        return new_certificate("exit.example.com")[0]

    before = {file: file.read_bytes() for file in path.parent.iterdir()}
    get = ("exit", "certificate", "--acme", "exit.example.com", "--agree", "--config", path)
    for signs, word in ((refuse, "too many"), (another, "another key")):
        stand.signs = signs
        done = ropeway(*get)
        assert (done.code, done.out) == (1, "")
        assert word in done.err
        assert {file: file.read_bytes() for file in path.parent.iterdir()} == before


@pytest.mark.parametrize("domain", ["192.0.2.1", "a b", "", "exit..com"])
def test_only_names_are_signed(ropeway: Callable[..., Done], path: Path, stand: Stand, domain: str) -> None:
    assert "--acme: " in ropeway("exit", "certificate", "--acme", domain, "--config", path).failure
    assert stand.asked == []


@pytest.mark.parametrize("content", [None, "", "{}"])
def test_there_is_nothing_to_renew(ropeway: Callable[..., Done], path: Path, stand: Stand, content: str | None) -> None:
    if content is not None:
        (path.parent / "acme-account.json").write_text(content)
    assert "--acme DOMAIN" in ropeway("exit", "certificate", "--renew", "--config", path).failure


def test_an_exit_without_a_certificate(ropeway: Callable[..., Done], path: Path, stand: Stand) -> None:
    (path.parent / "acme-account.json").write_text(ACCOUNT.encode())
    for file in ("exit-key.pem", "exit-cert.pem"):
        (path.parent / file).unlink()
        for words in (["--renew"], ["--acme", "exit.example.com"]):
            done = ropeway("exit", "certificate", *words, "--config", path)
            assert (done.code, done.out) == (1, "")
            assert file in done.err
    assert "exit.certificate" in ropeway("exit", "certificate", "--config", path).failure
    assert not stand.challenge.exists()
