"""The local side's exits, put together from its settings; and put together anew, with what is open, when they change."""

from __future__ import annotations

import signal
import sys
from collections.abc import Hashable
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import trio

from . import telemetry
from .config import load
from .connections import Connections
from .dialer import Dialer
from .errors import ConfigError
from .exits import Exits, Route
from .protocol.budget import Budget, limit_of
from .protocol.heads import Heads
from .routing import Routing
from .succession import Rotation
from .tls import TLSStream, connect_tls, local_context
from .tunnel import Tunnel
from .udp_relay import UDPRelay
from .ways import PatientLookup, Ways

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from .address import Address
    from .address_book import AddressBook
    from .preference import ChosenExit
    from .rules import RuleSettings
    from .settings import Config, LocalSettings
    from .share import Link

log = telemetry.logger("local_side")

#: What makes an exit another one. Its addresses do not: streams move between them.
Identity: TypeAlias = Hashable

#: These are used once, at the start.
_NEEDS_RESTART = ("listen", "username", "password", "max_connections", "max_associations")


def check_exits(config: Config) -> None:
    """Raises ConfigError where there is no exit to go to, or not the one that a rule names."""
    if not config.local.exits:
        raise ConfigError("local.exit", "there is no exit to go to; run `ropeway join LINK` with a link from your exit")
    config.rules.check_exits(address for each in config.local.exits for address in each.addresses)


class LocalSide:
    """`exits` is what has to run. `book` is where the addresses of exits are kept on disk, if at all. Needs trio to run."""

    def __init__(self, settings: LocalSettings, rules: RuleSettings, book: AddressBook | None = None) -> None:
        self._started_with = self._settings = settings
        self._book = book
        self._turn = trio.CapacityLimiter(1)  # one at a time changes the book, or reads the configuration
        self._dialer = Dialer(allow_private=True, lookup=PatientLookup())  # an exit may stand in the user's own network
        self._ways: dict[Identity, Ways] = {}
        self._budget = Budget(limit_of(settings.memory))
        self.exits = Exits(self._routes(), connect_wait=settings.connect_wait)
        self.routing = Routing(rules, self.exits, datagram_age=settings.datagram_age, budget=self._budget)
        self.connections = Connections()
        self.udp_relay = UDPRelay(
            self.routing.router.choose,
            age=settings.datagram_age,
            max_associations=settings.max_associations,
            budget=self._budget,
            connections=self.connections,
        )
        self.when_read: list[Callable[[Config], None]] = []  # what else is told each time that the file was read

    def new_heads(self) -> Heads:
        """For a port: what apps have sent of requests counts as all else does."""
        return Heads(self._budget)

    def change(self, settings: LocalSettings) -> None:
        """These settings hold from now on, but for those that the log says need a restart."""
        self._settings = settings
        self._budget.change(limit_of(settings.memory))
        self.routing.udp.age = settings.datagram_age
        self.udp_relay.drop_after(settings.datagram_age)
        self.exits.change(self._routes(), connect_wait=settings.connect_wait)
        for tunnel in self.exits.tunnels:
            tunnel.adjust(
                connect_wait=settings.connect_wait,
                waiting_time=settings.waiting_time,
                rotation=self._rotation(),
                datagram_age=settings.datagram_age,
            )
        changed = [name for name in _NEEDS_RESTART if getattr(settings, name) != getattr(self._started_with, name)]
        if changed:
            names = ", ".join(f"local.{name}" for name in changed)
            log.warning("what changed in %s holds when `ropeway run` is started again", names)

    async def reload(self, path: Path) -> None:
        """Reads the file again. Where it or a list of its rules cannot be used, the log says why and everything stays as it is."""
        try:
            await self.read_again(path)
        except ConfigError as exc:
            log.error("the configuration cannot be used, and everything stays as it is: %s", exc)

    async def read_again(self, path: Path) -> None:
        """The same. Raises ConfigError, and the log has nothing then."""
        async with self._turn:
            config = await trio.to_thread.run_sync(load, path)  # which may have a hundred thousand rules
            check_exits(config)
            await self.routing.change(config.rules)
        config.log.apply()
        self.change(config.local)
        for tell in self.when_read:
            tell(config)
        log.info("the configuration was read again")

    async def reload_on_hangup(self, path: Path) -> None:
        """At each SIGHUP, until it is cancelled; returns where the system has no such signal. Runs in the main thread only."""
        if sys.platform == "win32":
            return
        with trio.open_signal_receiver(signal.SIGHUP) as signals:
            async for _ in signals:
                await self.reload(path)

    def _rotation(self) -> Rotation:
        return Rotation(*self._settings.rotation_age, *self._settings.rotation_volume)

    # ---- ways

    def _routes(self) -> list[Route]:
        """Preferred exits first, and what worked last before the others."""
        known = self._book.order() if self._book is not None else ()
        ranks = {pin: rank for rank, pin in enumerate(known)}
        exits = sorted(
            self._settings.exits, key=lambda each: (not each.preferred, ranks.get(each.link.pin, len(ranks)))
        )
        old, self._ways = self._ways, {}
        for each in exits:
            ways = self._ways[_identity(each.link)] = old.get(_identity(each.link)) or self._new_ways(each.link)
            ways.use(each.addresses, each.preferred)
        return [self._route(each) for each in exits]

    def _route(self, chosen: ChosenExit) -> Route:
        link = chosen.link
        identity = _identity(link)
        return Route(
            identity,
            str(chosen.addresses[0]),
            bool(chosen.preferred),
            new_tunnel=partial(self._new_tunnel, identity, link),
            chosen=partial(self._put_first, link.pin),
            addresses=chosen.addresses,
            label=link.name,
        )

    def _new_tunnel(self, identity: Identity, link: Link) -> Tunnel:
        return Tunnel(
            self._ways[identity].open,
            link.key,
            connect_wait=self._settings.connect_wait,
            waiting_time=self._settings.waiting_time,
            rotation=self._rotation(),
            datagram_age=self._settings.datagram_age,
            budget=self._budget,
        )

    def _new_ways(self, link: Link) -> Ways:
        context = local_context(roots=link.roots)
        server_name = link.sni or (link.host if link.roots else "")

        async def start_tls(transport: trio.SocketStream) -> tuple[TLSStream, bytes]:
            return await connect_tls(transport, context, server_name, link.pin)

        remembered = self._book.of(link.pin) if self._book is not None else {}
        remember = partial(self._remember, link.pin)
        return Ways(link.addresses, self._dialer.connect, start_tls, remembered=remembered, remember=remember)

    async def _remember(self, pin: bytes, way: Address, addresses: Sequence[Address]) -> None:
        if self._book is not None:
            await trio.to_thread.run_sync(self._book.remember, pin, way, addresses, limiter=self._turn)

    async def _put_first(self, pin: bytes) -> None:
        if self._book is not None and len(self._settings.exits) > 1:
            await trio.to_thread.run_sync(self._book.put_first, pin, limiter=self._turn)


def _identity(link: Link) -> Identity:
    return link.pin, link.key, link.sni, link.roots
