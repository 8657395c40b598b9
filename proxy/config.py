"""The configuration: what is in the file, parsed at the door into frozen values. Behind it no string is parsed again."""

from __future__ import annotations

import contextlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import telemetry
from .address import Address
from .config_file import locked, read_tables, read_text, replace_file, with_settings
from .config_tables import convert
from .errors import ConfigError
from .keys import KEY_ID_SIZE, SECRET_SIZE, UserKey, from_base64
from .preference import limited, merged, preferring
from .rules import RuleSettings
from .settings import (
    BuiltInPage,
    Config,
    DashboardSettings,
    DnsSettings,
    ExitSettings,
    Folder,
    Listen,
    LocalSettings,
    LogSettings,
    Server,
    User,
)
from .share import Link, check_label, check_server_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .config_tables import DashboardTable, DnsTable, ExitTable, LocalTable, LogTable, RulesTable, UserTable
    from .preference import ChosenExit
    from .settings import Website

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")
LEAST_IDLE_TIME = 1800  # seconds: push services ask networks to keep quiet connections for so long (docs/usage.md)
_MAX_CREDENTIAL = 255  # RFC 1929, section 2: its length is one byte


def load(path: Path) -> Config:
    """Raises ConfigError that names the setting and the file. Warns where others can read the secrets in it."""
    text = read_text(path)
    if text is None:
        makers = "`ropeway join LINK` makes one for this computer, `ropeway exit init --host HOST` one for an exit"
        raise ConfigError("", f"there is no configuration at {path}; {makers}")
    config = check(text, path)
    secret = config.local.exits or config.local.password or config.exit.users
    with contextlib.suppress(OSError):  # it went away since, and was good
        if secret and sys.platform != "win32" and path.stat().st_mode & 0o077:
            logger = telemetry.logger("config")
            logger.warning("other users of this machine can read the keys in %s; chmod 600 it", path)
    return config


def check(text: str, path: Path) -> Config:
    """What `load` would read if this were the file's text. Raises ConfigError in the same way."""
    return parse(read_tables(text, path), path)


def change(path: Path, edit: Callable[[str], str]) -> Config:
    """Replaces the file by what `edit` makes of its text, which is empty where there is no file.

    Raises ConfigError, and leaves the file as it was, where it is not TOML or would not be a configuration any more.
    """
    with locked(path):
        old = read_text(path) or ""
        read_tables(old, path)
        new = edit(old)
        config = check(new, path)
        replace_file(path, new.encode())
    return config


def parse(tables: Mapping[str, Any], path: Path) -> Config:
    """The settings in the tables of the file at `path`, which need not exist; no tables give the defaults.

    Raises ConfigError that names the setting and the file.
    """
    file = convert(tables, path)
    source = _Source(path)
    return Config(
        _log(file.log, source),
        _local(file.local, source),
        _rules(file.rules, source),
        _dns(file.dns, source),
        _dashboard(file.dashboard, source),
        _exit(file.exit, source),
    )


@dataclass(frozen=True, slots=True)
class _Source:
    path: Path

    @contextlib.contextmanager
    def field(self, name: str) -> Iterator[None]:
        """What is wrong inside is wrong with this setting of this file."""
        try:
            yield
        except (ValueError, RuntimeError, ConfigError) as error:  # RuntimeError: `~name` of a user who does not exist
            raise ConfigError(name, f"{error} (in {self.path})") from None

    def absolute(self, text: str) -> Path:
        if not text or "\0" in text:
            raise ValueError("this is no path")
        return self.path.absolute().parent / Path(text).expanduser()


def _log(table: LogTable, source: _Source) -> LogSettings:
    with source.field("log.level"):
        _check_one_of(table.level, LEVELS)
    with source.field("log.format"):
        _check_one_of(table.format, FORMATS)
    return LogSettings(table.level, table.destinations, table.format)


def _check_one_of(text: str, choices: Sequence[str]) -> None:
    if text not in choices:
        raise ValueError(f"{text!r} is not one of {', '.join(choices)}")


