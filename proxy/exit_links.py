"""The exits that the local side has joined, as its file names them, and the changes that commands make to them: from text to text."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from .config import check
from .config_file import read_tables, with_settings
from .config_tables import convert
from .errors import ConfigError
from .preference import Pattern, merged
from .share import Link, check_label

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .address import Address
    from .config_tables import LocalTable


@dataclass(frozen=True, slots=True)
class JoinedExits:
    """In the order of the file. `prefer` and `only` are those settings."""

    text: str
    path: Path
    links: tuple[Link, ...]
    prefer: tuple[str, ...]
    only: tuple[str, ...]

    @classmethod
    def read(cls, text: str, path: Path) -> Self:
        """Raises ConfigError where the file is no configuration."""
        check(text, path)
        table = convert(read_tables(text, path), path).local
        return cls(text, path, tuple(_links_in(table)), table.prefer, table.only)

    def find(self, name: str) -> Link:
        """By its name, or HOST or HOST:PORT, or its number in the list. Raises ConfigError where that is none or several."""
        found = [link for link in self.links if name and link.name == name] or self._at(name)
        if not found and name.isascii() and name.isdigit():
            found = list(self.links[int(name) - 1 : int(name)]) if int(name) else []
        if len(found) == 1:
            return found[0]
        if not self.links:
            raise ConfigError("", f"there is no exit in {self.path}; `ropeway join LINK` adds one")
        there = ", ".join(f"{number}: {shown(link)}" for number, link in enumerate(self.links, 1))
        what = f"{name!r} may be any of several exits; say its number" if found else f"no exit is {name!r}"
        raise ConfigError("NAME", f"{what}; there is {there}")

    def _at(self, name: str) -> list[Link]:
        try:
            pattern = Pattern.parse(name)
        except ValueError:
            return []
        return [link for link in self.links if any(map(pattern.matches, link.addresses))]

    def is_preferred(self, link: Link) -> bool:
        return _matched(self.prefer, link.addresses)

    def is_allowed(self, link: Link) -> bool:
        """By `only`."""
        return not self.only or _matched(self.only, link.addresses)

    def preferring(self, name: str) -> str:
        """The text in which this exit goes first. Raises ConfigError, as all of these do, where there is none or it cannot be."""
        link = self.find(name)
        if not self.is_allowed(link):
            raise ConfigError("local.only", f"it does not allow {link.address}; change it first (in {self.path})")
        for other in self.links:
            if other is not link and set(link.addresses) <= set(other.addresses):
                text = f"{shown(other)} has the same address, so neither can go before the other; remove one of both"
                raise ConfigError("NAME", text)
        others = {address.host for other in self.links if other is not link for address in other.addresses}
        prefer = [str(each) if each.host in others else str(Pattern(each.host, None)) for each in link.addresses]
        return self._with({"prefer": list(dict.fromkeys(prefer))})

    def without(self, name: str) -> str:
        """The text without this exit, and without what `prefer` and `only` say of it alone."""
        gone = self.find(name)
        links = [link for link in self.links if link is not gone]
        there = [address for link in links for address in link.addresses]
        kept = {key: [each for each in now if _matched([each], there)] for key, now in self._lists()}
        if self.only and not kept["only"] and links:
            text = f"it allows this exit and no other, which would all be used without it; change it first (in {self.path})"
            raise ConfigError("local.only", text)
        text = self._with(self._links(links) | {key: kept[key] for key, now in self._lists() if now})
        check(text, self.path).rules.check_exits(there)
        return text

    def renamed(self, name: str, new: str) -> str:
        """The text in which this exit has another name, for people."""
        found = self.find(name)
        try:
            check_label(new)
        except ValueError as error:
            raise ConfigError("NEW", str(error)) from None
        if any(link.name == new for link in self.links if link is not found):
            raise ConfigError("NEW", f"another exit has the name {new!r}")
        return self._with(self._links([replace(link, name=new) if link is found else link for link in self.links]))

    def _lists(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return ("prefer", self.prefer), ("only", self.only)

    def _links(self, links: Sequence[Link]) -> dict[str, object]:
        first, *others = [str(link) for link in links] or [""]
        return {"exit": first} | ({"exits": others} if others or len(self.links) > 1 else {})

    def _with(self, values: dict[str, object]) -> str:
        return with_settings(self.text, "local", values)


def links_of(text: str, path: Path) -> list[Link]:
    """All of the text; none where it cannot be read, which is told where the whole file is checked."""
    try:
        return _links_in(convert(read_tables(text, path), path).local)
    except (ConfigError, ValueError):
        return []


def with_address_for_lost(text: str, path: Path, link: Link, before: Sequence[Link]) -> tuple[str, tuple[str, ...]]:
    """The text in which `prefer` and `only` speak of this exit where they spoke of one that was there before and is not any more, and what they
    spoke of.
    """
    was, there = ([address for each in links for address in each.addresses] for links in (before, links_of(text, path)))
    table, lost = convert(read_tables(text, path), path).local, list[str]()
    for key, now in (("prefer", table.prefer), ("only", table.only)):
        gone = [each for each in now if _is_pattern(each) and _matched([each], was) and not _matched([each], there)]
        if gone and there:
            lost += gone
            ours = [str(address) for address in link.addresses]
            kept = [new for each in now for new in (ours if each in gone else [each])]
            text = with_settings(text, "local", {key: list(dict.fromkeys(kept))})
    return text, tuple(dict.fromkeys(lost))


def shown(link: Link) -> str:
    """A name and an address, none of which is a secret."""
    return f"{link.name} ({link.address})" if link.name else str(link.address)


def _is_pattern(text: str) -> bool:
    """What is none is told where the whole file is checked."""
    try:
        Pattern.parse(text)
    except ValueError:
        return False
    return True


def _links_in(table: LocalTable) -> list[Link]:
    texts = ([table.exit] if table.exit else []) + list(table.exits)
    return merged([Link.parse(each) for each in texts])


def _matched(patterns: Sequence[str], addresses: Sequence[Address]) -> bool:
    parsed = [Pattern.parse(text) for text in patterns]
    return any(pattern.matches(address) for pattern in parsed for address in addresses)
