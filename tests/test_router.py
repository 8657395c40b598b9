"""Which way connections and datagrams go, over ways that only note what they were asked for."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from proxy import router as router_module
from proxy.address import Address
from proxy.association import Association
from proxy.errors import REASON_TEXT, OpenError, Reason
from proxy.name_verdict import BLOCK, DIRECT, TUNNEL, Verdict, Way
from proxy.router import Direct, Router
from proxy.rule_terms import AllOf, AnyOf, PortRange, Suffix
from proxy.rules import RuleSettings
from proxy.ruleset import Ruleset

if TYPE_CHECKING:
    from proxy.preference import Pattern as ExitName
    from proxy.rule_terms import Term
    from proxy.rules import ListFile


async def opened(router: Router, address: Address) -> trio.abc.HalfCloseableStream:
    return await router.choose_stream(address).open(address)


class Silent(Association):
    def send(self, address: Address, data: bytes) -> None:
        raise NotImplementedError

    async def receive(self) -> tuple[Address, bytes]:
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError


@dataclass(frozen=True)
class Noted:
    """A way that notes what it was asked for."""

    name: str
    asked: list[tuple[str, str]] = field(compare=False)

    async def open(self, address: Address) -> trio.abc.HalfCloseableStream:
        self.asked.append((self.name, str(address)))
        return trio.StapledStream(*trio.testing.memory_stream_one_way_pair())

    def open_soon(self, address: Address) -> trio.abc.HalfCloseableStream | None:
        """Only where the port is a multiple of ten."""
        if address.port % 10:
            return None
        self.asked.append((self.name, f"{address} soon"))
        return trio.StapledStream(*trio.testing.memory_stream_one_way_pair())

    async def associate(self) -> Association:
        self.asked.append((self.name, "association"))
        return Silent()


def read_list(_: ListFile) -> Term:
    """Names at some ports."""
    return AnyOf(others=[AllOf((Suffix("a.cn"), PortRange(5222, 5223)))])


def ruleset(*rules: str) -> Ruleset:
    settings = RuleSettings.parse(rules, "home-direct", "cn", "tunnel", folder=Path("/"))
    return Ruleset(settings, presets={}, read_list=read_list, country_of=lambda _: "")


class World:
    def __init__(self, *rules: str) -> None:
        self.asked: list[tuple[str, str]] = []

        def by(name: ExitName) -> Noted:
            return Noted(str(name), self.asked)

        tunnel, direct = Noted("tunnel", self.asked), Noted("direct", self.asked)
        self.router = Router(ruleset(*rules), tunnel=tunnel, direct=direct, by=by)

    def counts(self) -> dict[str, int]:
        return {text: hits.count for text, hits in self.router.hits.items()}


RULES = ("block suffix:ads.example", "exit:far.example suffix:far.example", "block port:53 network:udp")


@pytest.mark.parametrize(
    ("where", "way"),
    [
        ("example.com:443", "tunnel"),
        ("192.168.1.1:80", "direct"),
        ("a.far.example:443", "far.example"),
        ("example.com:53", "tunnel"),
    ],
)
async def test_a_connection_goes_the_way_that_the_rules_say(where: str, way: str) -> None:
    world = World(*RULES)
    await trio.aclose_forcefully(await opened(world.router, Address.parse(where)))
    assert world.asked == [(way, where)]


async def test_a_way_that_opens_at_once_is_not_waited_for() -> None:
    world = World(*RULES)
    for where, soon in (("example.com:440", True), ("example.com:443", False), ("ads.example:440", False)):
        address = Address.parse(where)
        assert (world.router.choose_stream(address).open_soon(address) is not None) == soon
    assert world.asked == [("tunnel", "example.com:440 soon")]


async def test_a_blocked_connection_says_which_rule_it_was_and_not_what_the_rule_says() -> None:
    world = World("direct port:1", *RULES)
    with pytest.raises(OpenError) as caught:
        await opened(world.router, Address.make("ads.example", 443))
    assert caught.value.reason is Reason.FORBIDDEN
    assert str(caught.value) == "rule 2: blocked on this computer"
    assert world.asked == []


async def test_datagrams_go_the_way_that_the_rules_say() -> None:
    world = World(*RULES)
    choose = world.router.choose
    assert choose(Address.make("example.com", 53)) is None
    tunnelled = choose(Address.make("example.com", 443))
    assert tunnelled is not None
    assert tunnelled == choose(Address.make("example.org", 1))
    assert tunnelled != choose(Address.make("10.0.0.1", 1))
    by_far = choose(Address.make("a.far.example", 1))
    assert by_far == choose(Address.make("b.far.example", 2))
    assert len({tunnelled, by_far, choose(Address.make("c.far.example", 2))}) == 2
    assert isinstance(await tunnelled.open(), Silent)
    assert by_far is not None
    await by_far.open()
    assert world.asked == [("tunnel", "association"), ("far.example", "association")]


def test_what_is_chosen_for_datagrams_says_how_the_table_calls_it() -> None:
    router = World(*RULES).router
    for where in ("example.com:443", "10.0.0.1:1", "a.far.example:1"):
        address = Address.parse(where)
        choice, stream = router.choose(address), router.choose_stream(address)
        assert choice is not None
        assert (choice.route, choice.rule) == (stream.route, stream.rule)


def test_rules_that_change_hold_at_once() -> None:
    world = World()
    address = Address.make("example.com", 443)
    before = world.router.choose(address)
    assert before is not None
    world.router.change(ruleset("block suffix:com"))
    assert world.router.choose(address) is None
    assert world.counts() == {"rule 1: block suffix:com": 1}
    assert world.router.hits["rule 1: block suffix:com"].last == pytest.approx(time.time(), abs=60)


def test_hits_stay_where_the_rules_say_the_same() -> None:
    world = World(*RULES)
    world.router.choose(Address.make("example.com", 53))
    world.router.change(ruleset(*RULES))
    assert world.counts() == {f"rule 3: {RULES[2]}": 1}
    world.router.change(ruleset(*RULES[1:]))
    assert world.counts() == {}


async def test_hits_are_counted_for_a_bounded_number_of_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router_module, "MOST_COUNTED", 2)
    world = World(*RULES)
    for where in ("example.com", "a.far.example", "10.0.0.1", "10.0.0.2", "example.org"):
        await trio.aclose_forcefully(await opened(world.router, Address.make(where, 443)))
    for _ in range(3):
        world.router.choose(Address.make("example.com", 443))  # decided once
    assert world.counts() == {"default": 3, "rule 2: exit:far.example suffix:far.example": 1, "others": 2}


def test_what_is_remembered_of_datagrams_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router_module, "MOST_REMEMBERED", 10)
    world = World()
    for port in range(1, 100):
        world.router.choose(Address.make("example.com", port))
        assert len(world.router._choices) <= 10


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("example.com", TUNNEL),
        ("example.cn", DIRECT),
        ("ads.example", BLOCK),
        ("a.far.example", Verdict(Way.TUNNEL, "far.example")),
        ("partly.example", TUNNEL),  # directly only over one port
        ("half.example", DIRECT),  # blocked over one network, and the other needs an answer
        ("printer", DIRECT),
        ("chat.example.cn", TUNNEL),  # over one port, which a rule about it speaks of
        ("calls.example.cn", TUNNEL),
    ],
)
def test_questions_about_names(name: str, verdict: Verdict) -> None:
    rules = (
        "direct suffix:partly.example port:80",
        "block suffix:half.example network:udp",
        "direct suffix:half.example",
        "tunnel suffix:chat.example.cn port:5222",
        "tunnel suffix:calls.example.cn network:udp port:3478-3481",
        "tunnel port:22",
    )
    assert World(*RULES, *rules).router.verdict(name) == verdict


@pytest.mark.parametrize(
    "rules",
    [
        ["direct suffix:a.cn port:443", "tunnel suffix:a.cn port:443-500"],  # from 444 on
        ["direct suffix:a.cn port:400-449", "tunnel suffix:a.cn port:420-460"],
        ["tunnel list:ports"],  # an entry of the list asks for a port as well
        ["direct port:443", "tunnel suffix:a.cn network:udp"],
        ["exit:far.example suffix:a.cn port:65535"],
    ],
)
def test_a_name_that_is_tunnelled_at_any_port_is_not_asked_for_directly(rules: list[str]) -> None:
    router = World(*rules).router
    assert (router.verdict("a.cn").way, router.verdict("b.cn")) == (Way.TUNNEL, DIRECT)


def test_a_rule_for_a_port_alone_says_nothing_of_names() -> None:
    router = World("direct suffix:a.cn port:21-22", "tunnel port:22-23", "block network:udp port:9").router
    assert {router.verdict(name) for name in ("a.cn", "b.cn")} == {DIRECT}


def test_what_is_remembered_of_names_has_a_bound_and_goes_with_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router_module, "MOST_REMEMBERED", 10)
    router = World().router
    for number in range(100):
        assert router.verdict(f"a{number % 30}.cn") == DIRECT
        assert len(router._verdicts) <= 10
    router.change(ruleset("tunnel suffix:cn"))
    assert router.verdict("a9.cn") == TUNNEL


@pytest.mark.parametrize("reason", Reason)
async def test_a_direct_connection_that_fails_does_not_blame_the_exit(reason: Reason) -> None:
    async def connect(address: Address) -> trio.abc.HalfCloseableStream:
        raise OpenError(reason, "the exit could not")

    direct = Direct(connect, Noted("direct", []).associate)
    with pytest.raises(OpenError) as caught:
        await direct.open(Address.make("example.com", 1))
    assert caught.value.reason is reason
    if reason is not Reason.TUNNEL_DOWN:  # which no dialer says
        assert "exit" not in str(caught.value)
    assert str(caught.value) != REASON_TEXT[reason] or "exit" not in REASON_TEXT[reason] or reason is Reason.TUNNEL_DOWN
