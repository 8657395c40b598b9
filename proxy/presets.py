"""What is known of each app: where it connects to, what of it works through the local port, and what has to be set for that.

The facts stand in the files of the folder `presets`, each with its date and its sources; what no source could be found for is marked.
They are read when they are first needed.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003  (msgspec reads the annotation)
import difflib
import enum
import functools
import ipaddress
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self, TypeAlias

import msgspec
from msgspec import Meta, Struct

from .address import Address
from .errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

FOLDER = Path(__file__).with_suffix("")


class Works(enum.Enum):
    """How far a part of an app works; the value is for people."""

    YES = "yes"
    BROWSER = "browser"  # not in the app, but in a browser
    DIRECT = "direct"  # without the tunnel
    NO = "no"
    UNKNOWN = "unknown"
    NONE = "none"  # the app has no such thing


@dataclass(frozen=True, slots=True)
class Ports:
    """From the first to the last."""

    first: int
    last: int

    @classmethod
    def parse(cls, text: int | str) -> Self:
        """443 or "10001-10020". Raises ValueError."""
        first, dash, last = str(text).partition("-")
        ports = cls(int(first), int(last if dash else first))
        if not 0 < ports.first <= ports.last < 65536:
            raise ValueError(f"{text} are no ports")
        return ports

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`unverified` says what of it rests on memory alone: a part in words, "all", or nothing."""

    works: Works
    how: str
    unverified: str


@dataclass(frozen=True, slots=True)
class Setting:
    """Something to set. `{proxy}`, `{host}` and `{port}` in the text stand for the local port; `unverified` as in Verdict."""

    where: str
    what: str
    unverified: str


@dataclass(frozen=True, slots=True)
class Preset:
    """One app. `domains` are suffixes, all lower-case; `hosts` answer over TCP, and `other_hosts` need not.

    `keepalive` is how often the app says something, in seconds, and 0 where it is not known. `unverified` and `sources` are by field.
    """

    name: str
    aliases: tuple[str, ...]
    label: str
    made: dt.date
    route: str  # "tunnel" or "direct"
    domains: tuple[str, ...]
    networks: tuple[Network, ...]
    hosts: tuple[Address, ...]
    other_hosts: tuple[str, ...]
    tcp_ports: tuple[Ports, ...]
    udp_ports: tuple[Ports, ...]
    protocol: str
    keepalive: int
    web: str
    links: tuple[str, ...]
    messages: Verdict
    calls: Verdict
    settings: tuple[Setting, ...]
    unverified: Mapping[str, str]
    sources: Mapping[str, str]


class Presets(Mapping[str, Preset]):
    """All of them by name. Their other names are known too, but stand in no list: each app is there once."""

    def __init__(self, presets: Iterable[Preset]) -> None:
        self._presets = {preset.name: preset for preset in presets}
        self._names = {alias: preset.name for preset in self._presets.values() for alias in preset.aliases}

    def __getitem__(self, name: str) -> Preset:
        return self._presets[self._names.get(name, name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._presets)

    def __len__(self) -> int:
        return len(self._presets)

    def find(self, name: str) -> Preset:
        """However it is written. Raises ConfigError that names what comes close."""
        wanted = name.strip().lower()
        if (preset := self.get(wanted)) is not None:
            return preset
        close = difflib.get_close_matches(wanted, [*self._presets, *self._names], cutoff=0.7)
        advice = f"did you mean {' or '.join(close)}?" if close else f"there is: {', '.join(self)}"
        raise ConfigError("", f"no app is known by the name {name!r}; {advice}")


@functools.cache
def load_presets() -> Presets:
    """All apps, in the order of their names. They are a part of the program, so anything wrong with them is a bug."""
    tables = {path.stem: _read(path) for path in sorted(FOLDER.glob("*.toml"))}
    return Presets(_preset(name, table, tables) for name, table in tables.items())


# ---- the files

_Text: TypeAlias = Annotated[str, Meta(min_length=1)]
_PortTable: TypeAlias = int | str


class _VerdictTable(Struct, frozen=True, forbid_unknown_fields=True):
    works: Works
    how: _Text
    unverified: str = ""


class _SettingTable(Struct, frozen=True, forbid_unknown_fields=True):
    where: _Text
    what: _Text
    unverified: str = ""


class _Table(Struct, frozen=True, forbid_unknown_fields=True):
    """A file. `hosts` are HOST or HOST:PORT, the first of `tcp_ports` where none is named; `ips_of` names an app in the same networks."""

    label: _Text
    made: dt.date
    route: Literal["tunnel", "direct"]
    domains: tuple[_Text, ...]
    hosts: tuple[_Text, ...]
    tcp_ports: Annotated[tuple[_PortTable, ...], Meta(min_length=1)]
    protocol: _Text
    messages: _VerdictTable
    calls: _VerdictTable
    sources: dict[str, _Text]
    settings: tuple[_SettingTable, ...] = ()
    aliases: tuple[_Text, ...] = ()
    other_hosts: tuple[_Text, ...] = ()
    ips: tuple[_Text, ...] = ()
    ips_of: str = ""
    udp_ports: tuple[_PortTable, ...] = ()
    keepalive: Annotated[int, Meta(ge=0)] = 0
    web: str = ""
    links: tuple[_Text, ...] = ()
    unverified: dict[str, _Text] = {}


def _read(path: Path) -> _Table:
    return msgspec.convert(tomllib.loads(path.read_text(encoding="ascii")), _Table)


def _preset(name: str, table: _Table, tables: Mapping[str, _Table]) -> Preset:
    tcp_ports = tuple(map(Ports.parse, table.tcp_ports))
    ips, sources = table.ips, table.sources
    if table.ips_of:
        other = tables[table.ips_of]
        ips, sources = other.ips, sources | {"ips": other.sources["ips"]}
    return Preset(
        name=name,
        aliases=table.aliases,
        label=table.label,
        made=table.made,
        route=table.route,
        domains=table.domains,
        networks=tuple(map(ipaddress.ip_network, ips)),
        hosts=tuple(Address.parse(text, default_port=tcp_ports[0].first) for text in table.hosts),
        other_hosts=table.other_hosts,
        tcp_ports=tcp_ports,
        udp_ports=tuple(map(Ports.parse, table.udp_ports)),
        protocol=table.protocol,
        keepalive=table.keepalive,
        web=table.web,
        links=table.links,
        messages=_verdict(table.messages),
        calls=_verdict(table.calls),
        settings=tuple(Setting(each.where, each.what, each.unverified) for each in table.settings),
        unverified=table.unverified,
        sources=sources,
    )


def _verdict(table: _VerdictTable) -> Verdict:
    return Verdict(table.works, table.how, table.unverified)
