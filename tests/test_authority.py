"""What is kept of an authority, when to renew, and what failures are called; a real authority is in tests/e2e/test_certificate.py."""

from __future__ import annotations

import datetime as dt
import sys
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st

from proxy import authority
from proxy.authority import Account, is_due, obtain, register
from proxy.errors import AuthorityError, ConfigError
from proxy.keys import new_certificate

pytest.importorskip("acme")

NOWHERE = "https://127.0.0.1:1/directory"
ACCOUNT = Account(
    NOWHERE,
    "exit.example.com",
    f"{NOWHERE}/1",
    '{"kty": "EC", "crv": "P-256", "d": "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE", '
    '"x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}',
)  # the key of RFC 7517, appendix A.2


def lasting(key_pem: bytes, *, since: int, until: int) -> bytes:
    """A certificate that began so many days ago and ends in so many."""
    key: Any = load_pem_private_key(key_pem, None)
    name, now, day = x509.Name([]), dt.datetime.now(dt.UTC), dt.timedelta(days=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - since * day).not_valid_after(now + until * day)
    identifier = x509.AuthorityKeyIdentifier(b"identifier", None, None)
    return builder.add_extension(identifier, critical=False).sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def ending_soon(key_pem: bytes) -> bytes:
    return lasting(key_pem, since=89, until=1)


def test_an_account_is_kept() -> None:
    assert Account.parse(ACCOUNT.encode()) == ACCOUNT
    assert "870MB6" not in repr(ACCOUNT)


@given(
    st.text()
    | st.recursive(st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)).map(str)
)
def test_what_is_no_account(text: str) -> None:
    with pytest.raises(ValueError, match="no account"):
        Account.parse(text)


@pytest.mark.parametrize("text", ["{}", "[]", "1", '{"directory": 1, "domain": "", "uri": "", "key": ""}'])
def test_json_that_is_no_account(text: str) -> None:
    with pytest.raises(ValueError, match="no account"):
        Account.parse(text)


@pytest.mark.parametrize(
    ("since", "until", "due"),
    [(89, 1, True), (61, 29, True), (59, 31, False), (0, 90, False), (90, -1, True), (5, 1, True)],
)
def test_it_is_time_when_a_third_is_left(since: int, until: int, due: bool) -> None:
    """Whether the authority can be asked or not, as here."""
    _, key = new_certificate("exit.example.com")
    assert is_due(ACCOUNT, lasting(key, since=since, until=until)) is due


class Authority:
    """One that wants a certificate to be renewed at this time, in days from now; None: it has no opinion."""

    def __init__(self, days: float | None) -> None:
        self.days = days

    def renewal_time(self, _: bytes) -> tuple[dt.datetime | None, dt.datetime]:
        now = dt.datetime.now(dt.UTC)
        return (None if self.days is None else now + dt.timedelta(days=self.days)), now


@pytest.mark.parametrize(("days", "due"), [(-1, True), (1, False), (None, False)])
def test_it_is_time_when_the_authority_says_so(monkeypatch: pytest.MonkeyPatch, days: float | None, due: bool) -> None:
    monkeypatch.setattr(authority, "_client", lambda *_: Authority(days))
    _, key = new_certificate("exit.example.com")
    assert is_due(ACCOUNT, lasting(key, since=1, until=89)) is due


def test_an_authority_that_cannot_be_reached() -> None:
    _, key = new_certificate("exit.example.com")
    with pytest.raises(AuthorityError, match="cannot be reached"):
        register(NOWHERE, "exit.example.com", "", agreed=True)
    with pytest.raises(AuthorityError, match="cannot be reached"):
        obtain(ACCOUNT, key, lambda *_: pytest.fail("nothing is proved to nobody"))


def test_without_the_packages_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "acme", None)
    with pytest.raises(ConfigError, match=r"pip install 'ropeway\[acme\]'"):
        register(NOWHERE, "exit.example.com", "", agreed=True)


def test_an_authority_that_makes_no_sense(monkeypatch: pytest.MonkeyPatch) -> None:
    def client(*_: object) -> None:
        raise KeyError("newOrder")

    monkeypatch.setattr(authority, "_client", client)
    with pytest.raises(AuthorityError, match="makes no sense"):
        register(NOWHERE, "exit.example.com", "", agreed=True)
