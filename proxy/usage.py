"""How much each app moves: counted from the connections, kept by day.

Connections are counted when they close, and those that are open each time something is written, so that a day has what went on in it.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import trio

from .connections import State, app_of_any
from .errors import UsageError
from .telemetry import logger
from .usage_file import Amount

if TYPE_CHECKING:
    from collections.abc import Callable

    from .connections import Connection, Connections
    from .usage_file import Amounts, UsageFile

log = logger("usage")

# Our choices.
WRITE_EVERY = 60.0  # seconds
GOODBYE = 2.0  # seconds that the last writing may take
#: Hosts that are told apart between two writings; what is beyond counts as of no app.
MOST_HOSTS = 4096
_SLICE = 512  # connections that are looked at in one go

#: The app of a host; empty where it is of none.
AppOf: TypeAlias = "Callable[[str], str]"
#: What tells the app of a connection.
_Hosts: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AppUsage:
    app: str
    up: int
    down: int
    connections: int


@dataclass(frozen=True, slots=True)
class DayUsage:
    """`apps` begins with the one that moved most."""

    day: dt.date
    apps: tuple[AppUsage, ...]


class Meter:
    """What went over connections since it was asked last, by the hosts that tell whose they are. Nothing is counted before it is started."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._counted: dict[int, Amount] = {}  # of those that are open, by their ids
        self._hosts: dict[_Hosts, Amount] = {}

    @property
    def counts(self) -> bool:
        return self._connections.when_closed is not None

    def start(self) -> None:
        """What is open already counts with what goes over it from now on."""
        for connection in self._connections.all_open():
            self._counted[connection.id] = Amount(connection.traffic.bytes_up, connection.traffic.bytes_down)
        self._connections.when_closed = self._count

    def stop(self) -> None:
        """Nothing is counted any more, and what was not taken is forgotten."""
        self._connections.when_closed = None
        self._counted.clear()
        self._hosts.clear()

    async def take(self) -> dict[_Hosts, Amount]:
        """In slices, as thousands may be open. Nothing where it was stopped, also meanwhile."""
        for number, connection in enumerate(self._connections.all_open(), 1):
            if not self.counts:
                break
            if connection.state is not State.CLOSED:  # it may have closed by now, and is counted then
                self._count(connection)
            if number % _SLICE == 0:
                await trio.lowlevel.checkpoint()
        taken, self._hosts = self._hosts, {}
        return taken

    def _count(self, connection: Connection) -> None:
        traffic = connection.traffic
        before = self._counted.pop(connection.id, None)
        if connection.state is not State.CLOSED:
            self._counted[connection.id] = Amount(traffic.bytes_up, traffic.bytes_down)
        up, down = (before.up, before.down) if before else (0, 0)
        hosts = connection.hosts
        if hosts not in self._hosts and len(self._hosts) >= MOST_HOSTS:
            hosts = ()
        more = Amount(traffic.bytes_up - up, traffic.bytes_down - down, int(before is None))
        if any(more):
            self._hosts[hosts] = self._hosts.get(hosts, Amount()).plus(more)


class Usage:
    """`load_names` gives the function that knows the apps of hosts; it may take long, and a thread calls it once. Nothing is counted before `keep`
    says so, while what was kept before can be seen and wiped.
    """

    def __init__(
        self,
        file: UsageFile,
        meter: Meter,
        load_names: Callable[[], AppOf] | None = None,
        *,
        today: Callable[[], dt.date] = dt.date.today,
    ) -> None:
        self._file = file
        self._meter = meter
        self._load_names = load_names
        self._app_of: AppOf | None = None
        self._today = today
        self._waiting: Amounts = {}
        self._turn = trio.Lock()  # one thread at a time at the file
        self._told = ""  # what the log said of the last writing

    @property
    def kept(self) -> bool:
        return self._meter.counts

    def keep(self, wanted: bool) -> None:
        """Whether anything is counted from now on. Where it ends, what is not written yet is forgotten: nothing is written any more."""
        if wanted == self.kept:
            return
        if wanted:
            self._meter.start()
        else:
            self._meter.stop()
            self._waiting.clear()

    def add(self, app: str, up: int, down: int, connections: int) -> None:
        """Of today."""
        self._put(self._today(), app, Amount(up, down, connections))

    async def days(self) -> list[DayUsage]:
        """The newest first, with what is not written yet. Raises UsageError."""
        async with self._turn:
            await self._collect()
            amounts = await trio.to_thread.run_sync(self._file.read)
            for key, amount in self._waiting.items():
                amounts[key] = amounts.get(key, Amount()).plus(amount)
        return _by_day(amounts)

    async def wipe(self) -> None:
        """Forgets all, here and on the disk. Raises UsageError."""
        async with self._turn:
            await self._collect()
            self._waiting.clear()
            await trio.to_thread.run_sync(self._file.wipe)

    async def run(self) -> None:
        """Until it is cancelled: writes now and then, and at the end."""
        try:
            while True:
                await trio.sleep(WRITE_EVERY)
                await self.write()
        finally:
            with trio.move_on_after(GOODBYE, shield=True):
                await self.write(last=True)

    async def write(self, *, last: bool = False) -> None:
        """What cannot be written waits for the next time, and the log says so once; the last time nobody waits for a thread that hangs."""
        async with self._turn:
            await self._collect()
            if not self._waiting:
                return
            taken, self._waiting = self._waiting, {}
            try:
                await trio.to_thread.run_sync(self._file.add, taken, abandon_on_cancel=last)
            except UsageError as error:
                if self.kept:
                    for (day, app), amount in taken.items():
                        self._put(day, app, amount)
                self._tell(str(error))
            else:
                self._told = ""

    def _tell(self, text: str) -> None:
        if text != self._told:
            log.warning("what apps used is not written: %s", text)
        self._told = text

    def _put(self, day: dt.date, app: str, amount: Amount) -> None:
        self._waiting[day, app] = self._waiting.get((day, app), Amount()).plus(amount)

    async def _collect(self) -> None:
        found = await self._meter.take()
        if found and self._app_of is None and self._load_names is not None:
            with trio.CancelScope(shield=True):  # what was taken is not lost
                self._app_of = await trio.to_thread.run_sync(self._load_names)
        if not self.kept:  # it ended meanwhile
            return
        for hosts, amount in found.items():
            self.add(app_of_any(hosts, self._app_of) if self._app_of else "", *amount)


def _by_day(amounts: Amounts) -> list[DayUsage]:
    days: dict[dt.date, list[AppUsage]] = {}
    for (day, app), amount in amounts.items():
        days.setdefault(day, []).append(AppUsage(app, *amount))
    return [
        DayUsage(day, tuple(sorted(days[day], key=lambda each: (-each.up - each.down, each.app))))
        for day in sorted(days, reverse=True)
    ]
