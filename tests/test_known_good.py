"""Destinations that have connected lately: how long and how many are remembered."""

from __future__ import annotations

from proxy.address import Address
from proxy.known_good import KNOWN_GOOD, MAX_KNOWN_GOOD, KnownGood

ECHO = Address("echo.example", 443)


def test_what_is_known_to_be_good_is_forgotten() -> None:
    known = KnownGood()
    assert not known.has(ECHO, 0)
    known.add(ECHO, 0)
    assert known.has(ECHO, KNOWN_GOOD - 1)
    assert not known.has(ECHO, KNOWN_GOOD)
    assert not known.has(Address(ECHO.host, 80), 1)
    known.add(ECHO, 100)
    assert known.has(ECHO, KNOWN_GOOD + 99)
    known.discard(ECHO)
    known.discard(ECHO)
    assert not known.has(ECHO, 101)


def test_what_is_known_to_be_good_is_bounded() -> None:
    known = KnownGood()
    for port in range(1, MAX_KNOWN_GOOD + 1):
        known.add(Address("a.example", port), 0)
    known.add(Address("a.example", 1), 0)  # used again, so it is not the oldest
    known.add(ECHO, 0)
    assert known.has(Address("a.example", 1), 1)
    assert not known.has(Address("a.example", 2), 1)
