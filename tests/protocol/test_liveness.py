"""What is due when: acknowledgements, pings, and the end of a carrier. Each bound is tried just before and at it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.protocol.liveness import (
    ACK_BYTES,
    DEAD,
    DEAD_TIMEOUTS,
    HURRY,
    IDLE,
    IDLE_AT_EXIT,
    LATE,
    MOST_MEASURED,
    PAUSE,
    PROBE,
    SIGN,
    SUSPECT,
    SUSPECT_TIMEOUTS,
    TIMEOUT_MARGIN,
    Health,
    Liveness,
    ack_delay,
)

START = 1000.0
SOON = 1e-6
FAST = 0.01  # a round trip, in seconds


def new(*, asks: bool = True, received: int = 0, round_trip: float = FAST) -> Liveness:
    """On a carrier whose round trip was measured so often that it is known."""
    liveness = Liveness(asks=asks)
    liveness.carrier_made(START, received)
    for number in range(50, 0, -1):
        liveness.asked(START - number)
        liveness.answered(START - number + round_trip)
    return liveness


def ack_at(liveness: Liveness, at: float) -> bool:
    """Whether an ACK is due then, and not before."""
    return liveness.ack_due(at) and not liveness.ack_due(at - SOON)


def ping_at(liveness: Liveness, at: float) -> bool:
    return liveness.ping_due(at) and not liveness.ping_due(at - SOON)


def health_at(liveness: Liveness, at: float) -> tuple[Health, Health]:
    """Just before that time, and at it."""
    return liveness.health(at - SOON), liveness.health(at + SOON)


TURNS_SUSPECT = (Health.ALIVE, Health.SUSPECT)
ACK_DELAY = ack_delay(FAST)
DIES = (Health.SUSPECT, Health.DEAD)


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
    assert liveness.next_timer(START + 1) == START + PAUSE  # nothing was heard, it says
    liveness.heard(START + 1)
    assert liveness.next_timer(START + 1) == START + 1 + ACK_DELAY


def test_the_delay_counts_from_the_first_byte() -> None:
    liveness = new()
    liveness.received(10, START + 1)
    liveness.received(20, START + 1.004)
    assert ack_at(liveness, START + 1 + ACK_DELAY)


@pytest.mark.parametrize(
    ("round_trip", "delay"), [(0.001, 0.005), (0.04, 0.005), (0.1, 0.0125), (0.3, 0.0375), (0.4, 0.05), (2, 0.05)]
)
def test_the_delay_is_an_eighth_of_the_round_trip_within_bounds(round_trip: float, delay: float) -> None:
    liveness = new(round_trip=round_trip)
    liveness.received(10, START + 3)
    assert ack_at(liveness, START + 3 + delay)


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


def test_held_acks_wait_however_much_comes_and_are_due_when_they_are_let_go() -> None:
    liveness = new()
    liveness.received(10, START)
    liveness.hold_acks(True)
    liveness.received(10 + 2 * ACK_BYTES, START + 1)
    assert not liveness.owes_ack
    assert not liveness.ack_due(START + 1e9)
    liveness.acknowledged()  # an older offset was said again
    liveness.hold_acks(False)
    assert liveness.owes_ack
    assert liveness.ack_due(START + 1)


def test_a_new_carrier_holds_nothing() -> None:
    liveness = new()
    liveness.hold_acks(True)
    liveness.carrier_made(START, 0)
    liveness.received(10, START)
    assert ack_at(liveness, START + ACK_DELAY)


def test_parts_of_a_frame_are_answered_with_a_sign_of_life() -> None:
    liveness = new(asks=False)
    for seconds in (0.0, 0.4, 0.9):
        liveness.part_received(START + seconds, part=True)
    assert ack_at(liveness, START + SIGN)
    assert liveness.next_timer(START) == START + SIGN
    liveness.acknowledged()
    assert not liveness.ack_due(START + 1e9)  # once, however long nothing follows
    liveness.part_received(START + 3, part=True)
    assert ack_at(liveness, START + 3 + SIGN)


@pytest.mark.parametrize("what", ["whole", "spoke", "carrier"])
def test_no_sign_of_life_is_due_once_the_frame_is_whole_or_something_was_said(what: str) -> None:
    liveness = new(asks=False)
    liveness.part_received(START, part=True)
    if what == "whole":
        liveness.part_received(START, part=False)
    elif what == "spoke":
        liveness.spoke()
    else:
        liveness.carrier_made(START, 0)
    assert not liveness.ack_due(START + 1e9)


def test_a_sign_of_life_is_given_while_acks_are_held() -> None:
    liveness = new()
    liveness.hold_acks(True)
    liveness.part_received(START, part=True)
    assert ack_at(liveness, START + SIGN)


# ---- pings


@pytest.mark.parametrize(("asks", "idle"), [(True, IDLE), (False, IDLE_AT_EXIT)])
def test_an_idle_carrier_is_asked(asks: bool, idle: float) -> None:
    liveness = new(asks=asks)
    assert ping_at(liveness, START + idle)
    assert liveness.next_timer(START) == START + idle
    liveness.heard(START + 3)
    assert ping_at(liveness, START + 3 + idle)


def test_the_local_side_asks_when_frames_came_and_no_more_follow() -> None:
    liveness = new()
    for seconds in (1.0, 1.4, 1.8):
        liveness.heard(START + seconds)
        liveness.received(int(seconds * 10), START + seconds)
    assert ping_at(liveness, START + 1.8 + PAUSE)
    liveness.asked(START + 2.3)
    liveness.heard(START + 2.4)
    liveness.answered(START + 2.4)
    assert ping_at(liveness, START + 2.4 + IDLE), "the answer to a question is no reason for another one"


def test_the_local_side_asks_when_a_part_of_a_frame_came_and_the_rest_does_not() -> None:
    liveness = new()
    liveness.heard(START)
    liveness.part_received(START, part=True)
    assert ping_at(liveness, START + PAUSE)


def test_the_exit_does_not_ask_in_a_pause() -> None:
    liveness = new(asks=False)
    liveness.heard(START)
    liveness.received(10, START)
    liveness.part_received(START, part=True)
    assert ping_at(liveness, START + IDLE_AT_EXIT)


def test_a_silence_in_a_download_is_death_within_6_s() -> None:
    """The last frame comes at START, and this side has nothing to say but acknowledgements."""
    liveness, now = new(round_trip=0.1), START
    liveness.heard(now)
    liveness.received(1000, now)
    while liveness.health(now) is not Health.DEAD:
        now = liveness.next_timer(now)
        if liveness.ping_due(now):
            liveness.asked(now)
        if liveness.ack_due(now):
            liveness.acknowledged()
    assert now - START <= 6


def test_one_ping_is_out_at_a_time() -> None:
    liveness = new()
    liveness.asked(START)
    liveness.received(10, START + 1)
    assert not liveness.ping_due(START + 1e9)
    liveness.heard(START + 3)
    assert not liveness.ping_due(START + 1e9)
    liveness.answered(START + 3)
    assert ping_at(liveness, START + 3 + PAUSE)


# ---- health


def test_where_nothing_is_due_silence_means_nothing() -> None:
    assert new().health(START + 1e9) is Health.ALIVE


def test_silence_while_something_is_not_acknowledged() -> None:
    liveness = new()
    liveness.data_sent(START + 10)
    assert health_at(liveness, START + 10 + SUSPECT) == TURNS_SUSPECT
    assert health_at(liveness, START + 10 + DEAD) == DIES
    assert liveness.next_timer(START + 10) == START + 10 + SUSPECT
    assert liveness.next_timer(START + 10 + SUSPECT) == START + 10 + DEAD


def test_silence_while_a_ping_is_not_answered() -> None:
    liveness = new()
    liveness.asked(START + 30)
    assert health_at(liveness, START + 30 + SUSPECT) == TURNS_SUSPECT
    assert health_at(liveness, START + 30 + DEAD) == DIES


def test_more_data_does_not_put_it_off() -> None:
    liveness = new()
    liveness.data_sent(START + 10)
    liveness.data_sent(START + 11.9)
    assert health_at(liveness, START + 10 + SUSPECT) == TURNS_SUSPECT


def test_what_was_heard_before_it_was_due_does_not_count() -> None:
    liveness = new()
    liveness.heard(START + 1)
    liveness.asked(START + 30)
    assert health_at(liveness, START + 30 + SUSPECT) == TURNS_SUSPECT


def test_anything_that_is_heard_makes_it_alive_again() -> None:
    liveness = new()
    liveness.data_sent(START)
    assert liveness.health(START + 4) is Health.SUSPECT
    liveness.heard(START + 4)
    assert liveness.health(START + 4) is Health.ALIVE
    assert health_at(liveness, START + 4 + SUSPECT) == TURNS_SUSPECT
    assert health_at(liveness, START + 4 + DEAD) == DIES


def test_acknowledgements_put_it_off() -> None:
    liveness = new()
    liveness.data_sent(START)
    liveness.data_acknowledged(START + 1, everything=False)
    assert health_at(liveness, START + 1 + SUSPECT) == TURNS_SUSPECT
    liveness.data_acknowledged(START + 1, everything=True)
    assert liveness.health(START + 1e9) is Health.ALIVE
    liveness.data_sent(START + 9)
    assert health_at(liveness, START + 9 + SUSPECT) == TURNS_SUSPECT


def test_an_answer_ends_the_wait() -> None:
    liveness = new()
    liveness.asked(START + 30)
    liveness.heard(START + 34)
    liveness.answered(START + 34)
    assert liveness.health(START + 1e9) is Health.ALIVE
    assert ping_at(liveness, START + 34 + IDLE)


@pytest.mark.parametrize("round_trip", [0.001, 0.1, 0.3, 1.0, 3.0])
def test_time_outs_follow_the_round_trip(round_trip: float) -> None:
    liveness = new(round_trip=round_trip)
    liveness.data_sent(START)
    suspect = max(SUSPECT, SUSPECT_TIMEOUTS * (round_trip + TIMEOUT_MARGIN) + round_trip)
    dead = max(DEAD, DEAD_TIMEOUTS * (round_trip + TIMEOUT_MARGIN) + round_trip)
    assert health_at(liveness, START + suspect) == TURNS_SUSPECT
    assert health_at(liveness, START + dead) == DIES


def test_a_hundred_milliseconds_are_the_ordinary_case() -> None:
    """The times that users are told: docs/protocol.md, section 7."""
    liveness = new(round_trip=0.1)
    liveness.data_sent(START)
    assert health_at(liveness, START + 2.2) == TURNS_SUSPECT
    assert health_at(liveness, START + 5) == DIES


def test_a_queue_on_the_way_counts_once() -> None:
    """A download fills a queue of 0.4 s behind a link of 0.1 s: that a silence is death is still seen in 6 s, with the pause before the ping."""
    liveness = new(round_trip=0.1)
    for number in range(100):
        liveness.asked(START + number)
        liveness.heard(START + number + 0.5)
        liveness.answered(START + number + 0.5)
    assert liveness.round_trip == pytest.approx(0.5, abs=1e-3)
    liveness.asked(START + 200)
    dead = DEAD_TIMEOUTS * (0.1 + TIMEOUT_MARGIN) + liveness.round_trip
    assert health_at(liveness, START + 200 + dead) == DIES
    assert PAUSE + dead <= 6


def test_another_carrier_may_go_another_way() -> None:
    liveness = new(round_trip=0.01)
    liveness.carrier_made(START, 0)
    liveness.asked(START)
    liveness.heard(START + 2)
    liveness.answered(START + 2)
    liveness.data_sent(START + 5)
    assert liveness.health(START + 5 + DEAD_TIMEOUTS * 2) is not Health.DEAD


# ---- word from outside


def test_after_a_change_of_the_network_little_silence_is_suspect() -> None:
    liveness = new()
    liveness.asked(START)
    liveness.network_changed()
    assert health_at(liveness, START + HURRY) == TURNS_SUSPECT
    assert health_at(liveness, START + DEAD) == DIES
    liveness.heard(START + 0.1)  # it was on its way already
    assert health_at(liveness, START + 0.1 + HURRY) == TURNS_SUSPECT


def test_an_answer_ends_the_hurry() -> None:
    liveness = new()
    liveness.asked(START)
    liveness.network_changed()
    liveness.heard(START + 0.2)
    liveness.answered(START + 0.2)
    liveness.data_sent(START + 1)
    assert health_at(liveness, START + 1 + SUSPECT) == TURNS_SUSPECT


def test_a_new_carrier_is_in_no_hurry() -> None:
    liveness = new()
    liveness.network_changed()
    liveness.carrier_made(START, 0)
    liveness.data_sent(START)
    assert liveness.health(START + SUSPECT - SOON) is Health.ALIVE


def test_the_hurry_leaves_time_for_a_round_trip() -> None:
    liveness = new(round_trip=0.8)
    liveness.asked(START)
    liveness.network_changed()
    assert liveness.health(START + 0.8 - SOON) is Health.ALIVE
    assert liveness.health(START + 0.9) is Health.SUSPECT


def test_hurry_is_never_more_patient() -> None:
    liveness = new()
    liveness.asked(START)
    liveness.answered(START + 9)  # once, and then as before: the deviation remembers it
    liveness.asked(START + 10)
    liveness.network_changed()
    assert (
        liveness.health(START + 10 + SUSPECT_TIMEOUTS * (FAST + TIMEOUT_MARGIN) + liveness.round_trip) is Health.SUSPECT
    )


def test_who_stood_still_does_not_blame_the_peer() -> None:
    liveness = new()
    liveness.asked(START)
    assert not liveness.stood_still(START + DEAD)
    assert not liveness.stood_still(START + DEAD + LATE - SOON)
    assert liveness.stood_still(START + DEAD + LATE + SOON)
    assert liveness.health(START + DEAD + LATE + SOON) is Health.ALIVE
    assert health_at(liveness, START + DEAD + LATE + DEAD + SOON) == DIES
    assert not liveness.stood_still(START + DEAD + LATE + DEAD + 2 * SOON)


# ---- round trips


def test_the_first_measurement_counts_whole_and_later_ones_an_eighth() -> None:
    liveness = Liveness(asks=True)
    liveness.carrier_made(START, 0)
    assert liveness.round_trip == 0.1
    liveness.asked(START)
    liveness.answered(START + 0.5)
    assert liveness.round_trip == pytest.approx(0.5)
    liveness.asked(START + 1)
    liveness.answered(START + 2.3)
    assert liveness.round_trip == pytest.approx(0.5 + (1.3 - 0.5) / 8)


def test_the_welcome_is_a_measurement() -> None:
    liveness = Liveness(asks=True)
    liveness.carrier_made(START, 0)
    liveness.welcomed(START + 1)
    assert liveness.round_trip == 1
    liveness.data_sent(START + 1)
    assert health_at(liveness, START + 1 + SUSPECT_TIMEOUTS * (1 + TIMEOUT_MARGIN) + 1) == TURNS_SUSPECT
    liveness.welcomed(START + 1)  # no time has passed: that says nothing
    assert liveness.round_trip == 1


def test_an_answer_that_nobody_asked_for_measures_nothing() -> None:
    liveness = Liveness(asks=True)
    liveness.carrier_made(START, 0)
    liveness.answered(START + 9)
    liveness.asked(START + 10)
    liveness.answered(START + 10.2)
    liveness.answered(START + 15)
    assert liveness.round_trip == pytest.approx(0.2)


def test_probes_come_once_a_second_and_not_while_one_is_out() -> None:
    liveness = Liveness(asks=True)
    liveness.carrier_made(START, 0)
    assert liveness.probe_due(START)
    liveness.asked(START)
    assert not liveness.probe_due(START + PROBE)
    liveness.answered(START + 0.1)
    assert not liveness.probe_due(START + PROBE - SOON)
    assert liveness.probe_due(START + PROBE)


# ---- carriers


def test_a_new_carrier_begins_with_a_clean_slate_and_the_old_measurement() -> None:
    liveness = new(round_trip=0.4)
    liveness.asked(START + 1)
    liveness.data_sent(START + 1)
    liveness.received(70, START + 1)
    liveness.carrier_made(START + 100, 70)
    assert not liveness.owes_ack
    assert not liveness.ack_due(START + 1e9)
    assert liveness.health(START + 1e9) is Health.ALIVE
    assert ping_at(liveness, START + 100 + IDLE)
    assert liveness.probe_due(START + 100)
    assert liveness.round_trip == pytest.approx(0.4)
    liveness.answered(START + 101)  # of the old carrier
    assert liveness.round_trip == pytest.approx(0.4)


FACTS = ["data_sent", "heard", "part", "asked", "answered", "received", "some", "all", "hold", "let go", "changed"]


def report(liveness: Liveness, fact: str, now: float, offset: int) -> None:
    match fact:
        case "data_sent":
            liveness.data_sent(now)
        case "heard":
            liveness.heard(now)
        case "part":
            liveness.part_received(now, part=True)
        case "asked":
            liveness.asked(now)
        case "answered":
            liveness.answered(now)
        case "received":
            liveness.received(offset, now)
        case "hold" | "let go":
            liveness.hold_acks(fact == "hold")
        case "changed":
            liveness.network_changed()
        case _:
            liveness.data_acknowledged(now, everything=fact == "all")


def due(liveness: Liveness, when: float) -> tuple[bool, bool, Health]:
    return liveness.ack_due(when), liveness.ping_due(when), liveness.health(when)


@given(asks=st.booleans(), facts=st.lists(st.tuples(st.sampled_from(FACTS), st.floats(0, 40))))
def test_the_timer_never_comes_late_and_never_spins(asks: bool, facts: list[tuple[str, float]]) -> None:
    """Nothing new is due before the time that `next_timer` says, something is due at it, and once that is done it says a later time."""
    liveness, now = new(asks=asks), START
    for number, (fact, pause) in enumerate(facts):
        end = now + pause
        while (timer := liveness.next_timer(now)) <= end and liveness.health(now) is not Health.DEAD:
            before, early = due(liveness, now), (now + timer) / 2
            if early < timer - SOON:
                assert due(liveness, early) == before
            now = max(now, timer)
            assert due(liveness, now) != (False, False, Health.ALIVE)
            if liveness.ack_due(now):
                liveness.acknowledged()
            if liveness.ping_due(now):
                liveness.asked(now)
            assert liveness.health(now) is Health.DEAD or liveness.next_timer(now) > now
        now = end
        report(liveness, fact, now, number * 100)
        assert not math.isnan(liveness.next_timer(now))


def test_the_last_round_trips_are_kept() -> None:
    liveness = Liveness(asks=True)
    assert (liveness.measured.count, liveness.measured.since(0)) == (0, [])
    for number in range(1, MOST_MEASURED + 3):
        liveness.asked(100.0 * number)
        liveness.answered(100.0 * number + number)
    assert liveness.measured.count == MOST_MEASURED + 2
    assert liveness.measured.since(MOST_MEASURED) == [MOST_MEASURED + 1, MOST_MEASURED + 2]
    assert liveness.measured.since(MOST_MEASURED + 2) == []
    assert len(liveness.measured.since(0)) == MOST_MEASURED
