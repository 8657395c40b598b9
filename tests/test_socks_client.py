"""Connections through a local port of ours, and through what else may listen there."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest
import trio

from proxy import socks_client
from proxy.address import Address
from proxy.errors import LocalPortError, OpenError, Reason
from proxy.listener import serve_local
from proxy.opener import always
from proxy.protocol.socks import Credentials
from proxy.socks_client import connect_through

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ADDRESS = Address("example.com", 443)
ALICE = Credentials("alice", "wonderland")


class Behind:
    """What the local port opens: the far ends of streams, or an error."""

    def __init__(self, reason: Reason | None = None) -> None:
        self.reason = reason
        self.asked: list[Address] = []

    async def open(self, address: Address) -> trio.abc.HalfCloseableStream:
        self.asked.append(address)
        if self.reason is not None:
            raise OpenError(self.reason)
        near, far = trio.testing.memory_stream_pair()
        await far.send_all(b"welcome")
        return near


async def local_port(nursery: trio.Nursery, behind: Behind, credentials: Credentials | None = None) -> Address:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    await nursery.start(serve_local, listeners, always(behind.open), credentials)
    return Address("127.0.0.1", listeners[0].socket.getsockname()[1])


async def other_program(nursery: trio.Nursery, serve: Callable[[trio.SocketStream], Awaitable[None]]) -> Address:
    (listener,) = await nursery.start(functools.partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
    return Address("127.0.0.1", listener.socket.getsockname()[1])


@pytest.mark.parametrize("credentials", [None, ALICE])
async def test_what_comes_behind_the_reply_is_kept(nursery: trio.Nursery, credentials: Credentials | None) -> None:
    behind = Behind()
    port = await local_port(nursery, behind, credentials)
    with trio.fail_after(10):
        async with await connect_through(port, credentials, ADDRESS) as stream:
            got = b""
            while len(got) < 7:
                got += await stream.receive_some()
    assert got == b"welcome"
    assert behind.asked == [ADDRESS]


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (Reason.REFUSED, Reason.REFUSED),
        (Reason.NETWORK_UNREACHABLE, Reason.NETWORK_UNREACHABLE),
        (Reason.HOST_UNREACHABLE, Reason.HOST_UNREACHABLE),
        (Reason.TIMED_OUT, Reason.HOST_UNREACHABLE),  # SOCKS has no reply of their own for these
        (Reason.NAME_NOT_FOUND, Reason.HOST_UNREACHABLE),
        (Reason.FORBIDDEN, Reason.FORBIDDEN),
        (Reason.TUNNEL_DOWN, Reason.FAILED),
        (Reason.BUSY, Reason.FAILED),
        (Reason.FAILED, Reason.FAILED),
    ],
)
async def test_a_failure_has_its_reason_in_words(nursery: trio.Nursery, reason: Reason, told: Reason) -> None:
    port = await local_port(nursery, Behind(reason))
    with trio.fail_after(10), pytest.raises(OpenError) as caught:
        await connect_through(port, None, ADDRESS)
    assert caught.value.reason is told
    assert str(caught.value).isprintable()


async def test_where_nothing_listens() -> None:
    with trio.socket.socket() as unused:
        await unused.bind(("127.0.0.1", 0))
        port = Address("127.0.0.1", unused.getsockname()[1])
        with trio.fail_after(10), pytest.raises(LocalPortError, match=r"nothing listens at .*; start `ropeway run`"):
            await connect_through(port, None, ADDRESS)


@pytest.mark.parametrize("credentials", [None, Credentials("alice", "looking-glass")])
async def test_other_credentials(nursery: trio.Nursery, credentials: Credentials | None) -> None:
    behind = Behind()
    port = await local_port(nursery, behind, ALICE)
    with trio.fail_after(10), pytest.raises(LocalPortError, match="another user name and password") as caught:
        await connect_through(port, credentials, ADDRESS)
    assert "looking-glass" not in str(caught.value)
    assert not behind.asked


async def test_another_program(nursery: trio.Nursery) -> None:
    async def web(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def gone(stream: trio.SocketStream) -> None:
        await stream.receive_some()

    for serve in (web, gone):
        port = await other_program(nursery, serve)
        with trio.fail_after(10), pytest.raises(LocalPortError, match=r"does not speak SOCKS5, or ended"):
            await connect_through(port, None, ADDRESS)


async def test_a_program_that_says_nothing_is_not_waited_for(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(stream: trio.SocketStream) -> None:
        while await stream.receive_some():
            pass

    monkeypatch.setattr(socks_client, "_FIRST_WORD", 0.05)
    port = await other_program(nursery, silent)
    with trio.fail_after(10), pytest.raises(LocalPortError, match=r"does not answer; if that is Ropeway"):
        await connect_through(port, None, ADDRESS)


async def test_nothing_stays_open_when_it_is_cancelled(nursery: trio.Nursery) -> None:
    began, ended = trio.Event(), trio.Event()

    async def silent(stream: trio.SocketStream) -> None:
        began.set()
        try:
            while await stream.receive_some():
                pass
        except trio.BrokenResourceError:
            pass
        ended.set()

    port = await other_program(nursery, silent)
    with trio.fail_after(10):
        async with trio.open_nursery() as inner:
            inner.start_soon(connect_through, port, None, ADDRESS)
            await began.wait()
            inner.cancel_scope.cancel()
        await ended.wait()
