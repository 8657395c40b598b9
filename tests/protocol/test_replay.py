"""The log of what is not acknowledged, against a plain sequence of bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import RemoteProtocolError
from proxy.protocol.frame import JOINED
from proxy.protocol.replay import ReplayLog

LARGE, LARGER = bytes(JOINED) + b"!", bytes(2 * JOINED) + b"?!"


def log_of(*chunks: bytes) -> ReplayLog:
    log = ReplayLog()
    for chunk in chunks:
        log.append(chunk)
    return log


def rest(log: ReplayLog) -> list[bytes]:
    """Everything that is to be sent again."""
    chunks = []
    while (chunk := log.next_unsent()) is not None:
        chunks.append(bytes(chunk))
    return chunks


def offsets(log: ReplayLog) -> tuple[int, int, int]:
    return log.start, log.sent, log.end


def test_an_empty_log() -> None:
    log = ReplayLog()
    assert offsets(log) == (0, 0, 0)
    assert log.size == 0
    assert not log.waiting
    assert log.next_unsent() is None
    log.acknowledge(0)
    log.rewind(0)
    assert offsets(log) == (0, 0, 0)


def test_what_is_appended_is_on_the_carrier_at_once() -> None:
    log = log_of(b"abc", b"defg")
    assert offsets(log) == (0, 7, 7)
    assert log.size == 7
    assert log.waiting
    assert log.next_unsent() is None


@pytest.mark.parametrize("offset", range(8))
def test_acknowledged_up_to_anywhere(offset: int) -> None:
    log = log_of(b"abc", b"defg")
    log.acknowledge(offset)
    assert offsets(log) == (offset, 7, 7)
    assert log.size == 7 - offset
    assert log.waiting is (offset < 7)
    log.rewind(offset)
    assert b"".join(rest(log)) == b"abcdefg"[offset:]


def test_acknowledgements_that_come_late_or_twice_are_ignored() -> None:
    log = log_of(b"abc", b"defg")
    for offset in (5, 5, 3, 0):
        log.acknowledge(offset)
    assert offsets(log) == (5, 7, 7)
    log.rewind(5)
    assert rest(log) == [b"fg"]


def test_an_acknowledgement_of_what_was_never_sent_changes_nothing() -> None:
    log = log_of(b"abc")
    for offset in (4, 2**64 - 1):
        with pytest.raises(RemoteProtocolError, match="never sent"):
            log.acknowledge(offset)
    assert offsets(log) == (0, 3, 3)


def test_a_new_carrier_gets_the_rest_chunk_by_chunk() -> None:
    log = log_of(LARGE, b"abc", LARGER, b"h")
    start, end = len(LARGE), len(LARGE) + 3 + len(LARGER) + 1
    log.rewind(start)
    assert offsets(log) == (start, start, end)
    assert not log.waiting
    assert log.next_unsent() == b"abc"
    assert offsets(log) == (start, start + 3, end)
    assert log.waiting
    assert rest(log) == [LARGER, b"h"]
    log.append(b"new")
    assert offsets(log) == (start, end + 3, end + 3)
    log.rewind(end - 1)
    assert rest(log) == [b"hnew"]


def test_a_carrier_that_breaks_while_things_are_sent_again() -> None:
    log = log_of(LARGE, LARGER, b"h")
    log.rewind(0)
    log.next_unsent()
    for _ in range(2):
        log.rewind(len(LARGE))
        assert rest(log) == [LARGER, b"h"]


def test_an_acknowledgement_does_not_shorten_what_is_being_sent_again() -> None:
    """The peer counts from the offset that it was told; what it knows already it skips."""
    log = log_of(LARGE, LARGER)
    end = len(LARGE + LARGER)
    log.rewind(0)
    log.acknowledge(end - 2)
    assert log.size == 2
    assert not log.waiting
    assert rest(log) == [LARGE, LARGER]
    assert offsets(log) == (end - 2, end, end)
    log.rewind(end - 2)
    assert rest(log) == [LARGER[-2:]]


def test_little_chunks_are_joined_up_to_a_bound() -> None:
    log = log_of(*[b"0123456789"] * 1000)
    log.rewind(0)
    chunks = rest(log)
    assert b"".join(chunks) == b"0123456789" * 1000
    assert len(chunks) == 3
    assert max(map(len, chunks)) <= JOINED


def test_the_rest_of_a_chunk_is_joined_with_what_follows() -> None:
    log = log_of(LARGE)
    log.acknowledge(len(LARGE) - 2)
    log.append(b"abc")
    log.rewind(len(LARGE) - 1)
    assert rest(log) == [LARGE[-1:] + b"abc"]


@pytest.mark.parametrize("received", [2, 8, 2**64 - 1])
def test_a_rewind_outside_of_what_is_kept_changes_nothing(received: int) -> None:
    log = log_of(b"abc", b"defg")
    log.acknowledge(3)
    with pytest.raises(RemoteProtocolError, match="outside"):
        log.rewind(received)
    assert offsets(log) == (3, 7, 7)
    assert log.next_unsent() is None


def test_new_chunks_do_not_overtake_old_ones() -> None:
    log = log_of(b"abc")
    log.rewind(0)
    with pytest.raises(AssertionError, match="goes first"):
        log.append(b"later")


def test_chunks_are_kept_without_a_copy() -> None:
    chunk = memoryview(b"abc")
    log = ReplayLog()
    log.append(chunk)
    log.rewind(0)
    assert log.next_unsent() is chunk


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=9), max_size=20),
    carriers=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 10), st.booleans()), max_size=12),
)
def test_the_peer_gets_every_byte_once(chunks: list[bytes], carriers: list[tuple[int, int, bool]]) -> None:
    """For each carrier: how many chunks go out, how many of them arrive, and whether the acknowledgement comes back."""
    log, arrived, written = ReplayLog(), b"", iter(chunks)
    for going, arriving, acknowledged in [*carriers, (len(chunks), len(chunks), True)]:
        log.rewind(len(arrived))
        for number in range(going + len(chunks) * (going == len(chunks))):
            chunk = log.next_unsent()
            if chunk is None:
                chunk = next(written, None)
                if chunk is None:
                    break
                log.append(chunk)
            if number < arriving or going == len(chunks):
                arrived += chunk
        if acknowledged:
            log.acknowledge(len(arrived))
            assert log.start == len(arrived)
        assert log.start <= len(arrived) <= log.sent <= log.end
        assert log.size == log.end - log.start
    assert arrived == b"".join(chunks)
    assert log.size == 0
