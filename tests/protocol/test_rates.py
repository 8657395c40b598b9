"""The highest rates of the last seconds."""

from __future__ import annotations

from proxy.protocol.rates import RATE_MEMORY, Rates


def test_the_highest_rate_of_the_last_seconds() -> None:
    rates = Rates()
    assert rates.highest == 0
    for rate, now in ((5, 0), (9, 1), (3, 2), (4, 2.5)):
        rates.add(rate, now)
        assert rates.highest == max(5, 9 if now >= 1 else 5)
    rates.add(1, 1 + RATE_MEMORY + 0.1)
    assert rates.highest == 4
    rates.add(1, 100)
    assert rates.highest == 1


def test_while_nothing_is_sent_nothing_is_forgotten() -> None:
    rates = Rates()
    rates.add(9, 0)
    rates.stand_still(100)
    rates.add(1, 101)
    assert rates.highest == 9
