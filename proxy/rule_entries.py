"""What is collected while a list is read: its entries, its exceptions, what was left out; and what is said where it is wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from .errors import ConfigError
from .rule_terms import AllOf, AnyOf, Not, Pause, Term, no_pause
from .telemetry import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Our choice: the largest lists in use have a fifth of it, and it takes 300 MB.
MOST_ENTRIES = 2_000_000
#: Our choice: as many as there may be entries, and as many again for comments.
MOST_LINES = 4_000_000
#: Our choice: after so many entries, or characters, there is a pause: that is after 1 to 3 ms.
_ENTRIES_AT_ONCE, _CHARACTERS_AT_ONCE = 512, 16 * 1024
#: Of what stands in a file, a complaint shows no more.
_SHOWN = 200


@dataclass(slots=True)
class Entries:
    """Of the list in this file; `place` is where the reader is in it, as in "line 3"."""

    path: Path
    tag: str = ""
    place: str = ""
    all: AnyOf = field(default_factory=AnyOf)
    exceptions: AnyOf = field(default_factory=AnyOf)
    #: How many entries of which kind mean nothing here, as they are about programs, say.
    left_out: Counter[str] = field(default_factory=Counter)
    pause: Pause = no_pause
    _added: int = 0

    def add(self, term: Term) -> None:
        """Raises ConfigError where the list becomes too long."""
        self.all.add(term)
        self._added += 1
        if self._added % _ENTRIES_AT_ONCE == 0:
            self.pause()
        if len(self.all) > MOST_ENTRIES:
            raise self.wrong(f"the list has more than {MOST_ENTRIES:,} entries")

    def except_for(self, term: Term) -> None:
        self.exceptions.add(term)
        if len(self.exceptions) > MOST_ENTRIES:
            raise self.wrong(f"the list has more than {MOST_ENTRIES:,} exceptions")

    def lines(self, text: str) -> Iterator[str]:
        """A few at a time: all at once take three times the memory of the text. Raises ConfigError where they are too many, also where nothing
        stands in them: each takes time.
        """
        if text.count("\n") >= MOST_LINES:
            raise self.wrong(f"it has more than {MOST_LINES:,} lines")
        start = 0
        while (end := text.find("\n", start + _CHARACTERS_AT_ONCE)) >= 0:
            yield from text[start:end].split("\n")
            start = end + 1
            self.pause()
        yield from text[start:].split("\n")

    def within(self, path: Path) -> Entries:
        """The same list, which goes on in another file."""
        return replace(self, path=path, place="")

    def wrong(self, reason: str) -> ConfigError:
        """That the list is wrong at the place where it is read."""
        shown = one_line(reason if len(reason) <= _SHOWN else f"{reason[:_SHOWN]}...")
        return ConfigError("", f"{self.path}{', ' if self.place else ''}{self.place}: {shown}")

    def no_tag(self) -> None:
        """Raises ConfigError where an entry of the file is asked for. It is for formats that have none."""
        if self.tag:
            raise self.wrong(f"a list of this kind has no entry {self.tag!r}; write list:PATH without #")

    def term(self) -> Term:
        """What has been collected. Raises ConfigError where that is nothing."""
        if not self.all:
            self.place = ""
            raise self.wrong("there is no entry in it that means anything here")
        return AllOf((self.all, Not(self.exceptions))) if self.exceptions else self.all

    @property
    def remark(self) -> str:
        """What was left out, in a line; empty where nothing was."""
        kinds = ", ".join(f"{count} of {kind}" for kind, count in sorted(self.left_out.items())[:20])
        return f"{self.path}: left out, as they mean nothing here: {kinds}" if kinds else ""
