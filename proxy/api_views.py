"""What the dashboard's interface shows, as it is written in JSON (docs/api.md)."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import trio
from msgspec import Struct

from .connections import app_of_any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .connections import ConnectionView, Total
    from .exits import ExitView
    from .history import Plot
    from .log_memory import Line
    from .router import Hits
    from .ruleset import Decision
    from .tunnel import Tunnel
    from .tunnel_news import CarrierTotals


class Loss(Struct, frozen=True):
    at: float
    reason: str


class Carrier(Struct, frozen=True):
    exit: str
    state: str
    since: float
    rtt_ms: float | None
    carriers: int
    last_loss: Loss | None


class Exit(Struct, frozen=True):
    name: str
    label: str
    addresses: list[str]
    state: str
    preferred: bool
    current: bool


class Rate(Struct, frozen=True):
    up: float
    down: float


class Bytes(Struct, frozen=True):
    up: int
    down: int


class State(Struct, frozen=True):
    version: str
    started: float
    now: float
    listen: list[str]
    mode: str
    carrier: Carrier | None
    exits: list[Exit]
    rate: Rate
    total: Bytes
    open: int
    connections: int
    memory: int | None


class History(Struct, frozen=True):
    end: float
    step: float
    up: list[float]
    down: list[float]
    rtt_ms: list[float | None]


class Connection(Struct, frozen=True):
    id: int
    app: str
    process: str
    protocol: str
    host: str
    port: int
    route: str
    rule: str
    state: str
    reason: str
    opened: float
    closed: float | None
    up: int
    down: int
    last_up: float | None
    last_down: float | None
    waiting_since: float | None
    long: bool


class Connections(Struct, frozen=True):
    open_count: int
    open: list[Connection]
    closed: list[Connection]


class DefaultRule(Struct, frozen=True):
    route: str
    hits: int
    last: float | None


class Rule(Struct, frozen=True):
    source: str
    text: str
    route: str
    hits: int
    last: float | None


class Rules(Struct, frozen=True):
    mode: str
    count: int
    default: DefaultRule
    rules: list[Rule]


class LogLine(Struct, frozen=True):
    at: float
    level: str
    text: str


class Log(Struct, frozen=True):
    lines: list[LogLine]


class Link(Struct, frozen=True):
    link: str
    svg: str


class Error(Struct, frozen=True):
    error: str


class Mode(Struct, frozen=True):
    """What a change of the mode says."""

    mode: str


class UsageKept(Struct, frozen=True):
    """What a change of whether usage is counted says."""

    kept: bool


@dataclass(frozen=True, slots=True)
class Clock:
    """Makes times of trio's clock those of everybody, in seconds since 1970."""

    offset: float

    @classmethod
    def now(cls) -> Self:
        return cls(time.time() - trio.current_time())

    def time(self, at: float) -> float:
        return round(at + self.offset, 3)

    def maybe(self, at: float | None) -> float | None:
        return None if at is None else round(at + self.offset, 3)


# ---- exits


def exit_of(view: ExitView) -> Exit:
    return Exit(
        view.route.name,
        view.route.label,
        [str(address) for address in view.route.addresses],
        _exit_state(view.tunnel),
        view.route.preferred,
        view.current,
    )


def _exit_state(tunnel: Tunnel | None) -> str:
    if tunnel is None:
        return "idle"
    return "up" if tunnel.up.is_set() else "connecting"


def carrier_of(exits: Sequence[ExitView], totals: CarrierTotals, clock: Clock) -> Carrier | None:
    """None where no exit is in use yet."""
    for view in exits:
        if view.current and view.tunnel is not None:
            tunnel, loss = view.tunnel, totals.last_loss
            up = tunnel.up.is_set()
            return Carrier(
                view.route.name,
                "up" if up else "connecting" if tunnel.news.connecting else "down",
                clock.time(tunnel.news.since),
                _milliseconds(tunnel.round_trip) if up else None,
                totals.carriers,
                Loss(clock.time(loss.at), loss.reason) if loss is not None else None,
            )
    return None


def _milliseconds(seconds: float) -> float | None:
    return None if math.isnan(seconds) else round(seconds * 1000, 1)


# ---- connections


def connection_of(view: ConnectionView, app_of: Callable[[str], str], clock: Clock) -> Connection:
    return Connection(
        view.id,
        app_of_any(view.hosts, app_of),
        view.process.rpartition("/")[2],
        view.protocol.value,
        view.address.host,
        view.address.port,
        view.route,
        view.rule,
        view.state.value,
        view.reason,
        clock.time(view.opened_at),
        clock.maybe(view.closed_at),
        view.bytes_up,
        view.bytes_down,
        clock.maybe(view.last_up),
        clock.maybe(view.last_down),
        clock.maybe(view.waiting_since),
        view.long,
    )


def bytes_of(total: Total) -> Bytes:
    return Bytes(total.bytes_up, total.bytes_down)


# ---- the rest


def history_of(plot: Plot, step: float, clock: Clock) -> History:
    return History(
        clock.time(plot.end),
        step,
        [round(rate, 1) for rate in plot.up],
        [round(rate, 1) for rate in plot.down],
        [_milliseconds(seconds) for seconds in plot.round_trips],
    )


def rule_of(decision: Decision, hits: Hits | None) -> Rule:
    count, last = (hits.count, round(hits.last, 3)) if hits is not None else (0, None)
    return Rule(decision.source, decision.text, str(decision.route), count, last)


def line_of(line: Line) -> LogLine:
    return LogLine(round(line.at, 6), line.level, line.text)
