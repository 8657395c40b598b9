"""The connections of apps at the local port: which are open, where each goes and by what way, what went over it and when; and the last that closed.
What an app says over UDP stands there as well (`conversation`).

It is for whoever sits before this computer. It lives in memory, and nothing of it is logged.

    opening --reached--> open --one side has ended--> half-closed --the other too--> closed
       '-------------------'-------- broken, idle, or ended by hand -------------------'

Time is an argument, in seconds of any clock that does not go back.
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from .idleness import IDLE_TEXT
from .traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .address import Address

# Our choices.
#: In the table at once; apps may have no more by the configuration, unless it is raised. What is beyond is not shown, but counted.
MOST_OPEN = 16_384
MOST_CLOSED = 200
#: In one snapshot, unless more is asked for: each takes 7 microseconds, and meanwhile nothing else goes on.
MOST_SHOWN = 1000
#: Whose bytes are counted one by one; who has been away for longest is counted with the others.
MOST_HOSTS = 1000
#: A page and its pictures are there by then; what is open for longer is a chat, a call, a download or a film. Seconds.
LONG = 60.0

#: Routes. No exit watches over connections that go directly.
TUNNEL, DIRECT = "tunnel", "direct"
BY_HAND = "it was closed by hand"


class AppProtocol(enum.StrEnum):
    """What an app speaks to the local port."""

    SOCKS5 = "socks5"
    SOCKS4 = "socks4"
    CONNECT = "connect"
    HTTP = "http"  # requests with a whole URL; a connection is one to a site
    UDP = "udp"


class State(enum.StrEnum):
    OPENING = "opening"
    OPEN = "open"
    HALF_CLOSED = "half-closed"
    CLOSED = "closed"


class Scope(Protocol):
    """What a connection lives in, as a trio.CancelScope."""

    def cancel(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionView:
    """A connection at one moment. `waiting_since`: when the app has said the first thing that nothing has come back to; None where nothing is
    due. `last_up` and `last_down` are None where nothing went that way. `hosts` tell which app has it, the most telling first.
    """

    id: int
    protocol: AppProtocol
    address: Address
    hosts: tuple[str, ...]
    route: str
    rule: str
    exit: str = ""  # by which it goes, where that is known
    process: str = ""  # the file of the program that has it, where somebody has looked for that
    state: State
    reason: str  # why it closed; empty where both sides had ended it
    opened_at: float
    closed_at: float | None
    bytes_up: int
    bytes_down: int
    last_up: float | None
    last_down: float | None
    waiting_since: float | None
    long: bool


@dataclass(frozen=True, slots=True)
class Total:
    """Of connections since the start, those that are open among them. `host` is empty where it is of all of them, or of the other hosts."""

    host: str
    connections: int
    bytes_up: int
    bytes_down: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`open` and `closed` begin with the last one that was opened or closed, `hosts` with the one with most bytes; `others` has the rest of them.
    `open_count` is of all that are open, shown or not.
    """

    now: float
    open_count: int
    open: tuple[ConnectionView, ...]
    closed: tuple[ConnectionView, ...]
    total: Total
    hosts: tuple[Total, ...]
    others: Total


class Connection:
    """One of them, for who carries it and counts its traffic."""

    # Over the budget of attributes: they are what is shown of it.

    __slots__ = (
        "_ending",
        "_scope",
        "_table",
        "address",
        "app",
        "exit",
        "id",
        "opened_at",
        "others",
        "process",
        "protocol",
        "reason",
        "route",
        "rule",
        "state",
        "traffic",
    )

    def __init__(self, table: Connections, number: int, protocol: AppProtocol, address: Address, now: float) -> None:
        self._table: Connections | None = table
        self._scope: Scope | None = None
        self._ending = ""
        self.id = number
        self.protocol = protocol
        self.address = address
        self.others: tuple[str, ...] = ()  # hosts of an association that it has sent to as well
        self.opened_at = now
        self.route = self.rule = self.exit = self.reason = ""
        self.app: object = None  # the stream of the app, for who looks for its program
        self.process: str | None = None  # None: nobody has looked
        self.state = State.OPENING
        self.traffic = Traffic()

    def __repr__(self) -> str:
        return f"<Connection {self.id} {self.protocol} {self.state}>"

    def chosen(self, route: str, rule: str = "") -> None:
        """Which way it takes, and the text of the rule that says so."""
        self.route, self.rule = route, rule

    def reached(self, exit_name: str = "") -> None:
        self.state, self.exit = State.OPEN, exit_name

    @property
    def hosts(self) -> tuple[str, ...]:
        """By which it is told whose it is, the most telling first."""
        host = self.address.host
        return (host, *(each for each in self.others if each != host))

    @property
    def quiet_since(self) -> float:
        """When something went last, either way."""
        return max(self.opened_at, self.traffic.last_up or 0.0, self.traffic.last_down or 0.0)

    @property
    def ending(self) -> str:
        """Why it is to end, by `end`; empty where it is not."""
        return self._ending

    def end(self, why: str) -> None:
        """Asks who carries it to end it at once."""
        if self._table is not None and not self._ending:
            self._ending = why
            if self._scope is not None:
                self._scope.cancel()

    def ends_with(self, scope: Scope) -> None:
        """The scope to cancel where it is to end, in place of the one that was given before."""
        self._scope = scope
        if self._ending:
            scope.cancel()

    def close(self, now: float, reason: str = "") -> None:
        """It is over. `reason` is empty where both sides have ended it; where it was ended from here, that is the reason. Twice is the same as once."""
        if self._table is not None:
            table, self._table, self._scope, self.app = self._table, None, None, None
            self.state, self.reason = State.CLOSED, self._ending or reason
            table.forget(self, now)

    def view(self, now: float) -> ConnectionView:
        """As it is now, which is when it closed where it has closed."""
        traffic = self.traffic
        return ConnectionView(
            id=self.id,
            protocol=self.protocol,
            address=self.address,
            hosts=self.hosts,
            route=self.route,
            rule=self.rule,
            exit=self.exit,
            process=self.process or "",
            state=State.HALF_CLOSED if self.state is State.OPEN and traffic.ended else self.state,
            reason=self.reason,
            opened_at=self.opened_at,
            closed_at=now if self.state is State.CLOSED else None,
            bytes_up=traffic.bytes_up,
            bytes_down=traffic.bytes_down,
            last_up=traffic.last_up,
            last_down=traffic.last_down,
            waiting_since=traffic.waiting_since,
            long=now - self.opened_at > LONG,
        )


