"""The highest rates of the last seconds, and the losses."""

from __future__ import annotations

from proxy.protocol.rates import LOSS_GAIN, LOSS_MEMORY, RATE_MEMORY, Losses, Rates


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


def test_a_loss_is_remembered_until_a_queue_shows_and_not_for_long() -> None:
    losses = Losses()
    assert losses.gain(0.0) == 1.0
    losses.note(10.0)
    assert losses.gain(10.0) == losses.gain(10.0 + LOSS_MEMORY - 0.1) == LOSS_GAIN
    assert losses.gain(10.0 + LOSS_MEMORY) == 1.0
    losses.note(20.0)
    losses.forget()
    assert losses.gain(20.0) == 1.0
