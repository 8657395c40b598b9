"""How many steps `re` takes with an expression at the worst, for any text as long as names get.

`re` tries one way after the other: where several repetitions share the same characters, or one stands in another one, a name of 60 characters
can take it years. The bound counts the ways in which the parts of an expression can share out a text. A way whose next character does not
fit costs the look at that character and no more, so `[a-z]+\\.` has one way that goes on, and `[a-z]+[a-z]+` as many as characters.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from .rule_expression import ASCII, Chars, Choice, Edge, Look, Node, Once, Repeat, Sequence

#: What stands after an expression that has been found: there no other way is tried.
_FOUND = 1 << 129
#: What stands there is the end of the text.
_END = 1 << 128
_ANYTHING = ASCII | _END
#: So many steps take hours; nobody asks how many more there are.
_BEYOND = 1e12


class _Rest(NamedTuple):
    """What comes after a part: the characters with which it can go on, and the steps until it shows that another one does not fit."""

    first: int
    refusal: float


class _Ways(NamedTuple):
    """Of a part and what comes after it: how often at most it goes on from there; the steps, without those of what goes on; how both begin."""

    exits: float
    steps: float
    rest: _Rest


_NO_BOUND = _Ways(math.inf, math.inf, _Rest(_ANYTHING, math.inf))


def worst_steps(node: Node, longest: int) -> float:
    """To look for it in a text of at most so many characters; infinite where no bound is known."""
    ways = _Effort(longest).of(node, _Rest(_FOUND, 1))
    elsewhere = ways.rest.refusal if _is_anchored(node) else ways.steps + ways.exits
    return ways.steps + ways.exits + longest * elsewhere


class _Effort:
    def __init__(self, longest: int) -> None:
        self._longest = longest

    def of(self, node: Node, rest: _Rest) -> _Ways:
        match node:
            case Chars(mask):
                return _Ways(1, 1, _Rest(mask, 1))
            case Sequence(parts):
                return self._sequence(parts, rest)
            case Repeat():
                return self._repeat(node, rest)
            case Choice(options):
                return self._choice(options, rest)
            case Edge(kind):
                return _Ways(1, 1, _Rest(_END if kind == "$" else _restricted(rest.first), 1 + rest.refusal))
            case Once(body):
                inner = self.of(body, _Rest(_FOUND, 1))
                first = _first(body)
                return _Ways(1, inner.steps + inner.exits, _after(first, rest, inner.steps))
            case Look(body):
                inner = self.of(body, _Rest(_FOUND, 1))
                steps = inner.steps + inner.exits
                return _Ways(1, steps, _Rest(_restricted(rest.first), steps + rest.refusal))

    def _sequence(self, parts: tuple[Node, ...], rest: _Rest) -> _Ways:
        each = []
        for part in reversed(parts):
            each.append(self.of(part, rest))
            rest = each[-1].rest
        exits, steps = 1.0, 0.0
        for ways in reversed(each):
            steps += exits * ways.steps
            exits *= ways.exits
        return _Ways(exits, steps, rest)

    def _choice(self, options: tuple[Node, ...], rest: _Rest) -> _Ways:
        each = [self.of(option, rest) for option in options]
        if sum(map(_is_empty, options)) > 1:
            return _NO_BOUND  # each way of being nothing is tried, without a step forward
        first, apart = 0, True
        for ways in each:
            apart = apart and not first & ways.rest.first
            first |= ways.rest.first
        exits = max(ways.exits for ways in each) if apart else sum(ways.exits for ways in each)
        return _Ways(exits, sum(ways.steps for ways in each), _Rest(first, sum(ways.rest.refusal for ways in each)))

    def _repeat(self, node: Repeat, rest: _Rest) -> _Ways:
        body, least, most = node.body, node.least, self._longest + 1  # the last time finds the end of the text
        if node.most is not None:
            most = min(node.most, most)
        if most == 0:
            return _Ways(1, 1, rest)
        if _is_empty(body):
            return _NO_BOUND
        first = _first(body)
        inner = self.of(body, _Rest(first | rest.first, _refusal(body) + rest.refusal) if most > 1 else rest)
        around = inner.rest if least else _Rest(first | rest.first, inner.rest.refusal + rest.refusal)
        if inner.exits > 1:  # each of its ways goes on with all of them
            chains = _sum_of_powers(inner.exits, most)
            return _Ways(chains, chains * (inner.steps + 1 + rest.refusal), around)
        # It goes on in one way, and where that is not also the way out of it there is one way out.
        exits = most - min(least, most) + 1 if first & rest.first else 1
        return _Ways(exits, most * inner.steps + (most + 1) * (1 + rest.refusal), around)


def _sum_of_powers(base: float, times: int) -> float:
    """The number of all ways in at most so many times."""
    found = power = 1.0
    for _ in range(times):
        power *= base
        found += power
        if found > _BEYOND:
            return math.inf
    return found


def _restricted(first: int) -> int:
    """Whether it goes on depends on more than the next character, so that even what would be found may be refused."""
    return _ANYTHING if first & _FOUND else first


def _after(first: int, rest: _Rest, refusal: float) -> _Rest:
    """Where something begins so, or is nothing, and may be refused after that."""
    return _Rest(first | _restricted(rest.first), refusal + rest.refusal)


def _first(node: Node) -> int:
    """The characters with which it can begin; where it may be nothing, what follows can be anything else."""
    match node:
        case Chars(mask):
            return mask
        case Sequence(parts):
            first = 0
            for part in parts:
                first |= _first(part)
                if not _is_empty(part):
                    break
            return first
        case Choice(options):
            first = 0
            for option in options:
                first |= _first(option)
            return first
        case Repeat(body) | Once(body):
            return _first(body)
        case Edge() | Look():
            return 0
    return 0


def _refusal(node: Node) -> float:
    """The steps until it shows that the next character does not fit."""
    match node:
        case Sequence(parts):
            steps = 0.0
            for part in parts:
                steps += _refusal(part)
                if not _is_empty(part):
                    break
            return steps
        case Choice(options):
            return sum(map(_refusal, options))
        case Repeat(body) | Once(body):
            return 1 + _refusal(body)
        case Look():
            return math.inf  # that depends on more than the next character
    return 1


def _is_empty(node: Node) -> bool:
    """Whether it can be nothing at all."""
    match node:
        case Chars():
            return False
        case Sequence(parts):
            return all(map(_is_empty, parts))
        case Choice(options):
            return any(map(_is_empty, options))
        case Repeat(body, least):
            return least == 0 or _is_empty(body)
        case Once(body):
            return _is_empty(body)
    return True


def _is_anchored(node: Node) -> bool:
    """Whether it is only ever found at the beginning."""
    match node:
        case Edge(kind):
            return kind == "^"
        case Sequence(parts):
            return bool(parts) and _is_anchored(parts[0])
        case Choice(options):
            return all(map(_is_anchored, options))
        case Once(body):
            return _is_anchored(body)
    return False
