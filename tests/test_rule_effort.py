"""No text takes more steps than the bound says, counted by a matcher that tries one way after the other as `re` does."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from proxy.rule_effort import worst_steps
from proxy.rule_expression import Chars, Choice, Edge, Look, Node, Once, Repeat, Sequence, tree_of
from tests.expressions import ANY

if TYPE_CHECKING:
    from collections.abc import Callable

    #: What comes after a part: whether it is found from there.
    Rest = Callable[[int], bool]

ENOUGH = 20_000


class Backtracking:
    """Counts characters that are looked at, edges, and decisions whether to go on with a repetition."""

    def __init__(self, text: str, *, greedy: bool) -> None:
        self.text = text
        self.greedy = greedy
        self.steps = 0

    def search(self, node: Node) -> None:
        any(self.found(node, start, lambda _: True) for start in range(len(self.text) + 1))

    def step(self) -> None:
        self.steps += 1
        if self.steps > ENOUGH:
            raise OverflowError

    def found(self, node: Node, at: int, rest: Rest) -> bool:
        match node:
            case Chars(mask):
                self.step()
                return at < len(self.text) and bool(mask >> ord(self.text[at]) & 1) and rest(at + 1)
            case Edge(kind):
                self.step()
                return (kind != "^" or at == 0) and (kind != "$" or at == len(self.text)) and rest(at)
            case Sequence(parts):
                return self.in_order(parts, at, rest)
            case Choice(options):
                return any(self.found(option, at, rest) for option in options)
            case Repeat():
                return self.again(node, 0, at, rest)
            case Once(body):
                end = self.end_of(body, at)
                return end is not None and rest(end)
            case Look(body):
                self.found(body, at, lambda _: True)
                return rest(at)  # as if it always were as it is to be

    def end_of(self, node: Node, at: int) -> int | None:
        ends: list[int] = []

        def keep(end: int) -> bool:
            ends.append(end)
            return True

        return ends[0] if self.found(node, at, keep) else None

    def in_order(self, parts: tuple[Node, ...], at: int, rest: Rest) -> bool:
        if not parts:
            return rest(at)
        return self.found(parts[0], at, lambda end: self.in_order(parts[1:], end, rest))

    def again(self, node: Repeat, times: int, at: int, rest: Rest) -> bool:
        self.step()

        def more() -> bool:
            return (node.most is None or times < node.most) and self.found(
                node.body, at, lambda end: (end > at or times < node.least) and self.again(node, times + 1, end, rest)
            )

        def out() -> bool:
            return times >= node.least and rest(at)

        return (more() or out()) if self.greedy else (out() or more())


ALIKE = st.builds(
    lambda part, times, end: part * times + end,
    st.text("ab.", min_size=1, max_size=3),
    st.integers(1, 12),
    st.text("ab.1", max_size=2),
)


@given(ANY, ALIKE | st.text("ab.1", max_size=20), st.booleans())
@example("(a|ab|b)*[.]", "abababab", True)
@example("(?:a?b?)?(?:a?b?)?(?:a?b?)?(?:a?b?)?1", "aaaaa", True)
@example("a?a?a?a?a?a?aaaaaa", "aaaaaa", True)
@example("a*a*a*1", "aaaaaaaaaaaaaaaa", False)
@settings(max_examples=400, deadline=None)
def test_no_text_takes_more_steps(text: str, name: str, greedy: bool) -> None:
    try:
        re.compile(text, re.IGNORECASE | re.ASCII)
    except re.error:
        assume(False)
    tree = tree_of(text)
    bound = worst_steps(tree, len(name))
    counting = Backtracking(name, greedy=greedy)
    try:
        counting.search(tree)
    except OverflowError:
        assert not bound < ENOUGH
    else:
        assert not counting.steps > bound


@pytest.mark.parametrize(
    "text",
    ["(a+)+$", "(a|a)*$", "(a|ab|b)+$", r"^(.+\.)*example\.com$", "(a?){30}b", "((a?b?)?c?)?d", "(a*)*", r"(\w+\.?)+$", "(a|aa){70}$", "(" * 99 + "a" + "){1,2}" * 99, "([a-z]*[a-z]*b){64}"],
)  # fmt: skip
def test_where_the_ways_multiply_there_is_no_bound(text: str) -> None:
    assert worst_steps(tree_of(text), 255) == math.inf


@pytest.mark.parametrize(
    ("text", "power"),
    [
        ("^a$", 1),
        ("a", 1),
        (r"(^|\.)ads[0-9]{2}\.(com|net)$", 1),
        (r"^[a-z]+\.[a-z]+\.[a-z]+\.com$", 1),
        (r"[a-z]+\.com$", 2),
        (r"^([a-z0-9-]+\.)+com$", 2),
        ("(a|b)*$", 2),
        ("a.*b", 2),
        (".*a.*b", 3),
        ("a*a*a*$", 4),
    ],
)
def test_the_bound_grows_with_the_length_of_the_text_as_the_ways_do(text: str, power: int) -> None:
    """Twice the length, and two to this power as many steps."""
    tree = tree_of(text)
    assert round(math.log2(worst_steps(tree, 2_000_000) / worst_steps(tree, 1_000_000))) == power
