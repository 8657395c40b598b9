"""Opens connections for apps and carries them, with an entry for each in the table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import trio

from .address import Address
from .connections import TUNNEL
from .errors import OpenError, Reason
from .relay import abort, relay
from .shortcut import send_soon

if TYPE_CHECKING:
    from .connections import AppProtocol, Connection, Connections

#: Raises OpenError.
OpenStream: TypeAlias = Callable[[Address], Awaitable[trio.abc.HalfCloseableStream]]
#: The same where nothing has to be waited for; else None, and nothing has happened.
OpenSoon: TypeAlias = Callable[[Address], trio.abc.HalfCloseableStream | None]


def not_soon(_address: Address) -> None:
    """Of ways that always wait."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The way of a connection: how the route and its rule are called in the table, and what opens it. `open_soon` is asked first."""

    route: str
    rule: str
    open: OpenStream
    open_soon: OpenSoon = not_soon


Choose: TypeAlias = Callable[[Address], Chosen]

#: Why a connection is over that was never begun, or broken off by who was to carry it.
GIVEN_UP = "it was given up"


def always(open_stream: OpenStream, route: str = TUNNEL) -> Choose:
    """The same way for all."""
    chosen = Chosen(route, "", open_stream)
    return lambda _: chosen


class Opener:
    """`choose` says which way each connection goes."""

    def __init__(self, choose: Choose, connections: Connections) -> None:
        self._choose = choose
        self._connections = connections

    async def open(
        self, protocol: AppProtocol, address: Address, app: trio.abc.HalfCloseableStream | None = None
    ) -> tuple[Connection, trio.abc.HalfCloseableStream]:
        """The stream, and its entry, which whoever asked is to close. Raises OpenError."""
        connection = self._connections.opened(protocol, address, trio.current_time())
        connection.app = app
        try:
            stream = await self._open(connection)
        except OpenError as exc:
            connection.close(trio.current_time(), str(exc))
            raise
        except BaseException:
            connection.close(trio.current_time(), GIVEN_UP)
            raise
        connection.reached(getattr(stream, "exit", ""))
        return connection, stream

    async def _open(self, connection: Connection) -> trio.abc.HalfCloseableStream:
        chosen = self._choose(connection.address)
        connection.chosen(chosen.route, chosen.rule)
        if (stream := chosen.open_soon(connection.address)) is not None:
            return stream  # what ends it is the relay's, and a scope less is a fortieth of a short connection's time
        with trio.CancelScope() as scope:  # it is forgotten with this call: there may be thousands that are idle
            connection.ends_with(scope)
            return await chosen.open(connection.address)
        raise OpenError(Reason.CANCELLED, connection.ending)


async def carry(
    app: trio.abc.HalfCloseableStream,
    connection: Connection,
    stream: trio.abc.HalfCloseableStream,
    reply: bytes,
    early: bytes,
) -> None:
    """Sends the reply to the app and its early data to the stream, and relays until both are done. Closes all three in any case."""
    try:
        if reply:
            await send_soon(app)(reply)
        if early:
            connection.traffic.up(len(early), trio.current_time())
            await stream.send_all(early)
    except BaseException:
        connection.close(trio.current_time(), GIVEN_UP)
        await abort(stream)
        await abort(app)
        raise
    await relay(app, stream, connection)
