"""Lines and providers of Clash."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ConfigError
from proxy.rule_clash import add_line, is_line, is_provider, read_provider, wildcard_of
from proxy.rule_entries import Entries
from proxy.rule_terms import Network
from tests.lists import PATH, hits, read

PLACES = [
    "example.com", "www.example.com", "a.www.example.com", "notexample.com", "192.0.2.1", "192.0.2.1:53", "[2001:db8::1]",
]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "places"),
    [
        ("DOMAIN,Example.com", ["example.com"]),
        ("domain-suffix , .example.com", ["example.com", "www.example.com", "a.www.example.com"]),
        ("HOST-SUFFIX,www.example.com", ["www.example.com", "a.www.example.com"]),
        ("DOMAIN-KEYWORD,notex", ["notexample.com"]),
        ("DOMAIN-REGEX,^[a-z]{1,3}\\.example", ["www.example.com"]),
        ("DOMAIN-WILDCARD,*.Example.com", ["www.example.com", "a.www.example.com"]),
        ("DOMAIN-WILDCARD,?ww.*.c?m", ["www.example.com"]),
        ("HOST-WILDCARD,*example.com", ["example.com", "www.example.com", "a.www.example.com", "notexample.com"]),
        ("IP-CIDR,192.0.2.0/24,no-resolve", ["192.0.2.1", "192.0.2.1:53"]),
        ("IP-CIDR6,2001:db8::/32", ["[2001:db8::1]"]),
        ("DST-PORT,50-60/1", ["192.0.2.1:53"]),
        ("DST-PORT,53", ["192.0.2.1:53"]),
        ("NETWORK,TCP", PLACES),
        ("NETWORK,udp", []),
        ("AND,((DOMAIN-SUFFIX,example.com),(NOT,((DOMAIN,example.com))))", ["www.example.com", "a.www.example.com"]),
        ("OR,((DOMAIN,example.com),(IP-CIDR,192.0.2.0/24),(GEOIP,ZZ))", ["example.com", "192.0.2.1", "192.0.2.1:53"]),
        ("AND,((DST-PORT,53), (IP-CIDR,192.0.2.0/24))", ["192.0.2.1:53"]),
    ],
)
def test_a_line_holds_where_it_says(line: str, places: list[str]) -> None:
    assert is_line(line)
    entries = Entries(PATH)
    add_line(line, entries)
    assert hits(entries.term(), *PLACES) == places


def test_a_line_may_ask_for_the_network() -> None:
    entries = Entries(PATH)
    add_line("AND,((NETWORK,UDP),(DST-PORT,443))", entries)
    assert hits(entries.term(), "a.example", network=Network.UDP) == ["a.example"]
    assert hits(entries.term(), "a.example", network=Network.TCP) == []


@pytest.mark.parametrize(
    "line", ["PROCESS-NAME,curl", "PROCESS-NAME-WILDCARD,c*", "user-agent,x*", "IP-CIDR,192.0.2.0/24,src", "SRC-PORT,1"]
)
def test_what_is_known_elsewhere_only_is_left_out(line: str) -> None:
    entries = Entries(PATH)
    add_line(line, entries)
    assert not entries.all
    assert entries.left_out.total() == 1


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("DOMAIN,", "'' is no name"),
        ("DOMAIN,a.example,Proxy", "says nothing of where it goes"),
        ("DOMAIN-WILDCARD,[a-z].example", "is no name with"),
        ("DOMAIN-WILDCARD,", "is no name with"),
        ("IP-CIDR,x", "'x' is no network"),
        ("DST-PORT,0", "'0' is no range of ports"),
        ("AND,((DOMAIN,a),(PROCESS-NAME,b))", "'PROCESS-NAME' is no kind of rule"),
        ("AND,(DOMAIN,a)", "has something between its brackets"),
        ("AND,DOMAIN", "is not written as"),
        ("AND,((DOMAIN,a)", "has brackets that do not match"),
        ("AND,((A)))", "has brackets that do not match"),
        ("AND,()", "AND has not as many conditions"),
        ("NOT,((DOMAIN,a),(DOMAIN,b))", "NOT has not as many"),
        ("NOT,((" * 9 + "DOMAIN,a" + "))" * 9, "more than 8 deep"),
        ("MATCH,x", "'MATCH' is no kind"),
    ],
)
def test_a_line_that_is_wrong(line: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        add_line(line, Entries(PATH))


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("example.com", ["example.com"]),
        ("+.example.com", ["example.com", "www.example.com", "a.www.example.com"]),
        (".example.com", ["www.example.com", "a.www.example.com"]),
        ("*.example.com", ["www.example.com"]),
        ("*.*.example.com", ["a.www.example.com"]),
        ("www.*.com", ["www.example.com"]),
        ("example.*", ["example.com"]),
        ("*.com", ["example.com", "notexample.com"]),
    ],
)
def test_wildcards(text: str, places: list[str]) -> None:
    entries = Entries(PATH)
    entries.add(wildcard_of(text))
    assert hits(entries.term(), *PLACES) == places


# ---- providers

PROVIDERS = """# NAME: some
---
payload:
  - '+.example.com'
  - "192.0.2.0/24"
  # what else there is
  - DOMAIN-KEYWORD,notex
  - PROCESS-NAME,curl
