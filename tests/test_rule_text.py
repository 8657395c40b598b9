"""Lists of lines, and gfwlist."""

from __future__ import annotations

import base64
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ConfigError
from proxy.rule_entries import Entries
from proxy.rule_terms import Network, Query
from proxy.rule_text import AUTOPROXY_BASE64, _wildcard, decoded, read_autoproxy, read_lines
from tests.lists import PATH, hits, read

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.rule_terms import Term

PLACES = ["example.com", "www.example.com", "notexample.com", "example.org", "192.0.2.1", "[2001:db8::1]", "localhost"]
FILES = {
    "ads": "ads.example @ads\n",
    "more": "include:ads\nmore.example\nx.more.example @cn\n",
    "round": "round.example\ninclude:round\n",
    "broken": "\n-\n",
}


def include(path: Path) -> str:
    return FILES[path.name]


def lines(text: str, tag: str = "") -> Term:
    entries = Entries(PATH, tag)
    read_lines(text, entries, include)
    return entries.term()


@pytest.mark.parametrize(
    ("line", "places"),
    [
        ("example.com", ["example.com", "www.example.com"]),
        ("  Example.COM.  # a comment", ["example.com", "www.example.com"]),
        (".example.com", ["example.com", "www.example.com"]),
        ("+.example.com", ["example.com", "www.example.com"]),
        ("*.example.com", ["example.com", "www.example.com"]),
        ("www.example.com\r", ["www.example.com"]),
        ("org", ["example.org"]),
        ("192.0.2.0/24", ["192.0.2.1"]),
        ("192.0.2.1", ["192.0.2.1"]),
        ("::ffff:192.0.2.0/120", ["192.0.2.1"]),
        ("2001:db8::/32 # documentation", ["[2001:db8::1]"]),
        ("0.0.0.0 example.com localhost example.org", ["example.com", "example.org"]),
        ("::1 www.example.com", ["www.example.com"]),
        ("full:example.com", ["example.com"]),
        ("domain:example.com @ads &list", ["example.com", "www.example.com"]),
        ("keyword:notex", ["notexample.com"]),
        (r"regexp:^not.*\.com$", ["notexample.com"]),
        ("DOMAIN-SUFFIX,www.example.com", ["www.example.com"]),
        ("IP-CIDR,192.0.2.0/24,no-resolve", ["192.0.2.1"]),
    ],
)
def test_a_line_holds_where_it_says(line: str, places: list[str]) -> None:
    assert hits(lines(f"\ufeff# first\n\n{line}\n".removeprefix("\ufeff")), *PLACES) == places


def test_names_of_others_scripts() -> None:
    assert hits(lines("中国\nbücher.example"), "a.xn--fiqs8s", "xn--bcher-kva.example") == [
        "a.xn--fiqs8s", "xn--bcher-kva.example",
    ]  # fmt: skip


@pytest.mark.parametrize("mark", ["#", "//", "!", ";"])
def test_comments(mark: str) -> None:
    assert len(lines(f"{mark} example.com\nexample.org\n")) == 1  # type: ignore[arg-type]


def test_lists_that_include_others() -> None:
    places = ["ads.example", "more.example", "x.more.example"]
    assert hits(lines("include:more\n"), *places) == places
    assert hits(lines("include:more @ads\n"), *places) == ["ads.example"]
    assert hits(lines("include:more @-ads\n"), *places) == ["more.example", "x.more.example"]
    assert hits(lines("include:more\nother.example\n", "@ads"), *places, "other.example") == ["ads.example"]
    assert hits(lines("include:more @-cn @-ads\n"), *places) == ["more.example", "x.more.example"]


def test_what_is_included_many_times_is_read_once_for_each_wish() -> None:
    """Otherwise the lists would be read 1000 times as often on each level."""
    texts = {f"level{number}": f"include:level{number + 1}\n" * 1000 for number in range(6)}
    texts["level6"] = "a.example @cn\nb.example\n"
    asked = []

    def include(path: Path) -> str:
        asked.append(path.name)
        return texts[path.name]

    entries = Entries(PATH)
    read_lines("include:level0 @cn\ninclude:level0\n", entries, include)
    assert sorted(asked) == sorted([*texts] * 2)
    assert hits(entries.term(), "a.example", "b.example") == ["a.example", "b.example"]


