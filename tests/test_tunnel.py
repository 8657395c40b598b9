"""The tunnel and the exit over cables of memory, in virtual time: starts, cuts, silence, restarts, wrong keys, and what apps are told."""

from __future__ import annotations

import hashlib
import math
import random
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from proxy import tunnel as tunnel_module
from proxy.address import Address
from proxy.backoff import DEMAND, FIRST_PAUSE, LONGEST_PAUSE
from proxy.errors import OpenError, Reason
from proxy.exit import Limits
from proxy.greeting import Greeting
from proxy.keys import UserKey, channel_binding, der_of, new_certificate
from proxy.known_good import KNOWN_GOOD
from proxy.openings import ACCEPT_TIMEOUT
from proxy.protocol.liveness import DEAD, SUSPECT
from proxy.tunnel import Tunnel
from proxy.ways import Opened
from tests.effort import SEEDS
from tests.memory import ECHO, HELD, SLOW, Cable, Identity, exchange, world

if TYPE_CHECKING:
    from trio.testing import MockClock

    from proxy.protocol.handshake import Hello, Welcome
    from proxy.ways import Opened

pytestmark = pytest.mark.usefixtures("no_bug", "rare_looks")


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What a user reads of the tunnel."""
    return [record.getMessage() for record in caplog.records if record.name == "ropeway.tunnel"]


def streams_of(tunnel: Tunnel) -> int:
    """How many it counts as open."""
    return int(repr(tunnel).split(" streams")[0].split()[-1])


async def until(tunnel: Tunnel, state: str) -> None:
    while f"<Tunnel {state}," not in repr(tunnel):  # noqa: ASYNC110
        await trio.sleep(0.01)


# ---- open


async def test_it_connects_at_its_start_and_opens_streams(
    server: Identity, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with world(server) as around:
        tunnel = around.new_tunnel()
        around.run(tunnel)
        await wait_all_tasks_blocked()
        assert len(around.cables) == 1
        assert told(caplog) == ["connected to the exit"]
        one, two = await tunnel.open(ECHO), await tunnel.open(ECHO)
        await exchange(one, b"one" * 100_000)
        await exchange(two)
        assert around.destinations.asked == [ECHO, ECHO]
        assert len(around.cables) == 1
        for stream in (one, two):
            await stream.send_eof()
            assert await stream.receive_some() == b""
            await stream.aclose()
        await wait_all_tasks_blocked()
        assert (streams_of(tunnel), around.destinations.open) == (0, 0)


@pytest.mark.parametrize(
    "reason", [reason for reason in Reason if reason not in (Reason.CANCELLED, Reason.TUNNEL_DOWN)]
)
async def test_the_exits_errors_come_through(server: Identity, reason: Reason, autojump_clock: MockClock) -> None:
    async with world(server) as around:
        tunnel = around.new_tunnel()
        around.run(tunnel)
        with pytest.raises(OpenError, match=f"a word about {reason.name.lower()}") as caught:
            await tunnel.open(Address(f"{reason.name.lower()}.example", 80))
        assert caught.value.reason is reason
        assert streams_of(tunnel) == 0


async def test_an_open_waits_for_the_tunnel(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server) as around:
        around.reachable = False
        tunnel = around.new_tunnel(connect_wait=5)
        around.run(tunnel)
        start = trio.current_time()
        with pytest.raises(OpenError) as caught:
            await tunnel.open(ECHO)
        assert caught.value.reason is Reason.TUNNEL_DOWN
        assert trio.current_time() - start == pytest.approx(5)
        assert not around.destinations.asked


async def test_an_open_goes_on_when_the_tunnel_is_up(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server) as around:
        around.reachable = False
        tunnel = around.new_tunnel(connect_wait=100)
        around.run(tunnel)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def open_and_use() -> None:
                await exchange(await tunnel.open(ECHO))

            await trio.sleep(10)
            around.reachable = True


async def test_an_open_that_is_cancelled_is_cancelled_at_the_exit(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server) as around:
        tunnel = around.new_tunnel()
        around.run(tunnel)
        with trio.move_on_after(1) as scope:
            await tunnel.open(SLOW)
        assert scope.cancelled_caught
        await wait_all_tasks_blocked()
        assert around.destinations.asked == [SLOW]
        assert (around.destinations.waiting, streams_of(tunnel)) == (0, 0)


async def test_an_exit_that_never_says_whether_it_connected(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server) as around:
        tunnel = around.new_tunnel()
        around.run(tunnel)
        await until(tunnel, "up")
        start = trio.current_time()
        with pytest.raises(OpenError) as caught:
            await tunnel.open(SLOW)
        assert caught.value.reason is Reason.TIMED_OUT
        assert trio.current_time() - start == pytest.approx(ACCEPT_TIMEOUT)
        await wait_all_tasks_blocked()
        assert (around.destinations.waiting, streams_of(tunnel)) == (0, 0)


async def test_more_streams_than_the_exit_takes(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server, Limits(max_streams=2)) as around:
        tunnel = around.new_tunnel()
        around.run(tunnel)
        first, _ = await tunnel.open(ECHO), await tunnel.open(ECHO)
        third = await tunnel.open(ECHO)  # it is known to be good, so this is heard of later
        with pytest.raises(trio.BrokenResourceError, match="busy"):
            await third.receive_some()
        with pytest.raises(OpenError) as caught:
            await tunnel.open(HELD)
        assert caught.value.reason is Reason.BUSY
        await exchange(first)
        await trio.aclose_forcefully(first)
        await exchange(await tunnel.open(ECHO))


async def test_more_streams_than_the_local_side_takes(
    server: Identity, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(tunnel_module, "MAX_STREAMS", 1)
    async with world(server) as around:
        tunnel = around.new_tunnel(connect_wait=1)
        around.run(tunnel)
        stream = await tunnel.open(ECHO)
        with pytest.raises(OpenError) as caught:
            await tunnel.open(ECHO)
        assert caught.value.reason is Reason.BUSY
        await exchange(stream)


# ---- destinations that have connected lately


async def test_a_known_destination_answers_at_once(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server) as around:
        tunnel = around.new_tunnel()
        around.run(tunnel)
        await tunnel.open(ECHO)
        around.cables[-1].silent = True  # nobody could have asked the exit
        with trio.fail_after(0.001):
            stream = await tunnel.open(ECHO)
            await stream.send_all(b"first words")
        assert await stream.receive_some() == b"first words"  # over the next carrier
        assert len(around.cables) > 1


async def test_a_known_destination_is_opened_with_no_turn_of_the_event_loop(
    server: Identity, autojump_clock: MockClock
) -> None:
    async with world(server) as around:
        tunnel = around.new_tunnel()
        assert tunnel.open_soon(ECHO) is None  # it is not up
        around.run(tunnel)
        await tunnel.open(ECHO)
        soon = tunnel.open_soon(ECHO)
        assert soon is not None
        await exchange(soon)
        assert tunnel.open_soon(Address("other.example", 80)) is None
        around.reachable = False
        around.cut()
        await tunnel.down.wait()
        before = tunnel.streams
        assert tunnel.open_soon(ECHO) is None
        assert tunnel.streams == before
        await trio.sleep(KNOWN_GOOD)
        around.reachable = True
        await tunnel.up.wait()
        assert tunnel.open_soon(ECHO) is None  # that was too long ago


async def test_carriers_that_are_cut_soon_after_they_moved_something_cost_no_long_pauses(
    server: Identity, autojump_clock: MockClock
) -> None:
    async with world(server) as around:
        around.run(tunnel := around.new_tunnel())
        stream = await tunnel.open(ECHO)
        start = trio.current_time()
        for _ in range(50):
            await exchange(stream, b"a few words")
            around.cut()
        await exchange(stream)
        assert trio.current_time() - start < 50 * FIRST_PAUSE + 1


async def test_a_known_destination_that_refuses_is_not_known_any_more(
    server: Identity, autojump_clock: MockClock
) -> None:
    async with world(server) as around:
        tunnel = around.new_tunnel()
        around.run(tunnel)
        await tunnel.open(ECHO)
        around.destinations.refuse_all = True
        stream = await tunnel.open(ECHO)
        with pytest.raises(trio.BrokenResourceError, match="refused") as broken:
            await stream.receive_some()
        assert isinstance(broken.value.__cause__, OpenError)
        assert broken.value.__cause__.reason is Reason.REFUSED
        with pytest.raises(OpenError) as caught:
            await tunnel.open(ECHO)
        assert caught.value.reason is Reason.REFUSED


# ---- carriers that break


async def transfer(tunnel: Tunnel, data: bytes) -> None:
    """Through an echo, to its end, and equal."""
    stream = await tunnel.open(ECHO)
    digest = hashlib.sha256()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send() -> None:
            await stream.send_all(data)
            await stream.send_eof()

        while got := await stream.receive_some():
            digest.update(got)
    await stream.aclose()
    assert digest.digest() == hashlib.sha256(data).digest()


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_transfers_survive_carriers_that_break_anywhere(
    server: Identity, seed: int, autojump_clock: MockClock
) -> None:
    rng = random.Random(seed)
    async with world(server) as around:
        around.make_cable = lambda: Cable(lasts=rng.randint(1, 75_000))
        tunnel = around.new_tunnel(connect_wait=600)
        around.run(tunnel)
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(transfer, tunnel, rng.randbytes(rng.choice((0, 1, 50_000, 150_000))))
            nursery.start_soon(transfer, tunnel, rng.randbytes(150_000))
        assert len(around.cables) > 5
        around.make_cable = Cable
        await until(tunnel, "up")
        await trio.sleep(1)
        assert (streams_of(tunnel), around.destinations.open, around.sessions) == (0, 0, around.sessions)
        assert "0 streams, 0 kept" in repr(tunnel)


async def test_silence_without_another_way(
    server: Identity, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with world(server) as around:
        tunnel = around.new_tunnel()
        around.run(tunnel)
        stream = await tunnel.open(ECHO)
        around.reachable = False
        around.cables[-1].silent = True
        await stream.send_all(b"hello")
        await trio.sleep(DEAD - 0.1)
        assert "Tunnel up" in repr(tunnel)
        await trio.sleep(0.2)
        assert "Tunnel down" in repr(tunnel)
        assert [line for line in told(caplog) if "nothing was heard" in line]
        await trio.sleep(60)
        around.reachable = True
        start = trio.current_time()
        assert await stream.receive_some() == b"hello"
        assert trio.current_time() - start <= DEMAND
        assert around.sessions == 1
    assert told(caplog)[-1] == "connected to the exit again"


async def test_an_open_waits_no_longer_for_a_tunnel_that_goes_down_meanwhile(
    server: Identity, autojump_clock: MockClock
) -> None:
    async with world(server) as around:
        tunnel = around.new_tunnel(connect_wait=5)
        around.run(tunnel)
        await until(tunnel, "up")
        around.reachable = False
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def cut() -> None:
                await trio.sleep(3)
                around.cut()

            start = trio.current_time()
            with pytest.raises(OpenError) as caught:
                await tunnel.open(SLOW)
        assert caught.value.reason is Reason.TUNNEL_DOWN
        assert trio.current_time() - start == pytest.approx(8)


async def test_an_open_goes_on_over_the_next_carrier(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server) as around:
        tunnel = around.new_tunnel(connect_wait=5)
        around.run(tunnel)
        await until(tunnel, "up")
        around.reachable = False
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def cut_and_mend() -> None:
                await trio.sleep(3)
                around.cut()
                await trio.sleep(4)
                around.reachable = True

            start = trio.current_time()
            with pytest.raises(OpenError) as caught:
                await tunnel.open(SLOW)
        assert caught.value.reason is Reason.TIMED_OUT
        assert trio.current_time() - start == pytest.approx(ACCEPT_TIMEOUT)


async def test_an_idle_tunnel_notices_that_its_carrier_has_gone(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server) as around:
        tunnel = around.new_tunnel()
        around.run(tunnel)
        await until(tunnel, "up")
        around.cables[-1].silent = True
        await trio.sleep(60)
        assert len(around.cables) == 2


# ---- another network


async def test_after_a_change_of_the_network_a_carrier_that_works_goes_on(
    server: Identity, autojump_clock: MockClock
) -> None:
    async with world(server) as around:
        tunnel = around.new_tunnel()
        around.run(tunnel)
        stream = await tunnel.open(ECHO)
        for _ in range(10):
            tunnel.network_changed()
            await trio.sleep(1)
        await exchange(stream)
        assert len(around.cables) == 1


async def test_a_network_that_never_rests_keeps_nobody_from_connecting(
    server: Identity, autojump_clock: MockClock
) -> None:
    async with world(server) as around:

        async def open_carrier() -> Opened:
            await trio.sleep(0.9)  # three round trips
            return await around.open_carrier()

        tunnel = Tunnel(open_carrier, around.key, connect_wait=10)
        around.run(tunnel)
        with trio.move_on_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tunnel.open, ECHO)
                while not tunnel.up.is_set():
                    await trio.sleep(0.5)
                    tunnel.network_changed()
                nursery.cancel_scope.cancel()
        assert tunnel.up.is_set()


@pytest.mark.parametrize("waits", ["for an answer", "before the next attempt", "while a suspect carrier is raced"])
async def test_a_change_of_the_network_begins_a_new_attempt(
    server: Identity, waits: str, autojump_clock: MockClock
) -> None:
    async with world(server) as around:
        tunnel = around.new_tunnel(connect_wait=600)
        around.reachable = waits != "before the next attempt"
        around.handshake_timeout = 100
        around.run(tunnel)
        if waits == "while a suspect carrier is raced":
            await exchange(await tunnel.open(ECHO))
            around.cables[-1].silent = True
            await tunnel.open(ECHO)
            around.make_cable = silent_cable
            await trio.sleep(SUSPECT + 0.5)
        else:
            around.make_cable = silent_cable
            await trio.sleep(500)
        around.reachable = True
        around.make_cable = Cable
        tunnel.network_changed()
        with trio.fail_after(0.3):
            await exchange(await tunnel.open(ECHO))


# ---- attempts


async def test_attempts_back_off_with_jitter(
    server: Identity, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    bounds = []

    def longest(low: float, high: float) -> float:
        bounds.append((low, high))
        return high

    monkeypatch.setattr(random, "uniform", longest)
    async with world(server) as around:
        around.reachable = False
        around.run(around.new_tunnel())
        await trio.sleep(600)
        pauses = [after - before for before, after in zip(around.attempts, around.attempts[1:], strict=False)]
        assert pauses[:9] == pytest.approx([min(FIRST_PAUSE * 2**n, LONGEST_PAUSE) for n in range(9)])
        assert set(map(round, pauses[9:])) == {LONGEST_PAUSE}
        assert {low for low, _ in bounds} == {0}
    assert told(caplog) == ["there is no way to the exit"], "once, however often it happens"


async def test_pauses_are_random_and_bounded(server: Identity, autojump_clock: MockClock) -> None:
    pauses: list[float] = []
    for _ in range(5):
        async with world(server) as around:
            around.reachable = False
            around.run(around.new_tunnel())
            await trio.sleep(30)
            firsts = zip(around.attempts, around.attempts[1:5], strict=False)
            pauses += [after - before for before, after in firsts]
    assert all(0 <= pause <= FIRST_PAUSE * 8 + 0.001 for pause in pauses)
    assert len(set(pauses)) > 10


async def test_a_carrier_that_has_worked_is_replaced_at_once(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server) as around:
        tunnel = around.new_tunnel()
        around.run(tunnel)
        stream = await tunnel.open(ECHO)
        for _ in range(20):
            await trio.sleep(10)
            around.cut()
            start = trio.current_time()
            await exchange(stream)
            assert trio.current_time() == start


# ---- who else may listen there


@pytest.mark.parametrize(
    ("answer", "closes"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n" + bytes(100), False),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", True),
        (b"", True),
        (b"", False),
        (random.Random(0).randbytes(5000), False),
    ],
    ids=["an error", "a short error and the end", "the end", "nothing", "noise"],
)
@pytest.mark.parametrize("whose", ["a wrong key", "a wrong key id"])
async def test_an_exit_that_does_not_know_the_key(
    server: Identity,
    caplog: pytest.LogCaptureFixture,
    answer: bytes,
    closes: bool,
    whose: str,
    autojump_clock: MockClock,
) -> None:
    async with world(server) as around:
        around.website.answer, around.website.closes = answer, closes
        key = UserKey(around.key.key_id if whose == "a wrong key" else UserKey.new().key_id, UserKey.new().secret)
        around.run(tunnel := around.new_tunnel(key, connect_wait=3))
        with pytest.raises(OpenError) as caught:
            await tunnel.open(ECHO)
        assert caught.value.reason is Reason.TUNNEL_DOWN
        await trio.sleep(100)
        assert len(around.website.seen) > 2, "it is tried again"
        assert not around.destinations.asked
        assert around.sessions == 0
        (line,) = told(caplog)  # before the exit is stopped, which cuts the attempt that is under way
    assert "key" in line
    assert "link" in line


async def test_a_carrier_that_is_cut_before_the_welcome_is_not_the_keys_fault(
    server: Identity, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    """Nobody should ask for a new link because a network broke."""
    async with world(server) as around:
        cuts = iter(range(3000, 5500, 50))
        around.make_cable = lambda: Cable(lasts=next(cuts, math.inf))
        around.run(tunnel := around.new_tunnel(connect_wait=3600))
        stream = None
        while stream is None:
            with suppress(OpenError):  # one that came up between two cuts may have waited for too long
                stream = await tunnel.open(ECHO)
        await exchange(stream)
        assert around.sessions > 1, "some were cut on the welcome's way"
    assert told(caplog)
    assert not [line for line in told(caplog) if "key" in line or "link" in line]


async def test_somebody_in_between_gets_no_session(
    server: Identity, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    """Even with the pin's private key: the channel binding is that of another certificate."""
    other = channel_binding(der_of(new_certificate("exit.example")[0]))
    async with world(server) as around:

        async def open_carrier() -> Opened:
            return replace(await around.open_carrier(), binding=other)

        around.run(Tunnel(open_carrier, around.key, connect_wait=1))
        await trio.sleep(30)
        assert around.sessions == 0
        assert around.website.seen[0].startswith(around.key.key_id), "to the exit it is a visitor"
        assert len(told(caplog)) == 1


