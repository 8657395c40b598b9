"""An association as whoever uses it sees it: datagrams, ends, and what happens while nobody receives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from proxy.address import Address
from proxy.errors import OpenError, Reason
from proxy.protocol.datagrams import MOST_QUEUED
from proxy.protocol.event import Code
from proxy.protocol.mux import Mux
from proxy.session import Session

if TYPE_CHECKING:
    from proxy.session_association import SessionAssociation

THERE = Address("192.0.2.1", 53)


class Ends:
    """Two sessions without a carrier: `pass_on` moves what they have to say."""

    def __init__(self) -> None:
        now = trio.current_time()
        self.opened: list[SessionAssociation] = []
        self.local = Session(Mux(opens=True, now=now))
        self.exit = Session(Mux(opens=False, now=now), accept_association=self.opened.append)
        self.local.mux.carrier_made(now)
        self.local.mux.welcomed(0, 0, now)

    def pass_on(self) -> None:
        for _ in range(10):
            for one, other in ((self.local, self.exit), (self.exit, self.local)):
                while one.mux.wants_to_send:
                    other.receive(one.mux.data_to_send(1 << 20, trio.current_time()))

    def associate(self) -> tuple[SessionAssociation, SessionAssociation]:
        local = self.local.associate()
        self.pass_on()
        self.opened[-1].accept()
        self.pass_on()
        return local, self.opened[-1]


async def test_datagrams_both_ways(autojump_clock: object) -> None:
    ends = Ends()
    local, there = ends.associate()
    local.send(THERE, b"up")
    ends.pass_on()
    assert await there.receive() == (THERE, b"up")
    there.send(THERE, b"down")
    ends.pass_on()
    assert await local.receive() == (THERE, b"down")
    assert "SessionAssociation" in repr(local)


async def test_who_waits_gets_what_comes(autojump_clock: object) -> None:
    ends = Ends()
    local, there = ends.associate()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            assert await there.receive() == (THERE, b"at last")

        await trio.testing.wait_all_tasks_blocked()
        local.send(THERE, b"at last")
        ends.pass_on()


async def test_the_reason_of_the_exit(autojump_clock: object) -> None:
    ends = Ends()
    local, there = ends.associate()
    there.reset(Reason.BUSY, "too many")
    ends.pass_on()
    with pytest.raises(trio.BrokenResourceError) as caught:
        await local.receive()
    assert isinstance(caught.value.__cause__, OpenError)
    assert (caught.value.__cause__.reason, str(caught.value.__cause__)) == (Reason.BUSY, "too many")
    with pytest.raises(trio.BrokenResourceError):
        local.send(THERE, b"")
    with pytest.raises(trio.ClosedResourceError):
        there.send(THERE, b"")


async def test_who_uses_one_that_was_given_up_sees_it_reset(autojump_clock: object) -> None:
    ends = Ends()
    local, there = ends.associate()
    for _ in range(2):
        local.give_up(Reason.TUNNEL_DOWN, "elsewhere")
        with pytest.raises(trio.BrokenResourceError):
            local.send(THERE, b"")
        with pytest.raises(trio.BrokenResourceError) as caught:
            await local.receive()
    assert str(caught.value.__cause__) == "elsewhere"
    ends.pass_on()
    with pytest.raises(trio.BrokenResourceError):
        await there.receive()
    await local.aclose()


async def test_closing_ends_it_at_the_other_side(autojump_clock: object) -> None:
    ends = Ends()
    local, there = ends.associate()
    assert (ends.local.associations, there.siblings) == (1, 1)
    await local.aclose()
    await local.aclose()
    ends.pass_on()
    with pytest.raises(trio.BrokenResourceError):
        await there.receive()
    assert (ends.local.associations, ends.exit.associations) == (0, 0)
    with pytest.raises(trio.ClosedResourceError):
        await local.receive()


async def test_whoever_waits_learns_of_the_end_of_the_session(autojump_clock: object) -> None:
    ends = Ends()
    local, there = ends.associate()
    async with trio.open_nursery() as nursery:
        for association, error in ((local, trio.BrokenResourceError), (there, trio.BrokenResourceError)):

            @nursery.start_soon
            async def _(association: SessionAssociation = association, error: type[Exception] = error) -> None:
                with pytest.raises(error):
                    await association.receive()

        await trio.testing.wait_all_tasks_blocked()
        ends.exit.go_away(Code.CLOSED, "stopped")
        ends.pass_on()


async def test_what_nobody_receives_is_bounded_and_counted(autojump_clock: object) -> None:
    ends = Ends()
    local, there = ends.associate()
    held = ends.exit.mux.budget.held
    for _ in range(1000):
        local.send(THERE, bytes(1200))
        ends.pass_on()
    assert MOST_QUEUED / 2 < ends.exit.mux.budget.held - held <= MOST_QUEUED
    there.reset(Reason.CANCELLED)
    assert ends.exit.mux.budget.held < held


async def test_a_cancelled_receive_loses_nothing(autojump_clock: object) -> None:
    ends = Ends()
    local, there = ends.associate()
    local.send(THERE, b"one")
    ends.pass_on()
    with trio.move_on_after(0) as scope:
        await there.receive()
    assert scope.cancelled_caught
    assert await there.receive() == (THERE, b"one")
