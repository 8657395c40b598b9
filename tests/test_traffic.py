"""What goes over a connection: bytes, when, what waits for an answer, and where it has ended."""

from __future__ import annotations

import pytest

from proxy.traffic import Traffic


def seen(traffic: Traffic) -> tuple[int, int, float | None, float | None, float | None, bool]:
    return (
        traffic.bytes_up,
        traffic.bytes_down,
        traffic.last_up,
        traffic.last_down,
        traffic.waiting_since,
        traffic.ended,
    )


def test_at_first_nothing_went() -> None:
    assert seen(Traffic()) == (0, 0, None, None, None, False)


def test_what_was_said_waits_until_something_comes_back() -> None:
    traffic = Traffic()
    traffic.up(3, 1)
    traffic.up(4, 2)
    assert seen(traffic) == (7, 0, 2, None, 1, False)
    traffic.down(5, 3)
    assert seen(traffic) == (7, 5, 2, 3, None, False)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_nothing_is_an_end(direction: str) -> None:
    traffic = Traffic()
    getattr(traffic, direction)(0, 1)
    assert seen(traffic) == (0, 0, None, None, None, True)


def test_an_empty_datagram_is_none_and_none_is_waited_for() -> None:
    traffic = Traffic()
    traffic.datagram_up(0, 1)
    traffic.datagram_down(0, 2)
    traffic.datagram_up(9, 3)
    assert seen(traffic) == (9, 0, 3, 2, None, False)
