"""The settings, as frozen values: what `config` makes of the file."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, TypeAlias

from . import telemetry
from .address import Address
from .config_tables import UserTable
from .errors import ConfigError
from .keys import UserKey, to_base64
from .protocol.socks import Credentials
from .share import Link

if TYPE_CHECKING:
    from pathlib import Path

    from .preference import ChosenExit
    from .rules import RuleSettings


@dataclass(frozen=True, slots=True)
class Listen:
    """Where a listener stands: an IP address, or an empty host for all addresses of both families.

    Port 0 lets the system choose.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """`127.0.0.1:1080`, `[::1]:1080`, `localhost:1080` or `:443`. Raises ValueError with a text for people."""
        host, colon, port = text.rpartition(":")
        if not colon or not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) < 65536):
            raise ValueError("there is no port; write 127.0.0.1:1080, or :443 for all addresses")
        if ":" in host and not (host.startswith("[") and host.endswith("]")):
            raise ValueError("an IPv6 address needs brackets, as in [::1]:1080")
        if not host:
            return cls("", int(port))
        try:
            literal = "127.0.0.1" if host == "localhost" else host.strip("[]")
            return cls(str(ipaddress.ip_address(literal)), int(port))
        except ValueError:
            raise ValueError("it needs an IP address of this machine, or none for all, as in :443") from None

    @property
    def here(self) -> Address | None:
        """Where programs of this computer reach it; None where it is another port each time."""
        if not self.port:
            return None
        ip = ipaddress.ip_address(self.host or "127.0.0.1")
        if ip.is_unspecified:  # it listens everywhere, so here too
            ip = ipaddress.ip_address("127.0.0.1" if ip.version == 4 else "::1")
        return Address.make(str(ip), self.port)

    @property
    def is_loopback(self) -> bool:
        return bool(self.host) and ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class BuiltInPage:
    """The website is one page of ours."""


@dataclass(frozen=True, slots=True)
class Folder:
    """The website is the files of a folder."""

    path: Path

    def check(self) -> None:
        """Raises ConfigError where there is no such folder: visitors would meet a site that has nothing, which no site is."""
        if not self.path.is_dir():
            raise ConfigError("exit.website", f"there is no folder {self.path}; make it, or choose another website")


@dataclass(frozen=True, slots=True)
class Server:
    """The website is another server."""

    address: Address


Website: TypeAlias = BuiltInPage | Folder | Server


@dataclass(frozen=True, slots=True)
class LogSettings:
    level: str
    destinations: bool
    format: str

    def apply(self) -> None:
        """The log is as they say from now on."""
        telemetry.configure(self.level, self.format, destinations=self.destinations)


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """`username` and `password` are both set or both empty. The rotation is the least and the most, in seconds and in bytes, and so is the memory."""

    listen: Listen
    username: str
    password: str = field(repr=False)
    exits: tuple[ChosenExit, ...]
    connect_wait: float
    waiting_time: float
    rotation_age: tuple[float, float]
    rotation_volume: tuple[float, float]
    max_connections: int
    max_associations: int
    datagram_age: float
    memory: int

    @property
    def credentials(self) -> Credentials | None:
        """What apps have to say, if anything."""
        return Credentials(self.username, self.password) if self.username else None


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """`listen` is None where names cannot be asked for."""

    listen: Listen | None
    resolvers: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class DashboardSettings:
    """`usage`: what apps use is counted and kept. `ui` is a folder with a dashboard of others."""

    enabled: bool
    usage: bool
    ui: Path | None = None


@dataclass(frozen=True, slots=True)
class User:
    name: str
    key: UserKey

    def table(self) -> UserTable:
        """How it is written in the file."""
        return UserTable(self.name, self.key.key_id.hex(), to_base64(self.key.secret))


@dataclass(frozen=True, slots=True)
class ExitSettings:
    """`host` is empty where no exit was set up; `addresses` are those besides host and port. The paths are absolute, the memory is in MB."""

    listen: tuple[Listen, ...]
    host: str
    port: int
    addresses: tuple[Address, ...]
    server_name: str
    certificate: Path
    key: Path
    roots: bool
    website: Website
    allow_private: bool
    waiting_time: float
    waiting_memory_user: int
    waiting_memory: int
    max_sessions: int
    max_streams: int
    max_associations: int
    datagram_age: float
    idle_time: float
    memory: int
    users: tuple[User, ...]

    def link(self, user: User, pin: bytes) -> Link:
        """What this user needs. Raises ConfigError where the exit has no public name, or more than a link can hold."""
        if not self.host:
            raise ConfigError("exit.host", "links need it: the name or address under which users reach this exit")
        try:
            return Link(self.host, self.port, user.key, pin, self.server_name, self.roots, user.name, self.addresses)
        except ValueError as error:
            raise ConfigError("exit.addresses", str(error)) from None


@dataclass(frozen=True, slots=True)
class Config:
    log: LogSettings
    local: LocalSettings
    rules: RuleSettings
    dns: DnsSettings
    dashboard: DashboardSettings
    exit: ExitSettings
