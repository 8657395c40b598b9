"""Datagrams that wait, and the frames that they travel in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.address import Address
from proxy.errors import RemoteProtocolError
from proxy.protocol.budget import Budget
from proxy.protocol.datagrams import (
    MOST_QUEUED,
    OVERHEAD,
    Association,
    DatagramQueue,
    decode_datagram,
    encode_datagram,
)
from proxy.protocol.frame import HEADER_SIZE, MAX_PAYLOAD

ADDRESSES = [Address("192.0.2.1", 53), Address("2001:db8::1", 65535), Address("a.example", 1), Address("n" * 255, 80)]


def test_datagrams_come_in_order_and_count() -> None:
    budget = Budget()
    queue: DatagramQueue[bytes] = DatagramQueue(budget)
    queue.put(b"one", 3, 1.0)
    queue.put(b"two", 3, 2.0)
    assert budget.held == queue.size == 2 * (3 + OVERHEAD)
    assert [queue.take(0.0), queue.take(0.0), queue.take(0.0)] == [b"one", b"two", None]
    assert budget.held == queue.size == 0
    assert not queue


def test_what_is_too_old_is_dropped() -> None:
    queue: DatagramQueue[bytes] = DatagramQueue(Budget())
    for number in range(4):
        queue.put(b"%d" % number, 1, float(number))
    assert queue.take(2.0) == b"2"
    assert queue.take(3.5) is None
    assert queue.size == 0


def test_of_a_flood_the_newest_stay() -> None:
    budget = Budget()
    queue: DatagramQueue[int] = DatagramQueue(budget)
    for number in range(10_000):
        queue.put(number, 1200, 0.0)
    assert budget.held == queue.size <= MOST_QUEUED
    kept: list[int] = []
    while (taken := queue.take(0.0)) is not None:
        kept.append(taken)
    assert kept == list(range(kept[0], 10_000))
    assert len(kept) == MOST_QUEUED // (1200 + OVERHEAD)


def test_the_largest_waits_too() -> None:
    queue: DatagramQueue[bytes] = DatagramQueue(Budget())
    queue.put(b"small", 5, 0.0)
    queue.put(b"large", 65_507, 0.0)
    assert queue.take(0.0) == b"small"
    assert queue.take(0.0) == b"large"


def test_floods_leave_half_of_the_memory_to_streams_and_calls_go_on_beside_them() -> None:
    budget = Budget()
    for _ in range(2000):
        flood: DatagramQueue[bytes] = DatagramQueue(budget)
        for _ in range(3):
            flood.put(b"", 60_000, 0.0)
    assert budget.limit / 4 < budget.held <= budget.limit / 2
    assert not budget.short
    budget.held = budget.limit * 3 // 4  # streams took the rest
    call: DatagramQueue[bytes] = DatagramQueue(budget)
    call.put(b"", 160, 0.0)
    assert call


def test_where_memory_is_spent_nothing_more_waits() -> None:
    budget = Budget(32 * 1200)
    queue: DatagramQueue[bytes] = DatagramQueue(budget)
    queue.put(b"", 900, 0.0)
    budget.held += 31 * 1200
    queue.put(b"", 900, 0.0)
    budget.held -= 31 * 1200
    assert (budget.held, bool(queue)) == (0, False)
    queue.put(b"", 900, 0.0)
    assert budget.held == 900 + OVERHEAD
    queue.clear()
    assert (budget.held, bool(queue)) == (0, False)


@pytest.mark.parametrize("address", ADDRESSES, ids=lambda address: address.host[:12])
@pytest.mark.parametrize("size", [0, 1, 1200, 65_000])
def test_frames_there_and_back(address: Address, size: int) -> None:
    frame = encode_datagram(Association(7, 0.0, Budget()), address, b"x" * size)
    assert frame is not None
    assert decode_datagram(frame[HEADER_SIZE:]) == (address, b"x" * size)


def test_the_longest_of_ipv4_fits_and_what_does_not_is_none() -> None:
    association = Association(7, 0.0, Budget())
    assert encode_datagram(association, ADDRESSES[0], bytes(65_507)) is not None
    assert encode_datagram(association, ADDRESSES[1], bytes(MAX_PAYLOAD - 19)) is not None
    assert encode_datagram(association, ADDRESSES[1], bytes(MAX_PAYLOAD - 18)) is None


@given(st.binary(min_size=5, max_size=300))
def test_any_payload_is_a_datagram_or_an_error_of_the_peer(payload: bytes) -> None:
    try:
        address, data = decode_datagram(payload)
    except RemoteProtocolError:
        return
    assert payload.endswith(data)
    assert 0 < address.port < 65536


@pytest.mark.parametrize(
    "payload",
    [
        b"\x02\x01\x02\x03\x04\0\x50",
        b"\x01\x01\x02\x03\x04\0\0",
        b"\x03\xff" + b"a" * 20,
        b"\x04" + bytes(8),
        b"\x03\0\0\x50x",
    ],
    ids=["kind", "port 0", "short name", "short IPv6", "no name"],
)
def test_bad_addresses(payload: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="DATAGRAM with a bad address"):
        decode_datagram(payload)
