"""What is here as dashboards for Clash read it: exits as proxies of a group that is chosen from, rules, connections. In JSON; what is not known is left out."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from msgspec import Raw, Struct, field

from .connections import DIRECT, TUNNEL, AppProtocol
from .rule_terms import Carried, Country, Exact, Keyword, Pattern, PortRange, Suffix, Within
from .rules import App, Kind, ListFile, Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .connections import ConnectionView
    from .exits import ExitView
    from .log_memory import Line
    from .router import Hits
    from .rules import Condition
    from .ruleset import Decision, Ruleset

#: The group of all exits, and the one that every dashboard looks for. Both are the same here.
GROUP, GLOBAL = "Ropeway", "GLOBAL"
DIRECT_LEAF, REJECT_LEAF = "DIRECT", "REJECT"
_RESERVED = {GROUP, GLOBAL, DIRECT_LEAF, REJECT_LEAF}

#: Clash's words for what our modes do: by rules, or everything through the tunnel that the user's own rules leave to it.
MODES = {Mode.HOME_DIRECT: "rule", Mode.ALL: "global"}


def _camel_ip(name: str) -> str:
    """As Go's authors write it: sourceIP, destinationPort."""
    first, *others = name.split("_")
    return first + "".join(word.upper() if word == "ip" else word.title() for word in others)


class Message(Struct, frozen=True):
    message: str


class Version(Struct, frozen=True):
    version: str
    meta: bool = True
    premium: bool = True


class Tun(Struct, frozen=True):
    enable: bool = False


class Configuration(Struct, frozen=True, rename="kebab"):
    mixed_port: int
    mode: str
    log_level: str
    port: int = 0
    socks_port: int = 0
    redir_port: int = 0
    tproxy_port: int = 0
    allow_lan: bool = False
    bind_address: str = "127.0.0.1"
    mode_list: list[str] = field(default_factory=lambda: list(MODES.values()))
    modes: list[str] = field(default_factory=lambda: list(MODES.values()))
    ipv6: bool = True
    tun: Tun = Tun()


class Delay(Struct, frozen=True):
    """In milliseconds; 0 is a failure."""

    time: str
    delay: int


class Proxy(Struct, frozen=True, omit_defaults=True):
    name: str
    type: str
    alive: bool
    udp: bool
    history: list[Delay]
    now: str | None = None
    all: list[str] | None = None


class Proxies(Struct, frozen=True):
    proxies: dict[str, Proxy]


class Group(Struct, frozen=True):
    proxies: list[Proxy]


class Providers(Struct, frozen=True):
    """There are none: exits come with links."""

    providers: dict[str, None] = field(default_factory=dict)


class Extra(Struct, frozen=True, rename="camel", omit_defaults=True):
    hit_count: int
    disabled: bool | None = None
    hit_at: str = ""


class Rule(Struct, frozen=True):
    index: int
    type: str
    payload: str
    proxy: str
    extra: Extra
    size: int = -1


class Rules(Struct, frozen=True):
    rules: list[Rule]


class Metadata(Struct, frozen=True, rename=_camel_ip):
    """Ports are texts. From which port it came is not told."""

    network: str
    type: str
    host: str
    destination_ip: str
    destination_port: str
    source_ip: str = ""
    source_port: str = ""
    dns_mode: str = "normal"
    process: str = ""
    process_path: str = ""
    remote_destination: str = ""
    sniff_host: str = ""


class Connection(Struct, frozen=True, rename="camel"):
    id: str
    upload: int
    download: int
    start: str
    chains: list[str]
    rule: str
    rule_payload: str
    metadata: Metadata


class Connections(Struct, frozen=True, rename="camel"):
    download_total: int
    upload_total: int
    memory: int
    connections: list[Raw]


class Traffic(Struct, frozen=True, rename="camel"):
    up: int
    down: int
    up_total: int
    down_total: int


class Memory(Struct, frozen=True):
    """`oslimit`: 0, as the system sets none that is known."""

    inuse: int
    oslimit: int = 0


class LogLine(Struct, frozen=True):
    type: str
    payload: str


class StructuredLine(Struct, frozen=True):
    time: str
    level: str
    message: str
    fields: list[str] = field(default_factory=list)


class Change(Struct, frozen=True):
    """What a dashboard wants changed in the configuration, as far as that is possible here."""

    mode: str | None = None


class Load(Struct, frozen=True):
    path: str = ""
    payload: str = ""


class Selection(Struct, frozen=True):
    name: str


