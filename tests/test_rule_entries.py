"""What is collected of a list, and its bounds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy import rule_entries
from proxy.errors import ConfigError
from proxy.rule_entries import Entries
from proxy.rule_terms import Exact, Suffix
from tests.lists import PATH, hits


def test_exceptions_are_not_in_the_list() -> None:
    entries = Entries(PATH)
    entries.add(Suffix("example.com"))
    assert hits(entries.term(), "www.example.com") == ["www.example.com"]
    entries.except_for(Exact("www.example.com"))
    assert hits(entries.term(), "www.example.com", "example.com") == ["example.com"]


def test_a_list_with_nothing_in_it_is_wrong() -> None:
    with pytest.raises(ConfigError) as caught:
        Entries(PATH).term()
    assert str(caught.value) == f"{PATH}: there is no entry in it that means anything here"


def test_a_list_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule_entries, "MOST_ENTRIES", 2)
    entries = Entries(PATH, place="line 3")
    for add, what in ((entries.add, "entries"), (entries.except_for, "exceptions")):
        add(Exact("a"))
        add(Exact("b"))
        with pytest.raises(ConfigError) as caught:
            add(Exact("c"))
        assert str(caught.value) == f"{PATH}, line 3: the list has more than 2 {what}"


def test_the_lines_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule_entries, "MOST_LINES", 3)
    entries = Entries(PATH)
    assert list(entries.lines("a\n\nb")) == ["a", "", "b"]
    with pytest.raises(ConfigError) as caught:
        list(entries.lines("\n\n\n"))
    assert str(caught.value) == f"{PATH}: it has more than 3 lines"


@given(st.lists(st.text("ab", max_size=30_000) | st.just(""), max_size=9).map("\n".join))
@settings(max_examples=20, deadline=None)
def test_the_lines_are_those_of_the_text(text: str) -> None:
    assert list(Entries(PATH).lines(text)) == text.split("\n")


def test_there_are_pauses() -> None:
    paused: list[None] = []
    entries = Entries(PATH, pause=lambda: paused.append(None))
    for _ in entries.lines("example.com\n" * 20_000):
        pass
    assert 10 < len(paused) < 100
    paused.clear()
    for number in range(10_000):
        entries.add(Exact(f"{number}.example"))
    assert 10 < len(paused) < 100


def test_what_is_shown_of_a_file_is_one_short_line() -> None:
    text = str(Entries(PATH).wrong("\x1b[31m\n" + "x" * 1000))
    assert text.isprintable()
    assert len(text) < 300


def test_what_was_left_out_is_said_in_a_line() -> None:
    entries = Entries(PATH)
    assert entries.remark == ""
    entries.within(PATH.with_name("other")).left_out.update({"B": 2, "A": 1})
    assert entries.remark == f"{PATH}: left out, as they mean nothing here: 1 of A, 2 of B"
