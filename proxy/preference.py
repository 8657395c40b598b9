"""Which exits and which of their addresses are used, and which go first: `exits`, `prefer` and `only` of the configuration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from .address import Address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .share import Link


@dataclass(frozen=True, slots=True)
class ChosenExit:
    """An exit, those of its addresses that may be used, and those of them that go first."""

    link: Link
    addresses: tuple[Address, ...]
    preferred: frozenset[Address] = frozenset()


@dataclass(frozen=True, slots=True)
class Pattern:
    """A host, and a port or all of its ports."""

    host: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """`HOST` or `HOST:PORT`. Raises ValueError with a text for people."""
        try:
            return cls(Address.make(text, 1).host, None)  # also 2001:db8::1 without brackets
        except ValueError:
            address = Address.parse(text)
            return cls(address.host, address.port)

    def matches(self, address: Address) -> bool:
        return self.host == address.host and self.port in (None, address.port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"


def merged(links: Sequence[Link]) -> list[Link]:
    """Links with the same pin and key are one exit, whose first link holds besides its own addresses those of the others.

    Raises ValueError where that is more than a link can hold.
    """
    found: dict[tuple[bytes, object], Link] = {}
    for link in links:
        first = found.setdefault((link.pin, link.key), link)
        also = tuple(address for address in (*first.addresses, *link.addresses) if address != first.address)
        found[link.pin, link.key] = replace(first, also=tuple(dict.fromkeys(also)))
    return list(found.values())


def limited(links: Sequence[Link], only: Sequence[str]) -> tuple[ChosenExit, ...]:
    """The exits that have addresses which `only` allows; all, where it is empty. Raises ValueError where an entry matches nothing."""
    patterns = _patterns(only, [address for link in links for address in link.addresses])
    allowed = [
        ChosenExit(link, tuple(each for each in link.addresses if not patterns or _matches(patterns, each)))
        for link in links
    ]
    return tuple(each for each in allowed if each.addresses)


def preferring(exits: Sequence[ChosenExit], prefer: Sequence[str]) -> tuple[ChosenExit, ...]:
    """The same exits, with what goes first. Raises ValueError where an entry matches nothing."""
    patterns = _patterns(prefer, [address for each in exits for address in each.addresses])
    return tuple(
        replace(each, preferred=frozenset(address for address in each.addresses if _matches(patterns, address)))
        for each in exits
    )


def _patterns(texts: Sequence[str], addresses: Sequence[Address]) -> list[Pattern]:
    patterns = []
    for text in texts:
        pattern = Pattern.parse(text)
        if not any(pattern.matches(address) for address in addresses):
            there = ", ".join(map(str, addresses)) or "no exit at all"
            raise ValueError(f"{text} is no address of an exit; there is: {there}")
        patterns.append(pattern)
    return patterns


def _matches(patterns: Sequence[Pattern], address: Address) -> bool:
    return any(pattern.matches(address) for pattern in patterns)
