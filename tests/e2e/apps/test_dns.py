"""DNS by way of UDP ASSOCIATE, as an app asks that knows SOCKS (dnspython), and the server's answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest
import socks
import trio

from tests.e2e.apps.socks_udp import datagram_socket, wait_for_tunnel

if TYPE_CHECKING:
    from tests.e2e.apps.interruption import Way

pytestmark = pytest.mark.e2e

NAME, ADDRESS = "chat.example.", "192.0.2.7"


async def serve(mine: trio.socket.SocketType) -> None:
    """Everybody is at one address."""
    while True:
        data, sender = await mine.recvfrom(4096)
        query = dns.message.from_wire(data)
        reply = dns.message.make_response(query)
        reply.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "A", ADDRESS))
        await mine.sendto(reply.to_wire(), sender)


def ask(proxy_port: int, server: tuple[str, int]) -> dns.message.Message:
    """PySocks stands in for the socket of dnspython."""
    with socks.socksocket(type=socks.socket.SOCK_DGRAM) as app:
        app.set_proxy(socks.SOCKS5, "127.0.0.1", proxy_port)
        app.bind(("127.0.0.1", 0))
        host, port = server
        return dns.query.udp(dns.message.make_query(NAME, "A"), host, port=port, timeout=5, sock=app)


async def test_a_query(way: Way) -> None:
    """The answer has the server's own address as its sender, or dnspython would not take it."""
    await trio.to_thread.run_sync(wait_for_tunnel, way.pair)
    with datagram_socket() as server:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, server)
            message = await trio.to_thread.run_sync(ask, way.pair.port, server.getsockname())
            nursery.cancel_scope.cancel()
    assert message.rcode() == dns.rcode.NOERROR
    assert [line.to_text() for line in message.answer] == [f"{NAME} 60 IN A {ADDRESS}"]
