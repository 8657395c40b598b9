"""What is read as a tree finds what `re` finds."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, example, given, settings

from proxy.rule_automaton import Automaton
from proxy.rule_expression import ASCII, Chars, Choice, Edge, Look, Node, Once, Repeat, Sequence, tree_of
from tests.expressions import REGULAR, TEXTS


def chars(text: str) -> Chars:
    return Chars(sum(1 << ord(character) for character in set(text.lower() + text.upper())))


A, B = chars("a"), chars("b")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a", A),
        ("ab", Sequence((A, B))),
        ("", Sequence(())),
        ("a|b|", Choice((A, B, Sequence(())))),
        ("(a|b)b", Sequence((Choice((A, B)), B))),
        ("(?:a)(?P<name>b)(?i:a)", Sequence((A, B, A))),
        ("(?i)a", A),
        ("a*", Repeat(A, 0, None)),
        ("a+?", Repeat(A, 1, None)),
        ("a??", Repeat(A, 0, 1)),
        ("a{2}", Repeat(A, 2, 2)),
        ("a{,2}", Repeat(A, 0, 2)),
        ("a{2,}?", Repeat(A, 2, None)),
        ("a{1,12}", Repeat(A, 1, 12)),
        ("(?:ab)*", Repeat(Sequence((A, B)), 0, None)),
        ("a{b", Sequence((A, chars("{"), B))),
        ("a{}", Sequence((A, chars("{"), chars("}")))),
        ("a*+", Once(Repeat(A, 0, None))),
        ("(?>a)", Once(A)),
        ("(?=a)(?!a)(?<=a)(?<!a)", Sequence((Look(A), Look(A), Look(A), Look(A)))),
        (r"^$\A\Z\b\B", Sequence((Edge("^"), Edge("$"), Edge("^"), Edge("$"), Edge("b"), Edge("B")))),
        ("[ab]", chars("ab")),
        ("[]a-]", chars("]a-")),
        ("[a-c]", chars("abc")),
        (r"[\x61\x62\]]", chars("ab]")),
        ("[^a]", Chars(ASCII & ~A.mask)),
        (r"[\db]", chars("0123456789b")),
        (r"\d", chars("0123456789")),
        (r"[^\W]", Chars(tree_mask := chars("abcdefghijklmnopqrstuvwxyz0123456789_").mask)),
        (r"\w", Chars(tree_mask)),
        (r"\x61\141\u0061\.", Sequence((A, A, A, chars(".")))),
        (r"\t[\b]\0", Sequence((chars("\t"), chars("\b"), chars("\0")))),
        ("é[é-ê]", Sequence((Chars(0), Chars(0)))),
    ],
)
def test_an_expression_has_its_tree(text: str, tree: Node) -> None:
    re.compile(text, re.IGNORECASE | re.ASCII)
    assert tree_of(text) == tree


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (r"(a)\1", "it refers back to a group"),
        (r"(?P<n>a)(?P=n)", r"nothing is known here of (?P="),
        (r"(a)?(?(1)b)", "nothing is known here of"),
        ("(?x)a b", "nothing is known here of"),
        ("(?-i:a)", "nothing is known here of"),
        ("a(?#comment)", "nothing is known here of"),
        (r"\N{DIGIT ONE}", r"nothing is known here of \N"),
    ],
)
def test_what_is_not_known_is_said(text: str, reason: str) -> None:
    re.compile(text, re.IGNORECASE | re.ASCII)
    with pytest.raises(ValueError, match=re.escape(reason)):
        tree_of(text)


@given(REGULAR, TEXTS)
@example("^(^|b)$$", "b")
@example("(a$)*", "a")
@example("($|a)+^", "a")
@settings(max_examples=400, deadline=None)
def test_it_finds_what_re_finds(text: str, name: str) -> None:
    try:
        compiled = re.compile(text, re.IGNORECASE | re.ASCII)
    except re.error:
        assume(False)
    assert (Automaton.of(text, tree_of(text)).search(name) is not None) == (compiled.search(name) is not None)
