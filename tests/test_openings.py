"""How long apps wait for the tunnel and for the exit."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
import trio

from proxy.errors import OpenError, Reason
from proxy.openings import ACCEPT_TIMEOUT, Openings

if TYPE_CHECKING:
    from trio.testing import MockClock

    from proxy.session_stream import SessionStream


class Answer:
    """As much of a stream as is waited for."""

    def __init__(self, after: float, reason: Reason | None = None) -> None:
        self._after = after
        self._reason = reason

    async def wait_accepted(self) -> None:
        await trio.sleep(self._after)
        if self._reason is not None:
            raise OpenError(self._reason)


async def wait(openings: Openings, after: float, reason: Reason | None = None) -> tuple[Reason | None, float]:
    """What the app hears, and when."""
    start = trio.current_time()
    try:
        await openings.until_accepted(cast("SessionStream", Answer(after, reason)))
    except OpenError as exc:
        return exc.reason, round(trio.current_time() - start, 6)
    return None, round(trio.current_time() - start, 6)


@pytest.mark.parametrize("went_up", [0.1, 4.9])
async def test_the_tunnel_comes_up_in_time(went_up: float, autojump_clock: MockClock) -> None:
    openings = Openings(5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(openings.until_up)
        await trio.sleep(went_up)
        assert openings.waiting
        openings.went_up()
    assert openings.up.is_set()
    assert not openings.waiting


async def test_the_tunnel_does_not_come_up(autojump_clock: MockClock) -> None:
    openings = Openings(5)
    with pytest.raises(OpenError) as caught:
        await openings.until_up()
    assert caught.value.reason is Reason.TUNNEL_DOWN
    assert trio.current_time() == pytest.approx(5)
    assert not openings.waiting


async def test_up_for_a_moment_only(autojump_clock: MockClock) -> None:
    openings = Openings(5)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def flap() -> None:
            openings.went_up()
            openings.went_down()

        with pytest.raises(OpenError):
            await openings.until_up()
    assert trio.current_time() == pytest.approx(5)


@pytest.mark.parametrize(
    ("after", "reason", "hears"),
    [
        (3, None, (None, 3)),
        (3, Reason.REFUSED, (Reason.REFUSED, 3)),
        (ACCEPT_TIMEOUT + 1, None, (Reason.TIMED_OUT, ACCEPT_TIMEOUT)),
    ],
)
async def test_the_exit_answers(
    after: float, reason: Reason | None, hears: tuple[Reason | None, float], autojump_clock: MockClock
) -> None:
    openings = Openings(5)
    openings.went_up()
    assert await wait(openings, after, reason) == hears
    assert not openings.waiting


@pytest.mark.parametrize(
    ("down", "up", "after", "hears"),
    [
        (3, 100, 20, (Reason.TUNNEL_DOWN, 8)),
        (3, 7, 20, (None, 20)),
        (3, 7, 40, (Reason.TIMED_OUT, ACCEPT_TIMEOUT)),
        (29, 33, 40, (Reason.TUNNEL_DOWN, ACCEPT_TIMEOUT)),
        (0, 100, 20, (Reason.TUNNEL_DOWN, 5)),
    ],
    ids=["for good", "for a while", "for a while, and no answer", "at the end", "before it began"],
)
async def test_the_tunnel_goes_down_meanwhile(
    down: float, up: float, after: float, hears: tuple[Reason | None, float], autojump_clock: MockClock
) -> None:
    openings = Openings(5)
    openings.went_up()

    async def flap() -> None:
        await trio.sleep(down)
        openings.went_down()
        await trio.sleep(up - down)
        openings.went_up()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flap)
        assert await wait(openings, after) == hears
        nursery.cancel_scope.cancel()
