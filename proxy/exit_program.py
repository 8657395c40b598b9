"""The exit, put together from its settings, and put together anew when they change."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio

from . import activation, telemetry
from .dialer import Dialer
from .errors import ConfigError
from .exit import Exit, Limits, Terms
from .listening import listen_all, shown
from .name_cache import CachedLookup
from .protocol.budget import Budget, limit_of
from .settings import Folder, Server
from .start import Start
from .udp import UDP, Policy
from .website import Website as ServeWebsite
from .website import folder, page, server

if TYPE_CHECKING:
    from .dialer import Lookup
    from .reload import Reload, Settings
    from .settings import Website

log = telemetry.logger("app")

MEGABYTE = 1_000_000  # bytes


async def serve_exit(files: Reload, settings: Settings, start: Start | None = None) -> None:
    start = start or Start()
    exit_settings = settings.config.exit
    if not exit_settings.users:
        raise ConfigError("exit.users", "nobody may use this exit; add a user with `ropeway exit user add NAME`")
    budget = Budget(limit_of(exit_settings.memory * MEGABYTE))
    udp = UDP(age=exit_settings.datagram_age, budget=budget)
    lookup = CachedLookup()  # what it knows outlives a change of the terms
    serving = Exit(terms_of(settings, udp, lookup), budget)

    def apply(changed: Settings) -> None:
        start.notifier.reloading()
        changed.config.log.apply()
        udp.age = changed.config.exit.datagram_age
        serving.change(terms_of(changed, udp, lookup))
        start.notifier.ready(_exit_status(listeners, changed))

    listeners = activation.listeners(start.sockets) or await listen_all(exit_settings.listen, "exit.listen")
    async with trio.open_nursery() as nursery:
        await nursery.start(udp.run)
        await nursery.start(files.run, apply)
        await nursery.start(serving.serve, listeners)
        log.info("ready: %s", _exit_status(listeners, settings))
        start.notifier.ready(_exit_status(listeners, settings))


def _exit_status(listeners: list[trio.SocketListener], settings: Settings) -> str:
    return f"exit on {shown(listeners)}, for {settings.for_whom}"


def terms_of(settings: Settings, udp: UDP, lookup: Lookup) -> Terms:
    chosen = settings.config.exit
    limits = Limits(
        chosen.waiting_time,
        chosen.max_sessions,
        chosen.max_streams,
        chosen.max_associations,
        chosen.datagram_age,
        chosen.waiting_memory_user * MEGABYTE,
        chosen.waiting_memory * MEGABYTE,
        chosen.memory * MEGABYTE,
        chosen.idle_time,
    )
    dialer = Dialer(allow_private=chosen.allow_private, lookup=lookup)
    return Terms(
        {user.key.key_id: user.key.secret for user in chosen.users},
        settings.identity,
        _website(chosen.website),
        dialer.connect,
        partial(udp.associate, Policy(dialer.allows, dialer.lookup)),
        limits,
    )


def _website(setting: Website) -> ServeWebsite:
    if isinstance(setting, Folder):
        return folder(setting.path)
    if isinstance(setting, Server):
        return server(setting.address.host, setting.address.port)
    return page()
