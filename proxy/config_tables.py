"""The configuration's tables as they are written in TOML.

Each setting stands once, here, with its type, range, default and the comment that users read in `config.example.toml`.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta, Struct

from . import telemetry
from .errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


# Our choices: at two days, or a terabyte (a day at 100 Mbit/s), a connection stands out and replacing it hides nothing.
_Age: TypeAlias = Annotated[float, Meta(ge=1, le=172_800)]
_Volume: TypeAlias = Annotated[float, Meta(ge=1, le=1_000_000)]
#: Half of the least is the program itself.
_Memory: TypeAlias = Annotated[
    int, Meta(ge=128, le=65536, description="MB that the program may take, whatever apps and networks do")
]


_DatagramAge: TypeAlias = Annotated[
    float, Meta(ge=0.01, le=10, description="seconds after which a datagram that was not sent is dropped")
]


class LogTable(Struct, frozen=True, forbid_unknown_fields=True):
    level: Annotated[str, Meta(description="debug, info, warning or error")] = "info"
    destinations: Annotated[bool, Meta(description="whether the log says where connections go")] = False
    format: Annotated[str, Meta(description="text, or json: one object a line")] = "text"


class LocalTable(Struct, frozen=True, forbid_unknown_fields=True):
    listen: Annotated[str, Meta(description="where apps connect, with SOCKS or HTTP")] = "127.0.0.1:1080"
    username: Annotated[str, Meta(description="what apps have to say; needed to listen beyond this computer")] = ""
    password: Annotated[str, Meta(description="goes with username")] = ""
    exit: Annotated[str, Meta(description="the link of the exit; `ropeway join LINK` writes it")] = ""
    exits: Annotated[
        tuple[str, ...], Meta(max_length=15, description="links of other exits; `ropeway join --add LINK` writes them")
    ] = ()
    prefer: Annotated[tuple[str, ...], Meta(description="HOST or HOST:PORT of what goes first whenever it works")] = ()
    only: Annotated[tuple[str, ...], Meta(description="HOST or HOST:PORT; where set, nothing else is ever used")] = ()
    connect_wait: Annotated[
        float, Meta(ge=0, le=300, description="seconds that a new connection waits while the tunnel is down")
    ] = 5.0
    waiting_time: Annotated[
        float, Meta(ge=1, le=86400, description="seconds that open connections wait for an exit that is not reached")
    ] = 600.0
    rotation_age: Annotated[
        tuple[_Age, _Age], Meta(description="least and most seconds until a connection to the exit is replaced")
    ] = (600.0, 2400.0)
    rotation_volume: Annotated[
        tuple[_Volume, _Volume], Meta(description="the same in MB that it has carried, 1,000,000 bytes each")
    ] = (1000.0, 4000.0)
    max_connections: Annotated[int, Meta(ge=1, le=65536, description="connections of apps at the same time")] = 8192
    max_associations: Annotated[
        int, Meta(ge=0, le=65536, description="UDP associations of apps at the same time; 0: no UDP")
    ] = 1024
    datagram_age: _DatagramAge = 0.3
    memory: _Memory = 256


class RulesTable(Struct, frozen=True, forbid_unknown_fields=True):
    mode: Annotated[
        str, Meta(description='"home-direct": what is domestic or private goes direct; "all": nothing does by itself')
    ] = "home-direct"
    home: Annotated[str, Meta(pattern="^[a-zA-Z]{2}$", description="the country that is domestic, in two letters")] = (
        "cn"
    )
    default: Annotated[
        str, Meta(description="what no rule says: tunnel, direct, block or exit:HOST (docs/rules.md)")
    ] = "tunnel"
    rules: Annotated[
        tuple[str, ...],
        Meta(max_length=100_000, description='the first that holds decides: "direct suffix:example.com"'),
    ] = ()


class DnsTable(Struct, frozen=True, forbid_unknown_fields=True):
    listen: Annotated[str, Meta(description='where names can be asked for, as in "127.0.0.1:1053"; empty: nowhere')] = (
        ""
    )
    resolvers: Annotated[
        tuple[str, ...],
        Meta(min_length=1, max_length=4, description="asked by way of the tunnel for names that go through it"),
    ] = ("1.1.1.1:53", "8.8.8.8:53")


class DashboardTable(Struct, frozen=True, forbid_unknown_fields=True):
    enabled: Annotated[
        bool, Meta(description="whether a browser on this computer shows what goes on; `ropeway dashboard` opens it")
    ] = True
    usage: Annotated[
        bool,
        Meta(description="whether it is kept on this computer how much each app used on each day, for a year or so"),
    ] = True
    ui: Annotated[str, Meta(description="folder of a built dashboard for Clash, shown at /ui/; empty: none")] = ""


class UserTable(Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(description="for people: commands, links and the log")]
    id: Annotated[str, Meta(description="8 random bytes in hexadecimal")]
    key: Annotated[str, Meta(description="32 random bytes in base64; secret")]


class ExitTable(Struct, frozen=True, forbid_unknown_fields=True):
    listen: Annotated[
        str | tuple[str, ...], Meta(description='":443": all addresses of the machine; [":443", ":8443"]: two ports')
    ] = ":443"
    host: Annotated[str, Meta(description="name or address under which users reach the exit; goes into links")] = ""
    port: Annotated[int, Meta(ge=1, le=65535, description="port under which users reach it; goes into links")] = 443
    addresses: Annotated[
        tuple[str, ...], Meta(max_length=8, description="other HOST:PORT under which they reach it; go into links")
    ] = ()
    server_name: Annotated[str, Meta(description="name that TLS asks for, where that is not host; goes into links")] = (
        ""
    )
    certificate: Annotated[str, Meta(description="PEM, with its chain; relative to the folder of this file")] = (
        "exit-cert.pem"
    )
    key: Annotated[str, Meta(description="PEM; keep the key when you renew the certificate, links depend on it")] = (
        "exit-key.pem"
    )
    roots: Annotated[bool, Meta(description="whether links say: check the system's roots too (not if self-signed)")] = (
        False
    )
    website: Annotated[
        str, Meta(description='what others see: "page" (built in), "folder:PATH" or "server:HOST:PORT"')
    ] = "page"
    allow_private: Annotated[
        bool, Meta(description="whether users may connect to private addresses and the exit itself")
    ] = False
    waiting_time: Annotated[
        float, Meta(ge=1, le=86400, description="seconds that a session waits for a broken connection to come back")
    ] = 600.0
    waiting_memory_user: Annotated[
        int,
        Meta(ge=1, le=65536, description="MB that waiting sessions of one user may keep; who waits longest goes first"),
    ] = 64
    waiting_memory: Annotated[
        int, Meta(ge=1, le=65536, description="MB that all waiting sessions together may keep")
    ] = 128
    max_sessions: Annotated[int, Meta(ge=1, le=1024, description="devices of one user at the same time")] = 16
    max_streams: Annotated[int, Meta(ge=1, le=65536, description="connections of one device at the same time")] = 8192
    max_associations: Annotated[
        int, Meta(ge=0, le=65536, description="UDP associations of one device at the same time; 0: no UDP")
    ] = 1024
    datagram_age: _DatagramAge = 0.3
    idle_time: Annotated[
        float, Meta(ge=0, description="seconds without a byte until a connection ends, 1800 or more; 0: never")
    ] = 7200.0
    memory: _Memory = 256
    users: tuple[UserTable, ...] = ()


class FileTable(Struct, frozen=True, forbid_unknown_fields=True):
    log: LogTable = LogTable()
    local: LocalTable = LocalTable()
    rules: RulesTable = RulesTable()
    dns: DnsTable = DnsTable()
    dashboard: DashboardTable = DashboardTable()
    exit: ExitTable = ExitTable()


def convert(tables: Mapping[str, Any], path: Path) -> FileTable:
    """Raises ConfigError that names the setting and the file."""
    try:
        return msgspec.convert(tables, FileTable)
    except msgspec.ValidationError as error:
        name, text = _fault(str(error))
        raise ConfigError(name, f"{text} (in {path})") from None


# msgspec's words for types, in those of people who write TOML.
_TYPES = {
    "`object`": "a table",
    "`array`": "a list",
    "`str | array`": "text in quotes, or a list of it",
    "`str`": "text in quotes",
    "`int`": "a whole number",
    "`float`": "a number",
    "`bool`": "true or false",
}
_FAULT = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<where>[^`]*)`)?", re.DOTALL)
_FIELD_FAULT = re.compile(r"Object (?P<what>contains unknown|missing required) field `(?P<name>.*)`", re.DOTALL)


def _fault(message: str) -> tuple[str, str]:
    """The setting that msgspec's message is about, and what to tell people."""
    match = _FAULT.fullmatch(message)
    assert match is not None  # it matches every text
    what, where = match["what"], match["where"] or ""
    about = _FIELD_FAULT.fullmatch(what)
    if about is None:
        for word, meaning in _TYPES.items():
            what = what.replace(word, meaning)
        return where, what[:1].lower() + what[1:]
    name = telemetry.one_line(f"{where}.{about['name']}".removeprefix("."))
    if about["what"] == "missing required":
        return name, "it is missing"
    like = difflib.get_close_matches(about["name"], _all_names(), n=1)
    return name, "there is no such setting" + (f"; {like[0]} is meant?" if like else "")


def _all_names() -> list[str]:
    tables = (FileTable, LogTable, LocalTable, RulesTable, DnsTable, DashboardTable, ExitTable, UserTable)
    return [field.name for table in tables for field in msgspec.structs.fields(table)]
