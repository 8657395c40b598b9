"""Opens connections for apps and carries them, with an entry for each in the table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

import trio

from .address import Address
from .errors import OpenError, Reason
from .relay import abort, relay

if TYPE_CHECKING:
    from .connections import AppProtocol, Connection, Connections

OpenStream: TypeAlias = Callable[[Address], Awaitable[trio.abc.HalfCloseableStream]]

#: Why a connection is over that was never begun, or broken off by who was to carry it.
GIVEN_UP = "it was given up"


class Opener:
    """`open_stream` raises OpenError."""

    def __init__(self, open_stream: OpenStream, connections: Connections) -> None:
        self._open_stream = open_stream
        self._connections = connections

    async def open(self, protocol: AppProtocol, address: Address) -> tuple[Connection, trio.abc.HalfCloseableStream]:
        """The stream, and its entry, which whoever asked is to close. Raises OpenError."""
        connection = self._connections.opened(protocol, address, trio.current_time())
        try:
            stream = await self._open(connection)
        except OpenError as exc:
            connection.close(trio.current_time(), str(exc))
            raise
        except BaseException:
            connection.close(trio.current_time(), GIVEN_UP)
            raise
        connection.reached()
        return connection, stream

    async def _open(self, connection: Connection) -> trio.abc.HalfCloseableStream:
        with trio.CancelScope() as scope:  # it is forgotten with this call: there may be thousands that are idle
            connection.ends_with(scope)
            return await self._open_stream(connection.address)
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
            await app.send_all(reply)
        if early:
            connection.traffic.up(len(early), trio.current_time())
            await stream.send_all(early)
    except BaseException:
        connection.close(trio.current_time(), GIVEN_UP)
        await abort(stream)
        await abort(app)
        raise
    await relay(app, stream, connection)
