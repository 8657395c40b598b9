"""Addresses: what people write, what goes over the wire, and which of them an exit connects to."""

from __future__ import annotations

import dataclasses
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.address import Address, embedded_ipv4, encoded_size, is_public

NAME_CHARACTERS = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in "[]/?#@\\:%")
IPS = ["192.0.2.7", "0.0.0.0", "255.255.255.255", "2001:db8::1", "::", "::ffff:192.0.2.7"]


def is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


names = st.text(NAME_CHARACTERS, min_size=1, max_size=255).filter(lambda name: not is_ip(name))
addresses = st.builds(Address.make, names | st.ip_addresses().map(str), st.integers(1, 65535))


def is_refused(data: bytes) -> bool:
    try:
        Address.decode(data)
    except ValueError:
        return True
    return False


# ---- as people write them


@pytest.mark.parametrize(
    ("host", "canonical"),
    [
        ("example.com", "example.com"),
        ("EXAMPLE.Com.", "example.com."),
        ("under_score.example", "under_score.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("localhost", "localhost"),
        ("x" * 255, "x" * 255),
        ("192.0.2.7", "192.0.2.7"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("::", "::"),
    ],
)
def test_a_host_becomes_canonical(host: str, canonical: str) -> None:
    assert Address.make(host, 443) == Address(canonical, 443)


@pytest.mark.parametrize("host", ["127.1", "0x7f.0.0.1", "2130706433", "0177.0.0.1", "127.0.0.01", "1.2.3.4.5", "1"])
def test_other_spellings_of_ipv4_stay_names(host: str) -> None:
    """A resolver may read them as addresses; what it answers is judged then."""
    address = Address.make(host, 443)
    assert address.host == host
    assert address.ip is None
    assert address.encode()[0] == 3


@pytest.mark.parametrize(
    "host",
    [
        "",
        "[]",
        "[",
        "x" * 256,
        " ",
        "a b",
        "a\nb",
        "a\r\nb",
        "a\x00b",
        "a\x7fb",
        "bücher.example",
        "\uff11.example",
        "a\tb",
    ]
    + [f"a{char}b" for char in "[]/?#@\\:%"]
    + ["[example.com]", "[[::1]]", "::1]", "[::1", "1::2::3", "12345::", "::ffff:1.2.3.400", "user@example.com"],
)
def test_what_no_host_looks_like(host: str) -> None:
    with pytest.raises(ValueError, match="the host"):
        Address.make(host, 443)


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("", "the host is empty"),
        ("https://example.com", "no https:// before it"),
        ("example.com/path", "no path behind it"),
        ("example.com:443", "no port behind it"),
        ("a" * 256, "longer than 255"),
        ("a b", "characters that no host has"),
        ("[1::2::3", "characters that no host has"),
    ],
)
def test_what_was_typed_in_place_of_a_host(host: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Address.make(host, 443)


@pytest.mark.parametrize(
    "host", ["fe80::1%eth0", "::1%\r\nX: y", "[2001:db8::1%25lo]", "2001:db8::1%a]b", "::1%\x1b[2J"]
)
def test_an_address_with_a_zone_is_no_host(host: str) -> None:
    """A zone means something on one machine only, is lost on the wire, and may hold any character."""
    with pytest.raises(ValueError, match="the host"):
        Address.make(host, 443)


@pytest.mark.parametrize("port", [-1, 0, 65536, 10**9])
def test_ports_out_of_range(port: int) -> None:
    with pytest.raises(ValueError, match=f"port {port} is not between 1 and 65535"):
        Address.make("example.com", port)


@pytest.mark.parametrize("port", [1, 65535])
def test_ports_at_the_bounds(port: int) -> None:
    assert Address.make("example.com", port).port == port


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("example.com:443", Address("example.com", 443)),
        ("EXAMPLE.com:1", Address("example.com", 1)),
        ("example.com:00443", Address("example.com", 443)),
        ("192.0.2.7:65535", Address("192.0.2.7", 65535)),
        ("[2001:DB8::1]:80", Address("2001:db8::1", 80)),
        ("[::]:80", Address("::", 80)),
    ],
)
def test_parsed(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert Address.parse(text, 9) == address


@pytest.mark.parametrize("host", ["example.com", "192.0.2.7", "[2001:db8::1]"])
def test_parsed_with_a_default_port_where_there_is_one(host: str) -> None:
    assert Address.parse(host, 8080) == Address.make(host, 8080)
    with pytest.raises(ValueError, match="there is no port"):
        Address.parse(host)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no port"),
        (":", "not a number"),
        (":80", "the host"),
        ("[]:80", "the host"),
        ("example.com:", "not a number"),
        ("example.com:http", "not a number"),
        ("example.com:-1", "not a number"),
        ("example.com:+80", "not a number"),
        ("example.com: 80", "not a number"),
        ("example.com:8_0", "not a number"),
        ("example.com:\uff18\uff10", "not a number"),
        ("example.com:²", "not a number"),
        ("example.com:000080", "not a number"),
        ("example.com:" + "9" * 5000, "not a number"),  # int() of so many digits raises an error of its own
        ("example.com:0", "port 0"),
        ("example.com:65536", "port 65536"),
        ("2001:db8::1", "brackets"),
        ("2001:db8::1:443", "brackets"),
        ("::1", "brackets"),
        ("a:b:80", "brackets"),
        ("[::1]443", "brackets"),
        ("[::1]:443:80", "brackets"),
        ("[example.com]:80", "the host"),
        ("user@example.com:80", "the host"),
        ("http://example.com:80", "brackets"),
        ("example.com:80/", "not a number"),
    ],
)
def test_what_cannot_be_parsed_says_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Address.parse(text)


