"""What is due when: acknowledgements, pings, and the end of a carrier. Each bound is tried just before and at it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.protocol.liveness import ACK_BYTES, ACK_DELAY, ANSWER, IDLE, IDLE_AT_EXIT, PROBE, SILENCE, Liveness

START = 1000.0
SOON = 1e-6


def new(idle: float = IDLE, received: int = 0) -> Liveness:
    liveness = Liveness(idle=idle)
    liveness.carrier_made(START, received)
    return liveness


def ack_at(liveness: Liveness, at: float) -> bool:
    """Whether an ACK is due then, and not before."""
    return liveness.ack_due(at) and not liveness.ack_due(at - SOON)


def ping_at(liveness: Liveness, at: float) -> bool:
    return liveness.ping_due(at) and not liveness.ping_due(at - SOON)


def dead_at(liveness: Liveness, at: float) -> bool:
    return liveness.dead(at) and not liveness.dead(at - SOON)


def test_the_numbers_of_the_document() -> None:
    assert (ACK_DELAY, ACK_BYTES, SILENCE, ANSWER, IDLE, IDLE_AT_EXIT) == (0.05, 1 << 20, 2.0, 5.0, 30.0, 75.0)


# ---- acknowledgements


def test_nothing_is_owed_at_first() -> None:
    liveness = new(received=500)
    assert not liveness.owes_ack
    assert not liveness.ack_due(START + 1e9)


def test_an_ack_is_due_after_its_delay() -> None:
    liveness = new()
    liveness.received(10, START + 1)
    assert liveness.owes_ack
    assert ack_at(liveness, START + 1 + ACK_DELAY)
    assert liveness.next_timer() == START + 1 + ACK_DELAY


def test_the_delay_counts_from_the_first_byte() -> None:
    liveness = new()
    liveness.received(10, START + 1)
    liveness.received(20, START + 1.04)
    assert ack_at(liveness, START + 1 + ACK_DELAY)


def test_nothing_new_owes_nothing() -> None:
    liveness = new(received=500)
    for offset in (0, 499, 500):
        liveness.received(offset, START)
        assert not liveness.owes_ack
    assert not liveness.ack_due(START + 1e9)


def test_an_ack_is_due_at_once_after_a_mebibyte() -> None:
    liveness = new(received=500)
    liveness.received(500 + ACK_BYTES - 1, START)
    assert not liveness.ack_due(START)
    liveness.received(500 + ACK_BYTES, START)
    assert liveness.ack_due(START)


def test_an_ack_settles_the_account() -> None:
    liveness = new()
    liveness.received(10, START)
    liveness.acknowledged()
    assert not liveness.owes_ack
    assert not liveness.ack_due(START + 1e9)
    liveness.received(20, START + 7)
    assert ack_at(liveness, START + 7 + ACK_DELAY)


# ---- pings


def test_an_idle_carrier_is_asked() -> None:
    for idle in (IDLE, IDLE_AT_EXIT):
        liveness = new(idle)
        assert ping_at(liveness, START + idle)
        assert liveness.next_timer() == START + idle
        liveness.heard(START + 3)
        assert ping_at(liveness, START + 3 + idle)


def test_silence_after_something_was_sent_is_asked_about() -> None:
    liveness = new()
    liveness.data_sent(START + 10)
    assert ping_at(liveness, START + 10 + SILENCE)
    assert liveness.next_timer() == START + 10 + SILENCE


def test_more_data_does_not_put_the_question_off() -> None:
    liveness = new()
    liveness.data_sent(START + 10)
    liveness.data_sent(START + 11.9)
    assert ping_at(liveness, START + 10 + SILENCE)


def test_a_peer_that_is_heard_is_not_asked() -> None:
    liveness = new()
    liveness.data_sent(START + 10)
    liveness.heard(START + 11)
    assert ping_at(liveness, START + 11 + SILENCE)


def test_progress_puts_the_question_off() -> None:
    liveness = new()
    liveness.data_sent(START)
    liveness.data_acknowledged(START + 1, everything=False)
    assert ping_at(liveness, START + 1 + SILENCE)
    liveness.data_acknowledged(START + 2, everything=True)
    assert ping_at(liveness, START + IDLE)
    liveness.data_sent(START + 9)
    assert ping_at(liveness, START + 9 + SILENCE)


def test_one_ping_is_out_at_a_time() -> None:
    liveness = new()
    liveness.data_sent(START)
    liveness.asked(START + SILENCE)
    assert not liveness.ping_due(START + 1e9)
    liveness.answered(START + 3)
    assert liveness.ping_due(START + 3)  # still nothing acknowledged, and the answer was not reported as heard
    liveness.heard(START + 3)
    assert ping_at(liveness, START + 3 + SILENCE)


# ---- the end


def test_who_was_not_asked_cannot_be_dead() -> None:
    liveness = new()
    liveness.data_sent(START)
    assert not liveness.dead(START + 1e9)


def test_no_answer_is_the_end() -> None:
    liveness = new()
    liveness.asked(START + 30)
    assert dead_at(liveness, START + 30 + ANSWER)
    assert liveness.next_timer() == START + 30 + ANSWER


def test_anything_that_is_heard_puts_the_end_off() -> None:
    liveness = new()
    liveness.asked(START + 30)
    liveness.heard(START + 33)
    assert dead_at(liveness, START + 33 + ANSWER)


def test_what_was_heard_before_the_question_does_not_count() -> None:
    liveness = new()
    liveness.heard(START + 1)
    liveness.asked(START + 30)
    assert dead_at(liveness, START + 30 + ANSWER)


def test_an_answer_saves_the_carrier() -> None:
    liveness = new()
    liveness.asked(START + 30)
    liveness.heard(START + 34)
    liveness.answered(START + 34)
    assert not liveness.dead(START + 1e9)
    assert ping_at(liveness, START + 34 + IDLE)


# ---- round trips


def test_the_first_measurement_counts_whole_and_later_ones_an_eighth() -> None:
    liveness = new()
    assert liveness.round_trip == 0.1
    liveness.asked(START)
    liveness.answered(START + 0.5)
    assert liveness.round_trip == pytest.approx(0.5)
    liveness.asked(START + 1)
    liveness.answered(START + 2.3)
    assert liveness.round_trip == pytest.approx(0.5 + (1.3 - 0.5) / 8)


def test_an_answer_that_nobody_asked_for_measures_nothing() -> None:
    liveness = new()
    liveness.answered(START + 9)
    liveness.asked(START + 10)
    liveness.answered(START + 10.2)
    liveness.answered(START + 15)
    assert liveness.round_trip == pytest.approx(0.2)


def test_probes_come_once_a_second_and_not_while_one_is_out() -> None:
    liveness = new()
    assert liveness.probe_due(START)
    liveness.asked(START)
    assert not liveness.probe_due(START + PROBE)
    liveness.answered(START + 0.1)
    assert not liveness.probe_due(START + PROBE - SOON)
    assert liveness.probe_due(START + PROBE)


# ---- carriers


def test_a_new_carrier_begins_with_a_clean_slate_and_the_old_measurement() -> None:
    liveness = new()
    liveness.asked(START)
    liveness.answered(START + 0.4)
    liveness.asked(START + 1)
    liveness.data_sent(START + 1)
    liveness.received(70, START + 1)
    liveness.carrier_made(START + 100, 70)
    assert not liveness.owes_ack
    assert not liveness.ack_due(START + 1e9)
    assert not liveness.dead(START + 1e9)
    assert ping_at(liveness, START + 100 + IDLE)
    assert liveness.probe_due(START + 100)
    assert liveness.round_trip == pytest.approx(0.4)
    liveness.answered(START + 101)  # of the old carrier
    assert liveness.round_trip == pytest.approx(0.4)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["data_sent", "heard", "asked", "answered", "received", "some", "all"]), st.floats(0, 40)
        )
    )
)
def test_the_timer_never_comes_late(facts: list[tuple[str, float]]) -> None:
    """Nothing is due before the time that `next_timer` says, and something is due at it."""
    liveness, now, offset = new(), START, 0
    for fact, pause in facts:
        now += pause
        offset += 100
        match fact:
            case "data_sent":
                liveness.data_sent(now)
            case "heard":
                liveness.heard(now)
            case "asked":
                liveness.asked(now)
            case "answered":
                liveness.answered(now)
            case "received":
                liveness.received(offset, now)
            case _:
                liveness.data_acknowledged(now, everything=fact == "all")
        timer = liveness.next_timer()
        assert timer < math.inf
        for when, due in ((timer, True), (timer - 1e-3, False)):
            assert (liveness.ack_due(when) or liveness.ping_due(when) or liveness.dead(when)) is due
