"""Where exits were found before, on disk: it helps where names cannot be resolved, or resolve to somebody else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .address import Address
from .config_file import replace_file
from .errors import ConfigError
from .telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

log = logger("address_book")

_MAX_SIZE = 65_536  # bytes; one exit takes about 300


class AddressBook:
    """A file of JSON: for each exit, by its pin in hexadecimal, numeric addresses, the last one first.

    Losing it costs nothing but time: what cannot be read or written is passed over.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def of(self, pin: bytes) -> tuple[Address, ...]:
        """Empty where nothing is known."""
        found = self._read().get(pin.hex(), [])
        addresses = []
        for text in found if isinstance(found, list) else []:
            try:
                address = Address.parse(str(text))
            except ValueError:
                continue
            if address.ip is not None:
                addresses.append(address)
        return tuple(addresses)

    def remember(self, pin: bytes, addresses: Sequence[Address]) -> None:
        """Replaces what is known of one exit."""
        book = self._read() | {pin.hex(): [str(address) for address in addresses]}
        try:
            replace_file(self._path, json.dumps(book, indent=1).encode())
        except ConfigError as exc:
            log.debug("the exit's address was not kept: %s", exc)

    def _read(self) -> dict[str, object]:
        try:
            with self._path.open("rb") as file:
                book = json.loads(file.read(_MAX_SIZE))
        except (OSError, ValueError, RecursionError):
            return {}
        return book if isinstance(book, dict) else {}
