"""Sessions over memory streams: carriers that break and are replaced, and the end of all."""

from __future__ import annotations

import pytest
import trio
from trio.testing import (
    wait_all_tasks_blocked,
)

from proxy.errors import OpenError
from proxy.protocol.event import Code
from tests.ends import exchange, two_ends
from tests.pair import ADDRESS


async def test_streams_survive_their_carrier(autojump_clock: trio.testing.MockClock) -> None:
    async with two_ends() as ends:
        one, other = await ends.open()
        await exchange(one, other)
        await ends.cut()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(exchange, one, other, b"up" * 200_000)
            nursery.start_soon(exchange, other, one, b"down" * 200_000)
            for _ in range(3):
                await trio.sleep(1)
                await ends.cut()
                ends.connect()


async def test_a_broken_carrier_says_why(autojump_clock: trio.testing.MockClock) -> None:
    async with two_ends() as ends:
        await ends.open()
        assert ends.carriers is not None
        await ends.carriers[1].send_stream.aclose()
        await wait_all_tasks_blocked()
        assert "the other side closed it" in ends.ended


async def test_a_silent_carrier_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    async with two_ends() as ends:
        one, _ = await ends.open()
        assert ends.carriers is not None
        # From here on nothing of the local side arrives, as behind a firewall that drops.
        ends.carriers[0].send_stream.send_all_hook = None
        start = trio.current_time()
        await one.send_all(b"anybody there?")
        await ends.first_end.wait()
        assert "nothing was heard" in ends.ended[0]
        assert 5 <= trio.current_time() - start <= 8


async def test_a_lost_session_ends_everything() -> None:
    async with two_ends() as ends:
        one, _ = await ends.open()
        ends.local.lost("the exit was restarted")
        with pytest.raises(trio.BrokenResourceError, match="restarted"):
            await one.receive_some()
        assert ends.local.over.is_set()
        with pytest.raises(OpenError):
            ends.local.open(ADDRESS)
        await ends.local.detach()


async def test_a_peer_that_breaks_the_protocol_is_told(autojump_clock: trio.testing.MockClock) -> None:
    async with two_ends() as ends:
        assert ends.carriers is not None
        ends.carriers[1].receive_stream.put_data(b"\x3f\x00\x00\x00\x00\x00\x00\x00")
        await ends.local.over.wait()
        assert ends.local.mux.over is not None
        assert ends.local.mux.over.code is Code.PROTOCOL_ERROR
        await wait_all_tasks_blocked()
        assert len(ends.ended) == 2
        assert all("type 0x3f" in why for why in ends.ended)


async def test_repr_shows_the_state() -> None:
    async with two_ends() as ends:
        one, _ = await ends.open()
        assert repr(ends.local).startswith("<Session on a carrier")
        assert "open" in repr(one)
        assert one.address == ADDRESS