def iso(seconds: float) -> str:
    """RFC 3339 in UTC, of seconds since 1970."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# ---- proxies


@dataclass(frozen=True, slots=True)
class Leaves:
    """The exits by the names that dashboards have for them: what the user calls each, where that is one thing only, or else its address."""

    exits: Mapping[str, ExitView]

    @classmethod
    def of(cls, views: Sequence[ExitView]) -> Self:
        labels = [view.route.label for view in views]
        addresses = {view.route.name for view in views}
        taken = _RESERVED | addresses
        return cls(
            {
                label if label and label not in taken and labels.count(label) == 1 else view.route.name: view
                for view, label in zip(views, labels, strict=True)
            }
        )

    @property
    def now(self) -> str:
        """The one that new connections take; empty before there is one."""
        return next((name for name, view in self.exits.items() if view.current), "")

    def name_of(self, address: str) -> str:
        """Of the exit at this address."""
        return next((name for name, view in self.exits.items() if view.route.name == address), address)


def proxies_of(leaves: Leaves, history: Callable[[str], list[Delay]]) -> dict[str, Proxy]:
    names = list(leaves.exits)
    up = [name for name, view in leaves.exits.items() if is_up(view)]
    alive = leaves.now in up
    groups = {
        name: Proxy(name, "Selector", alive, udp=True, history=history(leaves.now), now=leaves.now, all=names)
        for name in (GLOBAL, GROUP)
    }
    exits = {
        # One that is not needed has no tunnel: that says nothing against it.
        name: Proxy(name, "Ropeway", name in up or view.tunnel is None, udp=True, history=history(name))
        for name, view in leaves.exits.items()
    }
    fixed = {
        DIRECT_LEAF: Proxy(DIRECT_LEAF, "Direct", alive=True, udp=True, history=[]),
        REJECT_LEAF: Proxy(REJECT_LEAF, "Reject", alive=True, udp=True, history=[]),
    }
    return groups | exits | fixed


def is_up(view: ExitView) -> bool:
    return view.tunnel is not None and view.tunnel.up.is_set()


def round_trip_of(view: ExitView) -> int | None:
    """Milliseconds, of the carrier of this exit, where it has been measured."""
    seconds = view.tunnel.round_trip if view.tunnel is not None and view.tunnel.up.is_set() else math.nan
    return None if math.isnan(seconds) else max(1, round(seconds * 1000))


# ---- rules


def _condition(condition: Condition) -> tuple[str, str]:
    """Clash's type and payload."""
    match condition:
        case Exact(name):
            return "Domain", name
        case Suffix(name):
            return "DomainSuffix", name
        case Keyword(word):
            return "DomainKeyword", word
        case Pattern(expression):
            return "DomainRegex", expression.text
        case Within(network):
            return "IPCIDR", str(network)
        case Country(code):
            return "GeoIP", code
        case PortRange(first, last):
            return "DstPort", str(first) if first == last else f"{first}-{last}"
        case Carried(network):
            return "Network", network.value
        case App(name):
            return "RuleSet", f"app:{name}"
        case ListFile():
            return "RuleSet", str(condition)
    return "RuleSet", ""


def terms_of(ruleset: Ruleset, most: int) -> dict[str, tuple[str, str]]:
    """Type and payload of each of its decisions, by their text."""
    found = {}
    rules = ruleset.settings.rules
    for number, decision in enumerate(ruleset.decisions(most)):
        if number < min(most, len(rules)):
            parts = [_condition(each) for each in rules[number].conditions]
            term = parts[0] if len(parts) == 1 else ("AND", " && ".join(f"{kind},{payload}" for kind, payload in parts))
        else:  # the mode's, which have texts of ours, and the default
            term = ("RuleSet", decision.text) if decision.text else ("Match", "")
        found[decision.rule_text] = term
    return found


def rule_of(index: int, decision: Decision, term: tuple[str, str], hits: Hits | None, leaves: Leaves) -> Rule:
    kind, payload = term
    extra = Extra(hits.count, False, iso(hits.last)) if hits is not None else Extra(0, False)
    return Rule(index, kind, payload, _proxy_of(decision, leaves), extra)


def _proxy_of(decision: Decision, leaves: Leaves) -> str:
    route = decision.route
    if route.exit is None:
        return {Kind.DIRECT: DIRECT_LEAF, Kind.BLOCK: REJECT_LEAF}.get(route.kind, GROUP)
    for name, view in leaves.exits.items():
        if any(map(route.exit.matches, view.route.addresses)):
            return name
    return str(route.exit)


# ---- connections

_TYPES = {
    AppProtocol.SOCKS5: "Socks5",
    AppProtocol.SOCKS4: "Socks4",
    AppProtocol.CONNECT: "HTTPS",
    AppProtocol.HTTP: "HTTP",
    AppProtocol.UDP: "Socks5",
}


_FIXED = {DIRECT: DIRECT_LEAF, Kind.BLOCK.value: REJECT_LEAF}


def connection_of(
    view: ConnectionView, start: float, terms: Mapping[str, tuple[str, str]], leaves: Leaves
) -> Connection:
    """`start` is when it was opened, in seconds since 1970."""
    rule, payload = terms.get(view.rule, (view.rule, ""))
    ip = view.address.ip
    return Connection(
        str(view.id),
        view.bytes_up,
        view.bytes_down,
        iso(start),
        _chain(view, leaves),
        rule,
        payload,
        Metadata(
            "udp" if view.protocol is AppProtocol.UDP else "tcp",
            _TYPES[view.protocol],
            view.address.host if ip is None else "",
            "" if ip is None else str(ip),
            str(view.address.port),
            process=view.process.rpartition("/")[2],
            process_path=view.process,
        ),
    )


def _chain(view: ConnectionView, leaves: Leaves) -> list[str]:
    """The exit that has it first, and then the group. Which exit that is is not known before it is open."""
    if (fixed := _FIXED.get(view.route)) is not None:
        return [fixed]
    leaf = [leaves.name_of(view.exit)] if view.exit else []
    return [*leaf, GROUP] if view.route == TUNNEL else leaf or [view.route]


# ---- log

_LEVELS = ("debug", "info", "warning", "error")


def levels_from(least: str) -> frozenset[str]:
    """Those that a dashboard wants which asks for this one; "silent" wants none."""
    if least not in _LEVELS:
        return frozenset() if least == "silent" else levels_from("info")
    return frozenset(_LEVELS[_LEVELS.index(least) :]) | ({"critical"})


def line_of(line: Line) -> LogLine:
    return LogLine("error" if line.level == "critical" else line.level, line.text)


def structured(line: Line) -> StructuredLine:
    clock = dt.datetime.fromtimestamp(line.at).strftime("%H:%M:%S")
    return StructuredLine(clock, "warn" if line.level == "warning" else line_of(line).type, line.text)
