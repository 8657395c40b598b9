"""geosite.dat and geoip.dat of v2ray: lists of names and of networks by tag, in the wire format of protobuf.

Of the format three rules are needed (protobuf.dev, "Encoding"): a field is a number and a type; a varint has seven bits a byte; text, bytes
and messages have their length in front. The messages are those of `router/config.proto` (GeoSiteList, GeoIPList).
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, TypeAlias

from .rule_terms import AnyOf, Exact, Keyword, Suffix, Term, Within, keyword_of, name_of, network_of, pattern_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .rule_entries import Entries

#: A number, or what was length-delimited.
_Value: TypeAlias = int | bytes

_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}

_TYPES: dict[int, Callable[[str], Term]] = {
    0: lambda text: Keyword(keyword_of(text)),
    1: pattern_of,
    2: lambda text: Suffix(name_of(text)),
    3: lambda text: Exact(name_of(text)),
}


def _varint(data: bytes, start: int) -> tuple[int, int]:
    """The number, and where it ends. Raises ValueError."""
    number = 0
    for position in range(start, min(start + 10, len(data))):
        number |= (data[position] & 0x7F) << 7 * (position - start)
        if data[position] < 0x80:
            return number, position + 1
    raise ValueError(f"a number does not end (at byte {start})")


def fields(data: bytes) -> Iterator[tuple[int, _Value]]:
    """Of a message, each field's number and value. Raises ValueError."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, position = _varint(data, position)
            yield number, value
            continue
        if kind == _DELIMITED:
            size, position = _varint(data, position)
        elif kind in _FIXED:
            size = _FIXED[kind]
        else:
            raise ValueError(f"there is no field type {kind} (at byte {position})")
        if position + size > len(data):
            raise ValueError(f"it ends in the middle of a field (at byte {position})")
        yield number, data[position : position + size]
        position += size


def read_dat(data: bytes, entries: Entries) -> None:
    """The entry that the tag names: TAG, or TAG@ATTRIBUTE for names with that attribute. Raises ConfigError with record and reason."""
    tag, _, attribute = entries.tag.partition("@")
    there, found = [], False
    entries.place = "record 1"
    try:
        for number, (field, record) in enumerate(fields(data), 1):
            if field != 1 or not isinstance(record, bytes):
                raise ValueError("it is neither a list of names nor one of networks")
            there.append(_tag(record))
            if there[-1] == tag:
                found = True
                items, reverse = _entry(record)
                _add(items, entries, attribute=attribute, reverse=reverse)
            entries.place = f"record {number + 1}"
    except ValueError as error:
        raise entries.wrong(str(error)) from None
    if not found:
        entries.place = ""
        names = ", ".join(there[:10]) + (f" and {len(there) - 10} more" if len(there) > 10 else "")
        wish = f"there is no entry {tag!r} in it" if tag else "say which entry of it is meant, as list:PATH#TAG"
        raise entries.wrong(f"{wish}; there is: {names or 'nothing'}")


def _tag(record: bytes) -> str:
    """The name of an entry in lower case. It comes first, and where the entry is another one the many things in it are not looked at."""
    return next(
        (_text(value).lower() for field, value in fields(record) if field == 1 and isinstance(value, bytes)), ""
    )


def _entry(record: bytes) -> tuple[list[bytes], bool]:
    """What an entry has, and whether all else is meant."""
    items, reverse = [], False
    for field, value in fields(record):
        if field == 2 and isinstance(value, bytes):
            items.append(value)
        elif field == 3 and isinstance(value, int):
            reverse = bool(value)
    return items, reverse


def _add(items: list[bytes], entries: Entries, *, attribute: str, reverse: bool) -> None:
    """Names have a number as their first field, or none of that number; networks have bytes there."""
    networks = AnyOf()
    for item in items:
        found = list(fields(item))
        if any(field == 1 and isinstance(value, bytes) for field, value in found):
            term = Within(_network(found))
            if reverse:
                networks.add(term)
            else:
                entries.add(term)
        elif (named := _name(found, attribute)) is not None:
            entries.add(named)
    if networks:
        # All other addresses: that is not all names as well.
        for everything in ("0.0.0.0/0", "::/0"):
            entries.add(Within(network_of(everything)))
        entries.except_for(networks)


def _network(found: list[tuple[int, _Value]]) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    values = dict(found)
    packed, prefix = values.get(1), values.get(2, 0)
    if not isinstance(packed, bytes) or len(packed) not in (4, 16) or not isinstance(prefix, int):
        raise ValueError("a network has neither 4 nor 16 bytes, or no prefix")
    return network_of(f"{ipaddress.ip_address(packed)}/{prefix}")


def _name(found: list[tuple[int, _Value]], attribute: str) -> Term | None:
    """None where it has not the attribute."""
    kind, text, attributes = 0, "", set()
    for field, value in found:
        if field == 1 and isinstance(value, int):
            kind = value
        elif field == 2 and isinstance(value, bytes):
            text = _text(value)
        elif field == 3 and isinstance(value, bytes):
            attributes.add(
                _text(b"".join(key for n, key in fields(value) if n == 1 and isinstance(key, bytes))).lower()
            )
    if attribute and attribute not in attributes:
        return None
    if kind not in _TYPES:
        raise ValueError(f"there is no kind {kind} of names")
    return _TYPES[kind](text)


def _text(data: bytes) -> str:
    return data.decode("utf-8")  # UnicodeDecodeError is a ValueError
