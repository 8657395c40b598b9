"""Exits, rules and lines of the log in the words of Clash."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import clash_views as views
from proxy.address import Address
from proxy.exits import ExitView, Route
from proxy.log_memory import Line
from proxy.rules import Route as RuleRoute
from proxy.ruleset import Decision
from tests.clash import ruleset

if TYPE_CHECKING:
    from proxy.tunnel import Tunnel


def exit_called(label: str, name: str, *, current: bool = False) -> ExitView:
    def new_tunnel() -> Tunnel:
        raise NotImplementedError

    async def chosen() -> None:
        raise NotImplementedError

    route = Route(name, name, False, new_tunnel, chosen, (Address.parse(name),), label)
    return ExitView(route, None, current)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["", ""], ["a.example:443", "b.example:443"]),
        (["Home", "東京 🗼"], ["Home", "東京 🗼"]),
        (["Home", "Home"], ["a.example:443", "b.example:443"]),
        (["DIRECT", "GLOBAL"], ["a.example:443", "b.example:443"]),
        (["b.example:443", "Ropeway"], ["a.example:443", "b.example:443"]),
    ],
)
def test_every_exit_has_a_name_of_its_own(labels: list[str], names: list[str]) -> None:
    exits = [exit_called(label, name) for label, name in zip(labels, ("a.example:443", "b.example:443"), strict=True)]
    assert list(views.Leaves.of(exits).exits) == names


def test_the_exit_in_use() -> None:
    leaves = views.Leaves.of([exit_called("", "a.example:443"), exit_called("Home", "b.example:443", current=True)])
    assert leaves.now == "Home"
    assert leaves.name_of("b.example:443") == "Home"
    assert leaves.name_of("gone.example:443") == "gone.example:443"
    assert views.Leaves.of([]).now == ""
    assert views.round_trip_of(leaves.exits["Home"]) is None


CONDITIONS = {
    "domain:www.example.com": ("Domain", "www.example.com"),
    "suffix:example.com": ("DomainSuffix", "example.com"),
    "keyword:ads": ("DomainKeyword", "ads"),
    "regex:^ads[0-9]": ("DomainRegex", "^ads[0-9]"),
    "cidr:192.0.2.0/24": ("IPCIDR", "192.0.2.0/24"),
    "geoip:cn": ("GeoIP", "CN"),
    "port:443": ("DstPort", "443"),
    "port:8000-8100": ("DstPort", "8000-8100"),
    "network:udp": ("Network", "udp"),
    "list:ads.txt": ("RuleSet", str(Path("/ads.txt"))),
    "port:443 network:udp": ("AND", "DstPort,443 && Network,udp"),
}


@pytest.mark.parametrize(("text", "term"), CONDITIONS.items(), ids=CONDITIONS.keys())
def test_conditions(text: str, term: tuple[str, str]) -> None:
    rules = ruleset(f"direct {text}")
    assert views.terms_of(rules, 10)[f"rule 1: direct {text}"] == term


def test_rules_of_the_mode_and_the_default() -> None:
    terms = views.terms_of(ruleset("direct suffix:example.com", mode="home-direct"), 10)
    assert terms["default"] == ("Match", "")
    assert terms["mode home-direct: geoip:cn"] == ("RuleSet", "geoip:cn")
    assert terms["mode home-direct: private or local"] == ("RuleSet", "private or local")


def test_of_many_rules_the_first_ones() -> None:
    rules = ruleset(*(f"direct domain:{number}.example" for number in range(5)))
    terms = views.terms_of(rules, 2)
    assert list(terms) == ["rule 1: direct domain:0.example", "rule 2: direct domain:1.example", "default"]


@pytest.mark.parametrize(
    ("route", "proxy"),
    [
        ("tunnel", "Ropeway"),
        ("direct", "DIRECT"),
        ("block", "REJECT"),
        ("exit:b.example", "Home"),
        ("exit:gone.example", "gone.example"),
    ],
)
def test_where_a_rule_leads(route: str, proxy: str) -> None:
    leaves = views.Leaves.of([exit_called("", "a.example:443"), exit_called("Home", "b.example:443")])
    decision = Decision(RuleRoute.parse(route), "rule 1", "text")
    assert views.rule_of(0, decision, ("Domain", "x"), None, leaves).proxy == proxy


def test_levels() -> None:
    assert views.levels_from("debug") == {"debug", "info", "warning", "error", "critical"}
    assert views.levels_from("error") == {"error", "critical"}
    assert views.levels_from("silent") == set()
    assert views.levels_from("") == views.levels_from("info")
    every = {name.lower() for name in logging.getLevelNamesMapping()} - {"warn", "notset", "fatal"}
    assert views.levels_from("debug") == every


def test_lines() -> None:
    line = Line(1790000000.25, "critical", "text")
    assert msgspec.json.encode(views.line_of(line)) == b'{"type":"error","payload":"text"}'
    assert views.structured(line).level == "error"


@given(st.floats(0, 4e9))
def test_times_are_those_of_rfc_3339(seconds: float) -> None:
    text = views.iso(seconds)
    assert len(text) == len("2026-01-02T03:04:05.678Z")
    assert text.endswith("Z")


def test_times() -> None:
    assert views.iso(1790000000.0) == "2026-09-21T14:13:20.000Z"
