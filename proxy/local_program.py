"""The local side as a program: its port, and what runs behind it."""

from __future__ import annotations

import ipaddress
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

import trio

from . import activation, telemetry
from .address import Address
from .address_book import AddressBook
from .dashboard_site import Dashboard
from .errors import ConfigError, RopewayError
from .idleness import IDLE_TIME, end_idle
from .listener import serve_local
from .listening import advice, listen, shown
from .local_side import LocalSide
from .network import watch_network
from .observation import Observation
from .own_site import OwnSite, PacFile
from .preference import Pattern as ExitName
from .start import Start
from .system_proxy import memory_of_this_user, of_this_user
from .tcp import is_loopback
from .tls import looks_like_a_browser
from .usage import Meter, Usage
from .usage_file import UsageFile

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from .session_stream import SessionStream
    from .settings import Config, DnsSettings, LocalSettings
    from .usage import AppOf

log = telemetry.logger("app")

_AT_START = ("dns.listen", "dns.resolvers", "dashboard.enabled", "dashboard.ui")
#: How long the system's settings may take at the end; seconds.
_GOODBYE = 2.0


async def serve_local_side(
    config: Config,
    path: Path,
    start: Start | None = None,
    *,
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    start, settings = start or Start(), config.local
    _check_sockets(start.sockets, settings)
    if not looks_like_a_browser:
        log.warning(
            "utls is not installed: carriers work, but they look like Python and not like a browser from outside"
        )
    side = LocalSide(settings, config.rules, AddressBook.of_user())
    side.when_read.append(partial(_say_what_waits, config))
    listeners = activation.listeners(start.sockets) or await listen(settings.listen, "local.listen")
    side.routing.own_ports = {listener.socket.getsockname()[1] for listener in listeners}
    side.routing.shared = not all(is_loopback(listener.socket) for listener in listeners)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(side.reload_on_hangup, path)
        await nursery.start(side.exits.run)
        await nursery.start(side.routing.run)
        nursery.start_soon(watch_network, side.exits.network_changed)
        nursery.start_soon(end_idle, lambda: IDLE_TIME, side.connections.end_idle)
        await _serve_names(config.dns, side, nursery)
        await nursery.start(
            serve_port, settings, listeners, side, await _dashboard(config, path, side, listeners, nursery)
        )
        names = ", ".join(str(each.addresses[0]) for each in settings.exits)
        log.info("ready: SOCKS and HTTP proxy on %s, by way of %s", shown(listeners), names)
        start.notifier.ready(f"SOCKS and HTTP proxy on {shown(listeners)}")
        nursery.start_soon(_lead_system_here, listeners)
        task_status.started(listeners)


def _say_what_waits(before: Config, now: Config) -> None:
    """What is used at the start alone, beside the settings of the local side itself."""
    for name in _AT_START:
        read = attrgetter(name)
        if read(now) != read(before):
            log.warning("what changed in %s holds when `ropeway run` is started again", name)


async def _dashboard(
    config: Config, path: Path, side: LocalSide, listeners: list[trio.SocketListener], nursery: trio.Nursery
) -> Dashboard | None:
    """Where it is wanted and nobody but this computer reaches the port."""
    if not config.dashboard.enabled:
        return None
    if side.routing.shared:
        log.info("there is no dashboard, as other computers can reach the port")
        return None
    seen = Observation(side.exits, side.connections)
    usage = seen.usage = Usage(UsageFile.of_user(), Meter(side.connections), _app_names)
    usage.keep(config.dashboard.usage)
    side.when_read.append(lambda config: usage.keep(config.dashboard.usage))
    nursery.start_soon(usage.run)
    await nursery.start(seen.run)
    ui = config.dashboard.ui
    if ui is not None and not await trio.Path(ui).is_dir():
        log.warning("dashboard.ui: there is no folder %s, so there is nothing at /ui/", ui)
    return Dashboard(side, path, seen, shown(listeners).split(", "), nursery, ui=ui)


def _app_names() -> AppOf:
    """Imported when there is something to count."""
    from .app_names import known_apps

    return known_apps().of


async def _lead_system_here(listeners: list[trio.SocketListener]) -> None:
    """Where the user has turned the system's proxy on it leads here for as long as this runs, and no longer. Never ends the program."""
    host, port = listeners[0].socket.getsockname()[:2]
    here = Address("127.0.0.1" if ipaddress.ip_address(host).is_unspecified else host, port)
    proxy = of_this_user(memory_of_this_user())
    await trio.to_thread.run_sync(_tell, partial(proxy.resume, here))
    try:
        await trio.sleep_forever()
    finally:
        with trio.move_on_after(_GOODBYE, shield=True):
            await trio.to_thread.run_sync(_tell, proxy.pause, abandon_on_cancel=True)


def _tell(act: Callable[[], list[str]]) -> None:
    try:
        for line in act():
            log.info("%s", line)
    except RopewayError as exc:
        log.warning("%s", exc)


def _check_sockets(sockets: Sequence[socket.socket], settings: LocalSettings) -> None:
    """The rule for `local.listen` holds for sockets that were passed as well. Raises ConfigError."""
    if not settings.username and not all(map(is_loopback, sockets)):
        text = "the socket unit listens beyond this computer: that needs a username and a password"
        raise ConfigError("local.username", text)


async def serve_port(
    settings: LocalSettings,
    listeners: list[trio.SocketListener],
    side: LocalSide,
    dashboard: Dashboard | None,
    *,
    task_status: trio.TaskStatus[object],
) -> None:
    hosts = frozenset(listener.socket.getsockname()[0] for listener in listeners)
    pac = PacFile(lambda: side.routing.router.ruleset, secret=side.routing.shared).pages
    site = OwnSite(pac, hosts=hosts)
    if dashboard is not None:
        site = OwnSite(pac, own=dashboard.pages, hosts=hosts, lets_in=dashboard.entrance.knows)
    await serve_local(
        listeners,
        side.routing.choose,
        settings.credentials,
        associate=side.udp_relay.serve if settings.max_associations else None,
        max_connections=settings.max_connections,
        connections=side.connections,
        heads=side.new_heads(),
        own_site=site.serve,
        task_status=task_status,
    )


async def _serve_names(settings: DnsSettings, side: LocalSide, nursery: trio.Nursery) -> None:
    """Where names can be asked for, if anywhere. Raises ConfigError where the port cannot be had."""
    if settings.listen is None:
        return
    from .dns import open_port, serve_dns  # what reads questions is imported where there may be some
    from .far_resolvers import FarResolvers
    from .names import Names
    from .nameservers import Nameservers

    try:
        port = await open_port(settings.listen.host, settings.listen.port)
    except OSError as exc:
        raise ConfigError("dns.listen", f"cannot listen on {settings.listen}: {advice(exc)}") from exc

    async def open_through(exit_name: str, address: Address) -> SessionStream:
        way = side.exits.by(ExitName.parse(exit_name)) if exit_name else side.exits
        return await way.open(address)

    own = Address(settings.listen.host, port.number)
    names = Names(side.routing.router.verdict, FarResolvers(settings.resolvers, open_through), Nameservers([own]))
    side.routing.when_changed(names.clear)
    await nursery.start(serve_dns, port, names)
    log.info("names can be asked for on %s", own)
