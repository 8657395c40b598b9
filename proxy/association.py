"""The words of UDP: what everything that carries datagrams looks like from outside."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from .address import Address


class Association(trio.abc.AsyncResource):
    """Datagrams to and from anywhere."""

    exit = ""  #: what whoever opened it calls the exit, if it goes by one

    @abstractmethod
    def send(self, address: Address, data: bytes) -> None:
        """Never waits; what cannot go in time is dropped.

        Raises trio.BrokenResourceError once it was reset, and trio.ClosedResourceError after `aclose`.
        """

    @abstractmethod
    async def receive(self) -> tuple[Address, bytes]:
        """The next datagram, with its true sender. Raises the same."""


async def exchange(a: Association, b: Association) -> None:
    """Hands datagrams on, both ways, until either is reset or closed. Closes both in any case; raises nothing for what a peer or a network does."""
    async with a, b, trio.open_nursery() as nursery:

        async def one_way(source: Association, sink: Association) -> None:
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                while True:
                    sink.send(*await source.receive())
            nursery.cancel_scope.cancel()

        nursery.start_soon(one_way, a, b)
        nursery.start_soon(one_way, b, a)
