"""Rule sets of sing-box."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ConfigError
from proxy.rule_entries import Entries
from proxy.rule_singbox import read_rule_set
from proxy.rule_terms import Network
from tests.lists import PATH, hits, read

PLACES = [
    "example.com", "www.example.com", "notexample.com", "192.0.2.1", "192.0.2.1:53", "[2001:db8::1]", "www.example.com:53",
]  # fmt: skip


def rule_set(*rules: Any, version: Any = 3) -> str:
    return json.dumps({"version": version, "rules": rules}, indent=1)


@pytest.mark.parametrize(
    ("rule", "places"),
    [
        ({"domain": "example.com"}, ["example.com"]),
        ({"domain_suffix": ["Example.com"]}, ["example.com", "www.example.com", "www.example.com:53"]),
        ({"domain_suffix": ".example.com"}, ["www.example.com", "www.example.com:53"]),
        ({"domain_keyword": ["notex"], "domain": ["example.com"]}, ["example.com", "notexample.com"]),
        ({"domain_regex": "^not", "ip_cidr": ["192.0.2.0/24"]}, ["notexample.com", "192.0.2.1", "192.0.2.1:53"]),
        ({"ip_cidr": "2001:db8::1"}, ["[2001:db8::1]"]),
        ({"port": 53}, ["192.0.2.1:53", "www.example.com:53"]),
        ({"domain_suffix": "com", "port": [53, 54]}, ["www.example.com:53"]),
        ({"ip_cidr": "192.0.2.0/24", "port_range": [":52", "53:"], "port": 1}, ["192.0.2.1", "192.0.2.1:53"]),
        ({"network": ["tcp"], "domain": "example.com"}, ["example.com"]),
        ({"network": "udp"}, []),
        ({"domain_suffix": "com", "invert": True}, ["192.0.2.1", "192.0.2.1:53", "[2001:db8::1]"]),
        (
            {"type": "logical", "mode": "and", "rules": [{"domain_suffix": "com"}, {"port": 443, "invert": True}]},
            ["www.example.com:53"],
        ),
        (
            {"type": "logical", "mode": "or", "rules": [{"domain": "example.com"}, {"port": 53}], "invert": True},
            ["www.example.com", "notexample.com", "192.0.2.1", "[2001:db8::1]"],
        ),
    ],
)
@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_a_rule_holds_where_it_says(rule: dict[str, Any], places: list[str], version: int) -> None:
    assert hits(read(read_rule_set, rule_set(rule, version=version)), *PLACES) == places


def test_one_of_several_rules_has_to_hold() -> None:
    term = read(read_rule_set, rule_set({"domain": "a.example"}, {"network": "udp", "port": 53}))
    assert hits(term, "a.example", "b.example:53") == ["a.example"]
    assert hits(term, "a.example", "b.example:53", network=Network.UDP) == ["a.example", "b.example:53"]


@pytest.mark.parametrize(
    ("text", "place", "complaint"),
    [
        ('{"version": 1,\n "rules": [}', ", line 2", "it is no JSON: Expecting value"),
        ("[" * 100_000, "", "too deep or too long"),
        ('{"version": ' + "1" * 5000 + "}", "", "too deep or too long"),
        ("[]", "", "it is JSON, but no rule set of sing-box"),
        ("{}", "", "its version is none of 1 to 4"),
        (rule_set(version=5), "", "its version is none of 1 to 4"),
        (rule_set(version=True), "", "its version is none of 1 to 4"),
        ('{"version": 1, "rules": {}}', "", "rules is no list"),
        (rule_set(), "", "there is no entry in it"),
        (rule_set("x"), ", rule 1", "a rule is no object"),
        (rule_set({"domain": "a"}, {}), ", rule 2", "a rule has no condition"),
        (rule_set({"port": []}), ", rule 1", "a rule has no condition"),
        (rule_set({"domain": "a"}, {"domain": "-"}), ", rule 2", "'-' is no name"),
        (rule_set({"domain": 1}), ", rule 1", "domain has something of the wrong type"),
        (rule_set({"domain": [["a"]]}), ", rule 1", "domain has something of the wrong type"),
        (rule_set({"port": "53"}), ", rule 1", "port has something of the wrong type"),
        (rule_set({"port": True}), ", rule 1", "port has something of the wrong type"),
        (rule_set({"port": -1}), ", rule 1", "'-1' is no port"),
        (rule_set({"port_range": "1-2"}), ", rule 1", "'1-2' is no range of ports, as 1000:2000 is one"),
        (rule_set({"network": "icmp"}), ", rule 1", "it is tcp or udp"),
        (rule_set({"domain": "a", "process_name": "x"}), ", rule 1", "nothing is known here of 'process_name'"),
        (rule_set({"type": "other"}), ", rule 1", "there is no type 'other' of rules"),
        (rule_set({"domain": "a", "invert": 1}), ", rule 1", "invert is neither true nor false"),
        (rule_set({"type": "logical", "mode": "and"}), ", rule 1", "rules is no list with anything in it"),
        (
            rule_set({"type": "logical", "mode": "xor", "rules": [{"port": 1}]}),
            ", rule 1",
            "mode is neither and nor or",
        ),
        (rule_set({"type": "logical", "domain": "a"}), ", rule 1", "nothing is known here of 'domain'"),
    ],
)
def test_a_rule_set_that_is_wrong(text: str, place: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(read_rule_set, text)
    assert str(caught.value).startswith(f"{PATH}{place}: ")
    assert complaint in str(caught.value)


def test_rules_inside_rules_have_a_bound() -> None:
    rule: dict[str, Any] = {"domain": "a"}
    for _ in range(20):
        rule = {"type": "logical", "mode": "or", "rules": [rule]}
    with pytest.raises(ConfigError, match="rule 1: rules stand more than 8 deep in one another"):
        read(read_rule_set, rule_set(rule))


def test_a_rule_set_has_no_entries_to_choose_from() -> None:
    with pytest.raises(ConfigError, match="a list of this kind has no entry 'cn'"):
        read_rule_set(rule_set({"domain": "a"}), Entries(PATH, "cn"))


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["a.example", "logical", "and", "tcp", "1:2", "::/0", "("]),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
NAMES = [
    "domain",
    "domain_suffix",
    "domain_regex",
    "ip_cidr",
    "port",
    "port_range",
    "network",
    "invert",
    "type",
    "mode",
    "rules",
]


@given(st.lists(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3), max_size=3))
def test_whatever_a_rule_set_has_it_is_read_or_refused(rules: list[dict[str, Any]]) -> None:
    try:
        read(read_rule_set, rule_set(*rules))
    except ConfigError as error:
        assert str(error).startswith(str(PATH))  # noqa: PT017