"""


def test_a_provider_of_all_behaviours() -> None:
    assert is_provider(PROVIDERS)
    expected = ["example.com", "www.example.com", "a.www.example.com", "notexample.com", "192.0.2.1", "192.0.2.1:53"]
    assert hits(read(read_provider, PROVIDERS), *PLACES) == expected
    assert hits(read(read_provider, "payload: [example.com, '.b']"), "example.com", "b", "a.b") == [
        "example.com",
        "a.b",
    ]


def test_what_a_provider_does_not_say_is_no_provider() -> None:
    assert not is_provider("example.com\npayload:\n")
    assert not is_provider("payloads.example.com\n")
    assert not is_provider("  payload:\n")
    assert not is_provider("# payload:\n")
    assert not is_provider("")


@pytest.mark.parametrize("above", ["\n", " \t\r\n", "# a comment\n\n", "  # a comment\n \n", "---\n\n"])
def test_however_much_stands_above_it_what_a_file_is_shows_at_once(above: str) -> None:
    """Where it takes a time that doubles with each line this does not come to its end."""
    assert is_provider(above * 1000 + "payload :\n")
    assert not is_provider(above * 1000 + "example.com\n")


def test_a_network_in_a_provider_may_be_one_address() -> None:
    assert hits(read(read_provider, "payload: ['192.0.2.1', '2001:db8::1']"), "192.0.2.1", "[2001:db8::1]") == [
        "192.0.2.1",
        "[2001:db8::1]",
    ]


@pytest.mark.parametrize(
    ("text", "place", "complaint"),
    [
        ("payload:\n  - a.example\n  - '-bad-'\n", ", line 3", "'-bad-' is no name"),
        ("payload:\n  - a.example\n  - 1.2.3.4/99\n", ", line 3", "'1.2.3.4/99' is no network"),
        ("payload:\n  - DST-PORT,http\n", ", line 2", "'http' is no port and no range of ports"),
        ("payload:\n  - a: b\n", ", line 2", "a rule provider has a list of texts below payload:, and nothing else"),
        ("payload:\n  - [a]\n", ", line 2", "a rule provider has a list of texts"),
        ("payload:\n  - &x a\n  - *x\n", ", line 3", "a rule provider has a list of texts"),
        ("payload:\n  - a\nother: 1\n", ", line 3", "a rule provider has a list of texts"),
        ("payload:\n  - a\n---\npayload: []\n", ", line 3", "a rule provider has a list of texts"),
        ("payload: text\n", ", line 1", "a rule provider has payload: and a list below it"),
        ("payload:\n  - 'a\n", ", line 3", "it is no YAML: "),
        ("payload:\n\t- a\n", ", line 2", "it is no YAML: "),
        ("payload: []\n", ": ", "there is no entry"),
        ("payload:\n", ", line", "a rule provider has"),
        ("", ", line 1", "a rule provider has"),
        ("payload:\n  - \x01\n", "", "it is no YAML: "),
    ],
)
def test_a_provider_that_is_wrong(text: str, place: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(read_provider, text)
    assert str(caught.value).startswith(f"{PATH}{place}")
    assert complaint in str(caught.value)


def test_a_provider_has_no_entries_to_choose_from() -> None:
    with pytest.raises(ConfigError, match=r"a list of this kind has no entry 'cn'; write list:PATH without #"):
        read_provider(PROVIDERS, Entries(PATH, "cn"))


@given(st.data())
def test_whatever_happens_to_a_provider_it_is_read_or_refused(data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(PROVIDERS)))
    text = PROVIDERS[:cut] + data.draw(st.text(max_size=5)) + PROVIDERS[data.draw(st.integers(cut, len(PROVIDERS))) :]
    try:
        read(read_provider, text)
    except ConfigError as error:
        assert str(error).startswith(str(PATH))  # noqa: PT017
