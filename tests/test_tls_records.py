"""Records are cut out of whatever the transport brings, and nothing is lost or taken twice."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.tls_records import RECORD_SIZE, Arrived


def record(size: int, seed: int = 0) -> bytes:
    return b"\x17\x03\x03" + size.to_bytes(2, "big") + random.Random(seed).randbytes(size)


LONGEST = RECORD_SIZE + 256
SIZES = st.lists(st.sampled_from([1, 17, 18, 300, RECORD_SIZE + 17, LONGEST]), min_size=1, max_size=6)


def taken(arrived: Arrived, pieces: list[bytes]) -> list[bytes]:
    """What a reader gets that takes all whole records after each piece."""
    found = []
    for piece in pieces:
        arrived.add(piece)
        found += list(arrived.records())
    return found


def cut(data: bytes, places: list[float]) -> list[bytes]:
    at = [0, *sorted(int(place * len(data)) for place in places), len(data)]
    return [data[one:other] for one, other in itertools.pairwise(at) if one < other]


@given(SIZES, st.lists(st.floats(0, 1), max_size=8))
def test_records_come_whole_however_they_are_cut(sizes: list[int], places: list[float]) -> None:
    records = [record(size, number) for number, size in enumerate(sizes)]
    arrived = Arrived(by_record=True)
    assert taken(arrived, cut(b"".join(records), places)) == records
    assert arrived.take_all() == b""


@given(SIZES, st.integers(0, 6))
def test_what_was_not_taken_stays_in_order(sizes: list[int], number: int) -> None:
    """Also where more comes although whole records are left."""
    records = [record(size, number) for number, size in enumerate(sizes)]
    arrived = Arrived(by_record=True)
    arrived.add(b"".join(records) + record(50)[:20])
    found = list(itertools.islice(arrived.records(), number))
    arrived.add(record(50)[20:])
    assert found + list(arrived.records()) == [*records, record(50)]


def test_byte_by_byte() -> None:
    records = [record(3), record(20), record(1)]
    pieces = [bytes([byte]) for byte in b"".join(records)]
    assert taken(Arrived(by_record=True), pieces) == records


@pytest.mark.parametrize(
    "junk", [b"GET / HTTP/1.1", b"\x15\x03\x03\x00\x02ab", b"\x17\x03\x01\x00\x01a", b"\x17\x03\x03\xff\xff"]
)
def test_what_is_no_record_of_data_goes_to_the_library_whole(junk: bytes) -> None:
    arrived = Arrived(by_record=True)
    arrived.add(record(5) + junk)
    assert list(arrived.records()) == [record(5)]
    assert arrived.take() == (junk, 1)
    assert arrived.take() == (b"", 0)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 24])
def test_the_beginning_of_a_record_waits_for_the_rest(size: int) -> None:
    arrived = Arrived(by_record=True)
    arrived.add(record(20)[:size])
    assert arrived.take() == (b"", 0)
    arrived.add(record(20)[size:])
    assert arrived.take() == (record(20), 1)


def test_a_library_that_takes_everything_gets_everything() -> None:
    arrived = Arrived(by_record=False)
    arrived.add(record(5))
    arrived.add(record(6)[:4])
    assert arrived.take() == (record(5) + record(6)[:4], math.inf)
    assert arrived.take() == (b"", math.inf)
