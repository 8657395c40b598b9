"""Every preset: that its file says what it must, and that the lists of all of them make sense together."""

from __future__ import annotations

import fnmatch
import ipaddress
import itertools
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from proxy import presets
from proxy.errors import ConfigError
from proxy.presets import FOLDER, Ports, Preset, Presets, Works, load_presets

ROOT = Path(__file__).parent.parent
ALL = load_presets()
EACH = pytest.mark.parametrize("preset", ALL.values(), ids=list(ALL))

#: Domains of a tunnelled app below one of a direct app: none, and whoever adds one says why here.
TUNNELLED_BELOW_DIRECT: set[tuple[str, str]] = set()
LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"


def below(name: str, suffix: str) -> bool:
    return name == suffix or name.endswith("." + suffix)


def texts(value: object) -> list[str]:
    """Every text in a file's tables."""
    if isinstance(value, dict):
        return [text for each in value.values() for text in texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in texts(each)]
    return [value] if isinstance(value, str) else []


# ---- all together


@pytest.mark.parametrize(
    ("name", "app"),
    [
        ("messenger", "facebook"),
        ("x", "twitter"),
        ("kakao", "kakaotalk"),
        ("weixin", "wechat"),
        *((name, name) for name in ("facebook", "twitter", "whatsapp", "kakaotalk", "line", "telegram", "signal")),
        *((name, name) for name in ("discord", "google", "youtube", "instagram", "teams", "viber", "snapchat")),
        *((name, name) for name in ("slack", "wechat", "weibo", "qq", "baidu")),
    ],
)
def test_every_app_is_there(name: str, app: str) -> None:
    assert ALL[name].name == app
    assert ALL.find(f" {name.title()} ") is ALL[name]
    assert name in ALL


def test_each_app_is_listed_once_and_no_name_has_two() -> None:
    assert list(ALL) == sorted(path.stem for path in FOLDER.glob("*.toml"))
    assert len(ALL) == 19
    aliases = [alias for preset in ALL.values() for alias in preset.aliases]
    assert len({*ALL, *aliases}) == len(ALL) + len(aliases)


def test_they_are_read_once() -> None:
    assert load_presets() is ALL


def test_the_apps_of_home_are_direct_and_all_others_are_not() -> None:
    assert {name for name, preset in ALL.items() if preset.route == "direct"} == {"wechat", "weibo", "qq", "baidu"}


