"""Which of very many terms holds first for a destination, without asking each.

Every term is reached by its most telling part, its key: a name, a suffix, a network, a part of a name. What else has to hold is its guard, which
is asked when the key was found. Terms that have no such part are asked one by one; there are few.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from .rule_tables import Keywords, Prefixes, Table, literal_in
from .rule_terms import (
    AllOf,
    AnyOf,
    Carried,
    Country,
    CountryOf,
    Exact,
    Keyword,
    Not,
    Pattern,
    Pause,
    PortRange,
    Query,
    SingleLabel,
    Suffix,
    Term,
    Within,
    no_pause,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .rule_tables import Bucket

_T = TypeVar("_T")

#: Our choice: after so many there is a pause.
_AT_ONCE = 2048
#: Our choice: an alternative with more parts than this has an index of its own where it is a guard.
_FEW = 8

# How telling a key is: the terms of a rule that most destinations meet are asked last.
_RANKS: dict[type, int] = {
    Exact: 0,
    Within: 1,
    Suffix: 1,
    Pattern: 3,
    SingleLabel: 3,
    Keyword: 2,
    PortRange: 4,
    Country: 5,
    Carried: 6,
}
_NO_KEY = 9


class Index:
    """`add` the terms in the order in which they count, then ask for the `first` that holds."""

    def __init__(self, pause: Pause = no_pause) -> None:
        self._pause = pause
        self._numbers: list[int] = []  # of each slot, its term
        guards: list[Term | None] = []

        def is_free(slot: int) -> bool:
            return guards[slot] is None

        # Nothing below knows the index itself: without a cycle rules that are replaced go at once, and the collector has no part in it.
        self._guards = guards  # of each slot, what else has to hold
        self._is_free = is_free
        self._exact: Table[str] = Table(is_free)
        self._suffixes: Table[str] = Table(is_free)
        self._keywords = Keywords(is_free)
        self._networks = {4: Prefixes(is_free, 32), 6: Prefixes(is_free, 128)}
        self._ports = Prefixes(is_free, 16)
        self._carried: Table[object] = Table(is_free)
        self._countries: dict[CountryOf, Table[str]] = {}
        self._rest: list[int] = []

    def add(self, number: int, term: Term) -> None:
        """`number` is not below that of the term before."""
        _Insertion(self, number).insert(term, None)

    def _new_slot(self, number: int, guard: Term | None) -> int:
        self._numbers.append(number)
        self._guards.append(guard)
        return len(self._numbers) - 1

    def first(self, query: Query) -> int | None:
        """The number of the first term that holds."""
        best = len(self._numbers)
        if query.ip is not None:
            for ip in query.ips:
                for bucket in self._networks[ip.version].find(int(ip)):
                    best = self._better(bucket, best, query)
        elif query.name:
            best = self._by_name(query, best)
        if self._ports:
            for bucket in self._ports.find(query.port):
                best = self._better(bucket, best, query)
        if self._carried and (found := self._carried.get(query.network)) is not None:
            best = self._better(found, best, query)
        best = self._better(self._rest, best, query)
        if self._countries and query.ip is not None:
            best = self._by_country(query, best)
        return self._numbers[best] if best < len(self._numbers) else None

    def _by_name(self, query: Query, best: int) -> int:
        name = query.name
        if (found := self._exact.get(name)) is not None:
            best = self._better(found, best, query)
        if self._suffixes:
            suffixes, start = self._suffixes, 0
            while True:
                if (found := suffixes.get(name[start:] if start else name)) is not None:
                    best = self._better(found, best, query)
                start = name.find(".", start) + 1
                if not start:
                    break
        if self._keywords:
            for bucket in self._keywords.find(name):
                best = self._better(bucket, best, query)
        return best

    def _by_country(self, query: Query, best: int) -> int:
        for country_of, table in self._countries.items():
            for ip in query.ips:
                if table.least < best and (found := table.get(country_of(ip))) is not None:
                    best = self._better(found, best, query)
        return best

    def _better(self, bucket: Bucket, best: int, query: Query) -> int:
        """The first slot of the bucket whose guard holds, where that comes before the best so far."""
        if isinstance(bucket, int):
            if bucket < best and ((guard := self._guards[bucket]) is None or guard.holds(query)):
                return bucket
            return best
        for slot in bucket:
            if slot >= best:
                break
            if (guard := self._guards[slot]) is None or guard.holds(query):
                return slot
        return best


class _Insertion:
    """Puts one term into the tables of an index."""

    __slots__ = ("_free", "_index", "_number")

    def __init__(self, index: Index, number: int) -> None:
        self._index = index
        self._number = number
        self._free: int | None = None  # the slot of this term where nothing else has to hold

    def insert(self, term: Term, guard: Term | None) -> None:
        _INSERTIONS.get(type(term), _Insertion._insert_guarded)(self, term, guard)

    def _slot(self, guard: Term | None) -> int:
        if guard is None and self._free is not None:
            return self._free
        slot = self._index._new_slot(self._number, guard)
        if guard is None:
            self._free = slot
        return slot

    def _insert_any(self, term: AnyOf, guard: Term | None) -> None:
        if not term:
            return
        index, slot = self._index, self._slot(guard)
        for name in self._with_pauses(term.exact):
            index._exact.put(name, slot)
        for name in self._with_pauses(term.suffixes):
            index._suffixes.put(name, slot)
        for word in self._with_pauses(term.keywords):
            index._keywords.put(word, slot)
        for network in self._with_pauses(term.networks):
            index._networks[network.version].put(int(network.network_address), network.prefixlen, slot)
        for other in term.others:
            self.insert(other, guard)

    def _with_pauses(self, things: list[_T]) -> Iterator[_T]:
        for start in range(0, len(things), _AT_ONCE):
            yield from things[start : start + _AT_ONCE]
            self._index._pause()

    def _insert_all(self, term: AllOf, guard: Term | None) -> None:
        key = min(term.terms, key=_rank)
        others = [_asked_often(each) for each in term.terms if each is not key]
        if guard is not None:
            others.append(guard)
        self.insert(key, (others[0] if len(others) == 1 else AllOf(tuple(others))) if others else None)

    def _insert_exact(self, term: Exact, guard: Term | None) -> None:
        self._index._exact.put(term.name, self._slot(guard))

    def _insert_suffix(self, term: Suffix, guard: Term | None) -> None:
        self._index._suffixes.put(term.name, self._slot(guard))

    def _insert_keyword(self, term: Keyword, guard: Term | None) -> None:
        self._index._keywords.put(term.word, self._slot(guard))

    def _insert_within(self, term: Within, guard: Term | None) -> None:
        network = term.network
        prefixes = self._index._networks[network.version]
        prefixes.put(int(network.network_address), network.prefixlen, self._slot(guard))

    def _insert_ports(self, term: PortRange, guard: Term | None) -> None:
        self._index._ports.put_range(term.first, term.last, self._slot(guard))

    def _insert_carried(self, term: Carried, guard: Term | None) -> None:
        self._index._carried.put(term.network, self._slot(guard))

    def _insert_country(self, term: Country, guard: Term | None) -> None:
        table = self._index._countries.setdefault(term.country_of, Table(self._index._is_free))
        table.put(term.code, self._slot(guard))

    def _insert_guarded(self, term: Term, guard: Term | None) -> None:
        """A pattern is found by a part that each of its names has; what has none is asked each time."""
        asked = _asked_often(term)
        slot = self._slot(asked if guard is None else AllOf((asked, guard)))
        word = literal_in(term.expression.text) if isinstance(term, Pattern) else ""
        if word:
            self._index._keywords.put(word, slot)
        else:
            self._index._rest.append(slot)


# By type, as there may be a hundred thousand of them; all others have no key.
_INSERTIONS: dict[type, Callable[[_Insertion, Any, Term | None], None]] = {
    AnyOf: _Insertion._insert_any,
    AllOf: _Insertion._insert_all,
    Exact: _Insertion._insert_exact,
    Suffix: _Insertion._insert_suffix,
    Keyword: _Insertion._insert_keyword,
    Within: _Insertion._insert_within,
    PortRange: _Insertion._insert_ports,
    Carried: _Insertion._insert_carried,
    Country: _Insertion._insert_country,
}


def _rank(term: Term) -> int:
    if (rank := _RANKS.get(type(term))) is not None:
        return rank
    if isinstance(term, AllOf):
        return min(map(_rank, term.terms))
    if isinstance(term, AnyOf):
        # As a list it has names and networks, of which most destinations meet none.
        return max(map(_rank, term.others), default=1)
    return _NO_KEY


def _asked_often(term: Term) -> Term:
    """The same as a guard, quick however many parts it has."""
    if type(term) in _RANKS:
        return term
    if isinstance(term, Not):
        return Not(_asked_often(term.term))
    if isinstance(term, AllOf):
        return AllOf(tuple(map(_asked_often, term.terms)))
    if isinstance(term, AnyOf) and len(term) > _FEW:
        index = Index()
        index.add(0, term)
        return Indexed(index)
    return term


@dataclass(frozen=True, slots=True)
class Indexed:
    """Holds where anything in the index does."""

    index: Index

    def holds(self, query: Query) -> bool:
        return self.index.first(query) is not None
