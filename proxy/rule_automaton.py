"""Looks for a regular expression in one pass over the text, whatever the expression: each character costs one step.

Its state is the set of all places in the expression where the text so far may have come to (the position automaton of Glushkov). The sets that come up
are remembered, as mostly there are few.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from .rule_expression import ASCII, Chars, Choice, Edge, Node, Repeat, Sequence

#: Our choice: {n,m} writes a part out as often as that.
MOST_PLACES = 1000
_MOST_PARTS = 8 * MOST_PLACES  # our choice: with groups, and with what is nothing
#: Our choice: so many steps are remembered. A name of a new kind needs as many as it has characters.
MOST_STEPS = 2000

# A set of places is a number with a bit for each of them, and beyond those of characters there are two more signs.
_BEGIN, _END = 1 << 128, 1 << 129
_EDGES = {"^": _BEGIN, "$": _END}


class _Part(NamedTuple):
    """Of a part of the expression: the places where it can begin and end, and whether it can be nothing."""

    first: int
    last: int
    empty: bool


@dataclass(frozen=True, slots=True)
class Automaton:
    """`pattern` is the expression as it was written; the same ones are equal."""

    pattern: str
    _places: _Places = field(compare=False, repr=False)
    _whole: _Part = field(compare=False, repr=False)
    _steps: dict[tuple[int, str], int] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, pattern: str, node: Node) -> Automaton:
        """Raises ValueError for what has no automaton, or one that is too large."""
        places = _Places()
        return cls(pattern, places, places.part(node))

    def search(self, text: str) -> str | None:
        """The text, where it is found in it. The text is ASCII, and not empty."""
        places, whole, steps = self._places, self._whole, self._steps
        if whole.empty:
            return text
        state, found = places.at_edge(whole.first, _BEGIN, whole)
        for character in text:
            if found:
                return text
            after = steps.get((state, character))
            if after is None:
                after = self._step(state, character)
            state, found = after >> 1, bool(after & 1)
        return text if found or places.at_edge(state, _END, whole)[1] else None

    def _step(self, state: int, character: str) -> int:
        """The state after it, and in its lowest bit whether it is found."""
        hit = state & self._places.that_take(1 << ord(character))
        after = (self._places.after(hit) | self._whole.first) << 1 | (hit & self._whole.last != 0)
        if len(self._steps) >= MOST_STEPS:
            self._steps.clear()
        self._steps[state, character] = after
        return after


def _too_many() -> ValueError:
    return ValueError(f"with its repetitions written out it has more than {MOST_PLACES} parts")


class _Places:
    """All places of an expression: which characters each takes, and what comes after each."""

    def __init__(self) -> None:
        self._masks: list[int] = []
        self._after: list[int] = []
        self._takers: dict[int, int] = {}  # by character
        self._parts = 0

    def that_take(self, mask: int) -> int:
        takers = self._takers.get(mask)
        if takers is None:
            takers = sum(1 << place for place, each in enumerate(self._masks) if each & mask)
            self._takers[mask] = takers
        return takers

    def after(self, places: int) -> int:
        after = 0
        while places:
            place = places.bit_length() - 1
            places ^= 1 << place
            after |= self._after[place]
        return after

    def at_edge(self, state: int, edge: int, whole: _Part) -> tuple[int, bool]:
        """The state at the beginning or the end of the text, and whether it is found. An edge is no character: what is there takes it as often
        as it likes.
        """
        takers, taken = self.that_take(edge), 0
        while hit := state & takers & ~taken:
            taken |= hit
            state |= self.after(hit)
        return state, taken & whole.last != 0

    # ---- from the tree

    def part(self, node: Node) -> _Part:
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise _too_many()
        match node:
            case Chars(mask):
                return self._new(mask & ASCII)
            case Edge(kind) if kind in _EDGES:
                return self._new(_EDGES[kind])
            case Sequence(parts):
                return self._in_order([self.part(each) for each in parts])
            case Choice(options):
                each = [self.part(option) for option in options]
                first = last = 0
                for one in each:
                    first, last = first | one.first, last | one.last
                return _Part(first, last, any(one.empty for one in each))
            case Repeat(body, least, most):
                return self._repeated(body, least, most)
        raise ValueError(r"it has \b, a look around, (?>...) or a*+")

    def _new(self, mask: int) -> _Part:
        if len(self._masks) >= MOST_PLACES:
            raise _too_many()
        self._masks.append(mask)
        self._after.append(0)
        place = 1 << len(self._masks) - 1
        return _Part(place, place, empty=False)

    def _follow(self, last: int, first: int) -> None:
        while last:
            place = last.bit_length() - 1
            last ^= 1 << place
            self._after[place] |= first

    def _in_order(self, parts: list[_Part]) -> _Part:
        first, last, empty = 0, 0, True
        for part in parts:
            self._follow(last, part.first)
            first |= part.first if empty else 0
            last = part.last | (last if part.empty else 0)
            empty = empty and part.empty
        return _Part(first, last, empty)

    def _repeated(self, body: Node, least: int, most: int | None) -> _Part:
        copies = max(least, 1) if most is None else most
        if copies > MOST_PLACES:
            raise _too_many()
        parts = [self.part(body) for _ in range(copies)]
        if most is None:
            self._follow(parts[-1].last, parts[-1].first)
        parts = [part if number < least else part._replace(empty=True) for number, part in enumerate(parts)]
        return self._in_order(parts)
