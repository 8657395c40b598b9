"""The exit over memory: who is a visitor, who has a session, and what one user may take. `test_tunnel.py` has the conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from proxy.errors import CarrierError, OpenError, Reason
from proxy.exit import HANDSHAKE_TIMEOUT, Limits
from proxy.keys import UserKey
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


def test_a_carrier_error_is_one_line() -> None:
    assert "\n" not in str(CarrierError("one line"))
