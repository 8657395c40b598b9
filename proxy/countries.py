"""The country of an address, by the table that `iptocc` brings along."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .address import IPAddress


def country_of(ip: IPAddress) -> str:
    """In two capital letters, or "" where none is known. A microsecond."""
    from iptocc import country_code  # its table is only loaded where a rule asks for a country

    return country_code(str(ip)) or ""
