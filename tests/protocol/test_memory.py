"""What little pieces cost in memory: about what they hold, in every place where they wait."""

from __future__ import annotations

import gc
import tracemalloc
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from proxy.protocol.frame import HEADER_SIZE, MAX_PAYLOAD, FrameDecoder, Type, encode
from proxy.protocol.replay import ReplayLog
from proxy.protocol.stream import ReceiveHalf, SendHalf
from tests.pair import Pair

if TYPE_CHECKING:
    from collections.abc import Iterator

TOTAL = 32_768  # bytes, of which the bounds below leave room for one piece that is being joined
#: 1 and 2 are the worst; the others lie around the size up to which pieces are joined, also where none goes with its neighbour.
PATTERNS = [[1], [2], [100], [2000], [2049], [4096], [1, 4096], [2, 4095, 4096], [5000, 1]]
every_pattern = pytest.mark.parametrize("sizes", PATTERNS, ids=str)


class Traced:
    held = peak = 0


@contextmanager
def traced() -> Iterator[Traced]:
    """What is still held of what was allocated inside, and the most that was at any moment."""
    result = Traced()
    gc.collect()
    gc.disable()  # whatever the collector ends of other tests, and tells its watchers, would count here
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        yield result
        after, peak = tracemalloc.get_traced_memory()
        result.held, result.peak = after - before, peak - before
    finally:
        tracemalloc.stop()
        gc.enable()


def pieces(sizes: list[int], data: bytes = bytes(TOTAL)) -> Iterator[bytes]:
    """Each an object of its own, as from a socket."""
    position, number = 0, 0
    while position < len(data):
        size = sizes[number % len(sizes)]
        yield bytes(bytearray(data[position : position + size]))
        position += size
        number += 1


@every_pattern
def test_what_is_queued_to_be_sent(sizes: list[int]) -> None:
    half = SendHalf()
    with traced() as memory:
        for piece in pieces(sizes):
            half.write(piece)
    assert half.queued == TOTAL <= memory.held
    assert memory.peak < 1.5 * TOTAL


@every_pattern
def test_what_waits_to_be_read(sizes: list[int]) -> None:
    half = ReceiveHalf(0.0)
    with traced() as memory:
        for piece in pieces(sizes):
            half.feed(piece)
    assert half.buffered == TOTAL <= memory.held
    assert memory.peak < 1.5 * TOTAL


@every_pattern
def test_what_is_not_acknowledged(sizes: list[int]) -> None:
    log = ReplayLog()
    with traced() as memory:
        for piece in pieces(sizes):
            log.append(piece)
    assert log.size == TOTAL <= memory.held
    assert memory.peak < 1.5 * TOTAL


@every_pattern
def test_a_frame_that_comes_in_pieces(sizes: list[int]) -> None:
    wire = encode(Type.DATA, 1, bytes(MAX_PAYLOAD))[:-1]
    decoder = FrameDecoder()
    with traced() as memory:
        for piece in pieces(sizes, wire):
            assert not list(decoder.feed(piece))
    assert memory.held >= MAX_PAYLOAD - 1
    assert memory.peak < 1.5 * MAX_PAYLOAD + 4096


def test_the_rest_of_a_large_read_is_not_held_by_the_beginning_of_a_frame() -> None:
    """One read brings the end of one frame and the first bytes of the next."""
    decoders = [FrameDecoder() for _ in range(20)]
    with traced() as memory:
        for decoder in decoders:
            wire = encode(Type.DATA, 1, bytes(MAX_PAYLOAD)) + encode(Type.DATA, 1, b"next")[:5]
            assert len(list(decoder.feed(wire))) == 1
        del wire
    assert memory.held < 20 * 2000


@pytest.mark.parametrize("local_sends", [True, False], ids=["local sends", "exit sends"])
def test_a_window_of_messages_of_two_bytes(local_sends: bool) -> None:
    """Each in a flight of its own, to an app that does not read, and none acknowledged: the headers are kept as well."""
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
    assert memory.held < 1.5 * (theirs.receiver.buffered + sender.kept)
