"""What a real PAC engine answers, beside what the rules decide: never direct where they say anything else."""

from __future__ import annotations

import json
import random
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.address import Address
from proxy.pac import LONGEST, pac_text
from proxy.presets import load_presets
from proxy.rule_terms import AllOf, AnyOf, Exact, Network, Not, Suffix, network_of, pattern_of
from proxy.rules import Kind, ListFile, RuleSettings
from proxy.ruleset import Ruleset

pacparser = pytest.importorskip("pacparser")
dukpy = pytest.importorskip("dukpy")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from proxy.rule_terms import Term

PORT = Address.make("127.0.0.1", 1080)
PROXY = "PROXY 127.0.0.1:1080; SOCKS5 127.0.0.1:1080"


@contextmanager
def engine(text: str) -> Iterator[Callable[[str, str], str]]:
    """pacparser, which is what command-line programs have."""
    pacparser.init()
    try:
        pacparser.parse_pac_string(text)
        yield pacparser.find_proxy
    finally:
        pacparser.cleanup()


def empty(_file: ListFile) -> Term:
    return AnyOf()


def rules_of(
    folder: Path, *rules: str, mode: str = "all", default: str = "tunnel", read_list: Callable[[ListFile], Term] = empty
) -> Ruleset:
    parsed = RuleSettings.parse(rules, mode, "CN", default, folder=folder)
    return Ruleset(parsed, presets=load_presets(), read_list=read_list)


def text_of(ruleset: Ruleset) -> str:
    text = pac_text(ruleset.terms, ruleset.settings.default.kind, PORT)
    assert text.isascii()
    assert len(text) <= LONGEST
    return text


def is_direct(ruleset: Ruleset, host: str, port: int) -> bool:
    address = Address.make(host, port)
    return all(ruleset.decide(address, network).route.kind is Kind.DIRECT for network in Network)


def url_of(host: str, port: int) -> str:
    return f"http://{host}/path" if port == 80 else f"https://{host}/" if port == 443 else f"http://{host}:{port}/"


@pytest.mark.parametrize("mode", ["home-direct", "all"])
def test_what_is_direct_by_the_mode(mode: str, tmp_path: Path) -> None:
    ruleset = rules_of(tmp_path, mode=mode)
    home = [
        "www.example.cn",
        "CN",
        "nas.local",
        "router.lan",
        "baidu.com",
        "a.weixin.qq.com",
        "192.168.1.1",
        "10.0.0.1",
    ]
    abroad = [
        "example.com",
        "web.whatsapp.com",
        "localcn",
        "example.cn.com",
        "8.8.8.8",
        "149.154.167.51",
        "[::1]",
        "::1",
    ]
    with engine(text_of(ruleset)) as find:
        for host in [*home, *abroad]:
            direct = mode == "home-direct" and host in home
            assert (find(f"https://{host}/", host) == "DIRECT") == direct, host
        assert find("https://example.com/", "example.com") == PROXY


def test_every_app_of_the_presets_that_is_tunnelled(tmp_path: Path) -> None:
    ruleset = rules_of(tmp_path, mode="home-direct")
    with engine(text_of(ruleset)) as find:
        for preset in load_presets().values():
            for domain in preset.domains:
                found = find(f"https://x.{domain}/", f"x.{domain}") == "DIRECT"
                assert found == is_direct(ruleset, f"x.{domain}", 443), domain


def test_an_engine_of_its_own_port(tmp_path: Path) -> None:
    text = pac_text(rules_of(tmp_path).terms, Kind.TUNNEL, Address.make("::1", 1080))
    with engine(text) as find:
        assert find("http://a.example/", "a.example") == "PROXY [::1]:1080; SOCKS5 [::1]:1080"


