"""An app that sends datagrams by way of SOCKS5 (RFC 1928, sections 4, 6 and 7)."""

from __future__ import annotations

import ipaddress
import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import trio

from tests.e2e.apps import connect_by_socks
from tests.lab.programs import receive_exactly

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.e2e.pairs import Pair

Where: TypeAlias = tuple[str, int]

ASSOCIATE = b"\5\1\0" + b"\5\3\0\1" + bytes(6)  # no method but none; the port that it will send from is not known yet
IPV4, NAME, IPV6 = 1, 3, 4
_SIZES = {IPV4: 4, IPV6: 16}


class RefusedError(Exception):
    """There is no association: the reply is this."""

    def __init__(self, reply: int) -> None:
        super().__init__(f"SOCKS reply {reply}")
        self.reply = reply


def header(there: Where, *, fragment: int = 0) -> bytes:
    host, port = there
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode()
        kind, address = NAME, bytes([len(name)]) + name
    else:
        kind, address = (IPV4 if ip.version == 4 else IPV6), ip.packed
    return bytes([0, 0, fragment, kind]) + address + struct.pack("!H", port)


def split(datagram: bytes) -> tuple[Where, bytes]:
    """Who has sent it, and what."""
    kind = datagram[3]
    assert datagram[:3] == bytes(3)
    end = 4 + _SIZES[kind]  # never a name: who answers has an address
    (port,) = struct.unpack_from("!H", datagram, end)
    return (str(ipaddress.ip_address(datagram[4:end])), port), datagram[end + 2 :]


class Association:
    """Datagrams to and from anywhere, as long as the connection lasts on which it was asked for."""

    def __init__(self, control: trio.SocketStream, relay: Where, mine: trio.socket.SocketType) -> None:
        self.control = control
        #: Where the app sends to.
        self.relay = relay
        self._socket = mine

    async def send(self, there: Where, data: bytes) -> None:
        await self.send_raw(header(there) + data)

    async def send_raw(self, datagram: bytes) -> None:
        await self._socket.sendto(datagram, self.relay)

    async def receive(self) -> tuple[Where, bytes]:
        datagram, sender = await self._socket.recvfrom(65_535)
        assert sender == self.relay
        return split(datagram)

    async def ask(self, there: Where, data: bytes, *, seconds: float = 5) -> tuple[Where, bytes]:
        """The next datagram after this one was sent."""
        await self.send(there, data)
        with trio.fail_after(seconds):
            return await self.receive()

    def close(self) -> None:
        self._socket.close()


async def ask_for_association(control: trio.SocketStream) -> Where:
    """The relay's address. Raises RefusedError, EOFError and trio.BrokenResourceError."""
    await control.send_all(ASSOCIATE)
    assert await receive_exactly(control, 2) == b"\5\0"
    version, reply, _, kind = await receive_exactly(control, 4)
    assert version == 5
    rest = await receive_exactly(control, _SIZES[kind] + 2)
    if reply:
        raise RefusedError(reply)
    return str(ipaddress.ip_address(rest[:-2])), int.from_bytes(rest[-2:], "big")


def datagram_socket(host: str = "127.0.0.1", port: int = 0) -> trio.socket.SocketType:
    """Raises OSError."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)  # nothing is to be lost at our own end
    try:
        made.bind((host, port))
        made.setblocking(False)
        return trio.socket.from_stdlib_socket(made)
    except BaseException:
        made.close()
        raise


def wait_for_tunnel(pair: Pair) -> None:
    """Datagrams wait for it only as long as they are of use to somebody. A connection waits until it is there."""
    reply, connection = connect_by_socks(pair.port, "127.0.0.1", pair.exit.port)
    connection.close()
    assert reply == 0


@asynccontextmanager
async def associate(proxy_port: int) -> AsyncIterator[Association]:
    """Raises what `ask_for_association` raises, and OSError."""
    async with await trio.open_tcp_stream("127.0.0.1", proxy_port) as control:
        relay = await ask_for_association(control)
        association = Association(control, relay, datagram_socket())
        try:
            yield association
        finally:
            association.close()
