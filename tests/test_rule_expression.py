"""Regular expressions for names: what is found, what is refused, and that none takes long."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.rule_expression import LONGEST, Expression


@pytest.mark.parametrize(
    "text", ["(a+)+$", "(a|a)*b$", r"^(.+\.)*example\.com$", "(.*)*=", r"(\w+\.?)+$", "(a?){60}a{60}$"]
)
def test_no_name_takes_long(text: str) -> None:
    """With what goes back, the first of these takes longer than the sun will shine."""
    assert not Expression.parse(text).is_in("a" * 250 + "!")


PIECES = st.sampled_from(["a", "b", r"\.", "[ab]", "[^a]", r"\d", "(a|b1)", "(?:ab)", "^", "$", "."])
REPEATS = st.sampled_from(["", "", "", "*", "+", "?", "{2}", "{1,3}", "{2,}", "*?"])


@given(
    st.lists(st.tuples(PIECES, REPEATS).map("".join), max_size=5).map("".join).filter(bool), st.text("ab1.", max_size=8)
)
def test_what_both_know_means_the_same_to_python(text: str, name: str) -> None:
    try:
        plain = re.compile(text, re.IGNORECASE | re.ASCII)
    except re.error:  # "^*"
        return
    assert Expression.parse(text).is_in(name) == (plain.search(name) is not None)


def test_the_same_text_is_the_same_expression() -> None:
    assert Expression.parse("a+") == Expression.parse("a+") != Expression.parse("a")
    assert len({Expression.parse("a+"), Expression.parse("a+")}) == 1


@pytest.mark.parametrize("text", ["", "a" * (LONGEST + 1), "(", "a**", "(?=a)", "((a{100}){100}){10}", "(" * 999])
def test_what_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="regular expression"):
        Expression.parse(text)


def test_upper_and_lower_case_are_the_same() -> None:
    assert Expression.parse("ADS[X-Z]").is_in("an.adsy.example")