RULES = [
    "direct suffix:example.cn",
    "tunnel suffix:deep.example.cn",
    "direct domain:example.com",
    "tunnel suffix:cn",
    "direct suffix:deep.example.cn",
    "block domain:ads.example.cn",
    "exit:home.example keyword:exam",
    "direct keyword:ample",
    "direct suffix:com port:80",
    "tunnel port:8000-8100",
    "direct cidr:10.0.0.0/8",
    "tunnel cidr:10.1.0.0/16",
    "direct cidr:2001:db8::/32",
    "direct suffix:cn suffix:example.cn",
    "tunnel suffix:cn keyword:deep port:443",
    "direct app:wechat",
    "tunnel app:telegram",
    "direct list:list.txt",
    "tunnel list:list.txt",
    "direct list:list.txt port:443",
]
#: Of these the file cannot know whether they hold, or holds for less than they do.
VAGUE = [
    "direct regex:^ex",
    "tunnel regex:ample[.]c",
    "tunnel regex:.",
    "direct geoip:cn",
    "tunnel geoip:us",
    "tunnel network:udp",
    "direct network:tcp",
    "direct suffix:example.cn network:tcp",
    "block suffix:example.com network:udp",
    "tunnel list:not.txt",
    "direct list:not.txt",
    "direct list:unlike.txt",
    "tunnel list:unlike.txt",
    "direct list:many.txt",
    "tunnel list:many.txt",
]
LABELS = st.sampled_from(["example", "deep", "ads", "com", "cn", "a", "__proto__", "constructor", "t", "qq", "10"])
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join) | st.sampled_from(
    [
        "example.cn.",
        "EXAMPLE.COM",
        "weixin.qq.com",
        "010.1.1.1",
        "10.1",
        "134744072",
        "0x08080808.",
        "1.2.3.4.",
        "10.1.2.3...",
        "list.example",
        "x.below.example",
        "-",
    ]
)
ADDRESSES = st.sampled_from(["10.0.0.1", "10.1.2.3", "8.8.8.8", "149.154.167.51", "1.2.4.8", "192.168.0.1", "0.0.0.0"])
#: What is an address in another spelling than usual, or may be.
ODD = re.compile(r"(?!(?:(?:0|[1-9][0-9]*)\.){3})(?:(?:0x[0-9a-f]+|[0-9]+)(?:\.|$)){1,4}")
HOSTS = st.tuples(NAMES | ADDRESSES, st.sampled_from([80, 443, 8000, 8080, 65535]))
LISTS: dict[str, Term] = {
    "list.txt": AnyOf(
        ["list.example", "example.com"], ["below.example", "deep.example.cn"], ["ads"], [network_of("8.8.8.0/24")]
    ),
    "not.txt": AllOf((Suffix("cn"), Not(Exact("example.cn")))),
    "unlike.txt": Not(pattern_of("^ex")),
    "many.txt": AnyOf([], ["com"], [], [network_of(f"10.{n // 256}.{n % 256}.0/24") for n in range(1500)]),
}


def read(file: ListFile) -> Term:
    return LISTS[file.path.name]


@pytest.mark.parametrize("host", ["134744072", "0x08080808", "8.526344.", "010.8.8.8"])
def test_an_address_in_another_spelling_goes_to_the_proxy(host: str, tmp_path: Path) -> None:
    with engine(text_of(rules_of(tmp_path, "tunnel cidr:8.0.0.0/8", default="direct"))) as find:
        assert find(url_of(host, 443), host) != "DIRECT"