def _local(table: LocalTable, source: _Source) -> LocalSettings:
    with source.field("local.listen"):
        listen = Listen.parse(table.listen)
    for name, text, other in (
        ("username", table.username, table.password),
        ("password", table.password, table.username),
    ):
        with source.field(f"local.{name}"):
            _check_credential(text, needed=bool(other))
    with source.field("local.username"):
        if ":" in table.username:
            raise ValueError("HTTP ends a user name at a colon (RFC 7617); choose one without")
    with source.field("local.listen"):
        if not listen.is_loopback and not table.username:
            raise ValueError(
                f"at {listen} everybody in reach could use the exit; "
                "set local.username and local.password, or listen on 127.0.0.1"
            )
    return LocalSettings(
        listen=listen,
        username=table.username,
        password=table.password,
        exits=_chosen_exits(table, source),
        connect_wait=table.connect_wait,
        waiting_time=table.waiting_time,
        rotation_age=_range("rotation_age", table.rotation_age, source),
        rotation_volume=_range("rotation_volume", table.rotation_volume, source, unit=1e6),
        max_connections=table.max_connections,
        max_associations=table.max_associations,
        datagram_age=table.datagram_age,
        memory=table.memory * 1_000_000,
    )


def _links(table: LocalTable, source: _Source) -> list[Link]:
    """As they stand in the file."""
    places = [("local.exit", table.exit)] if table.exit else []
    places += [(f"local.exits[{number}]", text) for number, text in enumerate(table.exits)]
    links = []
    for name, text in places:
        with source.field(name):
            links.append(Link.parse(text))
    return links


def _chosen_exits(table: LocalTable, source: _Source) -> tuple[ChosenExit, ...]:
    links = _links(table, source)
    with source.field("local.exits"):
        links = merged(links)
    with source.field("local.only"):
        exits = limited(links, table.only)
    with source.field("local.prefer"):
        return preferring(exits, table.prefer)


def _range(name: str, bounds: tuple[float, float], source: _Source, *, unit: float = 1.0) -> tuple[float, float]:
    least, most = bounds
    with source.field(f"local.{name}"):
        if least > most:
            raise ValueError(f"the least comes first, as in [{most:g}, {least:g}]")
    return least * unit, most * unit


def with_exit(text: str, path: Path, link: Link) -> str:
    """The file's text with one more exit, or with this link in place of those with the same pin and key.

    Raises ConfigError where a link of the file cannot be read.
    """
    table = convert(read_tables(text, path), path).local
    source = _Source(path)
    there = _links(table, source)
    with source.field("local.exits"):
        links = {(each.pin, each.key): str(each) for each in merged(there)}
    links[link.pin, link.key] = str(link)
    first, *others = links.values()
    return with_settings(text, "local", {"exit": first} | ({"exits": others} if others or table.exits else {}))


def _check_credential(text: str, *, needed: bool) -> None:
    if needed and not text:
        raise ValueError("username and password go together: set both, or none")
    if len(text.encode()) > _MAX_CREDENTIAL:
        raise ValueError(f"it is longer than {_MAX_CREDENTIAL} bytes, and SOCKS has no room for more")
    if text and not text.isprintable():
        raise ValueError("it has characters that cannot be typed")


def _rules(table: RulesTable, source: _Source) -> RuleSettings:
    folder = source.path.absolute().parent
    try:
        return RuleSettings.parse(table.rules, table.mode, table.home, table.default, folder=folder)
    except ConfigError as error:
        text = str(error).removeprefix(f"{error.field}: ")
        raise ConfigError(error.field, f"{text} (in {source.path})") from None


