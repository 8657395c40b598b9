"""The exit over memory: who is a visitor, who has a session, and what one user may take. `test_tunnel.py` has the conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from proxy.errors import CarrierError, OpenError, Reason
from proxy.exit import HANDSHAKE_TIMEOUT, Limits
from proxy.keys import UserKey
from proxy.protocol.frame import Type, encode
from proxy.protocol.handshake import Status, Wanted
from tests.memory import ECHO, Identity, exchange, world

if TYPE_CHECKING:
    from trio.testing import MockClock


async def test_bytes_that_are_no_hello_reach_the_website_whole(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server) as around:
        carrier = (await around.open_carrier()).stream
        await carrier.send_all(b"GET / HTTP/1.1\r\n\r\n")
        await trio.sleep(1)
        assert around.website.seen[0].startswith(b"GET / HTTP/1.1\r\n\r\n")
        assert around.sessions == 0


async def test_the_beginning_of_a_key_id_and_nothing_more_is_a_visitor(
    server: Identity, autojump_clock: MockClock
) -> None:
    async with world(server) as around:
        carrier = (await around.open_carrier()).stream
        await carrier.send_all(around.key.key_id[:5])
        await trio.sleep(HANDSHAKE_TIMEOUT - 1)
        assert not around.website.seen
        await trio.sleep(2)
        assert around.website.seen[0].startswith(around.key.key_id[:5])


async def test_another_users_key_has_no_session(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server) as around:
        around.run(tunnel := around.new_tunnel(UserKey.new(), connect_wait=1))
        with pytest.raises(OpenError) as caught:
            await tunnel.open(ECHO)
        assert caught.value.reason is Reason.TUNNEL_DOWN
        assert around.sessions == 0


async def test_one_user_takes_no_more_sessions_than_allowed(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server, Limits(max_sessions=1)) as around:
        around.run(first := around.new_tunnel())
        await exchange(await first.open(ECHO))
        around.run(second := around.new_tunnel(connect_wait=1))
        with pytest.raises(OpenError):
            await second.open(ECHO)
        assert around.sessions == 1
        await exchange(await first.open(ECHO))


@pytest.mark.parametrize(("received", "sending"), [(10**6, 0), (0, 10**6), (0, 0)], ids=["future", "gap", "stale"])
async def test_a_hello_with_offsets_that_cannot_be_ends_no_session(
    server: Identity, autojump_clock: MockClock, received: int, sending: int
) -> None:
    """It may have been stuck on the way for longer than the carrier lived that it was meant to replace."""
    async with world(server) as around:
        around.run(tunnel := around.new_tunnel())
        stream = await tunnel.open(ECHO)
        await exchange(stream, b"before" * 1000)
        await trio.sleep(1)  # everything is acknowledged
        greeted = await around.greet(Wanted.RESUME, tunnel._token, received, sending)
        assert greeted.welcome.status is Status.IMPOSSIBLE
        await exchange(stream, b"after" * 1000)
        assert len(around.attempts) == 2  # the tunnel never had to connect again


async def test_at_the_limit_sessions_without_streams_go_first(server: Identity, autojump_clock: MockClock) -> None:
    """The welcomes of another device get lost, again and again, while this one has no network."""
    async with world(server, Limits(max_sessions=3)) as around:
        around.run(tunnel := around.new_tunnel())
        stream = await tunnel.open(ECHO)
        await exchange(stream)
        around.reachable = False
        around.cut()
        for _ in range(5):
            around.reachable = True
            await around.greet()
            around.reachable = False
            around.cut()
            await trio.sleep(1)
        assert around.sessions == 3
        around.reachable = True
        await exchange(stream)


async def test_who_breaks_the_protocol_is_told_so(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server) as around:
        greeted = await around.greet(behind=encode(Type.OPENED, 7))
        assert b"never opened" in await greeted.read_to_end()


async def test_strangers_never_take_every_place(
    server: Identity, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They keep their connections open for ever; the oldest goes, and carriers do not count."""
    monkeypatch.setattr("proxy.exit.MAX_STRANGERS", 5)
    async with world(server) as around:
        around.run(tunnel := around.new_tunnel())
        stream = await tunnel.open(ECHO)
        visitors = []
        for _ in range(12):
            carrier = (await around.open_carrier()).stream
            await carrier.send_all(b"GET / HTTP/1.1\r\n\r\n")
            visitors.append(carrier)
            await trio.sleep(0.1)
        for carrier in visitors[:7]:
            with pytest.raises(trio.BrokenResourceError), trio.fail_after(1):
                await carrier.receive_some()
        for carrier in visitors[7:]:
            with trio.move_on_after(1) as scope:
                await carrier.receive_some()
            assert scope.cancelled_caught
        await exchange(stream)
        around.run(second := around.new_tunnel())
        await exchange(await second.open(ECHO))


def test_a_carrier_error_is_one_line() -> None:
    assert "\n" not in str(CarrierError("one line"))
