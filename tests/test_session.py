"""Sessions over memory streams: carriers that break and are replaced, and the end of all."""

from __future__ import annotations

import pytest
import trio
from trio.testing import (
    wait_all_tasks_blocked,
)

from proxy.errors import OpenError, Reason
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


# ---- idle streams


@pytest.mark.parametrize("busy_end", ["local", "exit"])
async def test_only_what_is_quiet_is_ended(autojump_clock: trio.testing.MockClock, busy_end: str) -> None:
    """A byte in either direction is enough, and both ends know of it."""
    async with two_ends() as ends:
        quiet, quiet_other = await ends.open()
        busy, busy_other = await ends.open()
        await trio.sleep(100)
        half = trio.current_time()
        sender, receiver = (busy, busy_other) if busy_end == "local" else (busy_other, busy)
        await sender.send_all(b"x")
        assert await receiver.receive_some() == b"x"
        await trio.sleep(100)
        for session in (ends.exit, ends.local):
            assert [each.quiet_since >= half for each in session._streams.values()] == [False, True]
        ends.exit.end_idle(half - 1, "nothing went")
        with pytest.raises(trio.BrokenResourceError, match=r"timed_out \(nothing went\)"):
            await quiet.receive_some()
        assert "nothing went" in quiet.reset_text
        with pytest.raises(trio.ClosedResourceError):
            await quiet_other.receive_some()
        await exchange(busy, busy_other)
        assert busy.reset_text == ""


async def test_what_is_handed_on_past_its_task_counts(autojump_clock: trio.testing.MockClock) -> None:
    async with two_ends() as ends:
        one, other = await ends.open()
        other.hand_on(lambda pieces: sum(map(len, pieces)))
        ends.nursery.start_soon(other.receive_some)
        await trio.sleep(100)
        now = trio.current_time()
        await one.send_all(b"x")
        await trio.sleep(100)
        assert other.quiet_since >= now


async def test_an_end_that_nobody_takes_is_no_reason_to_stay(autojump_clock: trio.testing.MockClock) -> None:
    """Both sides have ended it, but the app that it goes to is stuck with the rest."""
    async with two_ends() as ends:
        one, other = await ends.open()
        await one.send_all(b"the rest")
        await one.send_eof()
        await other.send_eof()
        await trio.sleep(10)
        assert not ends.exit.mux.streams
        scope = other.until_reset()
        with scope:
            ends.exit.end_idle(trio.current_time() - 5, "nothing went")
            await trio.sleep_forever()
        assert scope.cancelled_caught
        assert ends.exit.mux.budget.held == ends.exit.mux.kept


async def test_an_idle_stream_that_is_being_opened_counts_from_then(autojump_clock: trio.testing.MockClock) -> None:
    async with two_ends() as ends:
        await trio.sleep(100)
        stream = ends.local.open(ADDRESS)
        await trio.sleep(1)
        (other,) = ends.opened
        ends.exit.end_idle(trio.current_time() - 50, "nothing went")
        other.reset(Reason.REFUSED)
        with pytest.raises(OpenError, match="refused"):
            await stream.wait_accepted()


async def test_repr_shows_the_state() -> None:
    async with two_ends() as ends:
        one, _ = await ends.open()
        assert repr(ends.local).startswith("<Session on a carrier")
        assert "open" in repr(one)
        assert one.address == ADDRESS
