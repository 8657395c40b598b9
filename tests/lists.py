"""Lists for tests: what a reader makes of a text, and files in the binary formats, written from their descriptions."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.address import Address
from proxy.rule_entries import Entries
from proxy.rule_index import Index
from proxy.rule_terms import Network, Query

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from proxy.rule_terms import Term

PATH = Path("/lists/some")


def query(where: str, network: Network = Network.TCP) -> Query:
    return Query.of(Address.parse(where, default_port=443), network)


def hits(term: Term, *places: str, network: Network = Network.TCP) -> list[str]:
    """Those of the places for which the list holds, by the index and by asking each entry."""
    index = Index()
    index.add(0, term)
    found = [place for place in places if index.first(query(place, network)) is not None]
    assert found == [place for place in places if term.holds(query(place, network))]
    return found


def read(reader: Callable[[str, Entries], None], text: str) -> Term:
    entries = Entries(PATH)
    reader(text, entries)
    return entries.term()


# ---- protobuf


def varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def message(*fields: tuple[int, int | bytes | str]) -> bytes:
    parts = b""
    for number, value in fields:
        if isinstance(value, int):
            parts += varint(number << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            parts += varint(number << 3 | 2) + varint(len(data)) + data
    return parts


def geosite(entries: Mapping[str, Sequence[tuple[int, str, Sequence[str]]]]) -> bytes:
    """By tag: kind, value and attributes of each name."""
    records = []
    for tag, names in entries.items():
        domains = [
            message(
                *([(1, kind)] if kind else []), (2, value), *((3, message((1, each), (2, 1))) for each in attributes)
            )
            for kind, value, attributes in names
        ]
        records.append(message((1, tag), *((2, domain) for domain in domains)))
    return message(*((1, record) for record in records))


def geoip(entries: Mapping[str, Sequence[str]], *, reverse: bool = False) -> bytes:
    """By tag: networks."""
    records = []
    for tag, texts in entries.items():
        networks = [ipaddress.ip_network(text) for text in texts]
        items = [message((1, each.network_address.packed), (2, each.prefixlen)) for each in networks]
        records.append(message((1, tag), *((2, item) for item in items), *([(3, 1)] if reverse else [])))
    return message(*((1, record) for record in records))


# ---- mmdb (MaxMind DB File Format Specification 2.0)


def mmdb(countries: Mapping[str, str], *, version: int = 6) -> bytes:
    """Countries by network, in records of 32 bits. In a database of IPv6, IPv4 stands in ::/96."""
    data, offsets = b"", {}
    for code in dict.fromkeys(countries.values()):
        offsets[code] = len(data)
        data += _packed({"country": {"iso_code": code}})
    nodes: list[list[int | str | None]] = [[None, None]]
    for text, code in countries.items():
        _insert(nodes, ipaddress.ip_network(text), code, version)
    count = len(nodes)
    tree = b"".join(
        (value if isinstance(value, int) else count if value is None else count + 16 + offsets[value]).to_bytes(
            4, "big"
        )
        for node in nodes
        for value in node
    )
    metadata = {
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": 1,
        "database_type": "Test-Country",
        "description": {"en": "test"},
        "ip_version": version,
        "languages": ["en"],
        "node_count": count,
        "record_size": 32,
    }
    return tree + bytes(16) + data + b"\xab\xcd\xefMaxMind.com" + _packed(metadata)


def _insert(
    nodes: list[list[int | str | None]], network: ipaddress.IPv4Network | ipaddress.IPv6Network, code: str, version: int
) -> None:
    above = 96 if network.version == 4 and version == 6 else 0
    bits = "0" * above + f"{int(network.network_address):0{network.max_prefixlen}b}"[: network.prefixlen]
    node = 0
    for bit in bits[:-1]:
        following = nodes[node][int(bit)]
        if not isinstance(following, int):
            nodes.append([following, following])
            following = nodes[node][int(bit)] = len(nodes) - 1
        node = following
    nodes[node][int(bits[-1])] = code


def _packed(value: object) -> bytes:
    if isinstance(value, str):
        return _control(2, len(value.encode())) + value.encode()
    if isinstance(value, int):
        size = (value.bit_length() + 7) // 8
        return _control(6, size) + value.to_bytes(size, "big")
    if isinstance(value, list):
        return _control(11, len(value)) + b"".join(map(_packed, value))
    assert isinstance(value, dict)
    return _control(7, len(value)) + b"".join(_packed(key) + _packed(each) for key, each in value.items())


def _control(kind: int, size: int) -> bytes:
    assert size < 29 + 256
    extra, size = (bytes([size - 29]), 29) if size >= 29 else (b"", size)
    return (bytes([kind << 5 | size]) if kind < 8 else bytes([size, kind - 7])) + extra
