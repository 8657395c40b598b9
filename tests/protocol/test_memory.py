"""What little pieces cost in memory: about what they hold, in every place where they wait.

It is measured in a process of its own: in that of the tests, threads and what other tests left behind allocate as well.
"""

from __future__ import annotations

import gc
import multiprocessing
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import pytest

from proxy.protocol.frame import HEADER_SIZE, MAX_PAYLOAD, FrameDecoder, Type, encode
from proxy.protocol.replay import ReplayLog
from proxy.protocol.stream import ReceiveHalf, SendHalf
from tests.pair import Pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOTAL = 32_768  # bytes, of which the bounds below leave room for one piece that is being joined
#: 1 and 2 are the worst; the others lie around the size up to which pieces are joined, also where none goes with its neighbour.
PATTERNS = [[1], [2], [100], [2000], [2049], [4096], [1, 4096], [2, 4095, 4096], [5000, 1]]


@dataclass
class Traced:
    """Bytes: what is still held of what was allocated, the most that was at any moment, and what the place itself says that it holds."""

    held: int = 0
    peak: int = 0
    said: int = 0


@contextmanager
def traced() -> Iterator[Traced]:
    result = Traced()
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        yield result
        after, peak = tracemalloc.get_traced_memory()
        result.held, result.peak = after - before, peak - before
    finally:
        tracemalloc.stop()


Alone: TypeAlias = "Callable[[Callable[[], Traced]], Traced]"


@pytest.fixture(scope="module")
def alone() -> Iterator[Alone]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        yield lambda measure: process.submit(measure).result()


def pieces(sizes: list[int], data: bytes = bytes(TOTAL)) -> Iterator[bytes]:
    """Each an object of its own, as from a socket."""
    position, number = 0, 0
    while position < len(data):
        size = sizes[number % len(sizes)]
        yield bytes(bytearray(data[position : position + size]))
        position += size
        number += 1


def queued(sizes: list[int]) -> Traced:
    half = SendHalf()
    with traced() as memory:
        for piece in pieces(sizes):
            half.write(piece)
    memory.said = half.queued
    return memory


def buffered(sizes: list[int]) -> Traced:
    half = ReceiveHalf(0.0)
    with traced() as memory:
        for piece in pieces(sizes):
            half.feed(piece)
    memory.said = half.buffered
    return memory


def logged(sizes: list[int]) -> Traced:
    log = ReplayLog()
    with traced() as memory:
        for piece in pieces(sizes):
            log.append(piece)
    memory.said = log.size
    return memory


@pytest.mark.parametrize("sizes", PATTERNS, ids=str)
@pytest.mark.parametrize("measure", [queued, buffered, logged], ids=["to be sent", "to be read", "not acknowledged"])
def test_what_waits(alone: Alone, measure: Callable[[list[int]], Traced], sizes: list[int]) -> None:
    memory = alone(partial(measure, sizes))
    assert memory.said == TOTAL <= memory.held
    assert memory.peak < 1.5 * TOTAL


def a_frame(sizes: list[int]) -> Traced:
    wire = encode(Type.DATA, 1, bytes(MAX_PAYLOAD))[:-1]
    decoder = FrameDecoder()
    with traced() as memory:
        for piece in pieces(sizes, wire):
            assert not list(decoder.feed(piece))
    return memory


@pytest.mark.parametrize("sizes", PATTERNS, ids=str)
def test_a_frame_that_comes_in_pieces(alone: Alone, sizes: list[int]) -> None:
    memory = alone(partial(a_frame, sizes))
    assert memory.held >= MAX_PAYLOAD - 1
    assert memory.peak < 1.5 * MAX_PAYLOAD + 4096


def beginnings() -> Traced:
    decoders = [FrameDecoder() for _ in range(20)]
    with traced() as memory:
        for decoder in decoders:
            wire = encode(Type.DATA, 1, bytes(MAX_PAYLOAD)) + encode(Type.DATA, 1, b"next")[:5]
            assert len(list(decoder.feed(wire))) == 1
        del wire
    return memory


def test_the_rest_of_a_large_read_is_not_held_by_the_beginning_of_a_frame(alone: Alone) -> None:
    """One read brings the end of one frame and the first bytes of the next."""
    assert alone(beginnings).held < 20 * 2000


def a_window(*, local_sends: bool) -> Traced:
    pair = Pair()
    streams = pair.open()
    sender, receiver = (pair.local, pair.exit) if local_sends else (pair.exit, pair.local)
    ours, theirs = streams if local_sends else streams[::-1]
    count = TOTAL // 8
    with traced() as memory:
        for _ in range(count):
            sender.write(ours, bytes(bytearray(2)), pair.now)
            receiver.receive_data(sender.data_to_send(65536, pair.now), pair.now)
    assert theirs.receiver.buffered == 2 * count
    assert sender.kept == count * (HEADER_SIZE + 2)
    memory.said = theirs.receiver.buffered + sender.kept
    return memory


@pytest.mark.parametrize("local_sends", [True, False], ids=["local sends", "exit sends"])
def test_a_window_of_messages_of_two_bytes(alone: Alone, local_sends: bool) -> None:
    """Each in a flight of its own, to an app that does not read, and none acknowledged: the headers are kept as well."""
    memory = alone(partial(a_window, local_sends=local_sends))
    assert memory.held < 1.5 * memory.said
