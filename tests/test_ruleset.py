"""Where destinations go: order, modes, the default, and by which rule."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from proxy.address import Address
from proxy.errors import ConfigError
from proxy.presets import load_presets
from proxy.rule_terms import AnyOf, IPNetwork, Network, network_of
from proxy.rules import Kind, ListFile, Route, RuleSettings
from proxy.ruleset import MOST_BORDERS, Ruleset, home_suffixes

if TYPE_CHECKING:
    from proxy.address import IPAddress
    from proxy.rule_terms import Term


@dataclass(frozen=True)
class App:
    route: str
    domains: tuple[str, ...] = ()
    networks: tuple[IPNetwork, ...] = ()


APPS = {
    "chat": App("direct", ("chat.example", "shared.example"), (network_of("198.51.100.0/24"),)),
    "abroad": App("tunnel", ("abroad.cn", "shared.example"), (network_of("203.0.113.0/24"), network_of("1.0.1.0/24"))),
}
FOLDER = Path("/rules")


def country_of(ip: IPAddress) -> str:
    return "CN" if str(ip).startswith(("1.", "240e:")) else "US"


def read_list(place: ListFile) -> Term:
    if place.path.name == "missing":
        raise ConfigError("", f"{place.path}: there is no such file")
    return AnyOf(suffixes=["listed.example"], networks=[network_of("192.0.2.0/24")])


def ruleset(*rules: str, mode: str = "home-direct", home: str = "cn", default: str = "tunnel") -> Ruleset:
    settings = RuleSettings.parse(rules, mode, home, default, folder=FOLDER)
    return Ruleset(settings, presets=APPS, read_list=read_list, country_of=country_of)


def decided(made: Ruleset, where: str, network: Network = Network.TCP) -> tuple[str, str]:
    decision = made.decide(Address.parse(where, default_port=443), network)
    return str(decision.route), decision.rule_text


HOME_DIRECT = [
    ("example.com", "tunnel", "default"),
    ("8.8.8.8", "tunnel", "default"),
    ("chat.example", "direct", "mode home-direct: app chat"),
    ("WWW.Chat.Example.", "direct", "mode home-direct: app chat"),
    ("198.51.100.1", "direct", "mode home-direct: app chat"),
    ("203.0.113.1", "tunnel", "mode home-direct: app abroad"),
    ("www.abroad.cn", "tunnel", "mode home-direct: app abroad"),  # though it is below a domestic suffix
    ("1.0.1.1", "tunnel", "mode home-direct: app abroad"),  # though the address is domestic
    ("shared.example", "tunnel", "mode home-direct: app abroad"),
    ("example.cn", "direct", "mode home-direct: suffix:cn"),
    ("xn--fsq.xn--fiqs8s", "direct", "mode home-direct: suffix:xn--fiqs8s"),
    ("cn.example.com", "tunnel", "default"),
    ("1.2.4.8", "direct", "mode home-direct: geoip:cn"),
    ("[::ffff:1.2.4.8]", "direct", "mode home-direct: geoip:cn"),
    ("[240e::1]", "direct", "mode home-direct: geoip:cn"),
    ("[64:ff9b::1.2.4.8]", "direct", "mode home-direct: geoip:cn"),
    ("[64:ff9b::8.8.8.8]", "tunnel", "default"),
    ("[2002:102:408::1]", "direct", "mode home-direct: geoip:cn"),
    ("[64:ff9b::10.0.0.1]", "direct", "mode home-direct: private or local"),
    ("[64:ff9b::203.0.113.1]", "tunnel", "mode home-direct: app abroad"),
    *[
        (where, "direct", "mode home-direct: private or local")
        for where in (
            "10.1.2.3", "172.31.0.1", "192.168.1.1", "100.64.0.1", "127.0.0.1", "0.0.0.0", "169.254.1.1",
            "224.0.0.251", "239.255.255.250", "255.255.255.255", "198.18.0.1", "[::1]", "[::]", "[fe80::1]", "[fd00::1]",
            "[ff02::fb]", "[::ffff:10.0.0.1]", "127.0.0.1.", "router", "localhost", "a.localhost", "printer.local",
            "nas.lan", "db.internal", "tv.home.arpa",
        )
    ],
    ("172.32.0.1", "tunnel", "default"),
    ("100.128.0.1", "tunnel", "default"),
    ("home.arpa.example", "tunnel", "default"),
    ("arpa.", "direct", "mode home-direct: private or local"),
]  # fmt: skip


@pytest.mark.parametrize(("where", "route", "why"), HOME_DIRECT)
@pytest.mark.parametrize("network", Network)
def test_home_direct(where: str, route: str, why: str, network: Network) -> None:
    assert decided(ruleset(), where, network) == (route, why)


@pytest.mark.parametrize("where", [where for where, *_ in HOME_DIRECT])
def test_in_the_mode_all_nothing_goes_direct_by_itself(where: str) -> None:
    assert decided(ruleset(mode="all"), where) == ("tunnel", "default")
    assert decided(ruleset(mode="all", default="exit:a.example"), where) == ("exit:a.example", "default")


@pytest.mark.parametrize(
    ("home", "where", "direct"),
    [
        ("ru", "a.ru", True),
        ("ru", "a.xn--p1ai", True),
        ("ru", "a.cn", False),
        ("gb", "a.uk", True),
        ("de", "a.de", True),
    ],
)
def test_another_home(home: str, where: str, direct: bool) -> None:
    assert (decided(ruleset(home=home), where)[0] == "direct") is direct
    assert home_suffixes("DE") == ("de",)


def test_the_first_rule_that_holds_decides() -> None:
    made = ruleset(
        "block suffix:ads.example port:80",
        "direct suffix:ads.example network:tcp",
        "exit:far.example suffix:ads.example",
        "block app:abroad network:udp",
        "direct list:some port:443",
        "block list:some",
        "block geoip:us port:6881-6889",
        "tunnel cidr:10.0.0.0/8",
    )
    assert decided(made, "a.ads.example:80") == ("block", "rule 1: block suffix:ads.example port:80")
    assert decided(made, "a.ads.example:81") == ("direct", "rule 2: direct suffix:ads.example network:tcp")
    assert decided(made, "ads.example", Network.UDP) == (
        "exit:far.example",
        "rule 3: exit:far.example suffix:ads.example",
    )
    assert decided(made, "abroad.cn", Network.UDP) == ("block", "rule 4: block app:abroad network:udp")
    assert decided(made, "abroad.cn") == ("tunnel", "mode home-direct: app abroad")
    assert decided(made, "x.listed.example") == ("direct", "rule 5: direct list:some port:443")
    assert decided(made, "192.0.2.5:80") == ("block", "rule 6: block list:some")
    assert decided(made, "8.8.8.8:6885") == ("block", "rule 7: block geoip:us port:6881-6889")
    assert decided(made, "us.example:6885") == ("tunnel", "default")
    assert decided(made, "10.0.0.1") == ("tunnel", "rule 8: tunnel cidr:10.0.0.0/8")


def test_a_name_is_never_judged_by_an_address_nor_an_address_by_a_name() -> None:
    made = ruleset("block cidr:0.0.0.0/0", "block cidr:::/0", "direct regex:.", mode="all")
    assert decided(made, "1.2.3.4.example")[0] == "direct"
    assert decided(made, "1.2.3.4")[0] == "block"
    assert decided(made, "[2001:db8::1]")[0] == "block"


@pytest.mark.parametrize(
    ("spelling", "meant"),
    [
        ("134744072", "8.8.8.8"),
        ("0x08080808", "8.8.8.8"),
        ("8.8.2056", "8.8.8.8"),
        ("8.526344", "8.8.8.8"),
        ("010.8.8.0x8.", "8.8.8.8"),
        ("2130706433", "127.0.0.1"),
        ("0000000000001002004010", "8.8.8.8"),
        ("0x000000000008080808", "8.8.8.8"),
        ("0", "0.0.0.0"),
    ],
)
def test_an_address_is_one_in_every_spelling_that_resolvers_know(spelling: str, meant: str) -> None:
    """The system makes an address of it without asking anybody; taken for a name without dots it would be local, and go direct."""
    made = ruleset("block regex:.", "exit:all.example cidr:8.8.8.8", "direct cidr:127.0.0.1", "tunnel cidr:0.0.0.0")
    assert decided(made, spelling) == decided(made, meant)
    assert decided(made, spelling)[0] != "block"


@pytest.mark.parametrize(
    "name",
    [
        "4294967296",
        "08.8.8.8",
        "256.1",
        "1.2.3.256",
        "1.16777216",
        "1.2.3.4.5",
        "0x",
        "0xg",
        "1..2",
        "8x",
        "1.2.3.4.example",
    ],
)
def test_what_no_resolver_takes_for_an_address_is_a_name(name: str) -> None:
    assert decided(ruleset("block regex:.", mode="all"), name)[0] == "block"


def test_a_decision_says_which_rule_without_what_it_says() -> None:
    decision = ruleset("block suffix:secret.example").decide(Address.make("secret.example", 1), Network.TCP)
    assert decision.route == Route(Kind.BLOCK)
    assert decision.source == "rule 1"


@pytest.mark.parametrize(
    ("where", "network", "lines"),
    [
        (
            "example.com:80",
            Network.TCP,
            [
                "example.com:80 over TCP goes through the tunnel, by way of the current exit",
                "by default",
                "it is a name, which is not looked up for that: rules for addresses (cidr, geoip) do not hold for it",
            ],
        ),
        (
            "[::ffff:10.0.0.1]:80",
            Network.UDP,
            [
                "[::ffff:a00:1]:80 over UDP goes direct, without the tunnel",
                "by mode home-direct: private or local",
                "it is judged as 10.0.0.1",
            ],
        ),
        (
            "[64:ff9b::10.0.0.1]:80",
            Network.TCP,
            [
                "[64:ff9b::a00:1]:80 over TCP goes direct, without the tunnel",
                "by mode home-direct: private or local",
                "it leads to 10.0.0.1, and is judged as that as well",
            ],
        ),
        ("192.0.2.1:1", Network.TCP, ["192.0.2.1:1 over TCP is blocked", "by rule 1: block port:1"]),
        (
            "192.0.2.1:2",
            Network.TCP,
            [
                "192.0.2.1:2 over TCP goes through the tunnel, by way of the exit far.example:443",
                "by rule 2: exit:far.example:443 port:2",
            ],
        ),
    ],
)
def test_what_happens_to_a_connection_in_words(where: str, network: Network, lines: list[str]) -> None:
    assert ruleset("block port:1", "exit:far.example:443 port:2").explain(Address.parse(where), network) == lines


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ("direct app:nosuch", "rules.rules: rule 2: no app is known by the name 'nosuch'; `ropeway apps` lists them"),
        ("direct list:missing", f"rules.rules: rule 2: {FOLDER / 'missing'}: there is no such file"),
    ],
)
def test_what_a_rule_needs_and_is_not_there(rule: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ruleset("direct port:1", rule)
    assert str(caught.value) == complaint


# ---- the apps that we know


def of_real_apps() -> Ruleset:
    settings = RuleSettings.parse([], "home-direct", "cn", "block", folder=FOLDER)
    return Ruleset(settings, presets=load_presets(), read_list=read_list)


@pytest.mark.parametrize("name", sorted(load_presets()))
def test_every_place_of_an_app_takes_its_route(name: str) -> None:
    made, app = of_real_apps(), load_presets()[name]
    places = [*app.hosts, *(Address.make(domain, 443) for domain in app.domains)]
    places += [Address.make(str(network[0]), 443) for network in app.networks]
    for address in places:
        for network in Network:
            assert str(made.decide(address, network).route) == app.route, address


def test_no_app_stands_below_another_that_goes_another_way() -> None:
    apps = load_presets()
    places = [(domain, app.route) for app in apps.values() for domain in app.domains]
    for domain, route in places:
        for other, other_route in places:
            assert route == other_route or not f".{domain}".endswith(f".{other}")


def test_what_may_be_decided_is_told_in_its_order() -> None:
    settings = RuleSettings.parse(
        ["direct suffix:a.example", "block suffix:b.example"], "home-direct", "cn", "tunnel", folder=Path("/")
    )
    made = Ruleset(settings, presets={}, read_list=lambda _: AnyOf())
    texts = [each.rule_text for each in made.decisions(10)]
    assert texts[:3] == [
        "rule 1: direct suffix:a.example",
        "rule 2: block suffix:b.example",
        "mode home-direct: private or local",
    ]
    assert texts[-1] == "default"
    assert [each.rule_text for each in made.decisions(1)][:2] == [texts[0], texts[2]]


def test_the_ports_that_rules_speak_of_have_a_bound() -> None:
    made = ruleset(*(f"direct suffix:a.example port:{port}" for port in range(1000, 9000, 10)))
    assert made.borders[:4] == [1000, 1001, 1010, 1011]
    assert len(made.borders) == MOST_BORDERS


def test_a_rule_that_says_nothing_of_names_is_no_route_of_a_name() -> None:
    made = ruleset("direct port:22", "block suffix:a.example")
    places = [Address.make("a.example", 22), Address.make("a.example", 23), Address.make("b.example", 23)]
    found = [made.route_of_name(place, Network.TCP) for place in places]
    assert found == [None, Route(Kind.BLOCK), Route(Kind.TUNNEL)]
