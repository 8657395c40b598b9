"""The exits of a file: found by what people call them, and changed so that the file stays one that can be used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from proxy import config
from proxy.address import Address
from proxy.config_file import with_settings
from proxy.errors import ConfigError
from proxy.exit_links import JoinedExits
from proxy.keys import UserKey
from proxy.share import Link

PATH = Path("/nowhere/config.toml")
HOME = Link("home.example.com", 443, UserKey.new(), b"\x01" * 32, name="first")
WORK = Link("192.0.2.7", 443, UserKey.new(), b"\x02" * 32, name="first", also=(Address("192.0.2.7", 8443),))
BARE = Link("home.example.com", 8443, UserKey.new(), b"\x03" * 32)


def text_of(*links: Link, rules: str = "", **values: object) -> str:
    first, *others = map(str, links)
    return with_settings(f"# mine\n{rules}", "local", {"exit": first, "exits": others, **values})


def joined(*links: Link, rules: str = "", **values: object) -> JoinedExits:
    return JoinedExits.read(text_of(*links, rules=rules, **values), PATH)


def exits_in(text: str) -> list[Link]:
    return list(JoinedExits.read(text, PATH).links)


THREE = joined(HOME, WORK, BARE)


@pytest.mark.parametrize(
    ("name", "link"),
    [
        ("192.0.2.7", WORK),
        ("192.0.2.7:8443", WORK),
        ("home.example.com:443", HOME),
        ("HOME.example.com:8443", BARE),
        ("1", HOME),
        ("3", BARE),
    ],
)
def test_an_exit_is_found(name: str, link: Link) -> None:
    assert THREE.find(name) == link


def test_a_name_goes_before_a_number() -> None:
    assert joined(HOME, replace(WORK, name="1")).find("1").pin == WORK.pin


@pytest.mark.parametrize("name", ["first", "home.example.com", "other", "0", "4", "", "-1", "²", "a b", "[::1"])
def test_names_of_no_exit_or_several(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        THREE.find(name)
    told = str(caught.value)
    assert "1: first (home.example.com:443), 2: first (192.0.2.7:443), 3: home.example.com:8443" in told
    assert not any(str(link).partition("@")[0] in told for link in THREE.links)
    assert ("several" in told) is (name in ("first", "home.example.com"))


def test_links_of_one_exit_are_one_exit() -> None:
    twin = replace(HOME, host="192.0.2.9")
    (link,) = joined(HOME, twin).links
    assert joined(HOME, twin).find("192.0.2.9") == link
    assert exits_in(joined(HOME, twin, WORK).without("2")) == [link]


def test_no_exit_at_all() -> None:
    with pytest.raises(ConfigError, match="ropeway join"):
        JoinedExits.read("", PATH).find("1")


def test_the_preferred_exit_is_the_only_one() -> None:
    for name, prefer in (("2", ["192.0.2.7"]), ("1", ["home.example.com:443"]), ("3", ["home.example.com:8443"])):
        text = THREE.preferring(name)
        assert text.startswith("# mine\n")
        local = config.check(text, PATH).local
        assert [each.link.pin for each in local.exits if each.preferred] == [THREE.find(name).pin]
        assert JoinedExits.read(text, PATH).prefer == tuple(prefer)
        assert [link for link in THREE.links if JoinedExits.read(text, PATH).is_preferred(link)] == [THREE.find(name)]


def test_an_exit_that_is_not_allowed_cannot_go_first() -> None:
    limited = joined(HOME, WORK, only=["home.example.com"])
    assert [limited.is_allowed(link) for link in limited.links] == [True, False]
    with pytest.raises(ConfigError, match=r"local\.only"):
        limited.preferring("2")


def test_what_is_said_of_an_exit_goes_with_it() -> None:
    text = joined(HOME, WORK, prefer=["192.0.2.7:8443", "home.example.com"], only=["home.example.com", "192.0.2.7"])
    after = JoinedExits.read(text.without("2"), PATH)
    assert (after.links, after.prefer, after.only) == ((HOME,), ("home.example.com",), ("home.example.com",))
    config.check(after.text, PATH)


def test_exits_may_all_be_removed() -> None:
    text = THREE.text
    for _ in THREE.links:
        text = JoinedExits.read(text, PATH).without("1")
    assert exits_in(text) == []
    text = joined(HOME, only=["home.example.com"], prefer=["home.example.com"]).without("1")
    assert exits_in(text) == []
    assert "exits" not in JoinedExits.read(f'[local]\nexit = "{HOME}"\n', PATH).without("1")


def test_an_exit_stays_where_others_would_be_used_that_are_not_allowed() -> None:
    with pytest.raises(ConfigError, match=r"local\.only"):
        joined(HOME, WORK, only=["192.0.2.7"]).without("2")


def test_an_exit_stays_that_a_rule_names() -> None:
    rules = '[rules]\nrules = ["exit:192.0.2.7 domain:example.com"]\n'
    with pytest.raises(ConfigError, match="rule 1"):
        joined(HOME, WORK, rules=rules).without("2")
    assert exits_in(joined(HOME, WORK, rules=rules).without("1")) == [WORK]


def test_an_exit_gets_another_name() -> None:
    text = THREE.renamed("2", "the office")
    assert exits_in(text) == [HOME, replace(WORK, name="the office"), BARE]
    assert JoinedExits.read(text, PATH).find("the office").key == WORK.key
    assert exits_in(joined(HOME, BARE).renamed("1", "first")) == [HOME, BARE]


@pytest.mark.parametrize(
    ("name", "word"), [("", "1 to 64"), ("a\nb", "1 to 64"), ("n" * 65, "1 to 64"), ("first", "another")]
)
def test_names_that_will_not_do(name: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        THREE.renamed("3", name)
