"""What the doctor finds: in words, with the mend where there is one."""

from __future__ import annotations

import enum
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: How a text is told to who has words of its own: a pattern alone, or with what stands in it.
Words: TypeAlias = "str | dict[str, str | dict[str, Words]]"


class Text(str):
    """A sentence in English, made of a pattern and of what stands for the {names} in it. Who has the pattern in another language makes it anew. So the
    pattern is always a literal, and says all that is not a name, a number, or another text.
    """

    __slots__ = ("pattern", "values")

    pattern: str
    values: Mapping[str, str]

    def __new__(cls, pattern: str, /, **values: object) -> Self:
        shown = {name: value if isinstance(value, Text) else str(value) for name, value in values.items()}
        made = super().__new__(cls, pattern.format(**shown))
        made.pattern, made.values = pattern, shown
        return made

    @property
    def words(self) -> Words:
        """For JSON. What stands for a name may have words of its own."""
        if not self.values:
            return self.pattern
        values = {name: value.words if isinstance(value, Text) else value for name, value in self.values.items()}
        return {"pattern": self.pattern, "values": values}


_NOTHING = Text("")


class Kind(enum.Enum):
    """A NOTE is worth knowing, and nothing is broken by it; with a FAULT something does not work."""

    OK = "ok"
    NOTE = "note"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """`check` names what was looked at, `what` says what is the case, `why` what that means, `mend` what to do. All are for people; no line breaks."""

    check: str
    kind: Kind
    what: Text
    why: Text = _NOTHING
    mend: Text = _NOTHING

    @classmethod
    def ok(cls, check: str, what: Text) -> Finding:
        return cls(check, Kind.OK, what)

    @classmethod
    def note(cls, check: str, what: Text, why: Text = _NOTHING, mend: Text = _NOTHING) -> Finding:
        return cls(check, Kind.NOTE, what, why, mend)

    @classmethod
    def fault(cls, check: str, what: Text, why: Text, mend: Text) -> Finding:
        return cls(check, Kind.FAULT, what, why, mend)

    def plain(self) -> dict[str, str]:
        """For JSON: all fields, each a string."""
        return {
            "check": self.check,
            "kind": self.kind.value,
            "what": str(self.what),
            "why": str(self.why),
            "mend": str(self.mend),
        }

    @property
    def words(self) -> dict[str, Words]:
        """For JSON: what the texts are made of."""
        return {"what": self.what.words, "why": self.why.words, "mend": self.mend.words}


#: Wide enough for "FAULT" and for the longest name of a check.
_KIND_WIDTH, _CHECK_WIDTH = 7, 15


def lines_of(finding: Finding, width: int) -> list[str]:
    """For a terminal of so many columns."""
    kind = finding.kind.value.upper() if finding.kind is Kind.FAULT else finding.kind.value
    head = f"{kind:<{_KIND_WIDTH}}{finding.check:<{_CHECK_WIDTH}}"
    indent = " " * len(head)
    lines = _wrapped(finding.what, head, indent, width)
    for word, text in (("why: ", finding.why), ("mend: ", finding.mend)):
        if text:
            lines += _wrapped(text, indent + word, indent + " " * len(word), width)
    return lines


def _wrapped(text: str, first: str, others: str, width: int) -> list[str]:
    width = max(width, len(first) + 20)  # where the terminal is tiny it wraps itself
    # A command or an address that is broken at a hyphen cannot be copied.
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=others,
        break_on_hyphens=False,
        break_long_words=False,
    ) or [first.rstrip()]


def has_fault(findings: Iterable[Finding]) -> bool:
    return any(finding.kind is Kind.FAULT for finding in findings)