def _dns(table: DnsTable, source: _Source) -> DnsSettings:
    listen = None
    with source.field("dns.listen"):
        if table.listen:
            listen = Listen.parse(table.listen)
            if not listen.is_loopback:
                raise ValueError("names are told on this computer only; listen on 127.0.0.1 or [::1]")
    with source.field("dns.resolvers"):
        resolvers = tuple(Address.parse(text, 53) for text in table.resolvers)
        if any(resolver.ip is None for resolver in resolvers):
            raise ValueError("a resolver needs an IP address: its name could not be resolved")
    return DnsSettings(listen, resolvers)


def _dashboard(table: DashboardTable, source: _Source) -> DashboardSettings:
    with source.field("dashboard.ui"):
        return DashboardSettings(table.enabled, table.usage, source.absolute(table.ui) if table.ui else None)


def _exit(table: ExitTable, source: _Source) -> ExitSettings:
    with source.field("exit.addresses"):
        addresses = tuple(Address.parse(text) for text in table.addresses)
    with source.field("exit.host"):
        host = Address.make(table.host, table.port).host if table.host else ""
    with source.field("exit.server_name"):
        server_name = table.server_name.lower()
        if server_name:
            check_server_name(server_name)
    with source.field("exit.certificate"):
        certificate = source.absolute(table.certificate)
    with source.field("exit.key"):
        key = source.absolute(table.key)
    with source.field("exit.website"):
        website = _website(table.website, source)
    return ExitSettings(
        listen=_places(table, source),
        host=host,
        port=table.port,
        addresses=addresses,
        server_name=server_name,
        certificate=certificate,
        key=key,
        roots=table.roots,
        website=website,
        allow_private=table.allow_private,
        waiting_time=table.waiting_time,
        waiting_memory_user=table.waiting_memory_user,
        waiting_memory=table.waiting_memory,
        max_sessions=table.max_sessions,
        max_streams=table.max_streams,
        max_associations=table.max_associations,
        datagram_age=table.datagram_age,
        idle_time=_idle_time(table, source),
        memory=table.memory,
        users=_users(table.users, source),
    )


def _places(table: ExitTable, source: _Source) -> tuple[Listen, ...]:
    with source.field("exit.listen"):
        texts = [table.listen] if isinstance(table.listen, str) else table.listen
        places = tuple(dict.fromkeys(Listen.parse(text) for text in texts))
        if not places:
            raise ValueError('it says no place; write ":443" for all addresses of the machine')
    return places


def _idle_time(table: ExitTable, source: _Source) -> float:
    with source.field("exit.idle_time"):
        if 0 < table.idle_time < LEAST_IDLE_TIME:
            raise ValueError(
                f"below {LEAST_IDLE_TIME} it would cut chats and push messages that are only quiet; 0: never"
            )
    return table.idle_time


def _website(text: str, source: _Source) -> Website:
    kind, _, value = text.partition(":")
    if text == "page":
        return BuiltInPage()
    if kind == "folder":
        return Folder(source.absolute(value))
    if kind == "server":
        return Server(Address.parse(value))
    raise ValueError(f'{text!r} is not "page", "folder:PATH" or "server:HOST:PORT"')


def _users(tables: Sequence[UserTable], source: _Source) -> tuple[User, ...]:
    users: list[User] = []
    for number, table in enumerate(tables):
        place = f"exit.users[{number}]"
        with source.field(f"{place}.name"):
            check_label(table.name)
            if any(user.name == table.name for user in users):
                raise ValueError(f"there are two users of the name {table.name!r}")
        with source.field(f"{place}.id"):
            key_id = _from_hex(table.id)
            if any(user.key.key_id == key_id for user in users):
                raise ValueError(f"{table.name!r} has the id of another user; remove one and add it again")
        with source.field(f"{place}.key"):
            users.append(User(table.name, UserKey(key_id, from_base64(table.key, SECRET_SIZE))))
    return tuple(users)


def _from_hex(text: str) -> bytes:
    if not re.fullmatch(f"[0-9a-fA-F]{{{2 * KEY_ID_SIZE}}}", text):
        raise ValueError(f"it does not have {2 * KEY_ID_SIZE} hexadecimal digits")
    return bytes.fromhex(text)
