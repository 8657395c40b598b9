"""Answers for as long as they live, bounded in number and in bytes: what was not asked for longest goes first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    from .dns_message import Answer

# Our choices. A person's devices ask for some thousand names in a day.
MOST_ENTRIES = 10_000
MOST_BYTES = 8_000_000
#: What Python takes for an entry beside the bytes of its answer: a question, an answer, a tuple and their places.
_OVERHEAD = 600


class AnswerCache:
    """`now` is in seconds, of whatever clock. A key says all that makes an answer another one."""

    def __init__(self, most_entries: int = MOST_ENTRIES, most_bytes: int = MOST_BYTES) -> None:
        self._most_entries = most_entries
        self._most_bytes = most_bytes
        self._entries: dict[Hashable, tuple[float, Answer]] = {}  # in the order in which they were used
        self.size = 0  # bytes

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable, now: float) -> tuple[Answer, float] | None:
        """The answer and its age, where it lives."""
        if (entry := self._take(key)) is None:
            return None
        since, answer = entry
        if now - since >= answer.life:
            return None
        self._add(key, entry)
        return answer, now - since

    def put(self, key: Hashable, answer: Answer, now: float) -> None:
        """From now on, if it lives at all."""
        self._take(key)
        if answer.life > 0 and _size(answer) <= self._most_bytes:
            self._add(key, (now, answer))
        while len(self._entries) > self._most_entries or self.size > self._most_bytes:
            self._take(next(iter(self._entries)))

    def clear(self) -> None:
        self._entries.clear()
        self.size = 0

    def _add(self, key: Hashable, entry: tuple[float, Answer]) -> None:
        self._entries[key] = entry
        self.size += _size(entry[1])

    def _take(self, key: Hashable) -> tuple[float, Answer] | None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.size -= _size(entry[1])
        return entry


def _size(answer: Answer) -> int:
    return len(answer.body) + 36 * len(answer.lives) + _OVERHEAD
