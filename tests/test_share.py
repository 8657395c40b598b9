"""Links: what is written is read again, and every kind of damage gets one clear line without the secret."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.address import Address
from proxy.errors import ConfigError
from proxy.keys import UserKey
from proxy.share import MAX_ALSO, Link

KEY = UserKey(bytes(range(8)), bytes(range(100, 132)))
KEY_TEXT = "AAECAwQFBgdkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ent8fX5_gIGCgw"
PIN = b"\xff" * 32
PIN_TEXT = "_" * 42 + "8"
PLAIN = f"ropeway://{KEY_TEXT}@exit.example.com:443?pin={PIN_TEXT}"
FULL = (
    f"ropeway://{KEY_TEXT}@[2001:db8::1]:8443?sni=www.example.com&roots=1"
    f"&also=[2001:db8::2]:443&also=www.example.com:8443&pin={PIN_TEXT}#J%C3%BCrg%27s%20exit"
)
ALSO = (Address("2001:db8::2", 443), Address("www.example.com", 8443))

LETTERS = "abcxyz0189"
names = st.lists(st.text(LETTERS, min_size=1, max_size=20), min_size=2, max_size=4).map(
    lambda parts: ".".join([*parts, "example"])
)
labels = st.text(st.sampled_from("aZ é漢#?&%+/@ 😀'"), max_size=64).map(str.strip)
links = st.builds(
    Link,
    host=names | st.ip_addresses().map(str),
    port=st.integers(1, 65535),
    key=st.builds(UserKey, st.binary(min_size=8, max_size=8), st.binary(min_size=32, max_size=32)),
    pin=st.binary(min_size=32, max_size=32),
    server_name=st.just("") | names,
    roots=st.booleans(),
    name=labels,
    also=st.lists(st.builds(Address, names | st.ip_addresses().map(str), st.integers(1, 65535)), max_size=MAX_ALSO).map(
        tuple
    ),
)


def test_a_plain_link() -> None:
    link = Link("exit.example.com", 443, KEY, PIN)
    assert str(link) == PLAIN
    assert Link.parse(PLAIN) == link
    assert str(link.address) == "exit.example.com:443"


def test_a_link_with_everything() -> None:
    link = Link("2001:db8::1", 8443, KEY, PIN, "www.example.com", roots=True, name="Jürg's exit", also=ALSO)
    assert str(link) == FULL
    assert Link.parse(FULL) == link
    assert link.addresses == (Address("2001:db8::1", 8443), *ALSO)


def test_an_address_that_stands_twice_is_one_way() -> None:
    link = Link.parse(FULL.replace("&pin", "&also=[2001:DB8::1]:8443&also=[2001:db8::2]:443&pin"))
    assert link.addresses == (Address("2001:db8::1", 8443), *ALSO)


def test_the_longest_names_fit_into_a_link() -> None:
    name = ".".join(["a" * 61] * 4) + ".example"[:5]
    link = Link(name, 65535, KEY, PIN, name, name="😀" * 64, also=(Address(name, 65535),) * MAX_ALSO)
    assert Link.parse(str(link)) == link


@given(links)
def test_what_is_written_is_read_again(link: Link) -> None:
    text = str(link)
    assert text.isascii()
    assert not set(text) & set(" \"'<>\\^`{|}")
    assert Link.parse(text) == link


@pytest.mark.parametrize("full", [PLAIN, FULL])
def test_a_link_cut_short_anywhere(full: str) -> None:
    """Only the label may be cut without being noticed: everything that matters stands before the end of the pin."""
    body = full.partition("#")[0]
    for size in range(len(body)):
        with pytest.raises(ConfigError, match=r"^link: "):
            Link.parse(body[:size])


@given(st.data())
def test_damage_is_told_in_one_line(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([PLAIN, FULL]))
    at = data.draw(st.integers(0, len(text) - 1))
    damaged = text[:at] + data.draw(st.text(max_size=3)) + text[at + data.draw(st.integers(0, 3)) :]
    complaint = complaint_about(damaged)
    if complaint is not None:
        assert complaint.startswith("link: ")
        assert complaint.isprintable()
        assert KEY_TEXT[20:] not in complaint


def complaint_about(text: str) -> str | None:
    try:
        Link.parse(text)
    except ConfigError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "ropeway://"),
        ("https://example.com/", "ropeway://"),
        ("ropeway:" + PLAIN[10:], "ropeway://"),
        ("x" + PLAIN, "ropeway://"),
        (PLAIN.replace("@", ""), "no @"),
        (PLAIN.replace("AAEC", ""), "key"),
        (PLAIN.replace("AAEC", "AA*C"), "key"),
        (PLAIN.replace("AAEC", "AAECAAEC"), "key"),
        (PLAIN.replace("exit.example.com", ""), "host"),
        (PLAIN.replace("exit.example.com", "exit example%"), "host"),
        (PLAIN.replace("exit.example.com", "2001:db8::1"), "brackets"),
        (PLAIN.replace(":443", ""), "port"),
        (PLAIN.replace(":443", ":0"), "port"),
        (PLAIN.replace(":443", ":65536"), "port"),
        (PLAIN.replace(":443", ":https"), "port"),
        (PLAIN.replace("pin=", "pan="), "pin"),
        (PLAIN.replace("pin=_", "pin="), "pin"),
        (PLAIN.replace("pin=_", "pin=__"), "pin"),
        (PLAIN + "&roots=yes", "roots"),
        (PLAIN + "&also=", "other address"),
        (PLAIN + "&also=a.example", "port"),
        (PLAIN + "&also=a.example:443" * 9, "at most 8"),
        (PLAIN + "&sni=192.0.2.1", "server name"),
        (PLAIN + "&sni=a%00b", "host"),
        (PLAIN + "#%1B%5B31m", "printed"),
        (PLAIN + "#" + "x" * 65, "64"),
        (PLAIN + "&x=" + "x" * 5000, "longer"),
    ],
)
def test_damage_is_named(text: str, word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Link.parse(text)
    assert str(caught.value).startswith("link: ")
    assert word in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        f"  {PLAIN}\n",
        f"{PLAIN[:40]}\n  {PLAIN[40:]}",
        PLAIN.replace("ropeway", "Ropeway"),
        PLAIN.replace("exit.example", "EXIT.Example"),
        PLAIN.replace("?", "/?"),
        PLAIN.replace("?", "?new=1&"),
        PLAIN + "&roots=0&sni=",
        PLAIN + "#",
    ],
)
def test_what_chat_apps_and_later_versions_do_to_links(text: str) -> None:
    assert Link.parse(text) == Link.parse(PLAIN)


def test_the_secret_is_not_in_the_repr() -> None:
    assert repr(KEY.secret)[2:20] not in repr(Link.parse(PLAIN))


@pytest.mark.parametrize(
    ("host", "server_name", "sni"),
    [
        ("exit.example.com", "", "exit.example.com"),
        ("exit.example.com", "www.example.com", "www.example.com"),
        ("192.0.2.1", "", ""),
        ("2001:db8::1", "www.example.com", "www.example.com"),
    ],
)
def test_an_address_is_no_server_name(host: str, server_name: str, sni: str) -> None:
    assert Link(host, 443, KEY, PIN, server_name).sni == sni


@pytest.mark.parametrize(
    ("host", "port", "pin", "server_name"),
    [
        ("Exit.example.com", 443, PIN, ""),
        ("", 443, PIN, ""),
        ("exit.example.com", 0, PIN, ""),
        ("exit.example.com", 443, PIN[1:], ""),
        ("exit.example.com", 443, PIN, "::1"),
        ("exit.example.com", 443, PIN, "WWW"),
    ],
)
def test_no_link_holds_what_could_not_be_read_again(host: str, port: int, pin: bytes, server_name: str) -> None:
    with pytest.raises(ValueError, match=r"host|port|pin|server name"):
        Link(host, port, KEY, pin, server_name)


@pytest.mark.parametrize(
    ("also", "word"),
    [
        ((Address("A.example", 443),), "canonical"),
        ((Address("a.example", 0),), "port"),
        ((Address("a.example", 443),) * 9, "at most 8"),
        ((Address("*" * 255, 443),) * 8, "longer than 4096"),  # each character takes three
    ],
)
def test_no_link_holds_an_address_that_could_not_be_read_again(also: tuple[Address, ...], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Link("exit.example.com", 443, KEY, PIN, also=also)
