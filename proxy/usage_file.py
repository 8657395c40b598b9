"""How much each app moved on each day, on disk: a file of SQLite that only its user can read.

Losing it costs nothing but the past, and it never stops anything: one that is broken is put aside, and a new one begun. Threads call this,
one at a time; several programs of the same user may.
"""

from __future__ import annotations

import datetime as dt
import os
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar

from .errors import UsageError
from .telemetry import logger, one_line

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path
    from types import ModuleType

log = logger("usage")

# Our choices.
MOST_DAYS = 400  # a year and what is needed to compare with the last one
MOST_APPS = 200  # in a day; there are some 20 presets. What is beyond counts as of no app
PATIENCE = 2.0  # seconds until another program is done with the file
_VERSION = 1
_T = TypeVar("_T")

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS usage (
    day TEXT NOT NULL, app TEXT NOT NULL, up INTEGER NOT NULL, down INTEGER NOT NULL, connections INTEGER NOT NULL,
    PRIMARY KEY (day, app)
) WITHOUT ROWID;
PRAGMA user_version = {_VERSION};
"""
_ADD = """
INSERT INTO usage (day, app, up, down, connections) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (day, app) DO UPDATE SET up = up + excluded.up, down = down + excluded.down, connections = connections + excluded.connections
"""
_FORGET = "DELETE FROM usage WHERE day NOT IN (SELECT DISTINCT day FROM usage ORDER BY day DESC LIMIT ?)"


class Amount(NamedTuple):
    """Bytes, and connections that were opened."""

    up: int = 0
    down: int = 0
    connections: int = 0

    def plus(self, other: Amount) -> Amount:
        return Amount(self.up + other.up, self.down + other.down, self.connections + other.connections)


#: By day and app; the app is empty for everything else.
Amounts = dict[tuple[dt.date, str], Amount]


class UsageFile:
    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def of_user(cls) -> Self:
        """Where the local side of this user keeps it."""
        import platformdirs

        return cls(platformdirs.user_state_path("ropeway", appauthor=False) / "usage.sqlite")

    def add(self, amounts: Mapping[tuple[dt.date, str], Amount]) -> None:
        """All of it or nothing. Raises UsageError where that is not possible now."""
        self._with(partial(_add, amounts=amounts))

    def read(self) -> Amounts:
        """Empty where nothing is known. Raises UsageError where it cannot be read now."""
        return dict(_parsed(self._with(_rows))) if self._path.exists() else {}

    def wipe(self) -> None:
        """Nothing of it is left in the file, nor in one that was put aside. Raises UsageError."""
        if self._path.exists():
            self._with(_wipe)
        try:
            _aside(self._path).unlink(missing_ok=True)
        except OSError as error:
            raise UsageError(f"{_aside(self._path)} cannot be removed: {error.strerror}") from None

    def _with(self, act: Callable[[sqlite3.Connection], _T]) -> _T:
        """Where the file is broken, with a new one in its place. Raises UsageError."""
        try:
            import sqlite3
        except ImportError:
            raise UsageError("this Python has no sqlite3, so usage by app is not known") from None
        passing = {getattr(sqlite3, f"SQLITE_{name}") for name in _PASSING}
        try:
            for again in (True, False):
                try:
                    with closing(_open(sqlite3, self._path)) as database:
                        return act(database)
                except (sqlite3.Error, UnicodeDecodeError) as error:
                    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF  # the rest is details
                    if code in passing or not again:
                        raise UsageError(f"{self._path} cannot be used: {one_line(str(error))}") from None
                    self._put_aside(error)
        except OSError as error:  # also where it cannot be put aside
            raise UsageError(f"{self._path} cannot be used: {error.strerror}") from None
        raise AssertionError("the second time returns or raises")

    def _put_aside(self, error: Exception) -> None:
        """Raises OSError."""
        aside = _aside(self._path)
        self._path.replace(aside)
        self._path.with_name(f"{self._path.name}-journal").unlink(missing_ok=True)
        log.warning("what was kept of usage cannot be read (%s); it is %s now, and a new one is begun", error, aside)


#: What another program, the user or the system mends. After anything else the file is of no use.
_PASSING = ("BUSY", "LOCKED", "READONLY", "IOERR", "FULL", "CANTOPEN", "NOMEM", "PERM", "AUTH")


def _open(sqlite: ModuleType, path: Path) -> sqlite3.Connection:
    """Raises sqlite3.Error and OSError. SQLite gives its other files the rights of this one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    path.chmod(0o600)
    database: sqlite3.Connection = sqlite.connect(path, timeout=PATIENCE, isolation_level=None)
    try:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version not in (0, _VERSION):
            raise sqlite.DatabaseError("it is of another version")
        if version == 0:
            database.executescript(_SCHEMA)
    except BaseException:
        database.close()
        raise
    return database


def _add(database: sqlite3.Connection, amounts: Mapping[tuple[dt.date, str], Amount]) -> None:
    with database:
        database.execute("BEGIN IMMEDIATE")
        known: dict[str, set[str]] = {}
        for (date, app), amount in amounts.items():
            day = date.isoformat()
            if day not in known:
                known[day] = _apps(database, day)
            name = app if app in known[day] or len(known[day]) < MOST_APPS else ""
            known[day].add(name)
            database.execute(_ADD, (day, name, amount.up, amount.down, amount.connections))
        database.execute(_FORGET, (MOST_DAYS,))


def _apps(database: sqlite3.Connection, day: str) -> set[str]:
    """One place is kept for everything else."""
    return {"", *(str(app) for (app,) in database.execute("SELECT app FROM usage WHERE day = ?", (day,)))}


def _rows(database: sqlite3.Connection) -> list[tuple[object, ...]]:
    return database.execute("SELECT day, app, up, down, connections FROM usage").fetchall()


def _wipe(database: sqlite3.Connection) -> None:
    database.execute("PRAGMA secure_delete = ON")
    database.execute("DELETE FROM usage")
    database.execute("VACUUM")


def _parsed(rows: Iterable[tuple[object, ...]]) -> Iterator[tuple[tuple[dt.date, str], Amount]]:
    """Without what is none: somebody else may have written it."""
    for day, app, *numbers in rows:
        up, down, connections = (number if isinstance(number, int) else -1 for number in numbers)
        with suppress(ValueError):
            date = dt.date.fromisoformat(str(day))
            if isinstance(app, str) and min(up, down, connections) >= 0:
                yield (date, app), Amount(up, down, connections)


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.broken")
