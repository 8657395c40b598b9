"""Lists of lines: names, networks, hosts files, those of v2fly and of Clash, mixed as one likes; and gfwlist, in the language of AutoProxy."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from .errors import ConfigError
from .rule_clash import add_line, is_line
from .rule_tables import literal_in
from .rule_terms import (
    LONGEST_NAME,
    AllOf,
    Exact,
    Expression,
    IPNetwork,
    Keyword,
    Query,
    Suffix,
    Term,
    Within,
    ip_of,
    keyword_of,
    name_of,
    network_of,
    pattern_of,
)

if TYPE_CHECKING:
    from .rule_entries import Entries

#: The text of another file of the list. Raises ConfigError.
Include: TypeAlias = Callable[[Path], str]

_DEPTH = 8  # our choice: of files that include one another
_MOST_INCLUDED = 10_000  # our choice: a file may be included for several attributes

# What nearly every line of nearly every list is; the last label tells it from an address.
_PLAIN = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
_BARE_NETWORK = re.compile(r"[0-9a-f:.]{2,45}/[0-9]{1,3}")
_COMMENT = re.compile(r"(?:^|\s)#.*|^(?://|!|;).*")

_V2FLY: dict[str, Callable[[str], Term]] = {
    "domain": lambda text: Suffix(name_of(text)),
    "full": lambda text: Exact(name_of(text)),
    "keyword": lambda text: Keyword(keyword_of(text)),
    "regexp": pattern_of,
}


def read_lines(text: str, entries: Entries, include: Include) -> None:
    """Raises ConfigError with the line and the reason."""
    if entries.tag and not entries.tag.startswith("@"):
        entries.no_tag()
    wanted = frozenset({entries.tag[1:]}) if entries.tag else frozenset()
    _Lines(entries, include, wanted, _DEPTH).read(text)


@dataclass(frozen=True, slots=True)
class _Lines:
    """`wanted` are the attributes that an entry has to have, and with a minus those that it must not have. `done` is what has been included, and
    for which of them: once is enough, or lists that include one another many times would multiply.
    """

    entries: Entries
    include: Include
    wanted: frozenset[str]
    depth: int
    done: set[tuple[Path, frozenset[str]]] = field(default_factory=set)

    def read(self, text: str) -> None:
        entries, wanted = self.entries, self.wanted
        suffixes, networks, plain = entries.all.suffixes, entries.all.networks, _PLAIN.fullmatch
        for number, line in enumerate(entries.lines(text), 1):
            name = line.strip().lower()
            if number % 1024 and not wanted:  # by the longer way it is seen now and then whether the list is too long
                if plain(name) and len(name) <= LONGEST_NAME:
                    suffixes.append(name)
                    continue
                if (network := _bare_network(name)) is not None:
                    networks.append(network)
                    continue
            entries.place = f"line {number}"
            rest = _COMMENT.sub("", line).strip()
            if rest:
                try:
                    self._line(rest)
                except ValueError as error:
                    raise entries.wrong(str(error)) from None

    def _line(self, text: str) -> None:
        if is_line(text):
            add_line(text, self.entries)
            return
        first, *others = text.split()
        if others and ip_of(first) is not None:
            self._hosts(others)
            return
        if any(other[0] not in "@&" for other in others):
            raise ValueError(f"{text!r} is neither a name nor a network nor a line of a hosts file")
        attributes = {other[1:] for other in others if other[0] == "@"}
        kind, colon, value = first.partition(":")
        if colon and kind == "include":
            self._included(value, attributes)
        elif self._wants(attributes):
            self.entries.add(_V2FLY[kind](value) if colon and kind in _V2FLY else _name_or_network(first))

    def _hosts(self, names: list[str]) -> None:
        for name in names:
            if "." in name and not self.wanted:  # localhost and the like stand in each, and are not meant
                self.entries.add(Exact(name_of(name)))

    def _wants(self, attributes: set[str]) -> bool:
        return all((each[1:] not in attributes) if each[0] == "-" else each in attributes for each in self.wanted)

    def _included(self, name: str, attributes: set[str]) -> None:
        if not re.fullmatch(r"[a-zA-Z0-9!_-]{1,100}", name):
            raise ValueError(f"include:{name} does not name a list beside this one")
        if self.depth == 0:
            raise ValueError(f"lists include one another more than {_DEPTH} deep")
        path = self.entries.path.with_name(name)
        entries = self.entries.within(path)
        wanted = self.wanted | {each for each in attributes if each not in ("", "-")}
        if (path, wanted) in self.done:
            return
        try:
            text = self.include(path)
        except ConfigError as error:
            raise self.entries.wrong(str(error)) from None
        _Lines(entries, self.include, wanted, self.depth - 1, self.done).read(text)
        self.done.add((path, wanted))  # not before: what includes itself is to be told so
        if len(self.done) > _MOST_INCLUDED:
            raise self.entries.wrong(f"more than {_MOST_INCLUDED:,} lists are included")


def _bare_network(text: str) -> IPNetwork | None:
    """None as well where it is wrong: the longer way says how."""
    if _BARE_NETWORK.fullmatch(text) is None:
        return None
    try:
        return network_of(text)
    except ValueError:
        return None


def _name_or_network(text: str) -> Term:
    if "/" in text or ip_of(text) is not None:
        return Within(network_of(text))
    for mark in ("+.", "*.", "."):
        text = text.removeprefix(mark)
    return Suffix(name_of(text))


# ---- gfwlist

AUTOPROXY = "[autoproxy"
#: How the same begins in base64.
AUTOPROXY_BASE64 = base64.b64encode(b"[AutoProxy").rstrip(b"=")[:-1]

_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_TELLING = 3  # our choice: a part of so many characters is in few names
# A host, and what may follow it in an address.
_HOST = re.compile(r"([^/:?^]*)(?::\d+)?(?:[/?^].*)?")


@dataclass(frozen=True, slots=True)
class AddressPattern:
    """Names that are in an address in which the regular expression is found."""

    expression: Expression

    def holds(self, query: Query) -> bool:
        search, name = self.expression.search, query.name
        if not 0 < len(name) <= LONGEST_NAME:
            return False
        return search(f"https://{name}/") is not None or search(f"http://{name}/") is not None


def decoded(data: bytes, entries: Entries) -> str:
    """A gfwlist out of base64. Raises ConfigError."""
    try:
        return base64.b64decode(b"".join(data.split()), validate=True).decode("utf-8")
    except ValueError as error:
        raise entries.wrong(f"it begins as a gfwlist and is no base64: {error}") from None


def read_autoproxy(text: str, entries: Entries) -> None:
    """Raises ConfigError with the line and the reason."""
    entries.no_tag()
    for number, line in enumerate(entries.lines(text), 1):
        entries.place = f"line {number}"
        rule = line.strip()
        if not rule or rule.startswith("!") or rule.lower().startswith(AUTOPROXY):
            continue
        add = entries.add
        if rule.startswith("@@"):
            add, rule = entries.except_for, rule[2:]
        if len(rule) > 2 and rule.startswith("/") and rule.endswith("/"):
            try:
                add(_address_pattern(rule[1:-1]))
            except ValueError as error:
                raise entries.wrong(str(error)) from None
            continue
        try:
            term = _autoproxy(rule)
        except ValueError:  # the list itself has now and then a line with a typing error, and is of use all the same
            entries.left_out["lines that are no names"] += 1
            continue
        if term is None:
            entries.left_out["parts of addresses"] += 1
        else:
            add(term)


def _autoproxy(rule: str) -> Term | None:
    """None where it speaks only of what follows the host in an address, of which nothing is known here."""
    below, anchored = rule.startswith("||"), rule.startswith("|")
    rule = rule.lstrip("|")
    scheme = _SCHEME.match(rule)
    found = _HOST.fullmatch(rule[scheme.end() :] if scheme else rule)
    host = found[1] if found else ""
    if not host.strip("*."):
        return None
    if ip_of(host) is not None:
        return Within(network_of(host))
    exact = anchored and not below
    host = host.removeprefix("*.") if not exact else host
    if "*" in host:
        return _wildcard(host, exact=exact)
    if "." not in host and not anchored:
        return Keyword(keyword_of(host))
    return Exact(name_of(host)) if exact else Suffix(name_of(host.removeprefix(".")))


def _wildcard(host: str, *, exact: bool) -> Term:
    parts = host.lower().lstrip(".").split("*")
    pattern = pattern_of(("^" if exact else r"(^|\.)") + ".*".join(map(re.escape, parts)) + "$")
    word = max(parts, key=len)
    return AllOf((Keyword(keyword_of(word)), pattern)) if len(word) >= _TELLING else pattern


def _address_pattern(text: str) -> Term:
    pattern = AddressPattern(pattern_of(text).expression)
    before, scheme, rest = text.partition(r"https?:\/\/")
    # What stands before it may make it one of several, or something that need not be there.
    word = literal_in(rest).strip("/") if scheme and before in ("", "^") else ""
    return AllOf((Keyword(word), pattern)) if word and "/" not in word else pattern
