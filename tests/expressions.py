"""Expressions and texts that they may be found in, for the tests of what reads and finds them."""

from __future__ import annotations

from hypothesis import strategies as st

PIECES = st.sampled_from(
    ["a", "b", "A", ".", r"\.", "[ab]", "[^a]", "[a-b.]", r"\w", r"\d", r"[^\W1-9]", "-", r"\-", r"\x61", r"\141", "é", "[a-é]", "{", "]"]
)  # fmt: skip
REPEATS = st.sampled_from(["*", "+", "?", "{2}", "{,2}", "{1,3}", "{2,}", "{,}", "*?", "+?", "??", "{0}", "{1}"])
GROUPS = st.sampled_from(["({})", "(?:{})", "(?P<n>{})", "(?i:{})"])


def _larger(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    grouped = st.builds(lambda group, part: group.replace("{}", part), GROUPS, parts)
    return st.one_of(
        st.tuples(grouped, REPEATS).map("".join),
        st.tuples(PIECES.filter(lambda piece: piece != "{"), REPEATS).map("".join),
        st.lists(parts, max_size=3).map("".join),
        st.lists(parts, min_size=2, max_size=3).map(lambda options: f"(?:{'|'.join(options)})"),
    )


#: What an automaton can find.
REGULAR = st.recursive(PIECES | st.sampled_from(["^", "$", r"\A", r"\Z", "^", "$"]), _larger, max_leaves=10).filter(
    lambda text: text.count("(?P<n>") < 2
)
#: With what only `re` knows.
ANY = st.recursive(
    PIECES
    | st.sampled_from(["^", "$", r"\b", r"\B"])
    | st.sampled_from(["(?=a)", "(?!ab*)", "(?<=a)", "(?<!b)", "(?>a*)", "a*+", "b?+", "(?>a|ab)"]),
    _larger,
    max_leaves=10,
).filter(lambda text: text.count("(?P<n>") < 2)

TEXTS = st.text("aab.b1-", min_size=1, max_size=12)
