"""Which exits and addresses are used, and which go first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.address import Address
from proxy.keys import UserKey
from proxy.preference import ChosenExit, Pattern, limited, merged, preferring
from proxy.share import Link

KEY = UserKey(b"\x01" * 8, b"\x02" * 32)
ONE = Link("one.example", 443, KEY, b"\x01" * 32, also=(Address("one.example", 8443), Address("2001:db8::1", 443)))
TWO = Link("192.0.2.2", 443, KEY, b"\x02" * 32)


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("One.Example", Pattern("one.example", None)),
        ("one.example:443", Pattern("one.example", 443)),
        ("192.0.2.2", Pattern("192.0.2.2", None)),
        ("192.0.2.2:1", Pattern("192.0.2.2", 1)),
        ("2001:DB8::1", Pattern("2001:db8::1", None)),
        ("[2001:db8::1]", Pattern("2001:db8::1", None)),
        ("[2001:db8::1]:443", Pattern("2001:db8::1", 443)),
    ],
)
def test_a_pattern(text: str, pattern: Pattern) -> None:
    assert Pattern.parse(text) == pattern


@pytest.mark.parametrize("text", ["", ":443", "a b", "one.example:", "one.example:0", "one.example:65536", "a:b:443"])
def test_no_pattern(text: str) -> None:
    with pytest.raises(ValueError, match=r"host|port|brackets"):
        Pattern.parse(text)


def test_a_pattern_without_a_port_means_all_ports() -> None:
    assert [Pattern.parse("one.example").matches(each) for each in ONE.addresses] == [True, True, False]
    assert [Pattern.parse("one.example:8443").matches(each) for each in ONE.addresses] == [False, True, False]


def test_links_of_one_exit_are_merged_in_their_order() -> None:
    again = Link("192.0.2.1", 443, KEY, ONE.pin, name="again", also=(ONE.address,))
    assert merged([ONE, TWO, again]) == [replace(ONE, also=(*ONE.also, again.address)), TWO]
    stranger = replace(ONE, key=UserKey(b"\x03" * 8, b"\x04" * 32))
    assert merged([ONE, stranger]) == [ONE, stranger]
    assert merged([]) == []


def test_only_leaves_ways_and_exits_out() -> None:
    assert limited([ONE, TWO], []) == (ChosenExit(ONE, ONE.addresses), ChosenExit(TWO, TWO.addresses))
    assert limited([ONE, TWO], ["one.example"]) == (ChosenExit(ONE, ONE.addresses[:2]),)
    assert limited([ONE, TWO], ["192.0.2.2", "[2001:db8::1]:443"]) == (
        ChosenExit(ONE, ONE.addresses[2:]),
        ChosenExit(TWO, TWO.addresses),
    )


def test_what_is_preferred_is_marked() -> None:
    one, two = preferring(limited([ONE, TWO], []), ["one.example:8443", "2001:db8::1"])
    assert one.preferred == set(ONE.addresses[1:])
    assert not two.preferred


def test_an_entry_that_matches_nothing() -> None:
    for entries in (["192.0.2.2", "one.example:1"], ["one.example:1"]):
        with pytest.raises(ValueError, match=r"one\.example:1 is no address .* one\.example:443, one\.example:8443"):
            limited([ONE, TWO], entries)
    with pytest.raises(ValueError, match=r"192\.0\.2\.2 is no address of an exit; there is: one\.example:443"):
        preferring(limited([ONE], []), ["192.0.2.2"])
