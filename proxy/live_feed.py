"""What has changed, once a second while somebody watches: looked at once for all who do, in slices, so that thousands of connections hold nothing up.

Each thing has the number of the tick in which it changed last. Whoever knows all up to one tick is told what has a later one, and who is new all of it.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, TypeAlias

import msgspec
import trio

from . import api_views as views
from .api import SLICE
from .connections import LONG, MOST_CLOSED, MOST_OPEN, State
from .log_memory import MOST_LINES
from .telemetry import described, logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from .api import Source
    from .connections import Connection

log = logger("live_feed")

PERIOD = 1.0  # seconds
#: Our choice: ticks. So each step of the history has a round trip while somebody looks at it.
MEASURED_EVERY = 4
#: Our choice: ids of connections that are not open any more. Somebody who reads slowly may be 20 s behind, and is shut out where that is not enough.
MOST_GONE = 2 * MOST_OPEN
STATE, CONNECTIONS, LOG = "state", "connections", "log"
PARTS = (STATE, CONNECTIONS, LOG)

#: What of a connection is compared; all else of it changes with one of these.
_Mark: TypeAlias = tuple[object, ...]


class TooLateError(Exception):
    """What happened since then is not known any more."""


class _Entry:
    __slots__ = ("json", "mark", "tick")

    def __init__(self, tick: int, mark: _Mark, json: bytes) -> None:
        self.tick, self.mark, self.json = tick, mark, json


class _Past:
    """The last of what happens once and does not change, and how much of it there has been."""

    __slots__ = ("count", "jsons")

    def __init__(self, most: int) -> None:
        self.jsons: deque[tuple[int, bytes]] = deque(maxlen=most)
        self.count = 0

    def add(self, tick: int, jsons: Iterable[bytes], count: int) -> None:
        self.jsons.extend((tick, json) for json in jsons)
        self.count = count


class Feed:
    """`run` while there is anybody in `watched`, which counts who watches what. `ticked` is set at each tick, and is another one for the next."""

    def __init__(self, source: Source) -> None:
        self.watched: Counter[str] = Counter()
        self.tick = 0
        self.ticked = trio.Event()
        self.seen: frozenset[str] = frozenset()  # what was looked at for this tick: somebody may have come meanwhile
        self._source = source
        self._state = b"null"
        self._entries: dict[int, _Entry] = {}
        self._gone: deque[tuple[int, int]] = deque(maxlen=MOST_GONE)
        self._closed = _Past(MOST_CLOSED)
        self._lines = _Past(MOST_LINES)
        self._made: dict[tuple[tuple[str, int], ...], str] = {}  # messages of this tick

    async def run(self) -> None:
        """Returns when nobody watches any more; what it has got is given back then."""
        while self.watched.total():
            again = trio.current_time() + PERIOD
            await self._guarded(self._look)
            self.tick += 1
            self._made.clear()
            self.ticked.set()
            self.ticked = trio.Event()
            if self.watched[CONNECTIONS]:
                await self._guarded(self._source.look_for_processes)  # for the next one: nobody waits for that
            await trio.sleep_until(again)
        self._entries.clear()
        self._gone.clear()
        self._made.clear()

    async def _guarded(self, look: Callable[[], Awaitable[None]]) -> None:
        """It shows what goes on, and never ends the program."""
        try:
            await look()
        except Exception as exc:
            log.error("the dashboard does not show what goes on: %s", described(exc), exc_info=exc)

    def message(self, known: Mapping[str, int]) -> str:
        """What is new by part, of those that were `seen`, for who knows each up to this tick; 0 is nothing. Raises TooLateError."""
        key = tuple(sorted(known.items()))
        if (made := self._made.get(key)) is None:
            makers = {STATE: lambda _: self._state, CONNECTIONS: self._connections, LOG: self._log}
            parts = [b'"%s":%s' % (name.encode(), makers[name](since)) for name, since in key]
            made = self._made[key] = (b"{%s}" % b",".join(parts)).decode()
        return made

    # ---- what is told

    def _connections(self, since: int) -> bytes:
        if since and len(self._gone) == MOST_GONE and self._gone[0][0] > since:
            raise TooLateError
        open_ones = [entry.json for entry in self._entries.values() if entry.tick > since]
        return b'{"open_count":%d,"open":%s,"closed":%s,"gone":%s}' % (
            self._source.connections.open_count,
            _array(reversed(open_ones)),
            _array(json for tick, json in reversed(self._closed.jsons) if tick > since),
            _array(b"%d" % number for tick, number in self._gone if tick > since > 0),
        )

    def _log(self, since: int) -> bytes:
        return _array(json for tick, json in self._lines.jsons if tick > since)

    # ---- looking

    async def _look(self) -> None:
        tick, parts = self.tick + 1, frozenset(name for name in PARTS if self.watched[name])
        if STATE in parts:
            self._state = msgspec.json.encode(self._source.state())
            if tick % MEASURED_EVERY == 0:
                self._source.measure()
        if LOG in parts:
            memory = self._source.log
            fresh = memory.since(self._lines.count)
            self._lines.add(tick, [msgspec.json.encode(views.line_of(line)) for line in fresh], memory.count)
        if CONNECTIONS in parts:
            await self._look_at_connections(tick)
        self.seen = parts

    async def _look_at_connections(self, tick: int) -> None:
        table, clock, now = self._source.connections, views.Clock.now(), trio.current_time()
        there = set()
        for count, connection in enumerate(reversed(table.all_open()), 1):
            if connection.state is not State.CLOSED:  # while others were looked at
                there.add(connection.id)
                entry = self._entries.get(connection.id)
                mark = _mark(connection, now)
                if entry is None or entry.mark != mark:
                    json = bytes(self._source.connection(connection.view(now), clock))
                    self._entries[connection.id] = _Entry(tick, mark, json)
            if count % SLICE == 0:
                await trio.lowlevel.checkpoint()
        for number in self._entries.keys() - there:
            del self._entries[number]
            self._gone.append((tick, number))
        fresh = reversed(table.last_closed(table.closed_count - self._closed.count))
        self._closed.add(tick, [bytes(self._source.connection(view, clock)) for view in fresh], table.closed_count)


def _mark(connection: Connection, now: float) -> _Mark:
    traffic = connection.traffic
    return (
        connection.state,
        connection.route,
        connection.process or "",
        traffic.bytes_up,
        traffic.bytes_down,
        traffic.ended,
        traffic.waiting_since,
        now - connection.opened_at > LONG,
    )


def _array(parts: Iterable[bytes]) -> bytes:
    return b"[%s]" % b",".join(parts)