def test_what_is_included_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.rule_text._MOST_INCLUDED", 2)
    with pytest.raises(ConfigError, match="line 3: more than 2 lists are included"):
        lines("include:ads\ninclude:ads @x\ninclude:ads @y\n")


@pytest.mark.parametrize(
    ("text", "place", "complaint"),
    [
        ("a.example\n-bad-\n", f"{PATH}, line 2", "'-bad-' is no name"),
        ("10.0.0.0/33", f"{PATH}, line 1", "'10.0.0.0/33' is no network"),
        ("2001:db8:::/32", f"{PATH}, line 1", "'2001:db8:::/32' is no network"),
        ("a b", f"{PATH}, line 1", "'a b' is neither a name nor a network nor a line of a hosts file"),
        ("http://a.example/", f"{PATH}, line 1", "is no network"),
        ("||a.example^", f"{PATH}, line 1", "is no name"),
        ("regexp:(", f"{PATH}, line 1", "the regular expression '(' cannot be used"),
        ("full:", f"{PATH}, line 1", "'' is no name"),
        ("include:../secret", f"{PATH}, line 1", "include:../secret does not name a list beside this one"),
        ("include:broken", f"{PATH.with_name('broken')}, line 2", "'-' is no name"),
        ("include:round", f"{PATH.with_name('round')}, line 2", "lists include one another more than 8 deep"),
        ("DST-PORT,x", f"{PATH}, line 1", "'x' is no port"),
        ("0.0.0.0 -x.y", f"{PATH}, line 1", "'-x.y' is no name"),
        ("# nothing\n", f"{PATH}", "there is no entry in it"),
    ],
)
def test_a_line_that_is_wrong(text: str, place: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        lines(text)
    assert str(caught.value).startswith(f"{place}: {complaint}"[: len(place) + 1])
    assert complaint in str(caught.value)


def test_a_list_of_lines_has_attributes_and_no_entries() -> None:
    with pytest.raises(ConfigError, match="a list of this kind has no entry 'cn'"):
        lines("a.example", "cn")


def test_a_list_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.rule_entries.MOST_ENTRIES", 3000)
    for kind in ("a{}.example", "10.{}.0.0/8"):
        with pytest.raises(ConfigError, match="line 3072: the list has more than 3,000 entries"):
            lines("\n".join(kind.format(number % 256) for number in range(10_000)))


@given(
    st.text(max_size=40), st.sampled_from(["", "full:", "regexp:", "keyword:", "AND,((", "0.0.0.0 ", "include:a", "."])
)
def test_whatever_a_line_is_it_is_read_or_refused(text: str, start: str) -> None:
    try:
        lines(f"a.example\n{start}{text}")
    except ConfigError as error:
        assert str(error).startswith(str(PATH))  # noqa: PT017
    except KeyError:
        pass


# ---- gfwlist

GFWLIST = r"""[AutoProxy 0.2.9]
! a comment
||example.com
@@||direct.example.com
|https://exact.example/path
|http://192.0.2.7/
|https://cdn*.example.net
.dotted.example
plain.example/path?x=1
falun
/^https?:\/\/[^\/]+blogspot\.(.*)/
/^https?:\/\/([^\/]+\.)*search\.(a|b)\/.*/
@@/^https?:\/\/news\.blogspot\.example/
||s3-ap-*.amazonaws.com
||typing]error.example
/path/only
@@|http://plain.example:8080
"""


@pytest.mark.parametrize(
    ("place", "listed"),
    [
        ("example.com", True),
        ("www.example.com", True),
        ("direct.example.com", False),
        ("a.direct.example.com", False),
        ("exact.example", True),
        ("www.exact.example", False),
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("cdn12.example.net", True),
        ("x.cdn12.example.net", False),
        ("cdn.example.net.example", False),
        ("dotted.example", True),
        ("www.dotted.example", True),
        ("www.plain.example", True),
        ("plain.example", False),
        ("falungong.example", True),
        ("my.blogspot.example", True),
        ("news.blogspot.example", False),
        ("www.search.a", True),
        ("www.search.c", False),
        ("s3-ap-east-1.amazonaws.com", True),
        ("x.s3-ap-east-1.amazonaws.com", True),
        ("s3.amazonaws.com", False),
        ("typing]error.example", False),
        ("path", False),
    ],
)
def test_gfwlist(place: str, listed: bool) -> None:
    assert hits(read(read_autoproxy, GFWLIST), place.replace("]", "-")) == ([place] if listed else [])


@pytest.mark.parametrize(
    ("rule", "places"),
    [
        (r"/one|https?:\/\/other/", ["one.example", "x.one.example", "other.example", "one.other.example"]),
        (r"/^(https?:\/\/other)?.*one/", ["one.example", "x.one.example", "one.other.example"]),
        (r"/^https?:\/\/(www\.)?other/", ["other.example", "www.other.example"]),
        ("||o*e.example", ["one.example", "x.one.example"]),
        ("|https://*.o*r.ex*e", ["www.other.example", "one.other.example"]),
        ("|https://www.other.*", ["www.other.example"]),
        ("||e*e*e", []),
    ],
)
def test_patterns_of_a_gfwlist(rule: str, places: list[str]) -> None:
    there = ["one.example", "x.one.example", "other.example", "www.other.example", "one.other.example"]
    assert hits(read(read_autoproxy, f"||none.example.net\n{rule}"), *there) == places


@given(st.from_regex(r"\A[ab][ab.]{0,3}(\*[ab.]{0,2}){1,4}\Z"), st.text("ab.", min_size=1, max_size=10))
def test_a_star_stands_for_anything(pattern: str, name: str) -> None:
    expected = fnmatchcase(name, pattern)
    assert _wildcard(pattern, exact=True).holds(Query(name, None, 443, Network.TCP)) is expected


def test_many_stars_take_no_longer_than_few() -> None:
    """Where the time is a power of the name's length this does not come to its end."""
    term = _wildcard("a*" * 20 + "b.example", exact=False)
    assert not term.holds(Query("a" * 240 + "b.examples", None, 443, Network.TCP))
    assert term.holds(Query("a" * 240 + "b.example", None, 443, Network.TCP))


def test_what_is_left_out_of_a_gfwlist_is_counted() -> None:
    entries = Entries(PATH)
    read_autoproxy(GFWLIST, entries)
    assert entries.left_out == {"lines that are no names": 1, "parts of addresses": 1}


def test_a_gfwlist_comes_in_base64() -> None:
    data = base64.encodebytes(GFWLIST.encode())
    assert data.startswith(AUTOPROXY_BASE64)
    assert decoded(data, Entries(PATH)) == GFWLIST


@pytest.mark.parametrize("data", [b"W0F1dG9Qcm94e", b"W0F1dG9Qcm94e-", base64.b64encode(b"[AutoProxy]\xff\xfe")])
def test_a_gfwlist_in_broken_base64(data: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        decoded(data, Entries(PATH))
    assert str(caught.value).startswith(f"{PATH}: it begins as a gfwlist and is no base64: ")


@pytest.mark.parametrize(
    ("text", "tag", "complaint"),
    [
        ("||a.example\n/(/\n", "", f"{PATH}, line 2: the regular expression '(' cannot be used"),
        ("||a.example\n@@/[/\n", "", f"{PATH}, line 2: the regular expression '[' cannot be used"),
        ("! nothing\n", "", f"{PATH}: there is no entry in it"),
        (GFWLIST, "cn", f"{PATH}: a list of this kind has no entry 'cn'"),
    ],
)
def test_a_gfwlist_that_is_wrong(text: str, tag: str, complaint: str) -> None:
    entries = Entries(PATH, tag)

    def read_all() -> Term:
        read_autoproxy(text, entries)
        return entries.term()

    with pytest.raises(ConfigError) as caught:
        read_all()
    assert str(caught.value).startswith(complaint)


@given(st.lists(st.text(max_size=20) | st.sampled_from(GFWLIST.split("\n")), max_size=6))
def test_whatever_a_gfwlist_has_it_is_read_or_refused(rules: list[str]) -> None:
    try:
        read(read_autoproxy, "\n".join(rules))
    except ConfigError as error:
        assert str(error).startswith(str(PATH))  # noqa: PT017
