"""A call by way of a TURN server, with UDP ASSOCIATE at the local port: what both sides hear, and how others see the caller."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from tests.e2e.apps.call import EVERY, Heard, answer, call
from tests.e2e.apps.socks_udp import datagram_socket
from tests.e2e.apps.turn import HOST, start_coturn, turn_client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.apps.interruption import Way
    from tests.e2e.apps.socks_udp import Where

pytestmark = pytest.mark.e2e

SECONDS = 6
PACKETS = round(SECONDS / EVERY)


@pytest.fixture(scope="module")
def coturn(way: Way, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Where]:
    program, where = start_coturn(way.programs, tmp_path_factory.mktemp("coturn"))
    yield where
    program.stop()


async def test_a_call(way: Way, coturn: Where) -> None:
    """On loopback nothing is lost and nothing changes its place."""
    here, there = Heard(), Heard()
    with datagram_socket() as peer:
        async with turn_client(way.pair.port, coturn) as turn, trio.open_nursery() as nursery:
            nursery.start_soon(answer, peer, PACKETS, there)
            await call(turn, peer.getsockname()[1], PACKETS, here)
    assert here.numbers == there.numbers == list(range(PACKETS))


async def test_others_see_the_same_address_after_a_change_of_carrier(way: Way, coturn: Where) -> None:
    async with turn_client(way.pair.port, coturn) as turn:
        before = await turn.binding()
        for rudely in (True, False):
            await trio.to_thread.run_sync(partial(way.cut, rudely=rudely))
            assert await turn.binding() == before
        assert before[0] == HOST
    # And it was the association's own: another one has another.
    async with turn_client(way.pair.port, coturn) as turn:
        assert await turn.binding() != before


async def test_a_call_goes_on_after_a_change_of_carrier(way: Way, coturn: Where) -> None:
    """What is on its way at the cut may be lost, and what comes while there is no carrier waits as long as it is of use."""
    here, there = Heard(), Heard()
    with datagram_socket() as peer:
        async with turn_client(way.pair.port, coturn) as turn, trio.open_nursery() as nursery:
            nursery.start_soon(answer, peer, PACKETS, there)
            nursery.start_soon(call, turn, peer.getsockname()[1], PACKETS, here)
            with trio.fail_after(20):
                await there.reached(PACKETS // 2)
            await trio.to_thread.run_sync(partial(way.cut, rudely=True))
    for heard in (here, there):
        assert heard.numbers == sorted(set(heard.numbers))
        assert heard.numbers[0] == 0
        assert heard.numbers[-1] == PACKETS - 1
