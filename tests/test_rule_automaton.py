"""One step for each character, however many ways there are. That it finds what `re` finds is tried in test_rule_expression."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import rule_automaton
from proxy.rule_automaton import Automaton
from proxy.rule_expression import tree_of


def automaton(text: str) -> Automaton:
    return Automaton.of(text, tree_of(text))


@pytest.mark.parametrize(
    ("text", "name", "found"),
    [
        ("(a+)+$", "a" * 255, True),
        ("(a+)+$", "a" * 254 + "b", False),
        (r"^(.+\.)*zh\.example\.com$", "a." * 100 + "zh.example.com", True),
        (r"^(.+\.)*zh\.example\.com$", "a." * 120 + "zh.example.net", False),
        ("(a|aa)*b", "a" * 255, False),
        ("(a?){40}a{40}$", "a" * 39 + "b", False),
        ("(a?){40}a{40}$", "a" * 40, True),
    ],
)
def test_no_name_takes_more_than_a_step_for_each_character(
    text: str, name: str, found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0
    step = Automaton._step

    def counted(each: Automaton, state: int, character: str) -> int:
        nonlocal steps
        steps += 1
        return step(each, state, character)

    monkeypatch.setattr(Automaton, "_step", counted)
    one = automaton(text)
    assert (one.search(name) is not None) is found
    assert 0 < steps <= len(name)
    steps = 0
    one.search(name)
    assert steps == 0  # all of them are known


def test_the_same_expression_is_the_same_automaton() -> None:
    one, other = automaton("(a+)+$"), automaton("(a+)+$")
    one.search("aab")
    assert one == other
    assert one != automaton("(a+)+")
    assert repr(one) == "Automaton(pattern='(a+)+$')"


@pytest.mark.parametrize("text", [r"a\b", "a(?=b)", "(?!a)b", "(?>a*)b", "a*+b", r"(?<=a)b\B"])
def test_what_depends_on_more_than_places_has_no_automaton(text: str) -> None:
    with pytest.raises(ValueError, match=r"it has .* a look around"):
        automaton(text)


@pytest.mark.parametrize(
    "text",
    ["a{1001}", "a{0,100000}", "(a{40}){40}", "((a{1,11}){1,11}){1,11}", "(a{4294967294}){2}", "((){1000}){1000}"],
)
def test_an_automaton_has_a_bound(text: str) -> None:
    with pytest.raises(ValueError, match="more than 1000 parts"):
        automaton(text)
    automaton("a{1000}").search("a")


@given(st.lists(st.text("ab", min_size=1, max_size=9), min_size=1, max_size=20))
def test_few_steps_are_remembered(names: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rule_automaton, "MOST_STEPS", 3)
        one = automaton("(a|aa)*b")
        for name in names:
            assert (one.search(name) is not None) == ("b" in name)
            assert len(one._steps) <= 3
