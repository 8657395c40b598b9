"""A regular expression as a tree, as far as names go: in these there are no line breaks, and nothing but ASCII.

It is for expressions that `re` has taken with IGNORECASE and ASCII, so that nothing here says what is wrong with one. Raises ValueError for what is not
known here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

#: A set of characters is a number, with a bit for each of them.
ASCII = (1 << 128) - 1


@dataclass(frozen=True, slots=True)
class Chars:
    """One of these."""

    mask: int


@dataclass(frozen=True, slots=True)
class Edge:
    """`^` and `$` for the beginning and the end, `b` and `B` for where a word begins or ends, or not."""

    kind: str


@dataclass(frozen=True, slots=True)
class Sequence:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """In the order in which they are tried."""

    options: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """As often as from the least to the most, without end where that is None; greedy or not."""

    body: Node
    least: int
    most: int | None


@dataclass(frozen=True, slots=True)
class Once:
    """What is found in one way, and in no other one if the rest does not follow: `(?>...)`, `a*+`."""

    body: Node


@dataclass(frozen=True, slots=True)
class Look:
    """Whether it is there, or not there, before or behind this place."""

    body: Node


Node: TypeAlias = Chars | Edge | Sequence | Choice | Repeat | Once | Look


def _mask(characters: str) -> int:
    return sum(1 << ord(each) for each in set(characters))


_UPPER, _LOWER = _mask("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), _mask("abcdefghijklmnopqrstuvwxyz")
_DIGITS, _SPACES = _mask("0123456789"), _mask(" \t\n\r\f\v")
_WORD = _UPPER | _LOWER | _DIGITS | _mask("_")
_CLASSES = {
    "d": _DIGITS,
    "s": _SPACES,
    "w": _WORD,
    "D": ASCII & ~_DIGITS,
    "S": ASCII & ~_SPACES,
    "W": ASCII & ~_WORD,
}
_EDGES = {"A": "^", "Z": "$", "z": "$", "b": "b", "B": "B"}
_CONTROLS = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_DIGITS_OF_CODE = {"x": 2, "u": 4, "U": 8}

_REPEATED = re.compile(r"(?:([*+?])|\{(?!\})([0-9]*)(?:(,)([0-9]*))?\})([?+]?)")
_TIMES = {"*": (0, None), "+": (1, None), "?": (0, 1)}
# Flags that change nothing here: case never matters, and there are no line breaks.
_FLAGS = re.compile(r"\(\?[aims]+\)")
_OPENING = re.compile(r"\((?:\?(?:P<\w+>|[aims]*:|<?[=!]|>))?")
_OCTAL = re.compile(r"0[0-7]{0,2}|[0-3][0-7]{2}")


def _with_both_cases(mask: int) -> int:
    """As `re` compares where case does not matter."""
    return mask | (mask & _UPPER) << 32 | (mask & _LOWER) >> 32


def _one(character: str) -> int:
    """A character that no name has is none."""
    return 1 << ord(character) if character.isascii() else 0


def tree_of(expression: str) -> Node:
    flags = _FLAGS.match(expression)
    reader = _Reader(expression, flags.end() if flags else 0)
    node = reader.choice()
    if reader.position < len(expression):
        raise ValueError("a bracket is closed that was not opened")
    return node


class _Reader:
    """Goes through the expression once."""

    def __init__(self, text: str, position: int) -> None:
        self.text = text
        self.position = position

    def _next(self) -> str:
        character = self.text[self.position]
        self.position += 1
        return character

    def choice(self) -> Node:
        options = [self._sequence()]
        while self.text.startswith("|", self.position):
            self.position += 1
            options.append(self._sequence())
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def _sequence(self) -> Node:
        text, parts = self.text, []
        while self.position < len(text) and text[self.position] not in "|)":
            parts.append(self._repeated(self._piece()))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _repeated(self, body: Node) -> Node:
        found = _REPEATED.match(self.text, self.position)
        if found is None:
            return body
        self.position = found.end()
        sign, least, comma, most, kind = found.groups()
        if sign:
            node = Repeat(body, *_TIMES[sign])
        else:
            last = most if comma else least
            node = Repeat(body, int(least or 0), int(last) if last else None)
        return Once(node) if kind == "+" else node

    def _piece(self) -> Node:
        if self.text[self.position] == "(":
            return self._group()
        character = self._next()
        match character:
            case "[":
                return Chars(self._set())
            case "\\":
                return self._escaped()
            case ".":
                return Chars(ASCII & ~_one("\n"))
            case "^" | "$":
                return Edge(character)
        return Chars(_with_both_cases(_one(character)))

    def _group(self) -> Node:
        found = _OPENING.match(self.text, self.position)
        assert found is not None
        self.position = found.end()
        if self.text.startswith("?", self.position):
            raise ValueError(f"nothing is known here of ({self.text[self.position :][:3]}...")
        body = self.choice()
        self.position += 1  # the closing bracket
        if found[0].endswith(("=", "!")):
            return Look(body)
        return Once(body) if found[0] == "(?>" else body

    def _escaped(self) -> Node:
        character = self.text[self.position]
        if character in _CLASSES or character in _EDGES:
            self.position += 1
            return Chars(_CLASSES[character]) if character in _CLASSES else Edge(_EDGES[character])
        if character.isdigit() and not _OCTAL.match(self.text, self.position):
            raise ValueError("it refers back to a group")
        return Chars(_with_both_cases(self._code()))

    def _code(self) -> int:
        """The character that stands after a backslash, in one of its spellings."""
        if (octal := _OCTAL.match(self.text, self.position)) is not None:
            self.position = octal.end()
            return _one(chr(int(octal[0], 8)))
        character = self._next()
        if (digits := _DIGITS_OF_CODE.get(character, 0)) > 0:
            self.position += digits
            return _one(chr(int(self.text[self.position - digits : self.position], 16)))
        if character == "N":
            raise ValueError(r"nothing is known here of \N")
        return _one(_CONTROLS.get(character, character))

    def _set(self) -> int:
        """After its opening bracket."""
        negated = self.text[self.position] == "^"
        self.position += negated
        first, mask = self.position, 0
        while self.position == first or self.text[self.position] != "]":
            low = self._member()
            text, position = self.text, self.position
            if text[position] == "-" and text[position + 1] != "]":
                self.position += 1
                mask |= _between(low, self._member())
            else:
                mask |= low
        self.position += 1
        mask = _with_both_cases(mask)
        return ASCII & ~mask if negated else mask

    def _member(self) -> int:
        if self.text[self.position] != "\\":
            return _one(self._next())
        self.position += 1
        character = self.text[self.position]
        if character in _CLASSES:
            self.position += 1
            return _CLASSES[character]
        if character == "b":
            self.position += 1
            return _one("\b")
        return self._code()


def _between(low: int, high: int) -> int:
    """From one character to another one, or to all of ASCII where that is beyond it."""
    return ((high << 1) - 1 if high else ASCII) & ~(low - 1) if low else 0
