"""The index finds the term that is found by asking one after the other."""

from __future__ import annotations

import gc
import weakref

from hypothesis import example, given
from hypothesis import strategies as st

from proxy.address import Address
from proxy.rule_index import Index
from proxy.rule_terms import (
    AllOf,
    AnyOf,
    Carried,
    Country,
    Exact,
    Keyword,
    Network,
    Not,
    PortRange,
    Query,
    Suffix,
    Term,
    Within,
    network_of,
    pattern_of,
)


def country_of(ip: object) -> str:
    return "CN" if str(ip).endswith("1") else "US"


def other_country_of(ip: object) -> str:
    return "CN" if str(ip).endswith("2") else ""


# Few of each kind, so that they meet.
LABELS = st.sampled_from(["a", "bb", "video", "videos", "example"])
NAMES = st.lists(LABELS, min_size=1, max_size=3).map(".".join)
PLACES = st.sampled_from(
    [
        "10.0.0.1",
        "10.0.0.2",
        "10.1.0.1",
        "192.168.0.1",
        "::1",
        "2001:db8::1",
        "::ffff:10.0.0.1",
        "64:ff9b::10.0.0.1",
        "2002:a00:2::1",
    ]
)
NETWORKS = st.sampled_from(
    ["10.0.0.0/8", "10.0.0.0/24", "10.0.0.1", "0.0.0.0/0", "2001:db8::/32", "::/0", "::1", "2002::/16", "64:ff9b::/96"]
)
PORTS = st.integers(1, 6) | st.sampled_from([65535, 1024, 1023])
EXPRESSIONS = st.sampled_from(
    ["^video", "video$", r"\.example$", "b+", "v.deo", "(a|bb)", "example.*example", "videos?"]
)
ATOMS: st.SearchStrategy[Term] = st.one_of(
    NAMES.map(Exact),
    NAMES.map(Suffix),
    st.sampled_from(["a", "vid", "video", "videos", "deos.ex", "example.a"]).map(Keyword),
    EXPRESSIONS.map(pattern_of),
    NETWORKS.map(network_of).map(Within),
    st.builds(Country, st.sampled_from(["CN", "US"]), st.sampled_from([country_of, other_country_of])),
    st.tuples(PORTS, PORTS).map(lambda ports: PortRange(min(ports), max(ports))),
    st.sampled_from(Network).map(Carried),
)


def any_of(terms: list[Term]) -> AnyOf:
    made = AnyOf()
    for term in terms:
        made.add(term)
    return made


TERMS: st.SearchStrategy[Term] = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, min_size=1, max_size=3).map(lambda terms: AllOf(tuple(terms))),
        st.lists(inner, max_size=12).map(any_of),
    ),
    max_leaves=30,
)
QUERIES = st.builds(
    lambda host, port, network: Query.of(Address.make(host, port), network),
    NAMES | PLACES,
    PORTS,
    st.sampled_from(Network),
)


@given(st.lists(TERMS, max_size=12), st.lists(QUERIES, min_size=1, max_size=20))
@example(
    [any_of([PortRange(1, 1), AllOf((Suffix("a"), PortRange(2, 2))), Suffix("a")])], [Query("a", None, 3, Network.TCP)]
)
def test_it_finds_what_asking_each_finds(terms: list[Term], queries: list[Query]) -> None:
    index = Index()
    for number, term in enumerate(terms):
        index.add(number, term)
    for query in queries:
        expected = next((number for number, term in enumerate(terms) if term.holds(query)), None)
        assert index.first(query) == expected


@given(st.integers(1, 65535), st.integers(1, 65535), st.integers(1, 65535))
@example(1, 65535, 1)
@example(1, 65535, 65535)
@example(1, 1, 1)
def test_a_range_of_ports_is_all_of_them(one: int, other: int, port: int) -> None:
    first, last = min(one, other), max(one, other)
    index = Index()
    index.add(0, PortRange(first, last))
    found = index.first(Query("a", None, port, Network.TCP)) is not None
    assert found is (first <= port <= last)


def test_a_list_that_is_there_many_times_is_stored_once() -> None:
    index = Index()
    for number in range(1000):
        index.add(number, any_of([Suffix("example.com"), Keyword("video")]))
    assert index.first(Query("a.example.com", None, 1, Network.TCP)) == 0
    assert index._suffixes == {"example.com": 0}


def test_rules_that_are_replaced_are_gone_at_once() -> None:
    index = Index()
    index.add(0, any_of([Suffix("example.com"), Keyword("video"), PortRange(1, 5), Country("CN", country_of)]))
    gone = weakref.ref(index)
    gc.disable()
    try:
        del index
        assert gone() is None
    finally:
        gc.enable()


def test_there_are_pauses_between_the_entries_of_a_long_list() -> None:
    paused: list[None] = []
    index = Index(lambda: paused.append(None))
    index.add(0, AnyOf(exact=[f"{number}.example" for number in range(20_000)]))
    assert 5 < len(paused) < 50
