"""Who gets a place, and who has to leave it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from proxy.protocol.http_proxy import StatusError
from proxy.watchers import Lobby, Watchers

if TYPE_CHECKING:
    from trio.testing import MockClock


def test_who_watches_keeps_the_place_until_it_is_given_back() -> None:
    watchers = Watchers(2)
    with watchers.place():
        with watchers.place(), pytest.raises(StatusError, match="2 pages") as caught, watchers.place():
            pass
        assert caught.value.status == 503
        with pytest.raises(RuntimeError), watchers.place():
            raise RuntimeError
        with watchers.place():
            pass


class Visitors:
    """Those that are in a lobby, by number."""

    def __init__(self, lobby: Lobby) -> None:
        self._lobby = lobby
        self.inside: list[int] = []

    async def visit(self, number: int) -> None:
        with self._lobby.place():
            self.inside.append(number)
            try:
                await trio.sleep_forever()
            finally:
                self.inside.remove(number)


async def test_in_a_lobby_the_oldest_goes_for_who_comes(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    visitors = Visitors(Lobby(3, 10))
    for number in range(5):
        nursery.start_soon(visitors.visit, number)
        await wait_all_tasks_blocked()
    assert visitors.inside == [2, 3, 4]


async def test_a_lobby_is_left_when_the_time_is_over(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    visitors = Visitors(Lobby(3, 10))
    nursery.start_soon(visitors.visit, 1)
    await trio.sleep(6)
    nursery.start_soon(visitors.visit, 2)
    await trio.sleep(5)
    assert visitors.inside == [2]


async def test_who_left_a_lobby_takes_no_place(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    lobby = Lobby(2, 10)
    visitors = Visitors(lobby)
    nursery.start_soon(visitors.visit, 1)
    await wait_all_tasks_blocked()
    for _ in range(3):
        with lobby.place():
            await trio.sleep(1)
    assert visitors.inside == [1]
