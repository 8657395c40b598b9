"""geosite.dat and geoip.dat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ConfigError
from proxy.rule_dat import fields, read_dat
from proxy.rule_entries import Entries
from tests.lists import PATH, geoip, geosite, hits, message, varint

if TYPE_CHECKING:
    from proxy.rule_terms import Term

KEYWORD, REGEX, SUFFIX, FULL = range(4)
SITES = geosite(
    {
        "CN": [
            (SUFFIX, "example.cn", []),
            (FULL, "www.example.org", ["ads"]),
            (KEYWORD, "baidu", []),
            (REGEX, r"^a\d+\.", []),
        ],
        "GOOGLE": [(SUFFIX, "google.com", []), (SUFFIX, "ads.google.com", ["ads", "!cn"])],
        "EMPTY": [],
        "BROKEN": [(SUFFIX, "example.com", []), (REGEX, "(", [])],
        "OTHER": [(7, "x", [])],
    }
)
ADDRESSES = geoip({"CN": ["1.0.1.0/24", "240e::/20"], "PRIVATE": ["10.0.0.0/8"]})


def read(data: bytes, tag: str) -> Term:
    entries = Entries(PATH, tag)
    read_dat(data, entries)
    return entries.term()


def complaint(data: bytes, tag: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(data, tag)
    return str(caught.value)


def test_names_of_an_entry() -> None:
    places = [
        "x.example.cn",
        "www.example.org",
        "example.org",
        "tieba.baidu.com",
        "a12.example",
        "ba12.example",
        "1.0.1.1",
    ]
    assert hits(read(SITES, "cn"), *places) == [places[0], places[1], places[3], places[4]]
    assert hits(read(SITES, "google"), "ads.google.com", "google.com") == ["ads.google.com", "google.com"]
    assert hits(read(SITES, "google@ads"), "ads.google.com", "google.com") == ["ads.google.com"]
    assert hits(read(SITES, "google@!cn"), "ads.google.com", "google.com") == ["ads.google.com"]


def test_networks_of_an_entry() -> None:
    assert hits(read(ADDRESSES, "cn"), "1.0.1.77", "1.0.2.1", "[240e::1]", "a.cn") == ["1.0.1.77", "[240e::1]"]
    assert hits(read(ADDRESSES, "private"), "10.1.1.1", "1.0.1.1") == ["10.1.1.1"]


def test_all_networks_but_those_of_an_entry() -> None:
    data = geoip({"CN": ["1.0.1.0/24", "240e::/20"]}, reverse=True)
    assert hits(read(data, "cn"), "1.0.1.77", "1.0.2.1", "[240e::1]", "[2001:db8::1]", "a.cn") == [
        "1.0.2.1",
        "[2001:db8::1]",
    ]


@pytest.mark.parametrize(
    ("data", "tag", "text"),
    [
        (SITES, "", "say which entry of it is meant, as list:PATH#TAG; there is: cn, google, empty, broken, other"),
        (SITES, "de", "there is no entry 'de' in it; there is: cn, google"),
        (SITES, "empty", "there is no entry in it that means anything here"),
        (SITES, "google@nothing", "there is no entry in it that means anything here"),
        (SITES, "broken", "the regular expression '(' cannot be used"),
        (SITES, "other", "there is no kind 7 of names"),
        (SITES[:-3], "cn", "it ends in the middle of a field"),
        (b"\x0a\x80", "cn", "a number does not end"),
        (b"\x0a" + b"\xff" * 20, "cn", "a number does not end"),
        (b"\x0b\x00", "cn", "there is no field type 3"),
        (b"\x08\x01", "cn", "it is neither a list of names nor one of networks"),
        (message((2, b"")), "cn", "it is neither a list of names nor one of networks"),
        (message((1, message((1, b"\xff")))), "cn", "utf-8"),
        (
            message((1, message((1, "CN"), (2, message((1, b"abc"), (2, 8)))))),
            "cn",
            "a network has neither 4 nor 16 bytes",
        ),
        (
            message((1, message((1, "CN"), (2, message((1, b"abcd"), (2, 33)))))),
            "cn",
            "'97.98.99.100/33' is no network",
        ),
        (geosite({f"T{number}": [] for number in range(12)}), "x", "t9 and 2 more"),
        (b"", "cn", "there is: nothing"),
    ],
)
def test_a_file_that_is_wrong(data: bytes, tag: str, text: str) -> None:
    assert text in complaint(data, tag)


def test_entries_that_are_not_meant_are_not_looked_into() -> None:
    """A file has a thousand of them, and each rule takes one."""
    broken = message((1, message((1, "DE")) + b"\xff"), (1, message((1, "CN"), (2, message((1, 2), (2, "a"))))))
    assert hits(read(broken, "cn"), "a") == ["a"]
    assert complaint(broken, "de").startswith(f"{PATH}, record 1: a number does not end")


def test_what_is_wrong_has_its_record() -> None:
    assert complaint(SITES, "broken").startswith(f"{PATH}, record 4: ")
    assert complaint(SITES[:-3], "cn").startswith(f"{PATH}, record 5: ")
    assert complaint(b"\x0a\x80", "cn").startswith(f"{PATH}, record 1: ")


def test_every_kind_of_field() -> None:
    data = varint(1 << 3 | 1) + bytes(8) + varint(2 << 3 | 5) + bytes(4) + message((3, 300), (4, "text"))
    assert list(fields(data)) == [(1, bytes(8)), (2, bytes(4)), (3, 300), (4, b"text")]


@given(st.data(), st.sampled_from([SITES, ADDRESSES]), st.sampled_from(["cn", "broken", "private"]))
def test_whatever_happens_to_a_file_it_is_read_or_refused(data: st.DataObject, whole: bytes, tag: str) -> None:
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(start + 4, len(whole))))
    mutated = whole[:start] + data.draw(st.binary(max_size=4)) + whole[end:]
    try:
        read(mutated, tag)
    except ConfigError as error:
        assert str(error).startswith(str(PATH))  # noqa: PT017
