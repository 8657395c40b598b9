"""Where exits were found before, on disk: it helps where names cannot be resolved, or resolve to somebody else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Self, TypeAlias

from .address import Address
from .config_file import replace_file
from .errors import ConfigError
from .telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

log = logger("address_book")

#: For each way to an exit, the one that worked last first, the numeric addresses at which it was found under it, the last one first.
Found: TypeAlias = "Mapping[Address, Sequence[Address]]"

# Our choices.
MOST_EXITS, MOST_WAYS = 16, 16  # as many exits as the configuration may have; more ways than a link has
MOST_ADDRESSES = 4  # a name has one or two as a rule, and each that does not answer any more costs an attempt
_MAX_SIZE = 65_536  # bytes; one way takes about 100


class AddressBook:
    """A file of JSON: for each exit, by its pin in hexadecimal, what was found; the exit that worked last first.

    Losing it costs nothing but time: what cannot be read or written is passed over. One thread at a time may change it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def of_user(cls) -> Self:
        """Where the local side of this user keeps it."""
        import platformdirs

        return cls(platformdirs.user_state_path("ropeway", appauthor=False) / "addresses.json")

    def of(self, pin: bytes) -> dict[Address, tuple[Address, ...]]:
        """Empty where nothing is known."""
        return _found(self._read().get(pin.hex()))

    def order(self) -> tuple[bytes, ...]:
        """The pins of the exits that are known, the one that worked last first."""
        return tuple(_pins(self._read()))

    def remember(self, pin: bytes, way: Address, addresses: Sequence[Address]) -> None:
        """Replaces what is known of one way, which is the one that worked last now."""
        book = self._read()
        name = pin.hex()
        known = _found(book.get(name))
        found = {way: tuple(addresses)} | {other: those for other, those in known.items() if other != way}
        if name not in book:
            # One that has just been found is worth more than the last of many.
            book = dict(list(book.items())[: MOST_EXITS - 1])
        book[name] = _plain(found)
        self._write(book)

    def put_first(self, pin: bytes) -> None:
        """The exit is the one that worked last."""
        book = self._read()
        name = pin.hex()
        if next(iter(book), None) != name:
            self._write({name: book.get(name, {})} | book)

    def _write(self, book: dict[str, object]) -> None:
        kept = {name: _plain(_found(entry)) for name, entry in list(book.items())[:MOST_EXITS]}
        try:
            replace_file(self._path, json.dumps(kept, indent=1).encode())
        except ConfigError as exc:
            log.debug("the exit's address was not kept: %s", exc)

    def _read(self) -> dict[str, object]:
        try:
            with self._path.open("rb") as file:
                book = json.loads(file.read(_MAX_SIZE))
        except (OSError, ValueError, RecursionError):
            return {}
        return book if isinstance(book, dict) else {}


def _pins(book: Mapping[str, object]) -> list[bytes]:
    pins = []
    for name in book:
        try:
            pins.append(bytes.fromhex(name))
        except ValueError:
            continue
    return pins


def _found(entry: object) -> dict[Address, tuple[Address, ...]]:
    """What an entry says, without what is no address."""
    found = {}
    for text, known in entry.items() if isinstance(entry, dict) else ():
        way = _address(text)
        numeric = [_address(each) for each in known] if isinstance(known, list) else []
        addresses = tuple(each for each in numeric if each is not None and each.ip is not None)
        if way is not None and addresses:
            found[way] = addresses[:MOST_ADDRESSES]
    return dict(list(found.items())[:MOST_WAYS])


def _plain(found: Found) -> dict[str, list[str]]:
    return {
        str(way): [str(address) for address in known[:MOST_ADDRESSES]] for way, known in list(found.items())[:MOST_WAYS]
    }


def _address(text: object) -> Address | None:
    try:
        return Address.parse(str(text))
    except ValueError:
        return None
