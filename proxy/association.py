"""The words of UDP: what everything that carries datagrams looks like from outside."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from .address import Address


class Association(trio.abc.AsyncResource):
    """Datagrams to and from anywhere."""

    @abstractmethod
    def send(self, address: Address, data: bytes) -> None:
        """Never waits; what cannot go in time is dropped.

        Raises trio.BrokenResourceError once it was reset, and trio.ClosedResourceError after `aclose`.
        """

    @abstractmethod
    async def receive(self) -> tuple[Address, bytes]:
        """The next datagram, with its true sender. Raises the same."""
