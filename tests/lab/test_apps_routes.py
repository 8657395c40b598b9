"""All apps by way of a local side in the mode home-direct: who is seen abroad, who at home, and whom nobody but the exit was told of.

Both hosts have every place of every preset: the names lead to an address of their own, and the networks are theirs. So whatever takes a
wrong way arrives all the same, and is seen.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from proxy.presets import Ports, Preset, load_presets
from tests.e2e.machine import wait_until
from tests.lab.addresses import ABROAD
from tests.lab.hosts import open_lab, start_exit, start_local

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.machine import Program
    from tests.e2e.pairs import Local
    from tests.lab.hosts import Host, Lab

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

ALL = load_presets()
AT_HOME = {"wechat", "weibo", "qq", "baidu"}
#: What all names lead to: nobody's (RFC 5737), and in no country.
EVERYBODY = "203.0.113.1"
#: Servers of China that are known by number, as those of WeChat are: of CNNIC and China Telecom.
DOMESTIC = ("1.2.4.8", "183.3.226.35", "240e::1")
#: One that is tunnelled, and one that is direct.
CHECKED = ("whatsapp", "qq")
#: 443 is a port of nearly every app.
EXIT_PORT = 8443


def ends(*ports: Ports) -> list[int]:
    return sorted({port for each in ports for port in (each.first, each.last)})


TCP_PORTS = ends(*(ports for preset in ALL.values() for ports in preset.tcp_ports))
UDP_PORTS = ends(*(ports for preset in ALL.values() for ports in preset.udp_ports))


def written(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def hosts(preset: Preset) -> list[str]:
    """One below each domain too."""
    listed = [*(address.host for address in preset.hosts), *preset.other_hosts]
    return list(dict.fromkeys([*listed, *preset.domains, *(f"www.{domain}" for domain in preset.domains)]))


def numbers(preset: Preset) -> list[str]:
    """Both ends of each network."""
    found = [str(ip) for network in preset.networks for ip in (network[0], network[-1])]
    return found + (list(DOMESTIC) if preset.name in AT_HOME else [])


def places(preset: Preset) -> set[str]:
    """Hosts at all ports of the list, and addresses at one of each kind."""
    tcp, udp = ends(*preset.tcp_ports), ends(*preset.udp_ports)
    found = {f"tcp {address}" for address in preset.hosts}
    found |= {f"tcp {written(host, port)}" for host in hosts(preset) for port in tcp}
    found |= {f"udp {written(host, port)}" for host in hosts(preset) for port in udp}
    for number in numbers(preset):
        found |= {f"tcp {written(number, tcp[0])}", *(f"udp {written(number, port)}" for port in udp[:1])}
    return found


@dataclass(frozen=True)
class Seen:
    """`answers` is what the app was told at each place; the others are what was seen where, and whom the resolver at home was asked for. `checked` is
    what `ropeway apps check` said afterwards of the app of that name, and how many came to each host then.
    """

    answers: dict[str, str]
    home: set[str]
    abroad: set[str]
    asked: set[str]
    left: set[str]
    checked: dict[str, tuple[list[str], int, int]]


def prepare(host: Host) -> Program:
    """Every place of every app is on this host."""
    networks = {network for preset in ALL.values() for network in preset.networks}
    lines = [f"route add local {network} dev lo" for network in [*networks, f"{EVERYBODY}/32", *DOMESTIC]]
    host.change_network(*lines)
    ports = (",".join(map(str, each)) for each in (TCP_PORTS, UDP_PORTS))
    started = host.start_module("catch_all", f"at-{host.folder.name}", *ports)
    started.wait_for("ready")
    return started


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """All apps at once, as there may be."""
    with open_lab(tmp_path_factory.mktemp("apps"), rate=0, round_trip=0.02) as lab:
        yield go_everywhere(lab)


def go_everywhere(lab: Lab) -> Seen:
    names = sorted({host for preset in ALL.values() for host in hosts(preset)} - numbers_of_hosts())
    lab.home.replace("/etc/resolv.conf", "nameserver 127.0.0.1\n")
    lab.home.replace("/etc/hosts", "127.0.0.1 localhost\n")
    lab.abroad.replace("/etc/hosts", "127.0.0.1 localhost\n" + "".join(f"{EVERYBODY} {name}\n" for name in names))
    near, far = prepare(lab.home), prepare(lab.abroad)
    resolver = lab.home.start_module("resolver", *(f"{name}={EVERYBODY}" for name in names))
    wire = lab.home.start_module("wire")
    for program in (resolver, wire):
        program.wait_for("ready")
    there = start_exit(lab, port=EXIT_PORT)
    local = start_local(lab, there.link, mode="home-direct")
    todo, report = lab.folder / "places", lab.folder / "report.json"
    todo.write_text("\n".join(sorted({place for preset in ALL.values() for place in places(preset)})))
    app = lab.home.start_module("knock", str(local.port), todo, report)
    wait_until(lambda: not app.alive, "the end of the app", seconds=180)
    assert report.exists(), app.text()
    home, abroad = told(near), told(far)
    return Seen(
        json.loads(report.read_text()),
        home,
        abroad,
        {line.partition(" ")[2] for line in resolver.lines("asked")},
        {line.partition(" ")[2] for line in wire.text().splitlines() if not line.startswith(("lo ", "ready"))},
        {name: check(lab, local, name, near, far) for name in CHECKED},
    )


def check(lab: Lab, local: Local, name: str, *servers: Program) -> tuple[list[str], int, int]:
    """It says nothing to a server, which tells of that."""
    before = [len(server.lines("is silent")) for server in servers]
    checking = lab.home.start_ropeway(f"check-{name}", "apps", "check", name, "--config", local.config)
    wait_until(lambda: not checking.alive, "the end of the check", seconds=60)
    assert checking.stop() == 0, checking.text()
    near, far = (len(server.lines("is silent")) - count for server, count in zip(servers, before, strict=True))
    return checking.lines(" answered in "), near, far


def numbers_of_hosts() -> set[str]:
    return {address.host for preset in ALL.values() for address in preset.hosts if address.ip is not None}


def told(program: Program) -> set[str]:
    return {line for line in program.text().splitlines() if line != "ready"}


@pytest.mark.parametrize("preset", ALL.values(), ids=list(ALL))
def test_every_place_of_the_app_takes_its_route(seen: Seen, preset: Preset) -> None:
    there, elsewhere = (seen.home, seen.abroad) if preset.route == "direct" else (seen.abroad, seen.home)
    word = "at-home" if preset.route == "direct" else "at-abroad"
    wanted = places(preset)
    assert {place: seen.answers[place] for place in wanted} == dict.fromkeys(wanted, word)
    assert wanted <= there
    assert not wanted & elsewhere


@pytest.mark.parametrize("name", sorted(AT_HOME))
def test_the_apps_of_home_never_reach_the_exit(seen: Seen, name: str) -> None:
    words = {*ALL[name].domains, *DOMESTIC}
    assert not [line for line in seen.abroad if any(word in line for word in words)]


def test_nobody_went_anywhere_without_a_word(seen: Seen) -> None:
    assert not [line for line in seen.home | seen.abroad if "silent" in line]
    assert seen.home | seen.abroad == {place for preset in ALL.values() for place in places(preset)}


def test_only_names_of_direct_apps_are_looked_up_at_home(seen: Seen) -> None:
    direct = {host for preset in ALL.values() if preset.route == "direct" for host in hosts(preset)}
    assert seen.asked == direct


def test_nothing_but_the_carrier_leaves_home(seen: Seen) -> None:
    assert seen.left == {f"tcp {ABROAD}:{EXIT_PORT}"}


@pytest.mark.parametrize("name", CHECKED)
def test_a_check_of_an_app_goes_where_the_app_does(seen: Seen, name: str) -> None:
    hosts = sorted(map(str, ALL[name].hosts))
    lines, near, far = seen.checked[name]
    assert sorted(line.split()[0] for line in lines) == hosts
    assert (near, far) == ((len(hosts), 0) if name in AT_HOME else (0, len(hosts)))
