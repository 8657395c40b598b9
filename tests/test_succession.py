"""One carrier after another, with the whole tunnel: suspect ones are raced, others handed over, and nothing is lost or sent twice."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import pytest
import trio

from proxy.protocol.liveness import HURRY, SUSPECT
from proxy.succession import RETRY_ROTATION, Rotation
from proxy.tunnel import Tunnel
from proxy.ways import TLS_TIMEOUT
from tests.effort import SEEDS
from tests.memory import ECHO, Cable, Identity, World, exchange, world
from tests.test_tunnel import silent_cable, streams_of, told, transfer

if TYPE_CHECKING:
    from trio.testing import MockClock

pytestmark = pytest.mark.usefixtures("no_bug", "rare_looks")


# ---- carriers that fall silent


async def test_a_carrier_that_falls_silent_is_replaced_before_it_is_dead(
    server: Identity, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with world(server) as around:
        tunnel = around.new_tunnel()
        around.run(tunnel)
        stream = await tunnel.open(ECHO)
        await exchange(stream)
        await trio.sleep(10)
        around.cables[-1].silent = True
        start = trio.current_time()
        await exchange(stream, b"over the next carrier")
        assert trio.current_time() - start == pytest.approx(SUSPECT)
        assert len(around.cables) == 2
        assert around.sessions == 1
        assert around.cables[0].near.closed
    assert told(caplog) == ["connected to the exit", "moved to another connection to the exit"]


async def test_a_suspect_carrier_that_answers_again_goes_on(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server) as around:
        tunnel = around.new_tunnel()
        around.run(tunnel)
        stream = await tunnel.open(ECHO)
        first = around.cables[-1]
        around.make_cable = silent_cable
        first.hold()
        await stream.send_all(b"hello")
        await trio.sleep(SUSPECT + 0.5)
        assert len(around.cables) == 2, "another one is being made"
        first.let_go()
        assert await stream.receive_some() == b"hello"
        await trio.sleep(10)
        assert not first.near.closed
        await exchange(stream)
        assert around.cables[1].near.closed


async def test_after_a_change_of_the_network_a_lost_race_is_run_again_at_once(
    server: Identity, autojump_clock: MockClock
) -> None:
    async with world(server) as around:
        tunnel = around.new_tunnel()
        around.run(tunnel)
        stream = await tunnel.open(ECHO)
        around.reachable = False
        around.cables[-1].silent = True
        await stream.send_all(b"hello")
        await trio.sleep(SUSPECT + 0.4)
        around.reachable = True
        tunnel.network_changed()
        with trio.fail_after(0.1):
            assert await stream.receive_some() == b"hello"


async def test_a_race_that_both_lose_is_followed_by_an_attempt_at_once(
    server: Identity, autojump_clock: MockClock
) -> None:
    async with world(server) as around:
        tunnel = around.new_tunnel()
        around.run(tunnel)
        stream = await tunnel.open(ECHO)
        around.make_cable = silent_cable
        around.cables[-1].silent = True
        await stream.send_all(b"hello")
        await trio.sleep(SUSPECT + 0.4)
        around.make_cable = Cable
        around.cables[0].cut()
        with trio.fail_after(TLS_TIMEOUT - 0.3):
            assert await stream.receive_some() == b"hello"


async def test_after_a_change_of_the_network_a_dead_carrier_is_replaced_soon(
    server: Identity, autojump_clock: MockClock
) -> None:
    async with world(server) as around:
        tunnel = around.new_tunnel()
        around.run(tunnel)
        stream = await tunnel.open(ECHO)
        await exchange(stream)
        around.cables[-1].silent = True
        tunnel.network_changed()
        start = trio.current_time()
        await exchange(stream)
        assert trio.current_time() - start <= HURRY + 0.01
        assert len(around.cables) == 2


# ---- carriers that are replaced while they work


def rotating(around: World, rotation: Rotation) -> Tunnel:
    return Tunnel(around.open_carrier, around.key, connect_wait=10, rotation=rotation)


async def stall(stream: trio.abc.Stream, seconds: float, every: float = 0.1) -> float:
    """How long the longest of many round trips of an echo took."""
    until, longest = trio.current_time() + seconds, 0.0
    while (start := trio.current_time()) < until:
        await exchange(stream, b"tick")
        longest = max(longest, trio.current_time() - start)
        await trio.sleep(every)
    return longest


async def test_a_carrier_is_replaced_in_time(
    server: Identity, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with world(server) as around:
        tunnel = rotating(around, Rotation(least_age=10, most_age=20))
        around.run(tunnel)
        stream = await tunnel.open(ECHO)
        assert await stall(stream, 100, every=0.5) < 0.01
        assert 5 <= len(around.cables) <= 11
        assert all(cable.near.closed for cable in around.cables[:-1])
        assert around.sessions == 1
    assert [line for line in told(caplog) if "gone" in line] == []


async def test_a_carrier_is_replaced_after_its_volume(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server) as around:
        around.make_cable = lambda: Cable(room=10_000)
        tunnel = rotating(around, Rotation(least_volume=100_000, most_volume=200_000))
        around.run(tunnel)
        for _ in range(3):
            await transfer(tunnel, random.Random(1).randbytes(400_000))
        assert 8 <= len(around.cables) <= 30
        assert around.sessions == 1
        assert sum(len(cable.near.sent) for cable in around.cables) < 1_300_000, "little is sent twice"


@pytest.mark.parametrize("lasts", [0, 1, 1500, 2500, 3000, 3500, 4000, 5000, 50_000])
@pytest.mark.parametrize("which", ["the old one", "the new one", "both"])
async def test_a_hand_over_that_breaks_loses_nothing(
    server: Identity, which: str, lasts: int, autojump_clock: MockClock
) -> None:
    async with world(server) as around:
        tunnel = rotating(around, Rotation(least_age=1, most_age=1))
        around.make_cable = lambda: Cable(room=30_000)
        around.run(tunnel)

        def breaking() -> Cable:
            around.make_cable = Cable
            if which != "the new one":
                around.cables[-1].lasts = lasts
            for seed in range(2):
                nursery.start_soon(transfer, tunnel, random.Random(seed).randbytes(60_000))
            return Cable(room=30_000, lasts=math.inf if which == "the old one" else lasts)

        async with trio.open_nursery() as nursery:
            await trio.sleep(0.5)
            around.make_cable = breaking
            nursery.start_soon(slow_transfer, tunnel, 1.2, 0.3)
        assert around.sessions == 1
        assert "0 streams, 0 kept" in repr(tunnel)


async def slow_transfer(tunnel: Tunnel, seconds: float = 3.0, every: float = 0.1) -> None:
    stream = await tunnel.open(ECHO)
    await stall(stream, seconds, every)
    await stream.send_eof()
    assert await stream.receive_some() == b""
    await stream.aclose()


async def test_where_no_other_carrier_can_be_made_the_one_that_works_goes_on(
    server: Identity, autojump_clock: MockClock
) -> None:
    async with world(server) as around:
        tunnel = rotating(around, Rotation(least_age=10, most_age=10, least_volume=1000, most_volume=1000))
        around.run(tunnel)
        stream = await tunnel.open(ECHO)
        around.reachable = False
        assert await stall(stream, 600, every=5) < 0.01
        assert len(around.cables) == 1
        assert len(around.attempts) <= 600 / RETRY_ROTATION + 3


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_transfers_survive_everything_at_once(server: Identity, seed: int, autojump_clock: MockClock) -> None:
    """Cuts, silence, rotation and changes of the network, at any moment of each other."""
    rng = random.Random(seed)
    async with world(server) as around:
        around.make_cable = lambda: Cable(room=rng.choice((3000, 30_000)), lasts=rng.choice((math.inf, 5000, 100_000)))
        tunnel = rotating(around, Rotation(least_age=0.1, most_age=3, least_volume=20_000, most_volume=300_000))
        around.run(tunnel)

        async def trouble() -> None:
            while True:
                await trio.sleep(rng.uniform(0, 3))
                cable = rng.choice(around.cables[-2:])
                rng.choice((cable.cut, cable.hold, cable.let_go, tunnel.network_changed))()
                cable.silent = cable.silent or rng.random() < 0.2

        async with trio.open_nursery() as trouble_nursery:
            trouble_nursery.start_soon(trouble)
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(transfer, tunnel, rng.randbytes(rng.choice((1, 100_000, 250_000))))
                    nursery.start_soon(slow_transfer, tunnel)
            trouble_nursery.cancel_scope.cancel()
        assert len(around.cables) > 1
        assert around.sessions == 1
        assert streams_of(tunnel) == 0