@pytest.mark.parametrize(("text", "why"), [("", "the host"), ("::1", "brackets"), ("a:", "not a number")])
def test_a_default_port_mends_nothing_else(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Address.parse(text, 443)


@given(addresses)
def test_parse_reads_what_str_writes(address: Address) -> None:
    assert Address.parse(str(address)) == address
    assert Address.make(address.host, address.port) == address


@given(st.text(max_size=60), st.none() | st.integers(1, 65535))
def test_any_text_is_an_address_or_a_value_error(text: str, default: int | None) -> None:
    try:
        address = Address.parse(text, default)
    except ValueError as exc:
        said = str(exc)
    else:
        said = str(address)
        assert Address.parse(said) == address
    assert said.isprintable()


def test_an_address_is_a_value() -> None:
    address = Address.make("example.com", 443)
    assert hash(address) == hash(Address("example.com", 443))
    assert address != Address("example.com", 80)
    with pytest.raises(dataclasses.FrozenInstanceError):
        address.port = 80  # type: ignore[misc]


@pytest.mark.parametrize("host", IPS)
def test_the_ip_of_a_literal(host: str) -> None:
    assert Address.make(host, 443).ip == ipaddress.ip_address(host)


def test_a_name_has_no_ip() -> None:
    assert Address.make("example.com", 443).ip is None


# ---- over the wire


@pytest.mark.parametrize(
    ("address", "wire"),
    [
        (Address("192.0.2.7", 443), b"\x01\xc0\x00\x02\x07\x01\xbb"),
        (Address("2001:db8::1", 80), b"\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01\x00\x50"),
        (Address("a.example", 65535), b"\x03\x09a.example\xff\xff"),
        (Address("x" * 255, 1), b"\x03\xff" + b"x" * 255 + b"\x00\x01"),
    ],
)
def test_encoded_byte_for_byte(address: Address, wire: bytes) -> None:
    assert address.encode() == wire
    assert Address.decode(wire) == address
    for size in range(len(wire)):
        assert is_refused(wire[:size]), size
        assert encoded_size(wire[:size]) in ((None,) if size < (2 if wire[0] == 3 else 1) else (len(wire),))
    assert encoded_size(wire + b"what follows") == len(wire)
    assert is_refused(wire + b"\x00")


@given(addresses)
def test_decode_reads_what_encode_writes(address: Address) -> None:
    wire = address.encode()
    assert Address.decode(wire) == address
    assert encoded_size(wire) == len(wire) <= 259


@given(st.binary(max_size=30) | st.binary(max_size=30).map(lambda tail: bytes([3, max(0, len(tail) - 2)]) + tail))
def test_any_bytes_are_an_address_or_a_value_error(data: bytes) -> None:
    if not is_refused(data):
        address = Address.decode(data)
        assert Address.decode(address.encode()) == address
        assert address.host.isascii()


@pytest.mark.parametrize("kind", [0, 2, 5, 127, 255])
def test_unknown_kinds(kind: int) -> None:
    for data in (bytes([kind]), bytes([kind]) + bytes(30)):
        with pytest.raises(ValueError, match=f"kind {kind} is unknown"):
            encoded_size(data)
        with pytest.raises(ValueError, match=f"kind {kind} is unknown"):
            Address.decode(data)


@pytest.mark.parametrize(
    "wire",
    [
        b"\x03\x00\x01\xbb",  # no name
        b"\x03\x01a\x00\x00",  # no port
        b"\x01\xc0\x00\x02\x07\x00\x00",
        b"\x03\x03a\x00b\x01\xbb",
        b"\x03\x03a\nb\x01\xbb",
        b"\x03\x03a/b\x01\xbb",
        b"\x03\x03a:b\x01\xbb",
        b"\x03\x02\xc3\xbc\x01\xbb",
        b"\x03\x01\xff\x01\xbb",
    ],
)
def test_malformed_in_the_right_length(wire: bytes) -> None:
    assert encoded_size(wire) == len(wire)
    assert is_refused(wire)


@pytest.mark.parametrize("name", ["192.0.2.7", "2001:db8::1", "[2001:db8::1]"])
def test_a_name_that_is_a_literal_is_an_address(name: str) -> None:
    wire = bytes([3, len(name)]) + name.encode() + b"\x01\xbb"
    address = Address.decode(wire)
    assert address.ip == ipaddress.ip_address(name.strip("[]"))
    assert address.encode()[0] in (1, 4)


def test_a_name_is_lower_case_after_the_wire_too() -> None:
    assert Address.decode(b"\x03\x03AbC\x01\xbb") == Address("abc", 443)


# ---- what an exit connects to

# The registries of special-purpose addresses of IANA (RFC 6890), multicast, and what never was given out: first and last address of each.
NOT_PUBLIC_4 = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/29",
    "192.0.0.170/31",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "255.255.255.255/32",
]
NOT_PUBLIC_6 = [
    "::/128",
    "::1/128",
    "::/96",  # IPv4-compatible
    "::ffff:0:0:0/96",  # RFC 2765, IPv4-translated
    "64:ff9b:1::/48",
    "100::/64",
    "100:0:0:1::/64",
    "2001::/32",  # Teredo
    "2001:2::/48",
    "2001:10::/28",
    "2001:db8::/32",
    "4000::/3",
    "5f00::/16",
    "8000::/2",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
]
PUBLIC_4 = ["1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0"]
PUBLIC_4 += ["169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.0.3.0"]
PUBLIC_4 += [
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",
]
PUBLIC_6 = ["2001:200::1", "2001:4860:4860::8888", "2400::", "2606:4700::1111", "2a00::1", "2c0f::1"]
not_public_4 = [str(ip) for net in map(ipaddress.IPv4Network, NOT_PUBLIC_4) for ip in (net[0], net[-1])]
not_public_6 = [str(ip) for net in map(ipaddress.IPv6Network, NOT_PUBLIC_6) for ip in (net[0], net[-1])]