@pytest.mark.parametrize(
    ("name", "words"),
    [("whatsap", "whatsapp"), ("mesenger", "messenger"), ("TELEGRAN", "telegram"), ("icq", "there is: baidu, discord")],
)
def test_an_unknown_name_is_told_what_comes_close(name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        ALL.find(name)
    assert repr(name) in str(caught.value)


def test_no_domain_of_a_tunnelled_app_is_below_one_of_a_direct_app_or_above_it() -> None:
    found = {
        (here, there)
        for tunnelled in ALL.values()
        for direct in ALL.values()
        if (tunnelled.route, direct.route) == ("tunnel", "direct")
        for here in tunnelled.domains
        for there in direct.domains
        if below(here, there) or below(there, here)
    }
    assert found == TUNNELLED_BELOW_DIRECT


def test_no_network_of_a_tunnelled_app_is_one_of_a_direct_app() -> None:
    tunnelled, direct = (
        [network for preset in ALL.values() if preset.route == route for network in preset.networks]
        for route in ("tunnel", "direct")
    )
    assert tunnelled
    assert not any(
        here.version == there.version and here.overlaps(there) for here, there in itertools.product(tunnelled, direct)
    )


def test_the_networks_that_apps_share_stand_once() -> None:
    networks = ALL["facebook"].networks
    assert len(networks) > 30
    assert ALL["whatsapp"].networks == ALL["instagram"].networks == networks
    assert "geo/geoip/facebook.list" in ALL["whatsapp"].sources["ips"]
    assert "31.13.64.0/18" not in (FOLDER / "whatsapp.toml").read_text()


def test_the_files_go_into_the_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = settings["package-data"]["proxy"]
    for path in FOLDER.iterdir():
        assert any(fnmatch.fnmatch(str(path.relative_to(ROOT / "proxy")), pattern) for pattern in patterns)


# ---- each


@EACH
def test_domains_are_names_in_lower_case_and_none_is_below_another(preset: Preset) -> None:
    assert preset.domains
    for domain in preset.domains:
        assert re.fullmatch(rf"({LABEL}\.)+{LABEL}", domain), domain
        assert not any(below(domain, other) for other in preset.domains if other != domain), domain
    assert len(set(preset.domains)) == len(preset.domains)


@EACH
def test_networks_are_canonical_and_stand_once(preset: Preset) -> None:
    table = tomllib.loads((FOLDER / f"{preset.name}.toml").read_text())
    assert not ("ips" in table and "ips_of" in table)
    for text, network in zip(table.get("ips", []), preset.networks, strict="ips_of" not in table):
        assert str(network) == text
    assert len(set(preset.networks)) == len(preset.networks)
    for network in preset.networks:
        assert network.is_global
        assert network.prefixlen >= 12, "too broad for one app"


@EACH
def test_hosts_are_within_its_domains_or_networks(preset: Preset) -> None:
    assert preset.hosts
    assert len(set(preset.hosts)) == len(preset.hosts)
    for address in preset.hosts:
        ip = address.ip
        if ip is None:
            assert any(below(address.host, domain) for domain in preset.domains), address
        else:
            assert any(ip in network for network in preset.networks), address
        assert any(address.port in ports for ports in preset.tcp_ports), address
    for name in preset.other_hosts:
        assert any(below(name, domain) for domain in preset.domains), name
        assert name not in {address.host for address in preset.hosts}


@EACH
def test_ports_do_not_overlap(preset: Preset) -> None:
    for ports in (preset.tcp_ports, preset.udp_ports):
        for one, other in itertools.combinations(ports, 2):
            assert one.last < other.first or other.last < one.first
    assert preset.tcp_ports


@EACH
def test_what_is_listed_has_a_source_or_says_that_it_has_none(preset: Preset) -> None:
    for field in ("domains", "hosts", "networks", "tcp_ports", "udp_ports", "keepalive"):
        if getattr(preset, field):
            name = "ips" if field == "networks" else field
            assert name in preset.sources or name in preset.unverified, name
    fields = {"ips" if name == "networks" else name for name in Preset.__dataclass_fields__}
    assert set(preset.sources) <= fields
    assert set(preset.unverified) <= fields


@EACH
def test_texts_are_plain(preset: Preset) -> None:
    content = (FOLDER / f"{preset.name}.toml").read_text(encoding="ascii")
    for text in texts(tomllib.loads(content)):
        assert text.strip() == text != ""
        assert text.isprintable()
    for text in (preset.protocol, preset.messages.how, preset.calls.how):
        assert text.endswith(".")
        assert "{" not in text
    assert preset.web == "" or re.fullmatch(rf"https://({LABEL}\.)+{LABEL}/[a-z]*", preset.web)


@EACH
def test_what_is_to_be_set_has_the_local_port_in_it_and_nothing_else(preset: Preset) -> None:
    for text in [*(setting.what for setting in preset.settings), *preset.links]:
        assert "{" not in text.format(proxy="127.0.0.1:1080", host="127.0.0.1", port=1080)
    assert preset.route == "direct" or preset.settings


@EACH
def test_what_works_agrees_with_the_route_and_the_way_to_it(preset: Preset) -> None:
    for verdict in (preset.messages, preset.calls):
        assert (verdict.works is Works.DIRECT) <= (preset.route == "direct")
    assert preset.messages.works is not Works.UNKNOWN
    if preset.messages.works is Works.BROWSER:
        assert preset.web or any(setting.where == "Browser" for setting in preset.settings)


def test_telegram_is_reached_by_number_and_set_up_by_a_link() -> None:
    telegram = ALL["telegram"]
    assert all(address.ip for address in telegram.hosts)
    assert telegram.links == ("tg://socks?server={host}&port={port}",)
    assert ipaddress.ip_network("149.154.160.0/20") in telegram.networks


# ---- ports, and broken files


@pytest.mark.parametrize(
    ("text", "ports"), [(443, Ports(443, 443)), ("443", Ports(443, 443)), ("1-65535", Ports(1, 65535))]
)
def test_ports(text: int | str, ports: Ports) -> None:
    assert Ports.parse(text) == ports
    assert ports.first in ports
    assert ports.last in ports
    assert ports.first - 1 not in ports
    assert ports.last + 1 not in ports
    assert str(ports) == str(text)


@pytest.mark.parametrize("text", [0, -1, 65536, "2-1", "1-65536", "0-1", "", "-", "a", "1-", "-1", "1-2-3"])
def test_what_are_no_ports(text: int | str) -> None:
    with pytest.raises(ValueError, match=r"are no ports|invalid literal"):
        Ports.parse(text)


@pytest.mark.parametrize(
    ("before", "after", "error"),
    [
        ('route = "tunnel"', 'route = "tunel"', msgspec.ValidationError),
        ("domains =", "domain =", msgspec.ValidationError),
        ('label = "Slack"', 'label = ""', msgspec.ValidationError),
        ("made = 2026-11-23", 'made = "yesterday"', msgspec.ValidationError),
        ("99.77.128.0/18", "99.77.128.0/8", ValueError),
        ("22466", "224666", ValueError),
        ('"app.slack.com"', '"app slack com"', ValueError),
        ('works = "yes"', 'works = "perhaps"', msgspec.ValidationError),
    ],
)
def test_a_broken_file_is_no_preset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, after: str, error: type[Exception]
) -> None:
    content = (FOLDER / "slack.toml").read_text()
    assert before in content
    (tmp_path / "slack.toml").write_text(content.replace(before, after))
    monkeypatch.setattr(presets, "FOLDER", tmp_path)
    with pytest.raises(error):
        load_presets.__wrapped__()


def test_other_names_are_not_in_the_list() -> None:
    one = replace(ALL["slack"], aliases=("slk",))
    both = Presets([one, ALL["viber"]])
    assert (list(both), len(both)) == (["slack", "viber"], 2)
    assert both["slk"] is one
    assert both.get("slck") is None
