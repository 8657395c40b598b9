"""Where a name may go another way at one port than at another."""

from __future__ import annotations

import pytest

from proxy.rule_ports import borders, is_about_names
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
    SingleLabel,
    SomeAddresses,
    Suffix,
    Term,
    Within,
    network_of,
    pattern_of,
)

PORT = PortRange(22, 25)
NETWORK = Within(network_of("192.0.2.0/24"))
COUNTRY = Country("CN", lambda _: "CN")


@pytest.mark.parametrize(
    "term",
    [
        *(Exact("a.example"), Suffix("a.example"), Keyword("a"), pattern_of("a"), SingleLabel()),
        AllOf((PORT, Suffix("a.example"))),
        AnyOf(suffixes=["a.example"], others=[PORT]),
        AnyOf(others=[PORT, AllOf((PORT, Keyword("a")))]),
        Not(Exact("a.example")),
    ],
)
def test_what_is_about_names(term: Term) -> None:
    assert is_about_names(term)


@pytest.mark.parametrize(
    "term",
    [
        *(PORT, NETWORK, COUNTRY, Carried(Network.UDP), SomeAddresses()),
        AllOf((PORT, Carried(Network.UDP))),
        AnyOf(networks=[network_of("192.0.2.0/24")], others=[PORT, COUNTRY]),
        Not(PORT),
    ],
)
def test_what_is_not(term: Term) -> None:
    assert not is_about_names(term)


@pytest.mark.parametrize(
    ("term", "found"),
    [
        (Suffix("a.example"), []),
        (PORT, [22, 26]),
        (PortRange(1024, 65535), [1024]),
        (AllOf((Suffix("a.example"), PORT)), [22, 26]),
        (AnyOf(suffixes=["a.example"], others=[PORT, Not(AllOf((PortRange(80, 80), Keyword("a"))))]), [22, 26, 80, 81]),
    ],
)
def test_borders(term: Term, found: list[int]) -> None:
    """Between two of them a term holds for all ports or for none."""
    assert list(borders(term)) == found
