"""Which resolver is asked by way of which exit, and what happens when one fails; in memory and in virtual time."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import dns.message
import dns.rcode
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from proxy.dns_pipeline import IDLE, ResolveError
from proxy.far_resolvers import PATIENCE, FarResolvers
from tests.resolvers import ONE, TWO, FarSide, question, reply, usual

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio.testing import MockClock

    from proxy.address import Address

HOME = "home.example.com"
failing = partial(reply, rcode=dns.rcode.SERVFAIL)
refusing = partial(reply, rcode=dns.rcode.REFUSED)


def silent(_query: dns.message.Message) -> None:
    """Says nothing."""


async def begin(nursery: trio.Nursery, far: FarSide, resolvers: Sequence[Address] = (ONE, TWO)) -> FarResolvers:
    made = FarResolvers(resolvers, far.open)
    await nursery.start(made.run)
    return made


async def test_the_first_is_asked(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    far = FarSide(nursery)
    resolvers = await begin(nursery, far)
    for _ in range(2):
        assert (await resolvers.resolve(question())).counts == (1, 0, 0)
    assert far.asked == [("", ONE, "www.example")] * 2
    assert far.opened == [("", ONE)]


async def test_each_exit_has_its_connections(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    far = FarSide(nursery)
    resolvers = await begin(nursery, far)
    for name in ("", HOME, HOME):
        await resolvers.resolve(question(), name)
    assert far.opened == [("", ONE), (HOME, ONE)]


async def test_another_connection_when_the_one_that_was_kept_breaks(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    far = FarSide(nursery)
    resolvers = await begin(nursery, far)
    await resolvers.resolve(question())
    far.zones[ONE] = silent
    async with trio.open_nursery() as asking:
        asking.start_soon(resolvers.resolve, question())
        await wait_all_tasks_blocked()
        far.zones[ONE] = usual
        far.break_all()
    assert far.opened == [("", ONE)] * 2


async def test_one_that_breaks_each_connection_is_left(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    far = FarSide(nursery)

    def breaking(_query: dns.message.Message) -> None:
        far.break_all()

    far.zones[ONE] = breaking
    resolvers = await begin(nursery, far)
    assert (await resolvers.resolve(question())).good
    assert far.opened == [("", ONE), ("", ONE), ("", TWO)]


async def test_after_an_idle_close_there_is_another(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    far = FarSide(nursery)
    resolvers = await begin(nursery, far)
    for _ in range(2):
        await resolvers.resolve(question())
        await trio.sleep(IDLE)  # the question comes as the connection ends
    await resolvers.resolve(question())
    assert far.opened == [("", ONE)] * 3


@pytest.mark.parametrize(("zone", "took"), [(silent, PATIENCE), (failing, 0), (refusing, 0), (None, 0)])
async def test_the_second_when_the_first_fails(
    nursery: trio.Nursery, autojump_clock: MockClock, zone: object, took: float
) -> None:
    far = FarSide(nursery)
    if zone is None:
        del far.zones[ONE]
    else:
        far.zones[ONE] = zone  # type: ignore[assignment]
    resolvers, begun = await begin(nursery, far), trio.current_time()
    assert (await resolvers.resolve(question())).good
    assert trio.current_time() - begun == pytest.approx(took)
    # And it goes first from then on.
    asked = len(far.asked)
    assert (await resolvers.resolve(question())).good
    assert far.asked[asked:] == [("", TWO, "www.example")]


async def test_the_last_word_where_nobody_knows(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    far = FarSide(nursery, {ONE: failing, TWO: refusing})
    resolvers = await begin(nursery, far)
    assert (await resolvers.resolve(question())).rcode == dns.rcode.REFUSED
    far.zones[TWO] = silent
    with trio.move_on_after(60) as scope:
        await resolvers.resolve(question("other.example"))
    assert scope.cancelled_caught  # who asks has the time limit


async def test_that_a_name_does_not_exist_is_an_answer(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    far = FarSide(nursery)
    resolvers = await begin(nursery, far)
    assert (await resolvers.resolve(question("nobody.example"))).rcode == dns.rcode.NXDOMAIN
    assert len(far.asked) == 1


async def test_no_tunnel(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    far = FarSide(nursery, {})
    resolvers = await begin(nursery, far)
    with pytest.raises(ResolveError):
        await resolvers.resolve(question())
    assert far.opened == [("", ONE), ("", TWO)]


async def test_a_dead_connection_is_replaced_though_questions_never_cease(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    far = FarSide(nursery, {ONE: silent})
    resolvers = await begin(nursery, far, [ONE])

    async def ask() -> None:
        with trio.move_on_after(5), suppress(ResolveError):
            await resolvers.resolve(question())

    async with trio.open_nursery() as asking:
        for _ in range(8):
            asking.start_soon(ask)
            await trio.sleep(1)
    assert len(far.opened) > 1
