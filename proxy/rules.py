"""Rules as people write them, parsed at the door: `ROUTE CONDITION [CONDITION ...]`, of which all conditions have to hold.

direct suffix:example.cn          tunnel app:whatsapp network:udp          block list:ads.txt          exit:home.example.com cidr:192.0.2.0/24
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeAlias

from . import countries
from .errors import ConfigError
from .heap import without_collector
from .preference import Pattern as ExitName
from .rule_terms import (
    Country,
    Exact,
    Keyword,
    Suffix,
    Term,
    Within,
    carried_of,
    country_code_of,
    keyword_of,
    name_of,
    network_of,
    pattern_of,
    ports_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .address import Address

#: Our choice: the longest regular expression, and room for what stands beside it.
LONGEST_RULE = 4096


class Mode(enum.Enum):
    """What holds where no rule of the user does: domestic and private is direct, or nothing is by itself."""

    HOME_DIRECT = "home-direct"
    ALL = "all"


class Kind(enum.Enum):
    TUNNEL = "tunnel"
    DIRECT = "direct"
    BLOCK = "block"
    EXIT = "exit"


@dataclass(frozen=True, slots=True)
class Route:
    """Which way a connection goes. `exit` is what names the exit for EXIT, and None otherwise."""

    kind: Kind
    exit: ExitName | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError with a text for people."""
        kind, colon, name = text.partition(":")
        if kind.lower() == "exit" and colon:
            try:
                return cls(Kind.EXIT, ExitName.parse(name))
            except ValueError as error:
                raise ValueError(f"{text!r} names no exit, as exit:HOST and exit:HOST:PORT do: {error}") from None
        try:
            return cls(Kind(text.lower() if text.lower() != "exit" else ""))
        except ValueError:
            raise ValueError(f"{text!r} is no route; it is tunnel, direct, block or exit:HOST") from None

    def __str__(self) -> str:
        return self.kind.value if self.exit is None else f"{self.kind.value}:{self.exit}"


@dataclass(frozen=True, slots=True)
class App:
    """What the app of this name connects to."""

    name: str


@dataclass(frozen=True, slots=True)
class ListFile:
    """What stands in a file, or in one entry of it."""

    path: Path
    tag: str

    def __str__(self) -> str:
        return f"{self.path}#{self.tag}" if self.tag else str(self.path)


#: What is known at once, or by what stands elsewhere.
Condition: TypeAlias = Term | App | ListFile


@dataclass(frozen=True, slots=True)
class Rule:
    """`text` is as the user wrote it, with single spaces."""

    text: str
    route: Route
    conditions: tuple[Condition, ...]

    @classmethod
    def parse(cls, text: str, folder: Path) -> Self:
        """Paths of lists are relative to the folder. Raises ValueError with a text for people."""
        if len(text) > LONGEST_RULE:
            raise ValueError(f"a rule has at most {LONGEST_RULE} characters")
        words = _words(text) if '"' in text else text.split()
        if not words:
            raise ValueError("it is empty")
        route = _PLAIN_ROUTES.get(words[0]) or Route.parse(words[0])
        if len(words) == 1:
            raise ValueError("it has no condition; what holds for everything else is rules.default")
        conditions = tuple([_condition(word, folder) for word in words[1:]])
        return cls(" ".join(words), route, conditions)


def _words(text: str) -> list[str]:
    """Quotation marks keep the spaces of a path together."""
    if text.count('"') % 2:
        raise ValueError("a quotation mark is not closed")
    return _WORDS.findall(text)


def _name_of(text: str) -> str:
    """An address is never judged as a name, so a rule that takes one for a name would never hold."""
    if not (":" in text or "/" in text or text[-1:].isdigit()):
        return name_of(text)  # no address is written so, and to be told that by an exception takes five times as long
    try:
        network_of(text)
    except ValueError:
        return name_of(text)
    raise ValueError(f"{text!r} is no name but an address or a network: cidr:{text}")


