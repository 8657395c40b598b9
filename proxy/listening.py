"""Listeners where the settings want them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import trio

from .address import Address
from .errors import ConfigError
from .tcp import unpaced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .settings import Listen

# Our choice.
BACKLOG = 1024  # a browser that starts again opens dozens of connections at once; the kernel has its own bound


async def listen(place: Listen, field: str) -> list[trio.SocketListener]:
    """Raises ConfigError that says what stands in the way."""
    try:
        listeners = await trio.open_tcp_listeners(place.port, host=place.host or None, backlog=BACKLOG)
    except OSError as exc:
        in_the_way = await trio.to_thread.run_sync(_holder, place) or advice(exc)
        raise ConfigError(field, f"cannot listen on {place}: {in_the_way}") from exc
    return unpaced(listeners)


async def listen_all(places: Sequence[Listen], field: str) -> list[trio.SocketListener]:
    """At all of them or none. Raises ConfigError as `listen`."""
    listeners: list[trio.SocketListener] = []
    try:
        for place in places:
            listeners += await listen(place, field)
    except BaseException:
        for listener in listeners:
            listener.socket.close()
        raise
    return listeners


def _holder(place: Listen) -> str:
    """Who has the port, and what to do; nothing where it is something else."""
    from .port_holder import holder_of  # what asks the system's programs is imported where somebody is in the way

    holder = holder_of(place)
    if holder is not None and holder.pid == os.getpid():
        return "another setting of this configuration has that port already; choose another"
    return f"it is in use by {holder}; stop that, or choose another port" if holder else ""


def advice(exc: OSError) -> str:
    """What stands in the way, and what to do."""
    if isinstance(exc, PermissionError):
        return "ports below 1024 need root, or the capability CAP_NET_BIND_SERVICE; give it, or choose another port"
    cause = exc if exc.errno else exc.__cause__ or exc
    return f"{getattr(cause, 'strerror', None) or cause}; stop the program that uses this port, or choose another"


def shown(listeners: list[trio.SocketListener]) -> str:
    names = [listener.socket.getsockname() for listener in listeners]
    return ", ".join(str(Address(name[0], name[1])) for name in names)
