"""Clocks that agree, nearly agree and do not."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.clock import NOTED, WRITTEN, WRONG, judge_alone, judge_clock, judge_validity, read_date
from proxy.finding import Kind

NOW = dt.datetime(2026, 11, 26, 12, 0, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("apart", "kind"),
    [(NOTED - SECOND, Kind.OK), (NOTED, Kind.NOTE), (WRONG - SECOND, Kind.NOTE), (WRONG, Kind.FAULT)],
)
def test_how_far_is_too_far(sign: int, apart: dt.timedelta, kind: Kind) -> None:
    found = judge_clock(NOW + sign * apart, NOW)
    assert found.kind is kind
    assert kind is Kind.OK or ("fast" if sign > 0 else "slow") in found.what


def test_a_clock_of_which_nobody_tells() -> None:
    assert judge_clock(NOW, None).kind is Kind.NOTE
    assert judge_alone(WRITTEN - SECOND).kind is Kind.FAULT


def test_the_dates_of_a_certificate() -> None:
    assert judge_validity(NOW, NOW - SECOND, NOW + SECOND) is None
    for begin, end, words in ((NOW + SECOND, NOW + 2 * SECOND, "not valid before"), (NOW, NOW - SECOND, "expired")):
        found = judge_validity(NOW, begin, end)
        assert found is not None
        assert (found.kind, words in found.what) == (Kind.FAULT, True)


def test_a_date_of_http() -> None:
    assert read_date("Thu, 26 Nov 2026 12:00:00 GMT") == NOW
    for text in ("", "yesterday", "Thu, 99 Nov 2026 12:00:00 GMT"):
        assert read_date(text) is None


@given(st.text())
def test_any_date_can_be_read(text: str) -> None:
    date = read_date(text)
    assert date is None or date.tzinfo is not None
