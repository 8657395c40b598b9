"""Regular expressions for names, by RE2: it never goes back, so no name makes one take long, as `(a+)+$` does elsewhere. It is also the language of
the lists that people have, as what reads these elsewhere is written in Go.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# Our choices.
#: Characters. The longest in common lists have about 200.
LONGEST = 1000
#: Bytes for one of them, however many kinds of names there are: what does not fit is made again.
MEMORY = 256 * 1024


@dataclass(frozen=True, slots=True)
class Expression:
    """The same text is the same expression."""

    text: str
    _search: Callable[[bytes], object] = field(compare=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> Expression:
        """Upper and lower case are the same. Raises ValueError."""
        import re2  # few have lists with expressions

        if not text or len(text) > LONGEST:
            raise ValueError(f"a regular expression has 1 to {LONGEST} characters")
        try:
            return cls(text, re2.compile(text, _options()).search)
        except re2.error as error:
            said = error.args[0] if error.args else ""
            why = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
            raise ValueError(f"the regular expression {text!r} cannot be used: {why}") from None

    def is_in(self, text: str) -> bool:
        return self._search(text.encode()) is not None


@cache
def _options() -> Any:
    import re2

    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    options.max_mem = MEMORY
    options.never_capture = True
    return options
