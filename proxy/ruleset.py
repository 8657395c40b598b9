"""Decides where a destination goes: by the user's rules in their order, then by those of the mode, then by the default."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Protocol, TypeAlias

from . import countries
from .errors import ConfigError
from .rule_index import Index
from .rule_ports import borders, is_about_names
from .rule_terms import (
    AllOf,
    AnyOf,
    Carried,
    Country,
    Exact,
    Keyword,
    Pattern,
    Pause,
    PortRange,
    Query,
    SingleLabel,
    SomeAddresses,
    Suffix,
    Term,
    Within,
    no_pause,
)
from .rules import App, Condition, Kind, ListFile, Mode, Route

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .address import Address
    from .rule_terms import CountryOf, IPNetwork, Network
    from .rules import Rule, RuleSettings

#: Our choice: after so many there is a pause.
_RULES_AT_ONCE = 256
#: Our choice: at so many ports the rules are asked for each new name in a question, and each takes some microseconds.
MOST_BORDERS = 128

#: What stands in a list. Raises ConfigError.
ReadList: TypeAlias = Callable[[ListFile], Term]


class AppFacts(Protocol):
    """Of a preset, what rules need: its route in the mode home-direct, its suffixes and networks."""

    @property
    def route(self) -> str: ...
    @property
    def domains(self) -> Sequence[str]: ...
    @property
    def networks(self) -> Sequence[IPNetwork]: ...


#: What stays on this computer, its network or a network of its own, wherever it is.
LOCAL_NETWORKS = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",  # this network: RFC 791
        "10.0.0.0/8",  # RFC 1918, and so are 172.16 and 192.168
        "100.64.0.0/10",  # shared by a provider's customers: RFC 6598
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local: RFC 3927
        "172.16.0.0/12",
        "192.168.0.0/16",
        "198.18.0.0/15",  # for measurements: RFC 2544
        "224.0.0.0/4",  # multicast: RFC 5771
        "255.255.255.255/32",
        "::/128",
        "::1/128",
        "fc00::/7",  # RFC 4193
        "fe80::/10",
        "ff00::/8",
    )
)
#: RFC 6761, RFC 6762, RFC 8375; .internal was set aside by ICANN in 2024, and .lan is what many routers call theirs.
LOCAL_SUFFIXES = ("localhost", "local", "lan", "internal", "home.arpa")

#: Top-level domains of a country besides its two letters, from the root zone of IANA; those of China are, in order, two spellings of "China",
#: "company" and "network", whose names are registered there. Another one's two letters are not those of ISO 3166.
_HOME_SUFFIXES = {
    "CN": ("cn", "xn--fiqs8s", "xn--fiqz9s", "xn--55qx5d", "xn--io0a7i"),
    "GB": ("uk", "gb"),
    "IR": ("ir", "xn--mgba3a4f16a"),
    "RU": ("ru", "xn--p1ai", "su"),
}


@dataclass(frozen=True, slots=True)
class Decision:
    """`source` is what decided, as in "rule 3", and `text` what that says. Both together hold what the user wrote, and so may name places."""

    route: Route
    source: str
    text: str = ""

    @property
    def rule_text(self) -> str:
        return f"{self.source}: {self.text}" if self.text else self.source


class Ruleset:
    """Built once from all it needs; the same destination always gets the same answer."""

    def __init__(
        self,
        settings: RuleSettings,
        *,
        presets: Mapping[str, AppFacts],
        read_list: ReadList,
        country_of: CountryOf = countries.country_of,
        pause: Pause = no_pause,
    ) -> None:
        """Raises ConfigError that names the rule whose app or list is of no use."""
        self.settings = settings
        self._rules = settings.rules
        self._default = Decision(settings.default, "default")
        self._index = Index(pause)
        self._of_mode: list[Decision] = []
        self._terms: list[Term] = []  # of each rule, and then of each decision of the mode
        self._borders: dict[int, None] = {}
        resolve = _Resolve(presets, read_list)
        for number, rule in enumerate(self._rules):
            term = resolve.rule(number + 1, rule)
            self._index.add(number, term)
            self._terms.append(_without_many_networks(term))
            if (left := MOST_BORDERS - len(self._borders)) > 0:
                self._borders |= dict.fromkeys(islice(borders(term), left))
            if number % _RULES_AT_ONCE == 0:
                pause()
        if settings.mode is Mode.HOME_DIRECT:
            for term, route, text in _home_direct(settings.home, presets, country_of):
                self._index.add(len(self._rules) + len(self._of_mode), term)
                self._of_mode.append(Decision(Route(route), f"mode {settings.mode.value}", text))
                self._terms.append(_without_many_networks(term))

    @property
    def terms(self) -> list[tuple[Term, Kind]]:
        """What is decided, in the order in which it counts. Of large lists it does not say which addresses are in them."""
        routes = chain((rule.route for rule in self._rules), (decision.route for decision in self._of_mode))
        return [(term, route.kind) for term, route in zip(self._terms, routes, strict=True)]

    def decide(self, address: Address, network: Network) -> Decision:
        """Looks nothing up: a name is judged by what it says."""
        return self._decision(self._index.first(Query.of(address, network)))

    def route_of_name(self, address: Address, network: Network) -> Route | None:
        """The route of a name at a port; None where a rule decides that says nothing of names."""
        number = self._index.first(Query.of(address, network))
        if number is not None and not is_about_names(self._terms[number]):
            return None
        return self._decision(number).route

    @property
    def borders(self) -> list[int]:
        """The ports from which on a name may go another way than below them: the first MOST_BORDERS of those that the rules speak of."""
        return list(self._borders)

    def _decision(self, number: int | None) -> Decision:
        if number is None:
            return self._default
        if number >= len(self._rules):
            return self._of_mode[number - len(self._rules)]
        rule = self._rules[number]
        return Decision(rule.route, f"rule {number + 1}", rule.text)

    def decisions(self, most: int) -> list[Decision]:
        """What may be decided, in the order in which it counts: of the user's rules so many at most, those of the mode, the default."""
        of_user = [
            Decision(rule.route, f"rule {number}", rule.text) for number, rule in enumerate(self._rules[:most], 1)
        ]
        return [*of_user, *self._of_mode, self._default]

    def explain(self, address: Address, network: Network) -> list[str]:
        """What happens to a connection, in lines for people."""
        decision = self.decide(address, network)
        query = Query.of(address, network)
        lines = [
            f"{address} over {network.value.upper()} {_EXPLAINED[decision.route.kind].format(exit=decision.route.exit)}",
            f"by {decision.rule_text}",
        ]
        if query.ip is None:
            lines.append(
                "it is a name, which is not looked up for that: rules for addresses (cidr, geoip) do not hold for it"
            )
        elif str(query.ip) != address.host:
            lines.append(f"it is judged as {query.ip}")
        elif query.inner is not None:
            lines.append(f"it leads to {query.inner}, and is judged as that as well")
        return lines


