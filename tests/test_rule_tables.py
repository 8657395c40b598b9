"""The part of an expression that every name has, and words and numbers found by how they begin."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.rule_tables import Keywords, Prefixes, Table, literal_in
from proxy.rule_terms import pattern_of
from tests.effort import EXAMPLES


def free(slot: int) -> bool:
    return slot % 2 == 0


def test_a_key_has_all_that_may_hold_and_nothing_after_what_holds_anyway() -> None:
    table: Table[str] = Table(free)
    for slot in (1, 1, 3, 4, 4, 5, 6):
        table.put("a", slot)
    table.put("b", 6)
    table.put("b", 7)
    assert table == {"a": [1, 3, 4], "b": 6}
    assert table.least == 1


def test_numbers_are_found_by_how_they_begin() -> None:
    prefixes = Prefixes(free, 8)
    assert not prefixes
    prefixes.put(0b1010_0000, 4, 1)
    prefixes.put(0, 0, 3)
    prefixes.put_range(0b1010_0001, 0b1010_0010, 5)
    assert prefixes
    assert sorted(map(str, prefixes.find(0b1010_0001))) == ["1", "3", "5"]
    assert list(prefixes.find(0)) == [3]


def test_words_are_found_wherever_they_stand() -> None:
    keywords = Keywords(free)
    assert not keywords
    for slot, word in enumerate(["ad", "video", "videos", "videoz"]):
        keywords.put(word, slot * 2)
    assert keywords
    assert sorted(map(str, keywords.find("advideos"))) == ["0", "2", "4"]
    assert list(keywords.find("a")) == list(keywords.find("vide")) == []


@pytest.mark.parametrize(
    ("expression", "literal"),
    [
        (r"^adservice\.google\.([a-z]{2}|com?)$", ""),
        (r"^adservice\.google\.[a-z]{2}$", "adservice.google."),
        (r"(^)example", "example"),
        (r"exampl(ex)", "exampl"),
        (r"examplex?", "example"),
        (r"examplex*", "example"),
        (r"examplex+yz", "examplex"),
        (r"examplex{0,3}", "example"),
        (r"a{100}b", ""),
        (r"[abc]example[^]x]abcdefgh", "abcdefgh"),
        (r"[\]abcdef]", ""),
        (r"\x61bcd", ""),
        (r"\d+\.example", ".example"),
        (r"(?x) a b c", ""),
        (r"abc|def", ""),
        (r"ab", ""),
        (r"EXAMPLE", "example"),
        ("", ""),
    ],
)
def test_the_part_that_every_name_has(expression: str, literal: str) -> None:
    assert literal_in(expression) == literal


@settings(max_examples=8 * EXAMPLES)
@given(st.text(alphabet="abA1.\\[]^$(){},*+?|dxw-", max_size=14), st.text(alphabet="ab1.-", min_size=1, max_size=14))
def test_no_name_is_missed_for_want_of_that_part(expression: str, name: str) -> None:
    try:
        pattern = pattern_of(expression)
    except ValueError:
        return
    if pattern.expression.is_in(name):
        assert literal_in(expression) in name


@given(st.data(), st.sampled_from([r"ab{2}ba", r"a[b1]+ab1", r"(ab)*ab1b", r"\.ab1\.(b)?", r"ab\-ab1*", r"^aab+ba$"]))
def test_names_that_fit_have_that_part(data: st.DataObject, expression: str) -> None:
    name = data.draw(st.from_regex(expression))
    assert literal_in(expression) in name.rstrip("\n")
