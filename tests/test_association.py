"""What whoever carries datagrams has to offer."""

from __future__ import annotations

import inspect

import pytest
import trio
import trio.testing

from proxy.address import Address
from proxy.association import Association, exchange
from tests.memory import MemoryAssociation

ANYWHERE, ELSEWHERE = Address("192.0.2.1", 1), Address("192.0.2.2", 2)


def test_there_is_no_association_without_all_three() -> None:
    assert issubclass(Association, trio.abc.AsyncResource)
    assert Association.__abstractmethods__ == {"send", "receive", "aclose"}
    assert not inspect.iscoroutinefunction(Association.send)  # it never waits


async def test_what_arrives_at_one_goes_out_at_the_other(autojump_clock: object, nursery: trio.Nursery) -> None:
    one, other = MemoryAssociation(), MemoryAssociation()
    nursery.start_soon(exchange, one, other)
    one.arrive(ANYWHERE, b"up")
    other.arrive(ELSEWHERE, b"down")
    await trio.testing.wait_all_tasks_blocked()
    assert (other.sent, one.sent) == ([(ANYWHERE, b"up")], [(ELSEWHERE, b"down")])


@pytest.mark.parametrize("first", [0, 1])
async def test_both_are_closed_with_the_first_that_ends(autojump_clock: object, first: int) -> None:
    both = MemoryAssociation(), MemoryAssociation()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange, *both)
        await trio.testing.wait_all_tasks_blocked()
        await both[first].aclose()
    assert both[0].closed.is_set()
    assert both[1].closed.is_set()
