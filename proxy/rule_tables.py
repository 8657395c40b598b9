"""The tables of a rule index: names, numbers by how they begin, parts of names; each gives the terms that may hold.

Terms stand in them by their slots: numbers in the order in which they count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

_K = TypeVar("_K")

#: A key of one term has its slot; of several, theirs in their order.
Bucket: TypeAlias = int | list[int]
#: Whether nothing else has to hold for a slot, so that no later one of the same key is ever asked.
IsFree: TypeAlias = Callable[[int], bool]

#: Our choice: by so many characters keywords are found. Shorter ones have tables of their own, and longer ones rarely begin alike.
_HEAD = 5


class Table(dict[_K, Bucket], Generic[_K]):
    """Buckets by key. `least` is the first slot in any."""

    def __init__(self, is_free: IsFree) -> None:
        super().__init__()
        self._is_free = is_free
        self.least = -1

    def put(self, key: _K, slot: int) -> None:
        before = self.setdefault(key, slot)
        if self.least < 0:
            self.least = slot
        if before is slot or before == slot:
            return
        last = before if isinstance(before, int) else before[-1]
        if last == slot or self._is_free(last):
            return  # the earlier one decides
        if isinstance(before, int):
            self[key] = [before, slot]
        else:
            before.append(slot)


class Prefixes:
    """Ranges of numbers of so many bits, each range all numbers that begin alike."""

    def __init__(self, is_free: IsFree, width: int) -> None:
        self._is_free = is_free
        self._width = width
        self._tables: dict[int, Table[int]] = {}  # by how many bits do not matter

    def __bool__(self) -> bool:
        return bool(self._tables)

    def put(self, number: int, length: int, slot: int) -> None:
        """Numbers whose first `length` bits are those of this one."""
        shift = self._width - length
        table = self._tables.get(shift)
        if table is None:
            table = self._tables[shift] = Table(self._is_free)
        table.put(number >> shift, slot)

    def put_range(self, first: int, last: int, slot: int) -> None:
        """In at most two pieces for each bit."""
        while first <= last:
            free = (first & -first).bit_length() - 1 if first else self._width
            bits = min(free, (last - first + 1).bit_length() - 1)
            self.put(first, self._width - bits, slot)
            first += 1 << bits

    def find(self, number: int) -> Iterator[Bucket]:
        for shift, table in self._tables.items():
            if (found := table.get(number >> shift)) is not None:
                yield found


class Keywords:
    """Words that may stand anywhere in a name. One is found by its beginning, at each place of the name, and then by its length."""

    def __init__(self, is_free: IsFree) -> None:
        self._is_free = is_free
        self._tables: dict[int, Table[str]] = {}  # by length
        self._short: list[int] = []  # the lengths below that of a beginning
        self._lengths: dict[str, int] = {}  # by beginning, a bit for each length

    def __bool__(self) -> bool:
        return bool(self._tables)

    def put(self, word: str, slot: int) -> None:
        size = len(word)
        table = self._tables.get(size)
        if table is None:
            table = self._tables[size] = Table(self._is_free)
            if size < _HEAD:
                self._short.append(size)
        if size >= _HEAD:
            head = word[:_HEAD]
            self._lengths[head] = self._lengths.get(head, 0) | 1 << size
        table.put(word, slot)

    def find(self, name: str) -> Iterator[Bucket]:
        for length in self._short:
            table = self._tables[length]
            for start in range(len(name) - length + 1):
                if (found := table.get(name[start : start + length])) is not None:
                    yield found
        if self._lengths:
            lengths_of = self._lengths.get
            for start in range(len(name) - _HEAD + 1):
                bits = lengths_of(name[start : start + _HEAD], 0)
                while bits:
                    length = bits.bit_length() - 1
                    bits ^= 1 << length
                    if (found := self._tables[length].get(name[start : start + length])) is not None:
                        yield found


# Escapes that stand for characters of a kind, or for a place. Others may stand for anything.
_KINDS = "AbBdDsSwWZ"


def literal_in(expression: str) -> str:
    """A part that every name has in which the expression is found, or "" where none is seen. Lower-case, at least three characters."""
    best = run = ""
    position, depth = 0, 0
    if "|" in expression or "(?" in expression:
        return ""  # what stands there may be one of several, or mean something else
    while position < len(expression):
        width, literal = _piece(expression, position)
        if width == 0:
            return ""
        if expression[position] in "()":
            depth += 1 if expression[position] == "(" else -1
        position += width
        repeated = expression[position : position + 1]
        if literal and not depth and (not repeated or repeated not in "*?{"):
            run += literal
            if repeated != "+":
                continue
        best, run = max(best, run, key=len), ""
    best = max(best, run, key=len)
    return best if len(best) >= 3 else ""


def _piece(expression: str, position: int) -> tuple[int, str]:
    """How long the next piece is, nothing where it is not known; and the character that it stands for, if it is one."""
    character, after = expression[position], expression[position + 1 : position + 2]
    if character == "\\":
        if after.isalnum():
            return (2 if after in _KINDS else 0), ""
        return 2, after
    if character == "[":
        return _set_width(expression, position), ""
    if character == "{":
        return max(0, expression.find("}", position) + 1 - position), ""
    return 1, character.lower() if character.isascii() and (character.isalnum() or character in "-_") else ""


def _set_width(expression: str, start: int) -> int:
    """Of the set of characters that begins there."""
    position = start + (2 if expression[start + 1 : start + 2] == "^" else 1)
    position += expression[position : position + 1] == "]"
    while position < len(expression) and expression[position] != "]":
        position += 2 if expression[position] == "\\" else 1
    return position + 1 - start
