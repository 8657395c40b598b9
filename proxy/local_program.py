"""The local side as a program: its port, and what runs behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from . import activation, telemetry
from .address_book import AddressBook
from .errors import ConfigError
from .listener import serve_local
from .listening import listen, shown
from .local_side import LocalSide
from .network import watch_network
from .protocol.socks import Credentials
from .start import Start
from .tls import looks_like_a_browser
from .udp_relay import UDPRelay

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence
    from pathlib import Path

    from .settings import LocalSettings

log = telemetry.logger("app")


async def serve_local_side(
    settings: LocalSettings,
    path: Path,
    start: Start | None = None,
    *,
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    start = start or Start()
    _check_sockets(start.sockets, settings)
    listeners = activation.listeners(start.sockets) or await listen(settings.listen, "local.listen")
    if not looks_like_a_browser:
        log.warning(
            "utls is not installed: carriers work, but they look like Python and not like a browser from outside"
        )
    side = LocalSide(settings, AddressBook(_state_folder() / "addresses.json"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(side.reload_on_hangup, path)
        await nursery.start(side.exits.run)
        nursery.start_soon(watch_network, side.exits.network_changed)
        await nursery.start(serve_port, settings, listeners, side)
        names = ", ".join(str(each.addresses[0]) for each in settings.exits)
        log.info("ready: SOCKS and HTTP proxy on %s, by way of %s", shown(listeners), names)
        start.notifier.ready(f"SOCKS and HTTP proxy on {shown(listeners)}")
        task_status.started(listeners)


def _check_sockets(sockets: Sequence[socket.socket], settings: LocalSettings) -> None:
    """The rule for `local.listen` holds for sockets that were passed as well. Raises ConfigError."""
    if not settings.username and not all(map(activation.is_loopback, sockets)):
        text = "the socket unit listens beyond this computer: that needs a username and a password"
        raise ConfigError("local.username", text)


async def serve_port(
    settings: LocalSettings,
    listeners: list[trio.SocketListener],
    side: LocalSide,
    *,
    task_status: trio.TaskStatus[object],
) -> None:
    credentials = Credentials(settings.username, settings.password) if settings.username else None
    relay = UDPRelay(side.choose, age_limit=settings.datagram_age, max_associations=settings.max_associations)
    await serve_local(
        listeners,
        side.exits.open,
        credentials,
        associate=relay.serve if settings.max_associations else None,
        max_connections=settings.max_connections,
        connections=side.connections,
        task_status=task_status,
    )


def _state_folder() -> Path:
    import platformdirs

    return platformdirs.user_state_path("ropeway", appauthor=False)
