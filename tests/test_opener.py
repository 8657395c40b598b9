"""Connections opened and carried for apps: each has its entry until it is over, and ends when it is asked to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from proxy.address import Address
from proxy.connections import BY_HAND, AppProtocol, Connections, State
from proxy.errors import OpenError, Reason
from proxy.opener import GIVEN_UP, Chosen, Opener, always, carry
from tests.ends import two_ends

if TYPE_CHECKING:
    from trio.testing import MockClock

    from proxy.connections import ConnectionView

ADDRESS = Address("a.example", 443)


class World:
    """A way to open streams that waits for `gate` and raises `fault`, and the table."""

    def __init__(self) -> None:
        self.table = Connections()
        self.gate = trio.Event()
        self.fault: Exception | None = None
        self.opener = Opener(always(self.open_stream), self.table)

    async def open_stream(self, address: Address) -> trio.abc.HalfCloseableStream:
        assert address == ADDRESS
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        return memory_stream_pair()[0]

    @property
    def open(self) -> list[State]:
        return [view.state for view in self.table.snapshot(trio.current_time()).open]

    @property
    def closed(self) -> ConnectionView:
        snapshot = self.table.snapshot(trio.current_time())
        assert not snapshot.open
        (view,) = snapshot.closed
        return view


async def test_an_entry_says_whether_it_is_reached(nursery: trio.Nursery) -> None:
    world = World()
    nursery.start_soon(world.opener.open, AppProtocol.SOCKS5, ADDRESS)
    await wait_all_tasks_blocked()
    assert world.open == [State.OPENING]
    world.gate.set()
    await wait_all_tasks_blocked()
    assert world.open == [State.OPEN]


async def test_what_cannot_be_reached_is_closed_with_the_reason(autojump_clock: MockClock) -> None:
    world = World()
    world.fault = OpenError(Reason.REFUSED, "nobody is there")
    world.gate.set()
    with pytest.raises(OpenError, match="nobody is there"):
        await world.opener.open(AppProtocol.SOCKS5, ADDRESS)
    assert world.closed.reason == "nobody is there"


async def test_a_bug_closes_it_too() -> None:
    world = World()
    world.fault = ZeroDivisionError()
    world.gate.set()
    with pytest.raises(ZeroDivisionError):
        await world.opener.open(AppProtocol.SOCKS5, ADDRESS)
    assert world.closed.reason == GIVEN_UP


async def test_an_app_that_gives_up_before_it_is_reached(autojump_clock: MockClock) -> None:
    world = World()
    with trio.move_on_after(5) as scope:
        await world.opener.open(AppProtocol.SOCKS5, ADDRESS)
    assert scope.cancelled_caught
    assert world.closed.reason == GIVEN_UP


async def test_ended_by_hand_before_it_is_reached() -> None:
    world = World()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def end() -> None:
            await wait_all_tasks_blocked()
            assert world.table.close(1)

        with pytest.raises(OpenError, match=BY_HAND) as caught:
            await world.opener.open(AppProtocol.SOCKS5, ADDRESS)
    assert caught.value.reason is Reason.CANCELLED
    assert world.closed.reason == BY_HAND


async def test_what_opens_at_once_is_not_waited_for(autojump_clock: MockClock) -> None:
    world = World()  # whose gate stays closed
    ours, _ = memory_stream_pair()
    asked: list[Address] = []

    def at_once(address: Address) -> trio.abc.HalfCloseableStream | None:
        asked.append(address)
        return ours if len(asked) == 1 else None

    opener = Opener(lambda _: Chosen("tunnel", "", world.open_stream, at_once), world.table)
    with trio.fail_after(1):
        connection, stream = await opener.open(AppProtocol.SOCKS5, ADDRESS)
    assert stream is ours
    assert world.open == [State.OPEN]
    assert world.table.close(connection.id)
    with trio.move_on_after(5) as waited:
        await opener.open(AppProtocol.SOCKS5, ADDRESS)
    assert waited.cancelled_caught
    assert asked == [ADDRESS, ADDRESS]


async def test_what_cannot_be_opened_at_once_is_closed_with_the_reason(autojump_clock: MockClock) -> None:
    world = World()

    def busy(_: Address) -> None:
        raise OpenError(Reason.BUSY, "too many")

    opener = Opener(lambda _: Chosen("tunnel", "", world.open_stream, busy), world.table)
    with trio.fail_after(1), pytest.raises(OpenError, match="too many"):
        await opener.open(AppProtocol.SOCKS5, ADDRESS)
    assert world.closed.reason == "too many"


# ---- carried


async def test_an_app_that_does_not_read_is_told_of_a_reset(nursery: trio.Nursery) -> None:
    async with two_ends() as ends:
        tunnel, site = await ends.open()
        ours, app = lockstep_stream_pair()
        table = Connections()
        connection = table.opened(AppProtocol.SOCKS5, ADDRESS, 0)
        nursery.start_soon(carry, ours, connection, tunnel, b"", b"")
        await site.send_all(b"stuck")
        await wait_all_tasks_blocked()
        site.reset(Reason.BUSY, "no room")
        await wait_all_tasks_blocked()
        with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
            await app.send_all(b"more")
        assert "busy (no room)" in table.snapshot(0).closed[0].reason


async def test_carry_aborts_both_where_one_is_broken_already() -> None:
    app, local = memory_stream_pair()
    site, tunnel = memory_stream_pair()
    await site.aclose()
    table = Connections()
    with pytest.raises(trio.BrokenResourceError):
        await carry(local, table.opened(AppProtocol.CONNECT, ADDRESS, 0), tunnel, b"", b"early")
    assert await app.receive_some() == b""
    assert [view.reason for view in table.snapshot(0).closed] == [GIVEN_UP]


async def test_what_is_asked_for_between_two_steps_is_not_forgotten(autojump_clock: MockClock) -> None:
    """It was ended after it was reached, and before it is carried."""
    world = World()
    world.gate.set()
    connection, tunnel = await world.opener.open(AppProtocol.SOCKS5, ADDRESS)
    world.table.close(connection.id)
    app, local = memory_stream_pair()
    with trio.fail_after(5):
        await carry(local, connection, tunnel, b"reply", b"")
    assert await app.receive_some() == b"reply"
    assert await app.receive_some() == b""
    assert world.closed.reason == BY_HAND


async def test_the_table_knows_the_way_and_the_rule_while_it_is_being_opened() -> None:
    table = Connections()

    async def look(_: Address) -> trio.abc.HalfCloseableStream:
        (entry,) = table.snapshot(trio.current_time()).open
        assert (entry.route, entry.rule) == ("direct", "rule 1: direct suffix:example.com")
        raise OpenError(Reason.REFUSED)

    opener = Opener(lambda _: Chosen("direct", "rule 1: direct suffix:example.com", look), table)
    with pytest.raises(OpenError):
        await opener.open(AppProtocol.SOCKS5, Address("example.com", 443))
