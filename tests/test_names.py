"""Which way each question takes, what is kept and joined, and that nothing leaks; in memory, with a fake for the direct way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dns.rcode
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from proxy import names as names_module
from proxy.dns_pipeline import ResolveError
from proxy.far_resolvers import FarResolvers
from proxy.name_verdict import BLOCK, DIRECT, TUNNEL, Verdict, Way
from proxy.names import MOST_IN_FLIGHT, TIME_LIMIT, Names
from proxy.protocol.dns_answer import FAILURE_LIFE
from proxy.protocol.dns_message import BLOCKED, NETWORK_ERROR, NO_AUTHORITY, Answer, Question
from tests.resolvers import ONE, FarSide, question, usual

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock

HOME = Verdict(Way.TUNNEL, "home.example.com")
LIFE = 60  # of what `usual` answers


class Near:
    """The direct way; it says the same to everybody."""

    def __init__(self) -> None:
        self.asked: list[Question] = []
        self.delay = 0.0
        self.answer: Answer | Exception = Answer(dns.rcode.NOERROR, life=LIFE)
        self.before_the_answer: Callable[[], None] = lambda: None

    async def resolve(self, asked: Question) -> Answer:
        self.asked.append(asked)
        await trio.sleep(self.delay)
        self.before_the_answer()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class World:
    def __init__(self, nursery: trio.Nursery) -> None:
        self.far = FarSide(nursery)
        self.near = Near()
        self.rules: dict[str, Verdict] = {}
        self.default = TUNNEL
        self.names = Names(self.decide, FarResolvers([ONE], self.far.open), self.near)  # type: ignore[arg-type]

    def decide(self, name: str) -> Verdict:
        if name == "bug.example":
            raise ZeroDivisionError
        return self.rules.get(name, self.default)

    async def ask(self, name: str = "www.example", rdtype: str = "A", **flags: bool) -> Answer:
        answer, _ = await self.names.resolve(question(name, rdtype, **flags))
        return answer


@pytest.fixture
async def world(nursery: trio.Nursery) -> World:
    made = World(nursery)
    await nursery.start(made.names.run)
    return made


class TestWays:
    async def test_through_the_tunnel(self, world: World, autojump_clock: MockClock) -> None:
        assert (await world.ask()).counts == (1, 0, 0)
        assert world.far.asked == [("", ONE, "www.example")]
        assert world.near.asked == []

    async def test_through_a_named_exit(self, world: World, autojump_clock: MockClock) -> None:
        world.rules["www.example"] = HOME
        await world.ask()
        assert world.far.asked == [(HOME.exit, ONE, "www.example")]

    async def test_directly(self, world: World, autojump_clock: MockClock) -> None:
        world.rules["www.example"] = DIRECT
        assert (await world.ask()).good
        assert world.near.asked == [question()]
        assert world.far.opened == []

    async def test_blocked(self, world: World, autojump_clock: MockClock) -> None:
        world.rules["www.example"] = BLOCK
        assert await world.ask() == Answer(dns.rcode.NXDOMAIN, why=BLOCKED)
        assert (world.far.opened, world.near.asked) == ([], [])

    @pytest.mark.parametrize(
        ("name", "rdtype", "data"),
        [
            ("localhost", "A", b"\x7f\0\0\1"),
            ("x.localhost", "AAAA", bytes(15) + b"\1"),
            ("localhost", "HTTPS", b""),
            ("_dns.resolver.arpa", "SVCB", b""),
        ],
    )
    async def test_told_here(
        self, world: World, autojump_clock: MockClock, name: str, rdtype: str, data: bytes
    ) -> None:
        answer = await world.ask(name, rdtype)
        assert answer.rcode == dns.rcode.NOERROR
        assert answer.body.endswith(data)
        assert bool(answer.body) is bool(data)
        assert (world.far.opened, world.near.asked) == ([], [])


class TestLeaks:
    async def test_a_tunnelled_name_is_not_asked_for_directly_whatever_fails(
        self, world: World, autojump_clock: MockClock
    ) -> None:
        """No tunnel, a resolver that is silent, fails, breaks off or lies."""
        zones = {
            "refused": None,
            "silent": lambda _query: None,
            "fails": lambda query: usual(query).to_wire()[:2] + b"\x81\x82" + usual(query).to_wire()[4:],
            "breaks": lambda _query: world.far.break_all(),
            "lies": lambda query: usual(query).to_wire().replace(b"example", b"elpmaxe"),
        }
        for name, zone in zones.items():
            world.far.zones = {} if zone is None else {ONE: zone}
            answer = await world.ask(f"{name}.example")
            assert answer.rcode == dns.rcode.SERVFAIL, name
        assert world.near.asked == []

    @given(
        st.lists(st.sampled_from([b"secret", b"_443", b"_tcp", b"a.b", b"x y", b"WWW", b"\xff", b"arpa"]), max_size=4)
    )
    def test_nothing_under_a_tunnelled_name(self, labels: list[bytes]) -> None:
        """Everything else is direct here."""

        def decide(name: str) -> Verdict:
            return TUNNEL if f".{name}".endswith(".secret.example") else DIRECT

        async def run() -> None:
            async with trio.open_nursery() as nursery:
                world = World(nursery)
                world.names._decide = decide
                await nursery.start(world.names.run)
                name = b"".join(bytes([len(label)]) + label.lower() for label in (*labels, b"secret", b"example"))
                with trio.move_on_after(0.01):
                    await world.names.resolve(Question(name + b"\0", 1))
                assert world.near.asked == []
                nursery.cancel_scope.cancel()

        trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))

    async def test_what_an_answer_leads_to_is_asked_for_by_nobody_here(
        self, world: World, autojump_clock: MockClock
    ) -> None:
        """A direct name that is another name for a tunnelled one: the app asks for that, or not."""
        world.rules["www.example"] = DIRECT
        world.near.answer = Answer(
            dns.rcode.NOERROR, b"\xc0\x0c\0\5\0\1\0\0\0\x3c\0\x08\6secret\0", (1, 0, 0), (6,), 60
        )
        await world.ask()
        assert [asked.name for asked in world.near.asked] == [question().name]
        assert world.far.opened == []

    async def test_a_question_under_way_when_its_name_becomes_a_tunnelled_one(
        self, world: World, autojump_clock: MockClock
    ) -> None:
        world.default, world.near.delay = DIRECT, 1.0
        async with trio.open_nursery() as asking:
            asking.start_soon(world.ask)
            await wait_all_tasks_blocked()
            world.default = TUNNEL
            world.names.clear()
        assert len(world.near.asked) == 1  # it had left before
        assert world.far.names == ["www.example"]


class TestCache:
    async def test_an_answer_is_kept_while_it_lives_and_grows_older(
        self, world: World, autojump_clock: MockClock
    ) -> None:
        await world.ask()
        await trio.sleep(LIFE - 1)
        answer, age = await world.names.resolve(question())
        assert (answer.life, age) == (LIFE, LIFE - 1)
        assert len(world.far.asked) == 1
        await trio.sleep(1)
        await world.ask()
        assert len(world.far.asked) == 2

    async def test_what_makes_it_another_one(self, world: World, autojump_clock: MockClock) -> None:
        for _ in range(2):
            await world.ask()
            await world.ask("www2.example")
            await world.ask(rdtype="AAAA")
            await world.ask(dnssec=True)
            await world.ask(unchecked=True)
        assert len(world.far.asked) == 5

    async def test_by_another_way_it_is_another_one(self, world: World, autojump_clock: MockClock) -> None:
        await world.ask()
        for verdict in (HOME, DIRECT):  # though nobody called clear()
            world.rules["www.example"] = verdict
            await world.ask()
        assert len(world.far.asked) == 2
        assert len(world.near.asked) == 1

    async def test_other_rules(self, world: World, autojump_clock: MockClock) -> None:
        await world.ask()
        world.names.clear()
        await world.ask()
        assert len(world.far.asked) == 2

    async def test_a_failure_is_kept_for_seconds(self, world: World, autojump_clock: MockClock) -> None:
        world.far.zones[ONE] = lambda _query: None
        assert await world.ask() == Answer(dns.rcode.SERVFAIL, why=NO_AUTHORITY, life=FAILURE_LIFE)
        world.far.zones[ONE] = usual
        await trio.sleep(FAILURE_LIFE - 1)
        assert not (await world.ask()).good
        await trio.sleep(1)
        assert (await world.ask()).good

    async def test_but_not_that_there_is_no_tunnel(self, world: World, autojump_clock: MockClock) -> None:
        world.far.zones = {}
        assert (await world.ask()).why == NETWORK_ERROR
        world.far.zones = {ONE: usual}
        assert (await world.ask()).good


class TestFlights:
    async def test_the_same_is_asked_once(self, world: World, autojump_clock: MockClock) -> None:
        world.far.delay = 1
        async with trio.open_nursery() as asking:
            for _ in range(100):
                asking.start_soon(world.ask)
        assert len(world.far.asked) == 1

    async def test_who_goes_takes_nothing_from_the_others(self, world: World, autojump_clock: MockClock) -> None:
        world.far.delay = 1
        answers: list[Answer] = []

        async def ask() -> None:
            answers.append(await world.ask())

        async with trio.open_nursery() as asking:
            with trio.move_on_after(0.5):
                asking.start_soon(ask)  # whichever of them began it
                await world.ask()
        assert [answer.good for answer in answers] == [True]
        assert len(world.far.asked) == 1

    async def test_the_time_limit(self, world: World, autojump_clock: MockClock) -> None:
        world.far.zones[ONE] = lambda _query: None
        begun = trio.current_time()
        assert (await world.ask()).why == NO_AUTHORITY
        assert trio.current_time() - begun == pytest.approx(TIME_LIMIT)

    async def test_the_bound_also_where_those_who_asked_have_gone(
        self, world: World, autojump_clock: MockClock
    ) -> None:
        world.far.zones[ONE] = lambda _query: None
        with trio.move_on_after(1):
            async with trio.open_nursery() as asking:
                for number in range(MOST_IN_FLIGHT):
                    asking.start_soon(world.ask, f"host{number}.example")
        assert not (await world.ask()).good
        assert "www.example" not in world.far.names
        await trio.sleep(TIME_LIMIT)
        world.far.zones[ONE] = usual
        assert (await world.ask()).good

    async def test_a_bug_ends_no_more_than_the_question(
        self, world: World, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        world.default, world.near.answer = DIRECT, ZeroDivisionError()
        assert not (await world.ask()).good
        assert "bug of Ropeway" in caplog.text
        world.near.answer = ResolveError()
        assert (await world.ask()).why == NETWORK_ERROR

    async def test_nothing_is_kept_of_what_the_old_rules_began(self, world: World, autojump_clock: MockClock) -> None:
        world.far.delay = 1
        async with trio.open_nursery() as asking:
            asking.start_soon(world.ask)
            await trio.sleep(0.5)
            world.names.clear()
            await wait_all_tasks_blocked()
            assert len(world.names._flights) == 1  # judged anew
        assert len(world.far.asked) == 2

    async def test_nor_of_an_answer_that_comes_as_they_change(self, world: World, autojump_clock: MockClock) -> None:
        world.default = DIRECT

        def change() -> None:
            world.default = TUNNEL
            world.names.clear()

        world.near.before_the_answer = change
        assert (await world.ask()).counts == (1, 0, 0)  # from the far side
        world.default = DIRECT
        world.near.before_the_answer = lambda: None
        await world.ask()
        assert len(world.near.asked) == 2


def test_the_bound_is_what_is_promised() -> None:
    assert names_module.MOST_IN_FLIGHT == 512
