"""What `ropeway top` shows, as lines of text: the state, and the connections in an order that the user chooses, of which one can be picked."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from .screen import Key, Line, Style, columns, fitted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .api_client import Connection, State
    from .screen import Pressed

#: Columns of a snapshot for a file or a pipe: nothing is cut there that people can read.
WIDE = 200
_LEAST_HOST = 16  # columns that are kept for the host, before others give way
_MOST_HOST = 60
_GAP = "   "
_NOTE_LIFE = 3  # updates for which the answer to a key is shown


@dataclass(frozen=True, slots=True)
class Row:
    """Speeds are in bytes a second, and None where it was seen once only."""

    connection: Connection
    up_speed: float | None = None
    down_speed: float | None = None

    @property
    def speed(self) -> float:
        return (self.up_speed or 0.0) + (self.down_speed or 0.0)

    @property
    def total(self) -> int:
        return self.connection.up + self.connection.down


class Speeds:
    """From what was seen the last time and what is seen now."""

    def __init__(self) -> None:
        self._at = 0.0
        self._seen: dict[int, tuple[int, int]] = {}

    def rows(self, connections: Iterable[Connection], now: float) -> list[Row]:
        passed, before = now - self._at, self._seen
        self._at = now
        self._seen = {each.id: (each.up, each.down) for each in connections}
        return [_row(each, before.get(each.id), passed) for each in connections]


def _row(connection: Connection, before: tuple[int, int] | None, passed: float) -> Row:
    if before is None or passed <= 0:
        return Row(connection)
    return Row(connection, (connection.up - before[0]) / passed, (connection.down - before[1]) / passed)


class Order(enum.Enum):
    """By what the connections are sorted; the value is for people."""

    SPEED = "speed"
    TOTAL = "bytes"
    NEWEST = "newest"
    HOST = "app and host"


_ORDERS: dict[Order, Callable[[Row], tuple[float | str, ...]]] = {
    Order.SPEED: lambda row: (-row.speed, -row.total, -row.connection.id),
    Order.TOTAL: lambda row: (-row.total, -row.connection.id),
    Order.NEWEST: lambda row: (-row.connection.id,),
    Order.HOST: lambda row: (row.connection.app or "~", row.connection.host, row.connection.id),
}

# ---- words


def amount(size: float) -> str:
    """Bytes, in at most 6 characters."""
    if size < 999.5:
        return f"{size:.0f} B"
    for unit in ("KB", "MB", "GB"):
        size /= 1000
        if size < 9.95:
            return f"{size:.1f} {unit}"
        if size < 999.5:
            return f"{size:.0f} {unit}"
    return f"{min(size / 1000, 999):.0f} TB"


def speed(size: float | None) -> str:
    return "" if size is None else f"{amount(max(size, 0.0))}/s"


def duration(seconds: float) -> str:
    """In at most 8 characters, for less than 27 years."""
    whole = max(int(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 86400:
        return f"{whole // 3600}:{whole // 60 % 60:02} h"
    return f"{whole // 86400} d"


def heading(state: State) -> list[str]:
    """What stands above the connections."""
    rate, total = state.rate, state.total
    parts = [f"{state.open} open of {state.connections} connections"]
    if state.memory is not None:
        parts.append(f"memory {amount(state.memory)}")
    name = f"Ropeway {state.version}".rstrip()
    return [
        _GAP.join([name, ", ".join(state.listen), state.mode, f"for {duration(state.now - state.started)}"]),
        _carrier(state),
        _GAP.join(
            [
                f"down {speed(rate.down)}",
                f"up {speed(rate.up)}",
                f"in all {amount(total.down)} and {amount(total.up)}",
                *parts,
            ]
        ),
    ]


def _carrier(state: State) -> str:
    carrier = state.carrier
    if carrier is None:
        return "no exit in use yet"
    parts = [carrier.exit, f"{carrier.state} for {duration(state.now - carrier.since)}"]
    if carrier.rtt_ms is not None:
        parts.append(f"{carrier.rtt_ms:.0f} ms")
    if carrier.last_loss is not None:
        when = time.strftime("%H:%M", time.localtime(carrier.last_loss.at))
        parts.append(f"connection {carrier.carriers}, the last was lost at {when}: {carrier.last_loss.reason}")
    return _GAP.join(parts)


# ---- columns

_Text: TypeAlias = Callable[[Row, float], str]


def _place(connection: Connection) -> str:
    network = "/udp" if connection.protocol == "udp" else ""
    return f"{connection.host}:{connection.port}{network}"


@dataclass(frozen=True, slots=True)
class _Column:
    """Those with the largest `rank` give way first where the terminal is narrow."""

    title: str
    width: int
    rank: int
    text: _Text
    right: bool = False


_COLUMNS = (
    _Column("APP", 10, 4, lambda row, _now: row.connection.app),
    _Column("HOST", _LEAST_HOST, 0, lambda row, _now: _place(row.connection)),
    _Column("ROUTE", 7, 5, lambda row, _now: row.connection.route),
    _Column("RULE", 20, 9, lambda row, _now: row.connection.rule),
    _Column("PROTO", 7, 8, lambda row, _now: row.connection.protocol),
    _Column("STATE", 11, 7, lambda row, _now: row.connection.state),
    _Column("AGE", 8, 6, lambda row, now: duration(now - row.connection.opened), right=True),
    _Column("DOWN", 8, 1, lambda row, _now: speed(row.down_speed), right=True),
    _Column("UP", 8, 2, lambda row, _now: speed(row.up_speed), right=True),
    _Column("BYTES", 6, 3, lambda row, _now: amount(row.total), right=True),
)


def _chosen_columns(width: int) -> list[_Column]:
    chosen = list(_COLUMNS)
    while len(chosen) > 1 and sum(each.width for each in chosen) + len(chosen) - 1 > width:
        chosen.remove(max(chosen, key=lambda each: each.rank))
    return chosen


def table(rows: Sequence[Row], width: int, now: float) -> list[str]:
    """A line of titles, and one for each row."""
    chosen = _chosen_columns(width)
    others = sum(each.width + 1 for each in chosen if each.rank)
    longest = max((columns(_place(each.connection)) for each in rows), default=0)
    host = max(min(width - others, max(longest, _LEAST_HOST), _MOST_HOST), 1)
    widths = [each.width if each.rank else host for each in chosen]
    lines = [" ".join(fitted(c.title, w, right=c.right) for c, w in zip(chosen, widths, strict=True))]
    lines += [
        " ".join(fitted(c.text(row, now), w, right=c.right) for c, w in zip(chosen, widths, strict=True))
        for row in rows
    ]
    return lines


# ---- the view


class TopView:
    """`close` is called with the id of a connection that the user wants to end, and returns what to tell the user."""

    def __init__(self, close: Callable[[int], str]) -> None:
        self._close = close
        self._speeds = Speeds()
        self._state: State | None = None
        self._rows: list[Row] = []
        self._order = Order.SPEED
        self._picked: int | None = None  # the id: the connection stays picked wherever it moves
        self._first = 0  # the row that is shown first
        self._page = 1  # rows that were shown last
        self._note = ""
        self._note_age = 0  # updates that have come since
        self.trouble = ""  # why nothing new comes

    def update(self, state: State, connections: Sequence[Connection]) -> None:
        if self._state is not None and state.started != self._state.started:
            self._picked = None  # another program, which has other connections under the same numbers
        self.trouble = ""
        self._note_age += 1
        if self._note_age > _NOTE_LIFE:
            self._note = ""
        self._state = state
        self._rows = self._speeds.rows(connections, state.now)
        self._sort()

    @property
    def is_empty(self) -> bool:
        """Nothing was seen yet."""
        return self._state is None

    def press(self, key: Pressed) -> bool:
        """Returns whether it goes on."""
        self._note, self._note_age = "", 0
        if key in ("q", "Q"):
            return False
        if isinstance(key, Key):
            self._move(key)
        elif key in ("s", "S"):
            orders = list(Order)
            self._order = orders[(orders.index(self._order) + 1) % len(orders)]
            self._sort()
        elif key in ("c", "C"):
            self._note = "pick one with the arrow keys" if self._index() is None else self._close(self._picked or 0)
        return True

    def _sort(self) -> None:
        self._rows.sort(key=_ORDERS[self._order])

    def _index(self) -> int | None:
        """Of the row that is picked, if it is still there."""
        found = (number for number, row in enumerate(self._rows) if row.connection.id == self._picked)
        return next(found, None)

    def _move(self, key: Key) -> None:
        if not self._rows:
            return
        now, last = self._index(), len(self._rows) - 1
        steps = {
            Key.UP: -1,
            Key.DOWN: 1,
            Key.PAGE_UP: -self._page,
            Key.PAGE_DOWN: self._page,
            Key.HOME: -last,
            Key.END: last,
        }
        wanted = self._first if now is None and key not in (Key.HOME, Key.END) else (now or 0) + steps[key]
        wanted = min(max(wanted, 0), last)
        self._picked = self._rows[wanted].connection.id
        self._show(wanted)

    def _show(self, index: int) -> None:
        self._first = min(max(self._first, index - self._page + 1), index)

    def lines(self, width: int, height: int) -> list[Line]:
        """As many as there are at most, each as wide as it may be."""
        if self._state is None:
            return [Line(self.trouble)]
        above = [Line(text) for text in heading(self._state)]
        above[0] = Line(above[0].text, Style.BOLD)
        above = above[: max(height - 3, 0)]  # a row, its titles and the line below are worth more
        self._page = max(height - len(above) - 2, 1)
        index = self._index()
        if index is not None:
            self._show(index)
        self._first = max(min(self._first, len(self._rows) - self._page), 0)
        shown = self._rows[self._first : self._first + self._page]
        titles, *rows = table(shown, width, self._state.now)
        picked = None if index is None else index - self._first
        lines = [*above, Line(titles, Style.REVERSE)]
        lines += [Line(text, Style.REVERSE if number == picked else Style.PLAIN) for number, text in enumerate(rows)]
        below = self.trouble or self._note or self._help(len(shown))
        return [*lines, *[Line("")] * (height - 1 - len(lines)), Line(below, Style.BOLD)][-height:]

    def _help(self, shown: int) -> str:
        parts = ["q quit", f"s sorted by {self._order.value}", "arrows pick", "c close"]
        if shown < len(self._rows):
            parts.append(f"{self._first + 1}-{self._first + shown} of {len(self._rows)}")
        return _GAP.join(parts)

    def snapshot(self) -> list[str]:
        """Of all, for who has no terminal."""
        if self._state is None:
            return []
        texts = [*heading(self._state), "", *table(self._rows, WIDE, self._state.now)]
        return [text.rstrip() for text in texts]