async def test_too_many_devices_with_one_key(
    server: Identity, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with world(server, Limits(max_sessions=1)) as around:
        first, second = around.new_tunnel(), around.new_tunnel()
        running = around.run(first)
        await until(first, "up")
        around.run(second)
        await trio.sleep(5)
        assert "too many devices" in told(caplog)[-1]
        stranger = around.new_tunnel(around.other_key)
        around.run(stranger)
        await exchange(await stranger.open(ECHO))
        running.cancel()
        await until(second, "up")
        await exchange(await second.open(ECHO))


# ---- the exit forgets


async def test_an_exit_that_was_restarted(
    server: Identity, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with world(server) as around:
        tunnel = around.new_tunnel()
        around.run(tunnel)
        stream = await tunnel.open(ECHO)
        await exchange(stream)
        await around.restart_exit()
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        await exchange(await tunnel.open(ECHO))
        assert streams_of(tunnel) == 1
        assert around.sessions == 1


async def test_an_exit_that_crashed(
    server: Identity, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    """It says no good-bye; its connections end with it."""
    async with world(server) as around:
        tunnel = around.new_tunnel()
        around.run(tunnel)
        stream = await tunnel.open(ECHO)
        around.cut()
        await around.restart_exit()
        with pytest.raises(trio.BrokenResourceError, match="tunnel_down"):
            await stream.receive_some()
        await exchange(await tunnel.open(ECHO))
        assert [line for line in told(caplog) if "restarted" in line]


async def test_an_exit_that_is_back_after_a_long_time_works_at_once(
    server: Identity, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """That it has forgotten the session is no failure to be paused after."""
    monkeypatch.setattr(random, "uniform", lambda _low, high: high)
    async with world(server) as around:
        tunnel = around.new_tunnel()
        around.run(tunnel)
        await until(tunnel, "up")
        around.reachable = False
        around.cut()
        await trio.sleep(500)
        await around.restart_exit()
        around.reachable = True
        attempts = len(around.attempts)
        while len(around.attempts) == attempts:  # noqa: ASYNC110
            await trio.sleep(0.1)
        start = trio.current_time()
        await exchange(await tunnel.open(ECHO))
        assert trio.current_time() - start < 1


async def test_a_forgotten_session_with_much_to_say_is_noticed(server: Identity, autojump_clock: MockClock) -> None:
    """The exit says so and closes while the local side still sends what it has kept."""
    async with world(server) as around:
        tunnel = around.new_tunnel()
        around.run(tunnel)
        stream = await tunnel.open(HELD)
        around.cables[-1].silent = True
        await stream.send_all(bytes(60_000))
        around.make_cable = lambda: Cable(room=4000)
        around.cut()
        await around.restart_exit()
        with trio.fail_after(60):
            with pytest.raises(trio.BrokenResourceError, match="tunnel_down"):
                await stream.receive_some()
            await exchange(await tunnel.open(ECHO))


async def test_the_exit_waits_no_longer_than_it_should(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server, Limits(waiting_time=100)) as around:
        tunnel = around.new_tunnel(connect_wait=100)
        around.run(tunnel)
        stream = await tunnel.open(ECHO)
        around.reachable = False
        around.cut()
        await trio.sleep(99)
        assert (around.sessions, around.destinations.open) == (1, 1)
        await trio.sleep(2)
        assert (around.sessions, around.destinations.open) == (0, 0)
        around.reachable = True
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        await exchange(await tunnel.open(ECHO))


async def test_a_session_is_resumed_after_minutes(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server) as around:
        tunnel = around.new_tunnel()
        around.run(tunnel)
        stream = await tunnel.open(ECHO)
        around.reachable = False
        around.cut()
        await trio.sleep(500)
        around.reachable = True
        await exchange(stream, b"still here")


async def test_streams_do_not_wait_for_an_exit_for_ever(
    server: Identity, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with world(server) as around:
        tunnel = around.new_tunnel()
        around.run(tunnel)
        stream = await tunnel.open(ECHO)
        around.reachable = False
        around.cut()
        start = trio.current_time()
        with pytest.raises(trio.BrokenResourceError, match="not reached for too long"):
            await stream.receive_some()
        waited = trio.current_time() - start
        assert tunnel_module.WAITING_TIME <= waited <= tunnel_module.WAITING_TIME + LONGEST_PAUSE
        around.reachable = True
        await trio.sleep(LONGEST_PAUSE)
        await exchange(await tunnel.open(ECHO))


# ---- the end


async def test_the_exit_is_told_of_a_stop(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server) as around:
        tunnel = around.new_tunnel()
        running = around.run(tunnel)
        stream = await tunnel.open(ECHO)
        running.cancel()
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        await trio.sleep(2)
        assert (around.sessions, around.destinations.open) == (0, 0)
        assert around.cables[-1].near.closed


@pytest.mark.parametrize("trouble", ["silent", "clogged", "unreachable", "waiting"])
async def test_a_stop_takes_no_longer_than_a_good_bye(
    server: Identity, trouble: str, autojump_clock: MockClock
) -> None:
    async with world(server) as around:
        tunnel = around.new_tunnel()
        running = around.run(tunnel)
        stream = await tunnel.open(HELD)
        cable = around.cables[-1]
        if trouble == "silent":
            cable.silent = True
        elif trouble == "clogged":
            cable.room = 0
            await stream.send_all(b"what nobody takes")
        else:
            around.reachable = trouble == "waiting"
            around.make_cable = silent_cable
            around.cut()
            await trio.sleep(3)
        await wait_all_tasks_blocked()
        start = trio.current_time()
        running.cancel()
        while any(not each.near.closed for each in around.cables):
            await trio.sleep(0.05)
            assert trio.current_time() - start <= tunnel_module.GOODBYE + 0.6, "a transport is left open"


def silent_cable() -> Cable:
    cable = Cable()
    cable.silent = True
    return cable


# ---- what is written down


async def test_no_log_line_holds_a_destination_or_a_secret(
    server: Identity, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with world(server) as around:
        tunnel = around.new_tunnel()
        around.run(tunnel)
        stream = await tunnel.open(ECHO)
        await exchange(stream, b"a canary sings")
        with pytest.raises(OpenError):
            await tunnel.open(Address("refused.example", 4711))
        around.cut()
        await exchange(stream)
        await around.restart_exit()
        await wait_all_tasks_blocked()  # the tunnel has noticed, and may be up again
        await exchange(await tunnel.open(ECHO))
        key = around.key
        shown = [*(record.getMessage() for record in caplog.records), repr(tunnel), repr(around.exit), repr(stream)]
    assert len(caplog.records) > 5
    for text in shown[:-1]:
        assert not any(word in text for word in ("example", "4711", "canary"))
    for text in shown:
        assert all(part.hex() not in text and repr(part) not in text for part in (key.key_id, key.secret))


async def test_it_does_not_hide_a_bug(server: Identity, autojump_clock: MockClock) -> None:
    async def open_carrier() -> Opened:
        raise ZeroDivisionError

    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        await Tunnel(open_carrier, UserKey.new(), connect_wait=1).run()


async def test_a_round_trip_is_measured_when_somebody_asks(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server) as around:
        tunnel = around.new_tunnel()
        tunnel.measure()  # while there is no carrier nothing is
        around.run(tunnel)
        await exchange(await tunnel.open(ECHO))
        await trio.sleep(5)
        before = tunnel.measured.count
        for _ in range(3):
            tunnel.measure()  # one at a time
        await trio.sleep(2)
        assert tunnel.measured.count == before + 1
        await trio.sleep(20)
        assert tunnel.measured.count == before + 1


async def test_a_carrier_that_comes_as_the_end_does_is_closed(
    server: Identity, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope = trio.CancelScope()
    exchange = Greeting.exchange

    async def welcomed_too_late(self: Greeting, hello: Hello, early: bytes = b"") -> tuple[Welcome, bytes]:
        result = await exchange(self, hello, early)
        scope.cancel()
        for _ in range(3):  # the tunnel is told to end meanwhile
            await trio.lowlevel.cancel_shielded_checkpoint()
        return result

    monkeypatch.setattr(Greeting, "exchange", welcomed_too_late)
    async with world(server) as around:
        with scope:
            await around.new_tunnel().run()
        assert around.cables[-1].near.closed
