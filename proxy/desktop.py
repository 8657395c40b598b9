"""What keeps the settings of a system's proxy, as the commands see it: GNOME, KDE, macOS or Windows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from .address import Address

#: Settings by name, each as text from which it can be made again exactly; None where it is not set.
Values: TypeAlias = Mapping[str, str | None]


class Desktop(Protocol):
    """Raises a RopewayError with a line for people where the system does not do as it is asked."""

    @property
    def name(self) -> str:
        """For people, and what it is remembered by."""
        ...

    def read(self) -> dict[str, str | None]:
        """All settings that `wanted` would change, as they are."""
        ...

    def wanted(self, place: Address) -> dict[str, str | None]:
        """What they have to be for everything to go to that place, which is a port of this computer.

        In the order in which they have to be written: what puts the others into force comes last.
        """
        ...

    def write(self, values: Values) -> None:
        """In their order. None makes a setting what it is where nobody has set anything: no proxy."""
        ...

    def leads_to(self, place: Address, found: Values) -> bool:
        """Whether any app that obeys these settings goes to the place."""
        ...

    def agree(self, wanted: str | None, found: str | None) -> bool:
        """Whether a setting is what was written; what is switched off need not be the same to the letter."""
        ...