@given(
    chosen=st.lists(st.sampled_from(RULES), max_size=6),
    mode=st.sampled_from(["all", "home-direct"]),
    default=st.sampled_from(["tunnel", "direct", "block"]),
    hosts=st.lists(HOSTS, min_size=1, max_size=12),
)
def test_the_same_as_the_rules(
    chosen: list[str], mode: str, default: str, hosts: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    ruleset = rules_of(folder, *chosen, mode=mode, default=default, read_list=read)
    with engine(text_of(ruleset)) as find:
        for host, port in hosts:
            direct = find(url_of(host, port), host) == "DIRECT"
            if mode == "all" or default != "direct":
                # A name of one label and the country of an address are of the modes, and not known to the file.
                vague = mode != "all" and ("." not in host.rstrip(".") or Address.make(host.rstrip("."), 1).ip)
                if not vague and not ODD.fullmatch(host.rstrip(".")):
                    assert direct == is_direct(ruleset, host, port), (host, port)
            assert not direct or is_direct(ruleset, host, port), (host, port)


@given(
    chosen=st.lists(st.sampled_from([*RULES, *VAGUE, *VAGUE]), max_size=6),
    mode=st.sampled_from(["all", "home-direct"]),
    default=st.sampled_from(["tunnel", "direct"]),
    hosts=st.lists(HOSTS, min_size=1, max_size=12),
)
def test_never_direct_where_the_rules_say_anything_else(
    chosen: list[str], mode: str, default: str, hosts: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    ruleset = rules_of(folder, *chosen, mode=mode, default=default, read_list=read)
    with engine(text_of(ruleset)) as find:
        for host, port in hosts:
            if find(url_of(host, port), host) == "DIRECT":
                assert is_direct(ruleset, host, port), (host, port)


@given(st.text(max_size=30), st.text(max_size=30))
def test_whatever_a_browser_asks(url: str, host: str) -> None:
    text = pac_text([(Suffix("cn"), Kind.DIRECT)], Kind.TUNNEL, PORT)
    script = f"{text}FindProxyForURL({json.dumps(url)},{json.dumps(host)})"
    assert dukpy.evaljs(script) in (PROXY, "DIRECT")


URLS = [
    ("http://a.cn", True),
    ("http://a.cn?x", True),
    ("HTTPS://A.CN/", True),
    ("wss://a.cn/", True),
    ("http://user:80@a.cn/", True),
    ("http://a.cn:8080/", False),
    ("http://a.cn:0/", False),
    ("http://a.cn:99999/", False),
    ("gopher://a.cn/", False),
    ("constructor://a.cn/", False),
    ("a.cn", False),
]


@pytest.mark.parametrize(("url", "direct"), URLS)
def test_ports_and_schemes(url: str, direct: bool, tmp_path: Path) -> None:
    ruleset = rules_of(tmp_path, "tunnel port:8080", "direct suffix:cn")
    with engine(text_of(ruleset)) as find:
        assert (find(url, "a.cn") == "DIRECT") == direct


def test_no_name_is_looked_up(tmp_path: Path) -> None:
    text = text_of(rules_of(tmp_path, *RULES, mode="home-direct", read_list=read))
    for name in ("dnsResolve", "isResolvable", "isInNet", "myIpAddress"):
        assert name not in text


def many_names(count: int, seed: int) -> list[str]:
    letters = random.Random(seed)
    alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
    return [f"{''.join(letters.choices(alphabet, k=12))}.{letters.choice(['com', 'net', 'io'])}" for _ in range(count)]


@pytest.mark.parametrize("route", ["direct", "tunnel"])
def test_a_list_for_which_there_is_no_room(route: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = many_names(20_000, 1)
    monkeypatch.setattr("proxy.pac.LONGEST", LONGEST // 10)
    ruleset = rules_of(tmp_path, f"{route} list:x.txt", mode="home-direct", read_list=lambda _: AnyOf([], list(names)))
    text = text_of(ruleset)
    assert len(text) <= LONGEST // 10
    with engine(text) as find:
        assert find("http://www.example.cn/", "www.example.cn") == "DIRECT"
        assert find("http://www.example.com/", "www.example.com") == PROXY
        direct = sum(find(f"http://{name}/", name) == "DIRECT" for name in names[:1000])
    assert direct == 0 if route == "tunnel" else 300 < direct < 1000  # what has no room goes to the proxy, which knows
    if route == "tunnel":
        assert len(text) < 20_000  # nothing after the list could send these directly


def test_a_large_list_to_the_tunnel_of_which_each_name_matters(tmp_path: Path) -> None:
    names = many_names(10_000, 2)
    ruleset = rules_of(
        tmp_path,
        "tunnel list:x.txt",
        "direct suffix:com",
        "direct suffix:cn",
        read_list=lambda _: AnyOf([], list(names)),
    )
    com = [name for name in names if name.endswith(".com")][:100]
    with engine(text_of(ruleset)) as find:
        assert {find(f"http://{name}/", name) for name in com} == {PROXY}


def test_names_that_nothing_could_send_directly_are_left_out(tmp_path: Path) -> None:
    text = text_of(
        rules_of(
            tmp_path,
            "tunnel suffix:far.example",
            "tunnel domain:in.example.cn",
            "tunnel suffix:cn.example",
            "direct suffix:cn",
        )
    )
    assert "in.example" in text
    assert "far" not in text


def test_a_tunnelled_name_above_a_direct_one_stays(tmp_path: Path) -> None:
    ruleset = rules_of(tmp_path, "tunnel suffix:example.cn", "direct suffix:a.example.cn")
    with engine(text_of(ruleset)) as find:
        assert find("http://a.example.cn/", "a.example.cn") == PROXY


@pytest.mark.parametrize("host", ["example.com", "other.com"])
def test_what_is_unlike_an_expression_is_not_certain(host: str, tmp_path: Path) -> None:
    for rules in (["direct list:unlike.txt"], ["tunnel list:unlike.txt", "direct suffix:com"]):
        ruleset = rules_of(tmp_path, *rules, read_list=read)
        with engine(text_of(ruleset)) as find:
            assert find(f"http://{host}/", host) == PROXY
