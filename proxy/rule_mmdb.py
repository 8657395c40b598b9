"""Databases of MaxMind's format (mmdb): countries of addresses, as in GeoLite2-Country."""

from __future__ import annotations

import functools
import io
import ipaddress
from typing import TYPE_CHECKING, Any

from .rule_terms import Country, country_code_of

if TYPE_CHECKING:
    from .address import IPAddress
    from .rule_entries import Entries
    from .rule_terms import CountryOf

#: What its metadata begins with, at most so many bytes before the end (MaxMind DB File Format Specification 2.0, "Metadata Section").
MARK = b"\xab\xcd\xefMaxMind.com"
MARK_WITHIN = 128 * 1024
#: Our choice: of each database, the addresses whose country is remembered. A look-up takes 20 microseconds and more.
_REMEMBERED = 8192
#: Addresses all over both families, which have to be readable.
_SAMPLES = [str(ipaddress.IPv4Address(number << 24 | 1)) for number in range(1, 224)] + [
    str(ipaddress.IPv6Address(number << 112 | 1)) for number in range(0x2000, 0x3000, 16)
]


def country_database(data: bytes, entries: Entries) -> CountryOf:
    """The country of each address by the database. Raises ConfigError."""
    import maxminddb  # 30 ms that only those wait for who have such a file

    # Any exception: the package reads what it is given, and what it makes of bytes that mean nothing is not written anywhere.
    try:
        reader = maxminddb.open_database(io.BytesIO(data), maxminddb.MODE_FD)
        samples = _SAMPLES if reader.metadata().ip_version == 6 else _SAMPLES[:223]
        known = sum(bool(_code(reader.get(sample))) for sample in samples)
    except Exception as error:
        raise entries.wrong(f"the database cannot be read: {type(error).__name__}: {error}") from None
    if not known:
        raise entries.wrong("the database has no countries")

    @functools.lru_cache(maxsize=_REMEMBERED)
    def country_of(ip: IPAddress) -> str:
        try:
            return _code(reader.get(ip))
        except Exception:  # a part that is broken, or a family that it does not have: as what it does not know
            return ""

    return country_of


def _code(record: Any) -> str:
    for name in ("country", "registered_country"):
        country = record.get(name) if isinstance(record, dict) else None
        code = country.get("iso_code") if isinstance(country, dict) else None
        if isinstance(code, str):
            return code.upper()
    return ""


def read_mmdb(country_of: CountryOf, entries: Entries) -> None:
    """The country that the tag names. Raises ConfigError."""
    try:
        entries.add(Country(country_code_of(entries.tag), country_of))
    except ValueError:
        raise entries.wrong("say which country of it is meant, as list:PATH#CN") from None
