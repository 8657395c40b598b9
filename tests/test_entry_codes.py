"""Codes that let a browser in."""

from __future__ import annotations

from proxy.entry_codes import LIFE, MOST, EntryCodes


def test_each_is_good_once() -> None:
    codes = EntryCodes()
    one, two = codes.make(1.0), codes.make(1.0)
    assert one != two
    assert codes.take(one, 2.0)
    assert not codes.take(one, 2.0)
    assert codes.take(two, 2.0)
    assert not codes.take("", 2.0)
    assert not codes.take("x", 2.0)


def test_each_is_good_for_moments() -> None:
    codes = EntryCodes()
    one, two = codes.make(1.0), codes.make(1.0)
    assert codes.has(one, 0.9 + LIFE)
    assert codes.has_any(0.9 + LIFE)
    assert not codes.has(one, 1.0 + LIFE)
    assert not codes.has_any(1.0 + LIFE)
    assert not codes.has("", 2.0)
    assert codes.take(one, 0.9 + LIFE)
    assert not codes.take(two, 1.0 + LIFE)
    assert not codes.take(two, 2.0)


def test_there_are_few() -> None:
    codes = EntryCodes()
    made = [codes.make(1.0) for _ in range(MOST + 1)]
    assert not codes.take(made[0], 2.0)
    assert all(codes.take(code, 2.0) for code in made[1:])
