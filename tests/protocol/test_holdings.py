"""What sessions hold is counted byte by byte, stays within the budget, and readers never pay for those who do not read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import OpenError, Reason
from proxy.protocol.budget import OPEN, STREAM, Budget
from proxy.protocol.event import Code, StreamReset
from proxy.protocol.frame import MAX_PAYLOAD
from proxy.protocol.holdings import LITTLE_UNREAD, RELIEVE_EVERY, SLOW, TOO_SLOW
from proxy.protocol.outbox import LEAST_KEPT, MAX_KEPT
from proxy.protocol.stream import INITIAL_CREDIT, LEAST_WINDOW, MAX_WINDOW, ReceiveHalf
from tests.effort import EXAMPLES
from tests.pair import ADDRESS, Pair

if TYPE_CHECKING:
    from proxy.protocol.mux import Mux
    from proxy.protocol.stream import Stream

BIG = 1 << 30


def counted(mux: Mux, *gone: Stream) -> int:
    """What the budget of this session alone must say. `gone`: closed, and still read from."""
    streams = [*mux.streams.values(), *gone]
    halves = sum(each.sender.queued + each.receiver.buffered + each.receiver.given for each in streams)
    return mux.kept + halves + STREAM * len(mux.streams)


def check(pair: Pair, *gone: Stream) -> None:
    for mux in (pair.local, pair.exit):
        assert mux.budget.held == counted(mux, *gone)
        assert mux.budget.promised == sum(each.receiver.window - INITIAL_CREDIT for each in mux.streams.values())


def send(pair: Pair, stream: Stream, size: int) -> None:
    """From the exit to the local side."""
    pair.exit.write(stream, bytes(size), pair.now)
    pair.settle()


def limited(limit: int, count: int) -> tuple[Pair, list[tuple[Stream, Stream]]]:
    """The local side's budget is small, and so many streams are open."""
    pair = Pair()
    pair.local.budget.change(limit)
    return pair, [pair.open() for _ in range(count)]


# ---- counting


def test_data_is_counted_where_it_is() -> None:
    pair = Pair()
    local, remote = pair.open()
    pair.local.write(local, bytes(1000), pair.now)
    check(pair)
    assert pair.local.budget.held >= STREAM + 1000
    flight = pair.take(pair.local)
    check(pair)
    pair.feed(pair.exit, flight)
    check(pair)
    assert pair.exit.read(remote, 600, pair.now) == bytes(600)
    check(pair)
    assert (remote.receiver.given, remote.receiver.buffered) == (600, 400)
    pair.exit.read(remote, 600, pair.now)
    assert remote.receiver.given == 400
    pair.exit.returned(remote)
    check(pair)
    assert pair.exit.budget.held == STREAM + pair.exit.kept


@pytest.mark.parametrize("end", ["close", "reset", "lost", "go away", "peer resets"])
def test_nothing_is_left_when_all_is_over(end: str) -> None:
    pair = Pair()
    local, remote = pair.open()
    pair.local.write(local, bytes(300_000), pair.now)
    pair.settle()
    send(pair, remote, 500)
    pair.local.read(local, 200, pair.now)
    pair.exit.read(remote, 100, pair.now)
    for side, stream in ((pair.local, local), (pair.exit, remote)):
        if end == "close":
            side.close(stream, pair.now)
        elif end == "reset":
            side.reset(stream, Reason.CANCELLED)
        elif end == "lost":
            side.session_lost("test")
        elif end == "go away":
            side.go_away(Code.CLOSED, "test")
        else:
            pair.local.reset(local, Reason.CANCELLED)
            pair.settle()
        side.close(stream, pair.now)
    pair.settle()
    pair.tick(1.0)
    pair.tick(1.0)
    for side in (pair.local, pair.exit):
        assert not side.streams
        assert (side.budget.held, side.budget.promised, side.budget.streams) == (
            side.kept if side.over is None else 0,
            0,
            0,
        )
        assert side.over is not None or side.kept == 0


