"""Where all that stands in the presets goes: every name, address and port of every app takes the app's route."""

from __future__ import annotations

import functools
import ipaddress
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from proxy.address import Address
from proxy.presets import Ports, Preset, load_presets
from proxy.rule_terms import Network
from proxy.rules import RuleSettings
from proxy.ruleset import Ruleset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.rule_terms import Term
    from proxy.rules import ListFile
    from proxy.ruleset import Decision

ALL = load_presets()
EACH = pytest.mark.parametrize("preset", ALL.values(), ids=list(ALL))
AT_HOME = {"wechat", "weibo", "qq", "baidu"}
#: Where a part of an app's list is decided by another app, of the same route, that has it as well: services of one company.
ALSO_OF = {
    "instagram": {"facebook"},
    "whatsapp": {"facebook"},
    "youtube": {"google"},
    "wechat": {"qq"},
}


def no_list(place: ListFile) -> Term:
    raise AssertionError(f"nobody names {place}")


@functools.cache
def ruleset(*rules: str, mode: str, home: str = "cn", default: str = "tunnel") -> Ruleset:
    settings = RuleSettings.parse(rules, mode, home, default, folder=Path("/rules"))
    return Ruleset(settings, presets=ALL, read_list=no_list)


HOME_DIRECT = ruleset(mode="home-direct")


def ends(ports: tuple[Ports, ...]) -> list[int]:
    return sorted({port for each in ports for port in (each.first, each.last)})


def connections(preset: Preset) -> Iterator[tuple[Network, int]]:
    for network, ports in ((Network.TCP, preset.tcp_ports), (Network.UDP, preset.udp_ports)):
        for port in ends(ports):
            yield network, port


def places(preset: Preset) -> list[str]:
    """Each domain and names below it, each host, and both ends of each network."""
    names = [prefix + domain for domain in preset.domains for prefix in ("", "www.", "a.b-1.c.")]
    hosts = [address.host for address in preset.hosts] + list(preset.other_hosts)
    numbers = [str(ip) for network in preset.networks for ip in (network[0], network[-1])]
    return list(dict.fromkeys([*names, *hosts, *numbers]))


def decisions(made: Ruleset, preset: Preset) -> Iterator[tuple[str, Decision]]:
    """For all that the app may do by its list."""
    for place, (network, port) in itertools.product(places(preset), connections(preset)):
        yield f"{network.value} {place} {port}", made.decide(Address.make(place, port), network)
    for address in preset.hosts:
        yield str(address), made.decide(address, Network.TCP)


def one_by_one(made: Ruleset, preset: Preset) -> Iterator[tuple[str, Decision]]:
    """Each of its places and each of its ports, but not each with each other."""
    rounds = itertools.cycle(connections(preset))
    everywhere = [(place, next(rounds)) for place in places(preset)]
    for place, (network, port) in (*everywhere, *zip(itertools.repeat(places(preset)[0]), connections(preset))):
        yield f"{network.value} {place} {port}", made.decide(Address.make(place, port), network)
    for address in preset.hosts:
        yield str(address), made.decide(address, Network.TCP)


def covers(preset: Preset, host: str) -> bool:
    """Found here by reading its list, not with what the rules look up by."""
    ip = Address.make(host, 443).ip
    if ip is not None:
        return any(ip.version == network.version and ip in network for network in preset.networks)
    return any(host == domain or host.endswith(f".{domain}") for domain in preset.domains)


@EACH
def test_in_home_direct_all_of_it_goes_the_way_of_the_app(preset: Preset) -> None:
    found = list(decisions(HOME_DIRECT, preset))
    assert len(found) > len(preset.domains) * 3
    assert {where: str(decision.route) for where, decision in found} == {where: preset.route for where, _ in found}


@EACH
def test_in_home_direct_the_app_decides_or_another_one_that_has_it_too(preset: Preset) -> None:
    others = set()
    for where, decision in decisions(HOME_DIRECT, preset):
        assert decision.source == "mode home-direct", where
        word, app = decision.text.split()
        assert word == "app", where
        others.add(app)
    assert others - {preset.name} <= ALSO_OF.get(preset.name, set())
    assert preset.name in others


