"""Which way each connection and each datagram of an app goes, by the rules."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from . import name_verdict
from .address import Address
from .errors import OpenError, Reason
from .name_verdict import Verdict
from .opener import Chosen
from .rule_terms import Network
from .rules import Kind

if TYPE_CHECKING:
    import trio

    from .association import Association
    from .preference import Pattern as ExitName
    from .rules import Route, RuleSettings
    from .ruleset import Decision, Ruleset

#: Our choice: rules whose hits are counted one by one; those that come first, as there may be a hundred thousand.
MOST_COUNTED = 1024
_OTHERS = "others"
#: Our choice: addresses that datagrams go to at the same time, and names in questions, that are decided once. A call has a few.
MOST_REMEMBERED = 4096

#: What commonly follows a question about a name.
_FOLLOWS = [(443, Network.TCP), (80, Network.TCP), (443, Network.UDP)]


class Way(Protocol):
    """Where connections and datagrams may go: by the tunnel, by one exit, or directly."""

    async def open(self, address: Address) -> trio.abc.HalfCloseableStream:
        """Raises OpenError."""
        ...

    def open_soon(self, address: Address) -> trio.abc.HalfCloseableStream | None:
        """As `open` where nothing has to be waited for; else None, and nothing has happened. Raises OpenError."""
        ...

    async def associate(self) -> Association:
        """Raises OpenError."""
        ...


#: What the reasons mean where the exit has no part in it. For the others the usual text is right.
_DIRECT_TEXT = {
    Reason.HOST_UNREACHABLE: "the destination cannot be reached from this computer, and the rules say direct",
    Reason.NETWORK_UNREACHABLE: "this computer has no route to the destination's network, and the rules say direct",
    Reason.NAME_NOT_FOUND: "the destination's name does not exist or cannot be resolved here, and the rules say direct",
    Reason.FORBIDDEN: "this computer's firewall does not let it connect to the destination",
    Reason.BUSY: "a limit of this computer was reached; try again later",
    Reason.FAILED: "this computer could not connect to the destination",
}

_Connect: TypeAlias = Callable[[Address], Awaitable["trio.abc.HalfCloseableStream"]]
_Associate: TypeAlias = Callable[[], Coroutine[Any, Any, "Association"]]


@dataclass(frozen=True, slots=True)
class Direct:
    """Without the tunnel. `connect` raises OpenError as at an exit, and here it is told as what it is here."""

    connect: _Connect
    associate: _Associate

    async def open(self, address: Address) -> trio.abc.HalfCloseableStream:
        try:
            return await self.connect(address)
        except OpenError as error:
            raise OpenError(error.reason, _DIRECT_TEXT.get(error.reason, "")) from None

    def open_soon(self, address: Address) -> None:
        """It always waits for the destination."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A way for datagrams, and how it and its rule are called in the table. What goes the same way is equal."""

    way: Way
    route: str = field(default="", compare=False)
    rule: str = field(default="", compare=False)

    async def open(self) -> Association:
        return await self.way.associate()


@dataclass(frozen=True, slots=True)
class _Blocked:
    source: str

    async def open(self, _address: Address) -> trio.abc.HalfCloseableStream:
        raise OpenError(Reason.FORBIDDEN, f"{self.source}: blocked on this computer")


def _verdict_of(routes: Iterable[Route]) -> Verdict:
    kinds = set()
    for route in routes:
        if route.kind in (Kind.TUNNEL, Kind.EXIT):
            return Verdict(name_verdict.Way.TUNNEL, str(route.exit) if route.exit is not None else "")
        kinds.add(route.kind)
    return name_verdict.DIRECT if Kind.DIRECT in kinds else name_verdict.BLOCK


def _say_the_same(some: RuleSettings, others: RuleSettings) -> bool:
    """By what is written: a file that is read again for another reason has the same rules."""
    return (some.mode, some.home, some.default, len(some.rules)) == (
        others.mode,
        others.home,
        others.default,
        len(others.rules),
    ) and all(one.text == other.text for one, other in zip(some.rules, others.rules, strict=True))


class Hits:
    """How often a rule decided, and when it did last, in seconds since 1970."""

    __slots__ = ("count", "last")

    def __init__(self) -> None:
        self.count, self.last = 0, 0.0


class Router:
    """`by` is the way by the exit of that name. `hits` says by the text of a decision how often it was taken, for connections and for where datagrams
    go. It holds the first that there are, and "others".
    """

    def __init__(self, ruleset: Ruleset, *, tunnel: Way, direct: Way, by: Callable[[ExitName], Way]) -> None:
        self._ruleset = ruleset
        self._ways = {Kind.TUNNEL: tunnel, Kind.DIRECT: direct}
        self._by = by
        self._choices: dict[Address, Choice | None] = {}
        self._verdicts: dict[str, Verdict] = {}
        self.hits: dict[str, Hits] = {}

    @property
    def ruleset(self) -> Ruleset:
        """That which holds now."""
        return self._ruleset

    def change(self, ruleset: Ruleset) -> None:
        """These rules hold for what is opened from now on."""
        if not _say_the_same(ruleset.settings, self._ruleset.settings):
            self.hits.clear()
        self._ruleset = ruleset
        self._choices.clear()
        self._verdicts.clear()

    def choose_stream(self, address: Address) -> Chosen:
        """The way of a connection to the address."""
        decision = self._decided(address, Network.TCP)
        way = self._way(decision)
        if way is None:
            return Chosen(str(decision.route), decision.rule_text, _Blocked(decision.source).open)
        return Chosen(str(decision.route), decision.rule_text, way.open, way.open_soon)

    def choose(self, address: Address) -> Choice | None:
        """The way of datagrams to the address; None where they are blocked."""
        try:
            return self._choices[address]
        except KeyError:
            decision = self._decided(address, Network.UDP)
            way = self._way(decision)
            if len(self._choices) >= MOST_REMEMBERED:
                self._choices.clear()
            choice = Choice(way, str(decision.route), decision.rule_text) if way is not None else None
            self._choices[address] = choice
            return choice

    def verdict(self, name: str) -> Verdict:
        """Which way a question about the name takes, whose port and network nobody knows yet: directly or not at all only where that holds for
        all that commonly follows, and by the rules that speak of names for whatever else may follow.
        """
        if (known := self._verdicts.get(name)) is not None:
            return known
        if len(self._verdicts) >= MOST_REMEMBERED:
            self._verdicts.clear()
        verdict = self._verdicts[name] = _verdict_of(self._routes_of(name))
        return verdict

    def _routes_of(self, name: str) -> Iterator[Route]:
        for port, network in _FOLLOWS:
            yield self._ruleset.decide(Address.make(name, port), network).route
        for port in self._ruleset.borders:
            address = Address.make(name, port)
            for network in Network:
                if (route := self._ruleset.route_of_name(address, network)) is not None:
                    yield route

    def _decided(self, address: Address, network: Network) -> Decision:
        decision = self._ruleset.decide(address, network)
        text = decision.rule_text
        hits = self.hits.get(text) or self._new_hits(text)
        hits.count += 1
        hits.last = time.time()
        return decision

    def _new_hits(self, text: str) -> Hits:
        return self.hits.setdefault(text if len(self.hits) < MOST_COUNTED else _OTHERS, Hits())

    def _way(self, decision: Decision) -> Way | None:
        """None where it is blocked."""
        route = decision.route
        return self._by(route.exit) if route.exit is not None else self._ways.get(route.kind)