def embedded(text: str) -> dict[str, ipaddress.IPv6Address]:
    """Every form in which an IPv6 address leads to an IPv4 address."""
    ip = int(ipaddress.IPv4Address(text))
    prefix = {"mapped": "::ffff:0:0", "NAT64": "64:ff9b::"}
    forms = {name: ipaddress.IPv6Address(int(ipaddress.IPv6Address(start)) | ip) for name, start in prefix.items()}
    sixtofour = int(ipaddress.IPv6Address("2002::")) | ip << 80
    return forms | {"6to4": ipaddress.IPv6Address(sixtofour), "6to4 host": ipaddress.IPv6Address(sixtofour | 0x1234)}


@pytest.mark.parametrize("text", PUBLIC_4 + PUBLIC_6)
def test_public(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", not_public_4 + not_public_6)
def test_not_public(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", PUBLIC_4)
def test_public_in_every_form_that_embeds_it(text: str) -> None:
    for form, ip in embedded(text).items():
        assert is_public(ip), form


@pytest.mark.parametrize("text", not_public_4)
def test_not_public_in_any_form_that_embeds_it(text: str) -> None:
    for form, ip in embedded(text).items():
        assert not is_public(ip), form


@pytest.mark.parametrize("text", PUBLIC_4[:3])
@pytest.mark.parametrize("prefix", ["::", "::ffff:0:0:0", "64:ff9b:1::", "2001::"])
def test_forms_that_lead_nowhere_are_not_public_whatever_they_embed(prefix: str, text: str) -> None:
    number = int(ipaddress.IPv6Address(prefix)) | int(ipaddress.IPv4Address(text))
    assert not is_public(ipaddress.IPv6Address(number))


@given(st.ip_addresses(v=4))
def test_a_form_is_as_public_as_what_it_embeds(ip: ipaddress.IPv4Address) -> None:
    assert {is_public(form) for form in embedded(str(ip)).values()} == {is_public(ip)}


@given(st.ip_addresses())
def test_nothing_is_public_that_is_private(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """Against the categories of the standard library, which know nothing of embedded forms."""
    if is_public(ip) and not (isinstance(ip, ipaddress.IPv6Address) and (ip.ipv4_mapped or ip.sixtofour)):
        assert not any([ip.is_private, ip.is_loopback, ip.is_link_local, ip.is_multicast, ip.is_unspecified])


@pytest.mark.parametrize("text", ["192.0.0.8", "192.0.0.11", "192.0.0.169", "192.0.0.255", "3fff::1", "3fff:fff::1"])
def test_not_public_whatever_the_version_of_python(text: str) -> None:
    """RFC 6890, IETF protocol assignments, and RFC 9637, documentation."""
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    ("text", "inner"),
    [
        ("192.0.2.1", None),
        ("2001:db8::1", None),
        ("::192.0.2.1", None),  # deprecated, and leads nowhere
        ("64:ff9b:1::192.0.2.1", None),  # of a network's own, with a prefix that only it knows
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("64:ff9b::192.0.2.1", "192.0.2.1"),
        ("64:ff9b::192.0.2.1%3", "192.0.2.1"),
        ("2002:c000:201:5::1", "192.0.2.1"),
        ("2002::1", "0.0.0.0"),
    ],
)
def test_an_ipv4_address_inside_another(text: str, inner: str | None) -> None:
    found = embedded_ipv4(ipaddress.ip_address(text))
    assert found == (None if inner is None else ipaddress.ip_address(inner))