def test_what_both_sides_have_ended_is_counted_until_it_is_read_or_closed() -> None:
    for reads in (True, False):
        pair = Pair()
        local, remote = pair.open()
        pair.local.write_end(local, pair.now)
        pair.exit.write(remote, bytes(5000), pair.now)
        pair.exit.write_end(remote, pair.now)
        pair.settle()
        assert not pair.local.streams
        assert pair.local.budget.held == counted(pair.local, local)
        if reads:
            pair.local.read(local, BIG, pair.now)
            pair.local.read(local, BIG, pair.now)
        pair.local.close(local, pair.now)
        pair.tick(1.0)
        assert pair.local.budget.held == 0


Steps = st.lists(
    st.tuples(
        st.sampled_from(["write", "up", "down", "read", "close", "reset", "end", "tick", "cut"]),
        st.integers(0, 5),
        st.integers(1, 70_000),
    ),
    max_size=60,
)


def _act(pair: Pair, what: str, both: tuple[Stream, Stream], size: int) -> None:
    side = pair.local if size % 2 else pair.exit
    stream = both[0] if size % 2 else both[1]
    if what == "write" and not stream.sender.ending:
        side.write(stream, bytes(size), pair.now)
    elif what in ("up", "down"):
        sender = pair.local if what == "up" else pair.exit
        pair.feed(pair.other(sender), pair.take(sender, size))
    elif what == "read":
        side.read(stream, size, pair.now)
    elif what == "close":
        side.close(stream, pair.now)
    elif what == "reset":
        side.reset(stream, Reason.CANCELLED)
    elif what == "end":
        side.write_end(stream, pair.now)
    elif what == "tick":
        pair.tick(0.3)
    elif what == "cut":
        pair.connect()


@given(Steps)
def test_whatever_happens_the_count_is_right(steps: list[tuple[str, int, int]]) -> None:
    pair = Pair()
    streams = [pair.open() for _ in range(6)]
    for what, number, size in steps:
        _act(pair, what, streams[number], size)
        for mux, half in ((pair.local, 0), (pair.exit, 1)):
            gone = [both[half] for both in streams if both[half].id not in mux.streams]
            assert mux.budget.held == counted(mux, *gone)
            assert mux.budget.promised == sum(each.receiver.window - INITIAL_CREDIT for each in mux.streams.values())


# ---- where memory is short


def test_streams_are_refused_where_they_would_take_all() -> None:
    few = 20
    pair = Pair()
    for side in (pair.local, pair.exit):
        side.budget.change(int(few * STREAM / OPEN) + 1)
    for _ in range(few):
        pair.open()
    with pytest.raises(OpenError, match="memory") as caught:
        pair.local.open(ADDRESS, pair.now)
    assert caught.value.reason is Reason.BUSY
    pair.local.budget.change(BIG)
    refused = pair.local.open(ADDRESS, pair.now)
    pair.settle()
    assert refused.reset is not None
    assert refused.reset.reason is Reason.BUSY
    check(pair)


def test_who_has_not_read_for_longest_is_reset_until_there_is_relief() -> None:
    pair, streams = limited(2_000_000, 12)
    for _, remote in streams[:6]:
        send(pair, remote, 200_000)
        while remote.sender.queued:
            pair.tick(0.05)
    reading, its_remote = streams[6]
    pair.now += SLOW + RELIEVE_EVERY
    pair.local.budget.held += 700_000  # others have taken the rest
    send(pair, its_remote, 50_000)
    resets = [each.stream for each in pair.events[pair.local] if isinstance(each, StreamReset)]
    assert resets == [local for local, _ in streams[:2]]
    assert pair.local.budget.relief
    for each in (*resets, streams[0][1], streams[1][1]):  # the other side is told
        assert each.reset is not None
        assert (each.reset.reason, each.reset.text) == (Reason.BUSY, TOO_SLOW)
    assert pair.read(pair.local, reading) == bytes(50_000)


def test_nobody_is_reset_while_there_is_room_however_slow() -> None:
    pair, streams = limited(20_000_000, 20)
    for _, remote in streams:
        send(pair, remote, INITIAL_CREDIT)
    pair.now += 100 * SLOW
    send(pair, streams[0][1], 1)
    pair.local.relieve(pair.now)
    assert all(local.reset is None for local, _ in streams)


