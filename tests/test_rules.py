"""Rules from text: what each condition becomes, and what is said of those that are wrong."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.address import Address
from proxy.countries import country_of
from proxy.errors import ConfigError
from proxy.preference import Pattern as ExitName
from proxy.rule_terms import (
    Carried,
    Country,
    Exact,
    Keyword,
    Network,
    PortRange,
    Suffix,
    Within,
    network_of,
    pattern_of,
)
from proxy.rules import App, Kind, ListFile, Mode, Route, Rule, RuleSettings

if TYPE_CHECKING:
    from proxy.rules import Condition


def settings(folder: Path, *rules: str, mode: str = "all", home: str = "cn", default: str = "tunnel") -> RuleSettings:
    return RuleSettings.parse(rules, mode, home, default, folder=folder)


@pytest.mark.parametrize(
    ("text", "route"),
    [
        ("tunnel", Route(Kind.TUNNEL)),
        ("DIRECT", Route(Kind.DIRECT)),
        ("block", Route(Kind.BLOCK)),
        ("exit:exit.example.com", Route(Kind.EXIT, ExitName("exit.example.com", None))),
        ("Exit:EXIT.example.com:8443", Route(Kind.EXIT, ExitName("exit.example.com", 8443))),
        ("exit:[2001:db8::1]:443", Route(Kind.EXIT, ExitName("2001:db8::1", 443))),
        ("exit:[2001:db8::1]", Route(Kind.EXIT, ExitName("2001:db8::1", None))),
    ],
)
def test_a_route_from_its_text_and_back(text: str, route: Route) -> None:
    assert Route.parse(text) == route
    assert Route.parse(str(route)) == route


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("app:WhatsApp", App("whatsapp")),
        ("domain:Example.com.", Exact("example.com")),
        ("suffix:.example.com", Suffix("example.com")),
        ("suffix:中国", Suffix("xn--fiqs8s")),
        ("keyword:Ads", Keyword("ads")),
        (r"regex:^ads\d+:x$", pattern_of(r"^ads\d+:x$")),
        ("cidr:2001:db8::/32", Within(network_of("2001:db8::/32"))),
        ("geoip:cn", Country("CN", country_of)),
        ("PORT:8000-8100", PortRange(8000, 8100)),
        ("network:udp", Carried(Network.UDP)),
    ],
)
def test_a_condition_from_its_text(text: str, condition: Condition, tmp_path: Path) -> None:
    rule = Rule.parse(f"block  {text}   port:1", tmp_path)
    assert rule == Rule(f"block {text} port:1", Route(Kind.BLOCK), (condition, PortRange(1, 1)))


def test_lists_are_found_beside_the_configuration(tmp_path: Path) -> None:
    rules = settings(
        tmp_path, 'direct list:"my lists/a b.txt" port:80', 'block "list:b.dat#Ads" list:c#d#e', "block list:/etc/x"
    )
    ours = [ListFile(tmp_path / "my lists" / "a b.txt", ""), ListFile(tmp_path / "b.dat", "ads")]
    assert rules.rules[0].conditions == (ours[0], PortRange(80, 80))
    assert rules.files == {*ours, ListFile(tmp_path / "c#d", "e"), ListFile(tmp_path / "/etc/x", "")}
    assert str(ours[1]) == f"{tmp_path / 'b.dat'}#ads"
    assert str(ours[0]) == str(tmp_path / "my lists" / "a b.txt")


def test_exits_that_are_named(tmp_path: Path) -> None:
    rules = settings(tmp_path, "exit:a port:1", "tunnel port:2", "exit:a port:3", default="exit:b:1")
    assert rules.exits == {ExitName("a", None), ExitName("b", 1)}
    assert rules.mode is Mode.ALL
    assert not settings(tmp_path).exits
    assert not settings(tmp_path).files


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "it is empty"),
        ("   ", "it is empty"),
        ("direct", "it has no condition; what holds for everything else is rules.default"),
        ("drop port:1", "'drop' is no route; it is tunnel, direct, block or exit:HOST"),
        ("exit port:1", "'exit' is no route"),
        ("exit: port:1", "'exit:' names no exit, as exit:HOST and exit:HOST:PORT do: "),
        ("exit:a:b port:1", "'exit:a:b' names no exit"),
        ("direct example.com", "'example.com' is no condition; it is one of app, domain, suffix"),
        ("direct host:example.com", "'host:example.com' is no condition"),
        ("direct suffix:", "there is nothing after 'suffix:'"),
        ("direct suffix:a..b", "'a..b' is no name"),
        ("direct domain:*.example.com", "'*.example.com' is no name"),
        ("direct domain:192.0.2.1", "'192.0.2.1' is no name but an address or a network: cidr:192.0.2.1"),
        ("direct suffix:2001:db8::/32", "'2001:db8::/32' is no name but an address or a network"),
        ("direct cidr:10.0.0.0/40", "'10.0.0.0/40' is no network, as 192.0.2.0/24 is one"),
        ("direct geoip:china", "'china' is no country in two letters"),
        ("direct port:http", "'http' is no port and no range of ports"),
        ("direct network:icmp", "'icmp' is no network; it is tcp or udp"),
        ("direct regex:(", "the regular expression '(' cannot be used: missing )"),
        ("direct regex:(?=a)", "invalid perl operator"),
        ("direct list:#tag", "list:#tag is not list:PATH or list:PATH#TAG"),
        ("direct list:path#", "list:path# is not list:PATH or list:PATH#TAG"),
        ('direct list:"a', "a quotation mark is not closed"),
        ("direct list:~nobody-of-this-name/x", "there is no home folder for ~nobody-of-this-name/x"),
        ("direct suffix:" + "a" * 5000, "a rule has at most 4096 characters"),
    ],
)
def test_a_rule_that_is_wrong_is_named_with_its_reason(text: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, "direct port:1", text)
    assert str(caught.value).startswith(f"rules.rules: rule 2: {complaint}") or complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ({"mode": "some"}, "rules.mode: there is no mode 'some'; there are home-direct and all"),
        ({"home": "china"}, "rules.home: 'china' is no country in two letters"),
        ({"default": "away"}, "rules.default: 'away' is no route; it is tunnel, direct, block or exit:HOST"),
    ],
)
def test_settings_that_are_wrong(words: dict[str, str], complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, **words)
    assert str(caught.value) == complaint


@given(st.text() | st.from_regex(r"(direct|exit:a) (suffix|cidr|regex|list|port):.*", fullmatch=True))
def test_whatever_is_written_is_a_rule_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        Rule.parse(text, Path("/nowhere"))


WORDS = st.sampled_from(["suffix", "DOMAIN", "keyword", "cidr", "port", "network", "geoip", "app", "none"]).flatmap(
    lambda kind: st.sampled_from(
        ["a.example", "1.example.", ".a", "1", "192.0.2.1", "192.0.2.0/33", "2001:db8::/32", "::1", "a:b", "a/b", "80-90", "udp", "é.example", "a.1", ""]
    ).map(lambda text: f"{kind}:{text}")
)  # fmt: skip


def outcome(text: str) -> tuple[object, ...]:
    try:
        rule = Rule.parse(text, Path("/folder"))
    except ValueError as error:
        return (str(error),)
    return rule.route, rule.conditions


@given(st.sampled_from(["direct", "TUNNEL", "exit:a", "exit", "none"]), st.lists(WORDS, max_size=3))
def test_rules_with_and_without_quotation_marks_are_read_alike(route: str, words: list[str]) -> None:
    """The words of one that has none are found more quickly."""
    assert outcome(f" {route}  " + "\t".join(words)) == outcome(" ".join([route, *(f'"{word}"' for word in words)]))


@given(st.text("0123456789abcdefABCDEF.:/%-x") | st.from_regex(r"[0-9.]*[0-9a-f:.]*(/[0-9]+)?", fullmatch=True))
def test_what_is_taken_for_a_name_at_once_is_no_network(text: str) -> None:
    with contextlib.suppress(ValueError):
        rule = Rule.parse(f"direct domain:{text}", Path())
        with pytest.raises(ValueError, match="is no network"):
            network_of(text)
        assert isinstance(rule.conditions[0], Exact)


def test_exits_that_are_named_have_to_be_there(tmp_path: Path) -> None:
    there = [Address.make("exit.example.com", 443), Address.make("2001:db8::1", 8443)]
    settings(tmp_path, "exit:exit.example.com port:1", "exit:[2001:db8::1]:8443 port:2").check_exits(there)
    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, "direct port:1", "exit:exit.example.com:80 port:2").check_exits(there)
    assert str(caught.value) == (
        "rules.rules: rule 2: exit.example.com:80 is no address of an exit; "
        "there is: exit.example.com:443, [2001:db8::1]:8443"
    )
    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, default="exit:other.example").check_exits([])
    assert str(caught.value) == "rules.default: other.example is no address of an exit; there is: no exit at all"
