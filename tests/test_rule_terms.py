"""Each term, with what it holds for and what not; and the texts that they come from."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.address import Address
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
    SingleLabel,
    Suffix,
    Within,
    _network_of,
    carried_of,
    country_code_of,
    keyword_of,
    name_of,
    network_of,
    pattern_of,
    ports_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.address import IPAddress
    from proxy.rule_terms import Term


def query(where: str, network: Network = Network.TCP) -> Query:
    return Query.of(Address.parse(where, default_port=443), network)


def country_of(ip: IPAddress) -> str:
    return {"192.0.2.1": "CN"}.get(str(ip), "")


@pytest.mark.parametrize(
    ("term", "where", "holds"),
    [
        (Exact("example.com"), "EXAMPLE.com", True),
        (Exact("example.com"), "example.com.", True),
        (Exact("example.com"), "www.example.com", False),
        (Exact("192.0.2.1"), "192.0.2.1", False),
        (Suffix("example.com"), "example.com", True),
        (Suffix("example.com"), "a.b.example.com..", True),
        (Suffix("example.com"), "myexample.com", False),
        (Suffix("example.com"), "com", False),
        (Suffix("1"), "192.0.2.1", False),
        (Keyword("ampl"), "www.example.com", True),
        (Keyword("ampl"), "www.example.org:80", True),
        (Keyword("192"), "192.0.2.1", False),
        (pattern_of(r"^ads\d+\.EXAMPLE\.com$"), "ads12.example.com", True),
        (pattern_of(r"^ads\d+\."), "bads12.example.com", False),
        (pattern_of("."), "192.0.2.1", False),
        (SingleLabel(), "printer", True),
        (SingleLabel(), "printer.lan", False),
        (SingleLabel(), "192.0.2.1", False),
        (Within(network_of("192.0.2.0/24")), "192.0.2.77", True),
        (Within(network_of("192.0.2.0/24")), "192.0.3.1", False),
        (Within(network_of("192.0.2.0/24")), "[::ffff:192.0.2.77]:80", True),
        (Within(network_of("192.0.2.0/24")), "192.0.2.77.", True),  # a name that is an address is one with a dot, too
        (Within(network_of("0.0.0.0/0")), "example.com", False),
        (Within(network_of("::/0")), "192.0.2.1", False),
        (Within(network_of("2001:db8::/32")), "[2001:db8::1]", True),
        (Country("CN", country_of), "192.0.2.1", True),
        (Country("CN", country_of), "[::ffff:192.0.2.1]", True),
        (Within(network_of("192.0.2.0/24")), "[64:ff9b::192.0.2.77]", True),
        (Within(network_of("192.0.2.0/24")), "[2002:c000:24d::1]", True),
        (Within(network_of("192.0.2.0/24")), "[64:ff9b:1::192.0.2.77]", False),
        (Within(network_of("64:ff9b::/96")), "[64:ff9b::192.0.2.77]", True),
        (Within(network_of("2002::/16")), "[2002:c000:24d::1]", True),
        (Within(network_of("::/0")), "[::ffff:192.0.2.77]", False),
        (Country("CN", country_of), "[64:ff9b::192.0.2.1]", True),
        (Country("CN", country_of), "[2002:c000:201::5]", True),
        (Country("CN", country_of), "[64:ff9b::192.0.2.2]", False),
        (Not(Within(network_of("192.0.2.0/24"))), "[64:ff9b::192.0.2.77]", False),
        (Country("CN", country_of), "192.0.2.2", False),
        (Country("", country_of), "example.com", False),
        (PortRange(80, 443), "example.com:80", True),
        (PortRange(80, 443), "example.com:443", True),
        (PortRange(80, 443), "example.com:444", False),
        (Carried(Network.TCP), "example.com", True),
        (Carried(Network.UDP), "example.com", False),
        (Not(Exact("example.com")), "example.org", True),
        (AllOf((Suffix("com"), PortRange(1, 1))), "example.com:1", True),
        (AllOf((Suffix("com"), PortRange(1, 1))), "example.com:2", False),
    ],
)
def test_what_a_term_holds_for(term: Term, where: str, holds: bool) -> None:
    assert term.holds(query(where)) is holds
    each = AnyOf()
    assert not each
    each.add(term)
    assert each
    assert len(each) == 1
    assert each.holds(query(where)) is holds


@pytest.mark.parametrize(
    ("make", "text", "result"),
    [
        (name_of, "Example.COM.", "example.com"),
        (name_of, "bücher.example", "xn--bcher-kva.example"),
        (name_of, "中国", "xn--fiqs8s"),
        (name_of, "_dmarc.a-b.example", "_dmarc.a-b.example"),
        (keyword_of, "Ads", "ads"),
        (country_code_of, "cn", "CN"),
        (carried_of, "UDP", Carried(Network.UDP)),
        (ports_of, "443", PortRange(443, 443)),
        (ports_of, "1-65535", PortRange(1, 65535)),
        (network_of, "192.0.2.1", ipaddress.ip_network("192.0.2.1/32")),
        (network_of, "192.0.2.1/24", ipaddress.ip_network("192.0.2.0/24")),
        (network_of, "::ffff:192.0.2.0/120", ipaddress.ip_network("192.0.2.0/24")),
        (network_of, "::ffff:0:0/95", ipaddress.ip_network("::fffe:0:0/95")),
    ],
)
def test_a_text_has_its_meaning(make: Callable[[str], object], text: str, result: object) -> None:
    assert make(text) == result


@pytest.mark.parametrize(
    ("make", "text", "complaint"),
    [
        (name_of, "", "is no name"),
        (name_of, ".", "is no name"),
        (name_of, "a..b", "is no name"),
        (name_of, ".a", "is no name"),
        (name_of, "-a.example", "is no name"),
        (name_of, "a b", "is no name"),
        (name_of, "*.example.com", "is no name"),
        (name_of, "a" * 64, "is no name"),
        (name_of, "a." * 127 + "aa", "is no name"),
        (name_of, "ü" * 300, "at most 255"),
        (name_of, "ü" * 63, "is no name"),
        (name_of, "ü..a", "is no name"),
        (keyword_of, "", "no part of a name"),
        (keyword_of, "a b", "no part of a name"),
        (keyword_of, "ü", "no part of a name"),
        (country_code_of, "CHN", "two letters"),
        (country_code_of, "c1", "two letters"),
        (carried_of, "icmp", "tcp or udp"),
        (ports_of, "", "no port"),
        (ports_of, "0", "from 1 to 65535"),
        (ports_of, "2-1", "no range"),
        (ports_of, "65536", "from 1 to 65535"),
        (ports_of, "1-", "no port"),
        (ports_of, "٣", "no port"),
        (network_of, "192.0.2.0/33", "no network"),
        (network_of, "example.com", "no network"),
        (pattern_of, "(", "cannot be used: missing )"),
        (pattern_of, "", "1 to 1000"),
        (pattern_of, "a" * 1001, "1 to 1000"),
        (pattern_of, "a{1001}", "invalid repetition size"),
        (pattern_of, r"(a)\1", "invalid escape sequence"),
        (pattern_of, "(?=b)a", "invalid perl operator"),
    ],
)
def test_a_text_without_a_meaning_is_refused(make: Callable[[str], object], text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint.replace("(", "\\(").replace(")", "\\)")):
        make(text)


@given(st.text())
def test_whatever_is_a_name_stays_one(text: str) -> None:
    try:
        name = name_of(text)
    except ValueError:
        return
    assert name_of(name) == name
    assert name.isascii()


def test_a_long_name_takes_no_pattern() -> None:
    assert pattern_of("a").holds(Query("a" * 255, None, 1, Network.TCP))
    assert not pattern_of("a").holds(Query("a" * 256, None, 1, Network.TCP))


NUMBERS = st.integers(0, 300).map(str)
PLAIN_NETWORKS = (
    st.ip_addresses(network="0.0.0.0/0").map(str)
    | st.builds("{}/{}".format, st.ip_addresses().map(str), NUMBERS)
    | st.builds("{}::/{}".format, st.lists(st.from_regex("[0-9a-fA-F]{1,4}", fullmatch=True), max_size=8).map(":".join), NUMBERS)
    | st.builds("{}.{}.{}.{}/{}".format, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS)
)  # fmt: skip


@given(PLAIN_NETWORKS)
@example("0:0:0:0:0:ffff::/100")
@example("::ffff:192.0.2.1")
@example("2001:db8::/129")
@example("1:2:3:4:5:6:7::/112")
def test_the_quick_way_to_a_network_is_the_plain_one(text: str) -> None:
    assert outcome(network_of, text) == outcome(_network_of, text)


def outcome(make: Callable[[str], object], text: str) -> object:
    try:
        return make(text)
    except ValueError as error:
        return str(error)
