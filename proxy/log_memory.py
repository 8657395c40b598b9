"""The last lines of the log, in memory: for whoever sits before this computer. It has what the log has, and no more."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from itertools import islice

from . import telemetry

# Our choices.
MOST_LINES = 500
LONGEST_LINE = 2000  # characters; a line has one to two hundred


@dataclass(frozen=True, slots=True)
class Line:
    """`at` is in seconds since 1970."""

    at: float
    level: str
    text: str


class LogMemory(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[Line] = deque(maxlen=MOST_LINES)
        self.count = 0  # of all lines so far

    def emit(self, record: logging.LogRecord) -> None:
        text = telemetry.line_of(record)
        self._lines.append(Line(record.created, record.levelname.lower(), text[:LONGEST_LINE]))
        self.count += 1

    def last(self, most: int) -> list[Line]:
        """The oldest first."""
        return list(islice(self._lines, max(0, len(self._lines) - most), None))

    def since(self, count: int) -> list[Line]:
        """Those that came when there had been so many, as far as they are kept."""
        return self.last(self.count - count)
