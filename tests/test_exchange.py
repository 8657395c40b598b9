"""The two sides of an exchange, and what they hold. The way of requests and answers is in test_forward.py."""

from __future__ import annotations

import h11
import pytest
import trio
from trio.testing import memory_stream_pair

from proxy.address import Address
from proxy.connections import AppProtocol, Connections
from proxy.exchange import CHUNK, HEAD_CHUNK, Client, Exchange, Site
from proxy.protocol import http_proxy
from proxy.protocol.budget import Budget
from proxy.protocol.heads import Head, Heads
from proxy.protocol.http_proxy import NamelessError, StatusError

REQUEST = b"PUT http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"


def client_of(heads: Heads) -> tuple[trio.abc.HalfCloseableStream, Client]:
    """The app's end, and the client."""
    app, local = memory_stream_pair()
    return app, Client(local, http_proxy.Connection(h11.SERVER), Head(heads))


async def crowd(heads: Heads) -> None:
    Head(heads).count(8, trio.current_time() + 1)
    await trio.lowlevel.checkpoint()


async def test_of_a_head_little_is_read_at_once() -> None:
    app, client = client_of(Heads())
    assert client.appetite == HEAD_CHUNK
    await app.send_all(REQUEST)
    assert isinstance(await client.next_event(), h11.Request)
    assert client.appetite == CHUNK
    await app.send_all(b"abc")
    assert isinstance(await client.next_event(), h11.Data)
    assert isinstance(await client.next_event(), h11.EndOfMessage)
    assert client.appetite == HEAD_CHUNK


@pytest.mark.parametrize(("data", "fault"), [(b"GET / HTTP/1.1", NamelessError), (b"GET http:", StatusError)])
async def test_who_holds_too_much_gives_way(data: bytes, fault: type[StatusError]) -> None:
    heads = Heads(Budget(16 * 16))
    app, client = client_of(heads)
    await app.send_all(data)
    await client.receive()
    client.http.next_event()
    assert heads.held == len(data)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(crowd, heads)
        with pytest.raises(StatusError) as caught, client.giving_way():
            await client.receive()
    assert (type(caught.value), caught.value.status) == (fault, 503)
    client.forget()
    assert (client.http.held, heads.held) == (0, 8)


async def test_a_head_that_was_sent_is_not_kept_until_the_answer_comes() -> None:
    app, client = client_of(Heads())
    ours, theirs = memory_stream_pair()
    site = Site(Connections().opened(AppProtocol.HTTP, Address("a", 80), 0), ours)
    await app.send_all(REQUEST)
    request = await client.next_event()
    assert isinstance(request, h11.Request)
    pieces = [site.http.send(request)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Exchange(client, site, pieces, informs=True).run)
        assert await theirs.receive_some()
        await trio.testing.wait_all_tasks_blocked()
        assert pieces == []
        nursery.cancel_scope.cancel()