_PLAIN_ROUTES = {kind.value: Route(kind) for kind in Kind if kind is not Kind.EXIT}

_WORDS = re.compile(r'(?:"[^"]*"|[^\s"])+')

_CONDITIONS: dict[str, Callable[[str], Condition]] = {
    "app": lambda text: App(text.lower()),
    "domain": lambda text: Exact(_name_of(text)),
    "suffix": lambda text: Suffix(_name_of(text.removeprefix("."))),
    "keyword": lambda text: Keyword(keyword_of(text)),
    "regex": pattern_of,
    "cidr": lambda text: Within(network_of(text)),
    "geoip": lambda text: Country(country_code_of(text), countries.country_of),
    "port": ports_of,
    "network": carried_of,
}


def _condition(word: str, folder: Path) -> Condition:
    word = word.replace('"', "")
    kind, colon, text = word.partition(":")
    kind = kind.lower()
    if not colon or (kind != "list" and kind not in _CONDITIONS):
        raise ValueError(f"{word!r} is no condition; it is one of {', '.join(_CONDITIONS)} or list, and a colon")
    if not text:
        raise ValueError(f"there is nothing after {word!r}")
    return _list_file(text, folder) if kind == "list" else _CONDITIONS[kind](text)


def _list_file(text: str, folder: Path) -> ListFile:
    path, mark, tag = text.rpartition("#")
    if not mark:
        path, tag = text, ""
    if not path or (mark and not tag):
        raise ValueError(f"list:{text} is not list:PATH or list:PATH#TAG")
    try:
        return ListFile(folder / Path(path).expanduser(), tag.lower())
    except RuntimeError:
        raise ValueError(f"there is no home folder for {path}") from None


def _parsed(rules: Iterable[str], folder: Path) -> tuple[Rule, ...]:
    parsed = []
    for number, text in enumerate(rules, 1):
        try:
            parsed.append(Rule.parse(text, folder))
        except ValueError as error:
            raise ConfigError("rules.rules", f"rule {number}: {error}") from None
    return tuple(parsed)


@dataclass(frozen=True, slots=True)
class RuleSettings:
    """`home` is the country that is domestic, in two capital letters."""

    rules: tuple[Rule, ...]
    mode: Mode
    home: str
    default: Route

    @classmethod
    def parse(cls, rules: Iterable[str], mode: str, home: str, default: str, *, folder: Path) -> Self:
        """From the configuration's words. Raises ConfigError that names the setting, the rule and the reason."""
        with without_collector():
            parsed = _parsed(rules, folder)
        try:
            chosen = Mode(mode.lower())
        except ValueError:
            names = " and ".join(each.value for each in Mode)
            raise ConfigError("rules.mode", f"there is no mode {mode!r}; there are {names}") from None
        try:
            country = country_code_of(home)
        except ValueError as error:
            raise ConfigError("rules.home", str(error)) from None
        try:
            return cls(parsed, chosen, country, Route.parse(default))
        except ValueError as error:
            raise ConfigError("rules.default", str(error)) from None

    @property
    def exits(self) -> frozenset[ExitName]:
        """Those that are named."""
        routes = [self.default, *(rule.route for rule in self.rules)]
        return frozenset(route.exit for route in routes if route.exit is not None)

    def check_exits(self, addresses: Iterable[Address]) -> None:
        """These are all addresses of all exits. Raises ConfigError where a rule names none of them."""
        there = list(addresses)
        sources = [(f"rules.rules: rule {number}", rule.route) for number, rule in enumerate(self.rules, 1)]
        for source, route in [*sources, ("rules.default", self.default)]:
            if route.exit is not None and not any(map(route.exit.matches, there)):
                known = ", ".join(map(str, there)) or "no exit at all"
                raise ConfigError(source, f"{route.exit} is no address of an exit; there is: {known}")

    @property
    def files(self) -> frozenset[ListFile]:
        return frozenset(each for rule in self.rules for each in rule.conditions if isinstance(each, ListFile))