@pytest.mark.parametrize("name", ALSO_OF)
def test_who_decides_for_another_has_it_in_its_list_and_comes_first(name: str) -> None:
    seen = set()
    for place in places(ALL[name]):
        app = HOME_DIRECT.decide(Address.make(place, 443), Network.TCP).text.removeprefix("app ")
        if app != name:
            seen.add(app)
            assert covers(ALL[app], place)
            assert ALL[app].route == ALL[name].route
            assert list(ALL).index(app) < list(ALL).index(name)
    assert seen == ALSO_OF[name]


@EACH
def test_apps_come_before_what_is_domestic_elsewhere(preset: Preset) -> None:
    for home in ("us", "kr", "ir", "ru", "gb"):
        made = ruleset(mode="home-direct", home=home)
        assert {str(decision.route) for _, decision in one_by_one(made, preset)} == {preset.route}, home


@EACH
def test_in_the_other_mode_nothing_of_it_is_special(preset: Preset) -> None:
    for default in ("tunnel", "direct", "block"):
        made = ruleset(mode="all", default=default)
        found = {(str(decision.route), decision.rule_text) for _, decision in one_by_one(made, preset)}
        assert found == {(default, "default")}


@EACH
def test_a_rule_for_the_app_holds_for_all_of_it_by_each_of_its_names(preset: Preset) -> None:
    by_name = [(preset.name, route) for route in ("tunnel", "direct", "block", "exit:exit.example.com")]
    by_alias = [(alias, "block") for alias in preset.aliases]  # no mode has that route for an app
    for mode, (name, route) in itertools.product(("home-direct", "all"), (*by_name, *by_alias)):
        rule = f"{route} app:{name}"
        made = ruleset(rule, mode=mode)
        found = {(str(decision.route), decision.rule_text) for _, decision in one_by_one(made, preset)}
        assert found == {(route, f"rule 1: {rule}")}


@EACH
def test_what_only_ends_or_begins_like_a_domain_is_not_the_app(preset: Preset) -> None:
    made = ruleset(f"block app:{preset.name}", mode="all")
    for domain in preset.domains:
        for name in (f"not{domain}", f"{domain}.example.net", f"{domain}x", domain.partition(".")[2]):
            assert covers(preset, name) == (str(made.decide(Address.make(name, 443), Network.TCP).route) == "block")
            assert name == domain.partition(".")[2] or not covers(preset, name)


@EACH
def test_addresses_beside_a_network_are_not_the_app(preset: Preset) -> None:
    made = ruleset(f"block app:{preset.name}", mode="all")
    beside = {
        ipaddress.ip_address(packed.to_bytes(network.max_prefixlen // 8, "big"))
        for network in preset.networks
        for packed in (int(network[0]) - 1, int(network[-1]) + 1)
    }
    for ip in beside:
        decided = str(made.decide(Address.make(str(ip), 443), Network.TCP).route)
        assert (decided == "block") == covers(preset, str(ip)), ip


def test_the_apps_of_home_are_direct_and_no_other() -> None:
    direct = {
        preset.name
        for preset in ALL.values()
        if any(str(decision.route) == "direct" for _, decision in decisions(HOME_DIRECT, preset))
    }
    assert direct == AT_HOME


@pytest.mark.parametrize("name", sorted(AT_HOME))
def test_servers_of_home_that_an_app_knows_by_number_are_direct_too(name: str) -> None:
    """WeChat asks servers of its own for addresses, and what is domestic is direct whoever asks for it."""
    for ip in ("1.2.4.8", "183.3.226.35", "240e::1"):  # CNNIC, and China Telecom
        for network, port in connections(ALL[name]):
            decision = HOME_DIRECT.decide(Address.make(ip, port), network)
            assert (str(decision.route), decision.text) == ("direct", "geoip:cn")
