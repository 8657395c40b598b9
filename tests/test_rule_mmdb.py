"""Databases of countries."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ConfigError
from proxy.rule_entries import Entries
from proxy.rule_mmdb import MARK, country_database, read_mmdb
from tests.lists import PATH, hits, mmdb

DATABASE = mmdb({"1.0.0.0/8": "CN", "8.0.0.0/8": "US", "240e::/20": "CN", "2001:db8::/32": "ZZ"})


@pytest.mark.parametrize(
    ("text", "code"), [("1.2.3.4", "CN"), ("8.8.8.8", "US"), ("9.9.9.9", ""), ("240e::1", "CN"), ("2a00::1", "")]
)
def test_an_address_has_its_country(text: str, code: str) -> None:
    assert country_database(DATABASE, Entries(PATH))(ipaddress.ip_address(text)) == code


def test_a_database_of_ipv4_knows_nothing_of_ipv6() -> None:
    country_of = country_database(mmdb({"1.0.0.0/8": "CN"}, version=4), Entries(PATH))
    assert country_of(ipaddress.ip_address("1.2.3.4")) == "CN"
    assert country_of(ipaddress.ip_address("240e::1")) == ""


def test_a_rule_asks_for_one_country() -> None:
    entries = Entries(PATH, "cn")
    read_mmdb(country_database(DATABASE, entries), entries)
    assert hits(entries.term(), "1.2.3.4", "8.8.8.8", "240e.example") == ["1.2.3.4"]


@pytest.mark.parametrize("tag", ["", "china"])
def test_a_rule_has_to_say_which(tag: str) -> None:
    entries = Entries(PATH, tag)
    with pytest.raises(ConfigError) as caught:
        read_mmdb(lambda _: "", entries)
    assert str(caught.value) == f"{PATH}: say which country of it is meant, as list:PATH#CN"


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "the database cannot be read: "),
        (MARK, "the database cannot be read: "),
        (DATABASE[: DATABASE.index(MARK)], "the database cannot be read: "),
        (DATABASE[200:], "the database "),
        (mmdb({"192.0.2.0/24": "ZZ"}), "the database has no countries"),
    ],
)
def test_a_database_that_is_wrong(data: bytes, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        country_database(data, Entries(PATH))
    assert str(caught.value).startswith(f"{PATH}: {complaint}")


@given(st.data())
def test_whatever_happens_to_a_database_it_is_read_or_refused(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(DATABASE)))
    end = data.draw(st.integers(start, min(start + 4, len(DATABASE))))
    mutated = DATABASE[:start] + data.draw(st.binary(max_size=4)) + DATABASE[end:]
    try:
        country_of = country_database(mutated, Entries(PATH))
    except ConfigError as error:
        assert str(error).startswith(str(PATH))  # noqa: PT017
        return
    for text in ("1.2.3.4", "8.8.8.8", "240e::1", "::1"):
        assert isinstance(country_of(ipaddress.ip_address(text)), str)