def test_little_that_waits_is_no_reason() -> None:
    pair, streams = limited(1_000_000, 20)
    for _, remote in streams:
        send(pair, remote, LITTLE_UNREAD)
    pair.local.budget.held += 900_000
    pair.now += 10 * SLOW
    send(pair, streams[0][1], 1)
    pair.local.relieve(pair.now + 1)
    assert [local.reset is None for local, _ in streams[1:]] == [True] * 19


def test_a_flood_is_stopped_at_the_limit() -> None:
    """Faster than anybody can be found slow."""
    pair, streams = limited(4_000_000, 60)
    for _, remote in streams:
        send(pair, remote, INITIAL_CREDIT)
        assert pair.local.budget.held <= pair.local.budget.limit + MAX_PAYLOAD
    assert any(local.reset is not None for local, _ in streams)
    send(pair, streams[0][1], 1000)
    pair.settle()


def test_a_window_shrinks_while_memory_is_short_and_grows_again_after_it() -> None:
    half, budget, now = ReceiveHalf(0.0), Budget(1_000_000), 0.0
    budget.held = 990_000
    for _ in range(20):
        size = half.open_credit
        half.feed(bytes(size)) if size else None
        half.read_pieces(BIG)
        now += 10
        credit = half.credit_due(now, 0.1, budget)
        assert half.open_credit + half._used == half.window
        assert credit <= size
    assert half.window == LEAST_WINDOW
    assert budget.promised == LEAST_WINDOW - INITIAL_CREDIT
    budget.change(BIG)
    for _ in range(20):
        half.feed(bytes(half.open_credit))
        half.read_pieces(BIG)
        half.credit_due(now, 0.1, budget)
    assert half.window == MAX_WINDOW


def test_windows_of_many_grow_within_what_is_free() -> None:
    pair, streams = limited(20_000_000, 30)
    pair.local._liveness.round_trip = 0.1
    for _ in range(100):
        for local, remote in streams:
            send(pair, remote, 60_000)
            pair.local.read(local, BIG, pair.now)
    assert 0 < pair.local.budget.promised <= pair.local.budget.limit
    assert all(local.reset is None for local, _ in streams)


def test_a_session_keeps_less_where_memory_is_short_and_goes_on() -> None:
    pair = Pair()
    local, remote = pair.open()
    pair.local.budget.change(3_000_000)
    local.sender.credit = 2**31 - 1
    remote.receiver.open_credit = 2**31 - 1
    flights = []
    for _ in range(100):
        pair.local.write(local, bytes(100_000), pair.now)
        while pair.local.wants_to_send and (data := pair.take(pair.local, 65536)):
            flights.append(data)
    assert LEAST_KEPT <= pair.local.kept < 1_600_000 < MAX_KEPT
    pair.local.budget.held += 10 * BIG  # others take everything
    assert not pair.local.wants_to_send
    for flight in flights:
        pair.feed(pair.exit, flight)
        pair.read(pair.exit, remote)
    for _ in range(1000):
        pair.tick(0.1)
        pair.read(pair.exit, remote)
    assert pair.local.kept < 2 * LEAST_KEPT + MAX_PAYLOAD
    assert local.sender.queued == 0


@given(
    readers=st.integers(1, 5),
    stalled=st.integers(0, 40),
    order=st.lists(st.integers(0, 44), min_size=20, max_size=150),
    limit=st.integers(3_000_000, 8_000_000),
)
@settings(max_examples=EXAMPLES // 2)
def test_who_reads_is_never_reset_and_the_limit_holds(readers: int, stalled: int, order: list[int], limit: int) -> None:
    pair, streams = limited(limit, readers + stalled)
    received = [0] * readers
    sent = [0] * readers
    for number in order:
        index = number % (readers + stalled)
        _, remote = streams[index]
        pair.now += 0.05
        pair.exit.write(remote, bytes(60_000), pair.now)
        if index < readers:
            sent[index] += 60_000
        for _ in range(400):  # twenty seconds, where others have sent megabytes before
            pair.tick(0.05)
            for reader, (each, _) in enumerate(streams[:readers]):
                received[reader] += len(pair.read(pair.local, each))
            if received == sent:
                break
        assert pair.local.budget.held <= limit + MAX_PAYLOAD
        assert all(each.reset is None for each, _ in streams[:readers])
    assert received == sent