def app_of_any(hosts: Iterable[str], app_of: Callable[[str], str]) -> str:
    """Of the first that is of one; empty where none is."""
    return next(filter(None, map(app_of, hosts)), "")


class _Sum:
    """Of connections and what went over them."""

    __slots__ = ("bytes_down", "bytes_up", "connections")

    def __init__(self) -> None:
        self.connections = self.bytes_up = self.bytes_down = 0

    def add(self, other: Traffic | _Sum, connections: int = 1) -> None:
        self.connections += connections
        self.bytes_up += other.bytes_up
        self.bytes_down += other.bytes_down

    def total(self, host: str = "") -> Total:
        return Total(host, self.connections, self.bytes_up, self.bytes_down)


class Connections:
    """All of them. Whoever opens one closes it."""

    def __init__(self, most: int = MOST_OPEN) -> None:
        self._most = most
        self._last_id = self._open_count = 0
        self._open: dict[int, Connection] = {}
        self._closed: deque[ConnectionView] = deque(maxlen=MOST_CLOSED)
        self._hosts: dict[str, _Sum] = {}  # who had one closed last is the last
        self._others = _Sum()
        self._gone = _Sum()  # of all that have closed
        self.when_closed: Callable[[Connection], None] | None = None  # who counts them

    def __repr__(self) -> str:
        return f"<Connections, {self._open_count} open>"

    def opened(self, protocol: AppProtocol, address: Address, now: float) -> Connection:
        """A new one, on its way to the address."""
        self._last_id += 1
        self._open_count += 1
        made = Connection(self, self._last_id, protocol, address, now)
        if len(self._open) < self._most:
            self._open[made.id] = made
        return made

    def forget(self, connection: Connection, now: float) -> None:
        """What a connection calls that has just closed."""
        self._open_count -= 1
        self._open.pop(connection.id, None)
        self._closed.append(connection.view(now))
        self._gone.add(connection.traffic)
        host = self._hosts.pop(connection.address.host, None) or _Sum()
        host.add(connection.traffic)
        self._hosts[connection.address.host] = host
        if len(self._hosts) > MOST_HOSTS:
            away = self._hosts.pop(next(iter(self._hosts)))
            self._others.add(away, away.connections)
        if self.when_closed is not None:
            self.when_closed(connection)

    def close(self, number: int, why: str = BY_HAND) -> bool:
        """Ends the connection with this id; returns whether there is one."""
        connection = self._open.get(number)
        if connection is None:
            return False
        connection.end(why)
        return True

    def end_idle(self, since: float) -> None:
        """Ends the direct connections over which nothing has gone since then. For the others it is the exit that does, and an association lasts as
        long as its app wants: one way of it may be idle while a call goes another.
        """
        for connection in list(self._open.values()):
            if (
                connection.route == DIRECT
                and connection.protocol is not AppProtocol.UDP
                and connection.quiet_since <= since
            ):
                connection.end(IDLE_TEXT)

    # ---- what is shown

    def snapshot(self, now: float, most: int = MOST_SHOWN) -> Snapshot:
        """With at most so many of those that are open."""
        hosts = self._sums()
        most_first = sorted(hosts.items(), key=lambda item: -(item[1].bytes_up + item[1].bytes_down))
        return Snapshot(
            now,
            self._open_count,
            tuple(each.view(now) for each in islice(reversed(self._open.values()), most)),
            tuple(reversed(self._closed)),
            self.total(),
            tuple(each.total(host) for host, each in most_first),
            self._others.total(),
        )

    @property
    def open_count(self) -> int:
        """Of all that are open, in the table or not."""
        return self._open_count

    @property
    def closed_count(self) -> int:
        """Of all that have closed so far."""
        return self._gone.connections

    def last_closed(self, most: int) -> list[ConnectionView]:
        """The last one first."""
        return list(islice(reversed(self._closed), most))

    def all_open(self) -> list[Connection]:
        """The last one first."""
        return list(reversed(self._open.values()))

    def total(self) -> Total:
        """Of all so far. For 5,000 that are open it takes a millisecond."""
        total = _Sum()
        total.add(self._gone, self._gone.connections)
        for connection in self._open.values():
            total.add(connection.traffic)
        return total.total()

    def _sums(self) -> dict[str, _Sum]:
        """For each host, of those that are open as well."""
        hosts: dict[str, _Sum] = {}
        for host, closed in self._hosts.items():
            hosts.setdefault(host, _Sum()).add(closed, closed.connections)
        for connection in self._open.values():
            hosts.setdefault(connection.address.host, _Sum()).add(connection.traffic)
        return hosts
