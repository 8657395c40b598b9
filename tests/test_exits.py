"""Several exits over worlds of memory, in virtual time: which one takes new streams, what stays where it is, what is ended."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from proxy.address import Address
from proxy.errors import OpenError, Reason
from proxy.exits import IDLE, PATIENCE, Exits, Route
from proxy.preference import Pattern as ExitName
from proxy.tunnel import Tunnel
from tests.memory import ECHO, HELD, exchange, world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    from proxy.session_stream import SessionStream
    from tests.memory import Identity, World

pytestmark = pytest.mark.usefixtures("rare_looks")

WAITING_TIME = 300.0
#: The first attempts of a tunnel come so soon, pauses with all their jitter; and what the clocks add up to.
SOON = 2.0


@dataclass
class Place:
    """An exit, by its name, and the world in which it is."""

    name: str
    around: World
    chosen: int = 0

    def route(self, *, preferred: bool = False) -> Route:
        return Route(
            self.name, self.name, preferred, self.new_tunnel, self.note, addresses=(Address.make(self.name, 443),)
        )

    def new_tunnel(self) -> Tunnel:
        return Tunnel(self.around.open_carrier, self.around.key, connect_wait=5, waiting_time=WAITING_TIME)

    async def note(self) -> None:
        await trio.lowlevel.checkpoint()
        self.chosen += 1

    async def block(self) -> None:
        """From now on nothing comes through, as the tunnel has seen."""
        self.around.reachable = False
        self.around.cut()
        await wait_all_tasks_blocked()

    @property
    def attempts(self) -> int:
        return len(self.around.attempts)

    @property
    def streams(self) -> int:
        return len(self.around.destinations.asked)


@asynccontextmanager
async def places(server: Identity, number: int) -> AsyncIterator[list[Place]]:
    async with AsyncExitStack() as stack:
        yield [Place(name, await stack.enter_async_context(world(server))) for name in ("one", "two", "three")[:number]]


@asynccontextmanager
async def running(*routes: Route, connect_wait: float = 5.0) -> AsyncIterator[Exits]:
    exits = Exits(routes, connect_wait=connect_wait)
    async with trio.open_nursery() as nursery:
        await nursery.start(exits.run)
        yield exits
        nursery.cancel_scope.cancel()


async def opened(exits: Exits) -> SessionStream:
    stream = await exits.open(ECHO)
    await exchange(stream)
    return stream


async def goes_by(exits: Exits, place: Place) -> bool:
    """Whether a new stream does, which then says so."""
    before = place.streams
    stream = await opened(exits)
    await trio.aclose_forcefully(stream)
    assert (stream.exit == place.name) == (place.streams == before + 1)
    return place.streams == before + 1


# ---- one exit


async def test_one_exit(server: Identity, autojump_clock: MockClock) -> None:
    async with places(server, 1) as (one,), running(one.route()) as exits:
        assert await goes_by(exits, one)
        assert "on one, 1 of 1 running" in repr(exits)
        await one.block()
        began = trio.current_time()
        with pytest.raises(OpenError) as caught:
            await exits.open(ECHO)
        assert caught.value.reason is Reason.TUNNEL_DOWN
        assert trio.current_time() - began == pytest.approx(5)
        one.around.reachable = True
        assert await goes_by(exits, one)
        assert one.attempts < 20


async def test_what_is_opened_at_once_is_the_current_exits(server: Identity, autojump_clock: MockClock) -> None:
    async with places(server, 2) as (one, two):
        idle = Exits([one.route()], connect_wait=5)
        assert idle.open_soon(ECHO) is None  # it does not run
        async with running(one.route(), two.route()) as exits:
            assert exits.open_soon(ECHO) is None
            await opened(exits)
            stream = exits.open_soon(ECHO)
            assert stream is not None
            assert stream.exit == one.name
            await exchange(stream)


async def test_nothing_is_up_for_hours(server: Identity, autojump_clock: MockClock) -> None:
    """Every exit is tried more often as soon as somebody waits, not only the current one."""
    async with places(server, 3) as (one, two, three):
        for place in (one, two, three):
            place.around.reachable = False
        async with running(one.route(), two.route(), three.route()) as exits:
            await trio.sleep(3600)
            three.around.reachable = True
            assert await goes_by(exits, three)


# ---- another exit


async def test_the_first_is_the_only_one_that_is_visited(server: Identity, autojump_clock: MockClock) -> None:
    async with places(server, 2) as (one, two), running(one.route(), two.route()) as exits:
        assert await goes_by(exits, one)
        await trio.sleep(3600)
        assert await goes_by(exits, one)
        assert (one.chosen, two.attempts) == (1, 0)


async def test_the_next_ones_are_tried_in_their_order(
    server: Identity, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "ropeway.exits")
    async with places(server, 3) as (one, two, three):
        one.around.reachable = two.around.reachable = False
        async with running(one.route(), two.route(), three.route(), connect_wait=100) as exits:
            began = trio.current_time()
            assert await goes_by(exits, three)
            assert trio.current_time() - began == pytest.approx(2 * PATIENCE)
            assert two.around.attempts[0] - began == pytest.approx(PATIENCE)
            assert (one.chosen, two.chosen, three.chosen) == (0, 0, 1)
    assert [record.getMessage() for record in caplog.records if record.name == "ropeway.exits"] == [
        "new connections go by way of three"
    ]


async def test_an_exit_is_lost(server: Identity, autojump_clock: MockClock) -> None:
    """New streams go by the next one after PATIENCE; what was open waits, and goes on; new streams stay where they are."""
    async with places(server, 2) as (one, two), running(one.route(), two.route()) as exits:
        old = await opened(exits)
        await one.block()
        began = trio.current_time()
        assert await goes_by(exits, two)
        assert trio.current_time() - began == pytest.approx(PATIENCE)
        await trio.sleep(WAITING_TIME / 2)
        assert await goes_by(exits, two)
        one.around.reachable = True
        await exchange(old, b"still here")
        assert await goes_by(exits, two)


async def test_a_short_break_is_no_loss(server: Identity, autojump_clock: MockClock) -> None:
    async with places(server, 2) as (one, two), running(one.route(), two.route()) as exits:
        for _ in range(20):
            old = await opened(exits)
            one.around.cut()
            await exchange(old)
            assert await goes_by(exits, one)
        assert two.attempts == 0


async def test_what_was_on_a_lost_exit_ends_after_its_waiting_time(server: Identity, autojump_clock: MockClock) -> None:
    async with places(server, 2) as (one, two), running(one.route(), two.route()) as exits:
        old = await opened(exits)
        await one.block()
        began = trio.current_time()
        with pytest.raises(trio.BrokenResourceError, match="not reached for too long"):
            await old.receive_some()
        assert WAITING_TIME < trio.current_time() - began < WAITING_TIME + SOON
        await trio.sleep(1.5 * IDLE)
        attempts = one.attempts
        await trio.sleep(3600)
        assert one.attempts == attempts
        assert await goes_by(exits, two)


async def test_back_and_forth(server: Identity, autojump_clock: MockClock) -> None:
    """An exit that was ended is started again when the other is lost."""
    async with places(server, 2) as (one, two), running(one.route(), two.route()) as exits:
        here, there = one, two
        for _ in range(4):
            assert await goes_by(exits, here)
            await here.block()
            assert await goes_by(exits, there)
            here.around.reachable = True
            await trio.sleep(2 * IDLE)
            assert here.around.sessions == 0
            here, there = there, here
        assert (one.chosen, two.chosen) == (3, 2)


async def test_one_that_is_up_anyway_takes_over_after_patience(server: Identity, autojump_clock: MockClock) -> None:
    async with places(server, 2) as (one, two), running(one.route(), two.route()) as exits:
        old = await opened(exits)
        await one.block()
        assert await goes_by(exits, two)
        one.around.reachable = True
        await exchange(old)
        attempts = one.attempts
        await two.block()
        began = trio.current_time()
        assert await goes_by(exits, one)
        assert trio.current_time() - began == pytest.approx(PATIENCE)
        assert one.attempts == attempts


async def test_the_first_one_is_back_before_another_is_up(server: Identity, autojump_clock: MockClock) -> None:
    async with places(server, 2) as (one, two), running(one.route(), two.route()) as exits:
        assert await goes_by(exits, one)
        two.around.reachable = False
        await one.block()
        await trio.sleep(2 * PATIENCE)
        assert two.attempts > 0
        one.around.reachable = two.around.reachable = True
        now = one if await goes_by(exits, one) else two
        other = two if now is one else one
        await trio.sleep(2 * IDLE)
        assert await goes_by(exits, now)
        assert other.around.sessions == 0


# ---- preferred exits


async def test_a_preferred_exit_that_comes_back_takes_new_streams(server: Identity, autojump_clock: MockClock) -> None:
    async with places(server, 2) as (one, two), running(one.route(preferred=True), two.route()) as exits:
        assert await goes_by(exits, one)
        await one.block()
        other = await opened(exits)
        assert two.streams == 1
        await trio.sleep(10 * IDLE)
        assert await goes_by(exits, two)
        one.around.reachable = True
        await trio.sleep(60 + SOON)  # the longest pause between attempts
        assert await goes_by(exits, one)
        await exchange(other)
        await trio.aclose_forcefully(other)
        await trio.sleep(2 * IDLE)
        assert two.around.sessions == 0


async def test_a_preferred_exit_is_no_reason_to_leave_another_one(server: Identity, autojump_clock: MockClock) -> None:
    async with (
        places(server, 2) as (one, two),
        running(one.route(preferred=True), two.route(preferred=True)) as exits,
    ):
        assert await goes_by(exits, one)
        await one.block()
        assert await goes_by(exits, two)
        one.around.reachable = True
        await trio.sleep(2 * IDLE)
        assert await goes_by(exits, two)
        assert one.around.sessions == 0


# ---- what is ended


async def test_a_standby_without_streams_shows_nothing(server: Identity, autojump_clock: MockClock) -> None:
    async with places(server, 2) as (one, two), running(one.route(), two.route()) as exits:
        held = await exits.open(HELD)
        await one.block()
        assert await goes_by(exits, two)
        one.around.reachable = True
        await trio.sleep(10 * IDLE)
        assert one.around.sessions == 1  # a stream is on it
        await trio.aclose_forcefully(held)
        await trio.sleep(IDLE / 2)
        assert one.around.sessions == 1  # it may be wanted again
        await trio.sleep(IDLE)
        assert one.around.sessions == 0
        attempts = one.attempts
        await trio.sleep(3600)
        assert one.attempts == attempts
        assert two.around.sessions == 1


async def test_the_end_is_told_to_every_exit(server: Identity, autojump_clock: MockClock) -> None:
    async with places(server, 2) as (one, two):
        async with running(one.route(), two.route()) as exits:
            held = await exits.open(HELD)
            await one.block()
            assert await goes_by(exits, two)
            one.around.reachable = True
            await trio.sleep(IDLE)
            assert (one.around.sessions, two.around.sessions) == (1, 1)
        await wait_all_tasks_blocked()
        assert (one.around.sessions, two.around.sessions) == (0, 0)
        with pytest.raises(trio.BrokenResourceError):
            await held.receive_some()


# ---- changes


async def test_a_change_of_the_network_is_told_to_every_tunnel(server: Identity, autojump_clock: MockClock) -> None:
    async with places(server, 2) as (one, two):
        one.around.reachable = two.around.reachable = False
        async with running(one.route(), two.route()) as exits:
            await trio.sleep(3600)
            before = trio.current_time()
            one.around.reachable = two.around.reachable = True
            exits.network_changed("a test")
            await wait_all_tasks_blocked()
            assert one.around.attempts[-1] == two.around.attempts[-1] == pytest.approx(before)
            assert len(exits.tunnels) == 2


async def test_exits_that_stay_keep_their_streams(server: Identity, autojump_clock: MockClock) -> None:
    async with places(server, 3) as (one, two, three), running(one.route(), two.route()) as exits:
        old = await opened(exits)
        exits.change([three.route(), one.route()], connect_wait=5)
        await exchange(old)
        assert await goes_by(exits, one)
        assert (one.attempts, two.attempts, three.attempts) == (1, 0, 0)
        await one.block()
        assert await goes_by(exits, three)


async def test_an_exit_that_goes_is_told_and_replaced(server: Identity, autojump_clock: MockClock) -> None:
    async with places(server, 3) as (one, two, three), running(one.route(), two.route()) as exits:
        old = await opened(exits)
        exits.change([three.route()], connect_wait=5)
        assert await goes_by(exits, three)
        assert one.around.sessions == 0
        with pytest.raises(trio.BrokenResourceError):
            await old.receive_some()
        await trio.sleep(3600)
        assert (one.attempts, two.attempts) == (1, 0)


async def test_an_exit_that_goes_while_another_is_up(server: Identity, autojump_clock: MockClock) -> None:
    async with places(server, 3) as (one, two, three), running(one.route(), two.route()) as exits:
        old = await opened(exits)
        await one.block()
        assert await goes_by(exits, two)
        one.around.reachable = True
        await exchange(old)
        exits.change([three.route(), one.route()], connect_wait=5)
        assert await goes_by(exits, one)
        await exchange(old)


async def test_an_exit_that_comes_while_nothing_works(server: Identity, autojump_clock: MockClock) -> None:
    async with places(server, 2) as (one, two):
        one.around.reachable = two.around.reachable = False
        async with running(one.route()) as exits:
            await trio.sleep(3600)
            exits.change([one.route(), two.route()], connect_wait=7)
            began = trio.current_time()
            with pytest.raises(OpenError):
                await exits.open(ECHO)
            assert trio.current_time() - began == pytest.approx(7)
            two.around.reachable = True
            assert await goes_by(exits, two)


async def test_a_preference_that_changes(server: Identity, autojump_clock: MockClock) -> None:
    async with places(server, 2) as (one, two), running(one.route(), two.route()) as exits:
        old = await opened(exits)
        exits.change([two.route(preferred=True), one.route()], connect_wait=5)
        await trio.sleep(SOON)
        assert await goes_by(exits, two)
        await exchange(old)
        exits.change([one.route(preferred=True), two.route()], connect_wait=5)
        assert await goes_by(exits, one)  # it was up: a stream is on it


# ---- exits that rules name


async def test_an_exit_that_a_rule_names_is_started_when_it_is_needed(
    server: Identity, autojump_clock: MockClock
) -> None:
    async with places(server, 2) as (one, two), running(one.route(), two.route()) as exits:
        assert await goes_by(exits, one)
        assert two.attempts == 0
        way = exits.by(ExitName("two", None))
        async with await way.open(ECHO) as stream:
            await exchange(stream)
            assert two.streams == 1
            await trio.sleep(IDLE * 3)
            await exchange(stream)  # a tunnel with streams is needed
        assert await goes_by(exits, one)  # the others go as before
        assert (one.chosen, two.chosen) == (1, 0)
        await trio.sleep(IDLE * 2)
        assert "1 of 2 running" in repr(exits)
        async with await way.open(ECHO) as stream:
            await exchange(stream)
        assert two.streams == 2


async def test_associations_go_by_the_exit_that_a_rule_names(server: Identity, autojump_clock: MockClock) -> None:
    async with (
        places(server, 2) as (one, two),
        running(one.route(), two.route()) as exits,
        await exits.by(ExitName("two", 443)).associate() as association,
        await exits.associate() as other,
    ):
        assert (association.exit, other.exit) == (two.name, one.name)
        assert (one.attempts, two.attempts) == (1, 1)
        assert len(exits.tunnels) == 2


async def test_an_association_is_let_go_where_its_exit_is_lost_and_another_one_works(
    server: Identity, autojump_clock: MockClock
) -> None:
    async with places(server, 2) as (one, two), running(one.route(), two.route()) as exits:
        stream = await opened(exits)
        async with await exits.associate() as association, await exits.by(ExitName("one", 443)).associate() as named:
            two.around.reachable = False
            await one.block()
            began = trio.current_time()
            await trio.sleep(PATIENCE * 3)
            association.send(ECHO, b"there is no better place")
            two.around.reachable = True
            with trio.fail_after(WAITING_TIME / 2), pytest.raises(trio.BrokenResourceError) as caught:
                await association.receive()
            assert isinstance(caught.value.__cause__, OpenError)
            assert trio.current_time() - began >= PATIENCE * 3
            with pytest.raises(trio.BrokenResourceError):
                association.send(ECHO, b"too late")
            async with await exits.associate() as other:
                other.send(ECHO, b"there is one")
                await wait_all_tasks_blocked()
                assert two.around.associations[-1].sent == [(ECHO, b"there is one")]
                named.send(ECHO, b"it has to be this one")
                one.around.reachable = True
                await exchange(stream)  # those stay, and come back with their exit
                named.send(ECHO, b"as before")


async def test_an_association_stays_while_its_exit_is_down_for_a_moment(
    server: Identity, autojump_clock: MockClock
) -> None:
    async with (
        places(server, 2) as (one, two),
        running(one.route(), two.route()) as exits,
        await exits.by(ExitName("two", 443)).associate(),
        await exits.associate() as association,
    ):
        assert len(exits.tunnels) == 2
        one.around.cut()
        await trio.sleep(PATIENCE * 2)
        association.send(ECHO, b"still here")
        assert await goes_by(exits, one)


async def test_an_association_of_an_exit_that_is_not_the_current_one_any_more(
    server: Identity, autojump_clock: MockClock
) -> None:
    """It stays while that one works."""
    async with places(server, 2) as (one, two), running(one.route(preferred=True), two.route()) as exits:
        one.around.reachable = False
        async with await exits.associate() as association:
            assert await goes_by(exits, two)
            one.around.reachable = True
            await trio.sleep(IDLE)
            assert await goes_by(exits, one)
            association.send(ECHO, b"still here")
            await two.block()
            with trio.fail_after(PATIENCE + SOON), pytest.raises(trio.BrokenResourceError):
                await association.receive()


async def test_an_exit_that_a_rule_names_is_down(server: Identity, autojump_clock: MockClock) -> None:
    async with places(server, 2) as (one, two), running(one.route(), two.route(), connect_wait=IDLE * 2) as exits:
        two.around.reachable = False
        began = trio.current_time()
        with pytest.raises(OpenError) as caught:
            await exits.by(ExitName("two", None)).open(ECHO)
        assert caught.value.reason is Reason.TUNNEL_DOWN
        assert trio.current_time() - began == pytest.approx(IDLE * 2)
        assert two.attempts > 10  # it was tried all the time that somebody waited
        assert await goes_by(exits, one)


async def test_an_exit_that_a_rule_names_comes_up_while_it_is_waited_for(
    server: Identity, autojump_clock: MockClock
) -> None:
    async with places(server, 2) as (one, two), running(one.route(), two.route(), connect_wait=300) as exits:
        two.around.reachable = False
        async with trio.open_nursery() as nursery:

            async def go() -> None:
                await trio.aclose_forcefully(await exits.by(ExitName("two", None)).open(ECHO))

            nursery.start_soon(go)
            await trio.sleep(IDLE * 3)  # longer than a tunnel is kept that nobody needs
            two.around.reachable = True
        assert two.streams == 1
        assert one.streams == 0


async def test_an_exit_that_is_not_there(server: Identity, autojump_clock: MockClock) -> None:
    async with places(server, 1) as (one,), running(one.route()) as exits:
        for name in (ExitName("two", None), ExitName("one", 80)):
            with pytest.raises(OpenError, match=r"a rule goes by way of the exit .*, and there is no such exit"):
                await exits.by(name).open(ECHO)
        assert exits.by(ExitName("one", 443)) == exits.by(ExitName("one", 443))


async def test_an_exit_is_asked_for_before_anything_runs(server: Identity) -> None:
    async with places(server, 1) as (one,):
        exits = Exits([one.route()], connect_wait=5)
        with pytest.raises(OpenError) as caught:
            await exits.by(ExitName("one", None)).open(ECHO)
        assert caught.value.reason is Reason.TUNNEL_DOWN


async def test_how_each_exit_does(server: Identity, autojump_clock: MockClock) -> None:
    async with places(server, 2) as (one, two), running(one.route(), two.route()) as exits:
        await opened(exits)
        first, second = exits.views()
        assert (first.route.name, first.current, second.current, second.tunnel) == ("one", True, False, None)
        assert first.tunnel is not None
        assert first.tunnel.up.is_set()
        assert first.tunnel.round_trip >= 0
        assert (exits.carriers().carriers, exits.carriers().last_loss) == (1, None)
        await one.block()
        await trio.sleep(PATIENCE + SOON)
        first, second = exits.views()
        assert (first.current, second.current) == (False, True)
        loss = exits.carriers().last_loss
        assert loss is not None
        assert loss.at == pytest.approx(trio.current_time(), abs=PATIENCE + 2 * SOON)
        assert exits.carriers().carriers == 2
        await trio.sleep(WAITING_TIME + 2 * IDLE)
        assert exits.views()[0].tunnel is None
        assert exits.carriers().carriers == 2  # of what is over as well
        assert exits.carriers().last_loss == loss
