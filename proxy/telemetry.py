"""The program's log: one line for each event, on standard error, and no destinations unless the user asks for them.

The standard library does it: structlog was not needed for two formats, and what is imported is waited for at each start.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = "ropeway"
_HIDDEN = "(hidden)"

_destinations = False
_listeners: list[logging.Handler] = []


def configure(level: str = "info", form: str = "text", *, destinations: bool = False) -> None:
    """Starts the log, or changes it. `level` is debug, info, warning or error; `form` is text or json."""
    global _destinations
    _destinations = destinations
    logging.raiseExceptions = False  # a closed standard error is no reason for tracebacks
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if form == "json" else _TextFormatter())
    root = logging.getLogger(_ROOT)
    root.handlers = [handler, *_listeners]
    root.setLevel(level.upper())


@contextlib.contextmanager
def heard_by(listener: logging.Handler) -> Iterator[None]:
    """The listener gets every line as well meanwhile, however the log is changed."""
    _listeners.append(listener)
    logging.getLogger(_ROOT).addHandler(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
        logging.getLogger(_ROOT).removeHandler(listener)


def level() -> str:
    """The least of what is written down."""
    return logging.getLevelName(logging.getLogger(_ROOT).getEffectiveLevel()).lower()


def logger(name: str) -> logging.Logger:
    return logging.getLogger(f"{_ROOT}.{name}")


def shown(destination: object) -> str:
    """The destination's text where destinations are logged, and otherwise that it is hidden. For every log line."""
    return str(destination) if _destinations else _HIDDEN


def one_line(text: str) -> str:
    """The text with what would break or colour a line of a terminal escaped: some of it comes from the network."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def described(error: BaseException) -> str:
    """Type and text of an exception, in one line; of a group, those of the exceptions in it."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(described(inner) for inner in error.exceptions)
    text = one_line(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _error(record: logging.LogRecord) -> BaseException | None:
    return record.exc_info[1] if record.exc_info else None


def line_of(record: logging.LogRecord) -> str:
    """What it says, in one line."""
    line, error = one_line(record.getMessage()), _error(record)
    return line if error is None else f"{line}: {described(error)}"


def _wants_traceback() -> bool:
    return logging.getLogger(_ROOT).isEnabledFor(logging.DEBUG)


class _TextFormatter(logging.Formatter):
    """`HH:MM:SS level message`, and a traceback below it only at level debug."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{self.formatTime(record, '%H:%M:%S')} {record.levelname.lower()} {line_of(record)}"
        return f"{line}\n{_traceback(self, record)}" if _error(record) and _wants_traceback() else line


class _JsonFormatter(logging.Formatter):
    """One object a line, with the time in UTC (RFC 3339)."""

    def format(self, record: logging.LogRecord) -> str:
        time = dt.datetime.fromtimestamp(record.created, dt.UTC)
        event = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        error = _error(record)
        if error is not None:
            event["error"] = described(error)
            if _wants_traceback():
                event["traceback"] = _traceback(self, record)
        return json.dumps(event)


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return formatter.formatException(record.exc_info) if record.exc_info else ""
