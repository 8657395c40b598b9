"""Certificates that are not the exit's: who made them, and what that means."""

from __future__ import annotations

import datetime as dt

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from proxy.certificate import Certificate, judge_other
from proxy.finding import Kind
from proxy.keys import UserKey, der_of, new_certificate
from proxy.share import Link

LINK = Link("exit.example", 443, UserKey.new(), bytes(32))


def own(host: str) -> Certificate:
    return Certificate.read(der_of(new_certificate(host)[0]))


def issued(*names: str, by: str = "Example Filter") -> Certificate:
    blob = trustme.CA(organization_name=by).issue_cert(*names).cert_chain_pems[0].bytes()
    return Certificate.read(der_of(blob))


def test_one_of_ours() -> None:
    shown = own("exit.example")
    assert (shown.names, shown.self_signed) == (("exit.example",), True)
    assert shown.begin < dt.datetime.now(dt.UTC) < shown.end
    assert own("192.0.2.1").names == ("192.0.2.1",)


def test_one_that_somebody_signed() -> None:
    shown = issued("a.example", "b.example")
    assert (shown.self_signed, shown.issuer) == (False, "Example Filter")
    assert shown.described == "for a.example and 1 more, signed by Example Filter"


@pytest.mark.parametrize(
    ("names", "name", "fits"),
    [
        (["exit.example"], "exit.example", True),
        (["*.example"], "exit.example", True),
        (["*.example"], "a.exit.example", False),
        (["other.example"], "exit.example", False),
    ],
)
def test_whose_it_is(names: list[str], name: str, fits: bool) -> None:
    assert issued(*names).is_for(name) is fits


@pytest.mark.parametrize(
    ("shown", "why", "mend"),
    [
        (own("exit.example"), "set up again", "new link"),
        (own("router.example"), "another device", "log in"),
        (issued("exit.example"), "Example Filter", "inspection"),
    ],
)
def test_what_it_means(shown: Certificate, why: str, mend: str) -> None:
    found = judge_other(shown, LINK)
    assert (found.kind, why in found.why, mend in found.mend) == (Kind.FAULT, True, True)


def test_what_somebody_wrote_into_a_name_is_short_and_printable() -> None:
    shown = issued("a.example", by="x\x1b[2Jy" + "z" * 55)
    assert shown.issuer.isprintable()
    assert len(shown.issuer) <= 64


@given(st.binary())
def test_what_is_no_certificate(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (whose text is the library's)
        Certificate.read(data)


def test_a_name_of_bits_is_no_certificate() -> None:
    """Which the library says in its own way (RFC 5280, appendix A.1: a common name is text)."""
    text, bits = b"\x0c\x0cexit.example", b"\x03\x0cexit.example"
    assert text in DER
    with pytest.raises(ValueError, match="cannot be read"):
        Certificate.read(DER.replace(text, bits))


@given(st.data())
def test_a_mutated_certificate_is_read_or_not_and_nothing_else(data: st.DataObject) -> None:
    der = bytearray(DER)
    der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    try:
        shown = Certificate.read(bytes(der))
    except ValueError:
        return
    assert shown.described.isprintable()


DER = der_of(new_certificate("exit.example")[0])