_EXPLAINED = {
    Kind.TUNNEL: "goes through the tunnel, by way of the current exit",
    Kind.DIRECT: "goes direct, without the tunnel",
    Kind.BLOCK: "is blocked",
    Kind.EXIT: "goes through the tunnel, by way of the exit {exit}",
}


class _Resolve:
    """Makes terms of conditions, each app and list once."""

    def __init__(self, presets: Mapping[str, AppFacts], read_list: ReadList) -> None:
        self._presets = presets
        self._read_list = read_list
        self._terms: dict[App | ListFile, Term] = {}

    def rule(self, number: int, rule: Rule) -> Term:
        try:
            terms = tuple([self._term(condition) for condition in rule.conditions])
        except ConfigError as error:
            raise ConfigError("rules.rules", f"rule {number}: {error}") from None
        return terms[0] if len(terms) == 1 else AllOf(terms)

    def _term(self, condition: Condition) -> Term:
        if not isinstance(condition, App | ListFile):
            return condition
        term = self._terms.get(condition)
        if term is None:
            term = self._app(condition) if isinstance(condition, App) else self._read_list(condition)
            self._terms[condition] = term
        return term

    def _app(self, app: App) -> Term:
        try:
            return _of_app(self._presets[app.name])
        except KeyError:
            raise ConfigError("", f"no app is known by the name {app.name!r}; `ropeway apps` lists them") from None


#: Our choice: those of a large list take as objects much more memory than all else of it, and the index has them as numbers.
_MANY_NETWORKS = 1000
#: What has nothing in it.
_SIMPLE = frozenset({Exact, Suffix, Keyword, Within, Pattern, PortRange, Carried, Country})


def _without_many_networks(term: Term) -> Term:
    if isinstance(term, AllOf) and not _SIMPLE.issuperset(map(type, term.terms)):
        return AllOf(tuple(map(_without_many_networks, term.terms)))
    if isinstance(term, AnyOf) and len(term.networks) > _MANY_NETWORKS:
        others = [*map(_without_many_networks, term.others), SomeAddresses()]
        return AnyOf(term.exact, term.suffixes, term.keywords, [], others)
    return term


def _of_app(app: AppFacts) -> AnyOf:
    return AnyOf(suffixes=list(app.domains), networks=list(app.networks))


def home_suffixes(home: str) -> tuple[str, ...]:
    """The top-level domains of the country."""
    return _HOME_SUFFIXES.get(home, (home.lower(),))


def _home_direct(home: str, presets: Mapping[str, AppFacts], country_of: CountryOf) -> Iterator[tuple[Term, Kind, str]]:
    """Apps first, so that what one has under a domestic suffix or in a domestic network goes where the app does."""
    for route in (Kind.TUNNEL, Kind.DIRECT):
        for name, app in presets.items():
            if app.route == route.value:
                yield _of_app(app), route, f"app {name}"
    # A name without a dot is looked for in the local network.
    local = AnyOf(suffixes=list(LOCAL_SUFFIXES), networks=list(LOCAL_NETWORKS), others=[SingleLabel()])
    yield local, Kind.DIRECT, "private or local"
    for suffix in home_suffixes(home):
        yield AnyOf(suffixes=[suffix]), Kind.DIRECT, f"suffix:{suffix}"
    yield Country(home, country_of), Kind.DIRECT, f"geoip:{home.lower()}"
