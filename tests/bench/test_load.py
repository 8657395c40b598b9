"""The load against its target, directly: every byte is counted, and what fails is told and never a figure."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import load
import pytest
from load import Plan, Watched, Way
from target import ASK, COUNT, receive, serve, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Not a multiple of any block.
SIZE = 1_000_003


def accepting(serve_one: Callable[[socket.socket], None], connections: int) -> Iterator[Way]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def work() -> None:
            while True:
                try:
                    stream = listener.accept()[0]
                except OSError:  # the test has ended
                    return
                serve_one(stream)

        workers = [threading.Thread(target=work, daemon=True) for _ in range(connections)]
        for worker in workers:
            worker.start()
        yield Way(0, "127.0.0.1", listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
        for worker in workers:
            worker.join(60)
            assert not worker.is_alive()


@pytest.fixture
def way() -> Iterator[Way]:
    yield from accepting(serve, 8)


@pytest.fixture
def stingy() -> Iterator[Way]:
    """A target that sends a byte too few, counts one too few, and says nothing at all to an echo."""

    def serve_less(stream: socket.socket) -> None:
        with stream:
            kind, size = ASK.unpack(stream.recv(ASK.size))
            if kind == b"D":
                stream.sendall(bytes(max(size - 1, 0)))
            elif kind == b"U":
                left = size or SIZE
                while left:
                    left -= len(stream.recv(left))
                stream.sendall(COUNT.pack((size or SIZE) - 1))
            else:
                receive(stream, len(load.MESSAGE))

    yield from accepting(serve_less, 2)


@pytest.mark.parametrize("transfer", [load.download, load.upload])
@pytest.mark.parametrize("streams", [1, 3])
def test_a_transfer_has_a_rate(way: Way, transfer: Callable[[Way, int], None], streams: int) -> None:
    assert load.rate(transfer, way, SIZE, streams) > 0


@pytest.mark.parametrize("size", [0, 1, SIZE])
def test_half_close_gets_its_answer(way: Way, size: int) -> None:
    load.half_close(way, size)


@pytest.mark.parametrize("transfer", [load.download, load.upload, load.half_close])
def test_a_byte_too_few_fails(stingy: Way, transfer: Callable[[Way, int], None]) -> None:
    with pytest.raises(ConnectionError, match=f"{SIZE - 1} of {SIZE} bytes"):
        transfer(stingy, SIZE)


def test_one_stream_that_fails_fails_the_rate(stingy: Way) -> None:
    with pytest.raises(ConnectionError, match="bytes arrived"):
        load.rate(load.download, stingy, SIZE, 2)


def test_short_connections(way: Way) -> None:
    found = load.connects(way, 0.05, workers=2)
    assert found.rate > 0
    assert 0 < found.times.median <= found.times.p99 <= max(found.times)


def test_a_short_connection_without_an_answer_fails(stingy: Way) -> None:
    with pytest.raises(ConnectionError, match="closed after 0"):
        load.connects(stingy, 0.05, workers=2)


@pytest.mark.parametrize("up", [False, True])
def test_a_chat_beside_bulk(way: Way, up: bool) -> None:
    plan = Plan(streams=2, up=up, beside=1, warm_up=0.05, seconds=0.2, pause=0.005)
    watched = load.watch(way, plan)
    assert all(took > 0 for _, took in watched.trips)
    assert len(watched.trips) == len(watched.bulk) == len(watched.beside)
    assert watched.bulk[-1][0] > 0
    assert watched.beside[-1] > 0


def test_bulk_begins_after_the_quiet_time(way: Way) -> None:
    watched = load.watch(way, Plan(quiet=30, warm_up=-30, seconds=0.05, pause=0.005))
    assert watched.mbit == 0


@pytest.mark.parametrize("later", [30, -30])
def test_those_beside_it_begin_at_another_time(way: Way, later: float) -> None:
    watched = load.watch(way, Plan(beside=1, later=later, warm_up=-29.8, seconds=0.1, pause=0.005))
    moved = (watched.bulk[-1][0] > 0, watched.beside[-1] > 0)
    assert moved == (later > 0, later < 0)
    assert watched.counted == pytest.approx(0.2)


def test_bulk_that_ends_fails(stingy: Way) -> None:
    bulk = load.Bulk(stingy, up=False, after=0)  # it asks without end, and gets nothing
    bulk._thread.join(10)
    with pytest.raises(OSError, match="the download ended"):
        bulk.stop()


def test_a_proxy_that_refuses_is_told() -> None:
    def refuse(stream: socket.socket) -> None:
        with stream:
            stream.recv(3)
            stream.sendall(b"\5\0")
            stream.recv(10)
            stream.sendall(b"\5\5\0\1" + bytes(6))
            stream.recv(1)

    for refusing in accepting(refuse, 1):
        with pytest.raises(ConnectionError, match="SOCKS5 reply 5"):
            load.connect(replace(refusing, socks=refusing.port), b"E")


def test_the_figures_leave_out_the_warm_up() -> None:
    trips = [[0.0, 900.0], [1.0, 900.0], [2.0, 10.0], [3.0, 20.0], [4.0, 30.0]]
    bulk = [[0, 0], [9_000_000, 0], [9_000_000, 0], [9_500_000, 1_000_000], [10_000_000, 3_000_000]]
    watched = Watched(100.0, 2.0, trips, bulk, [0, 0, 0, 0, 1_000_000])
    assert (watched.times.median, watched.times.p99) == (20.0, 30.0)
    assert (watched.mbit, watched.beside_mbit) == (16.0, 4.0)
    assert watched.least_share == 0.5


def test_a_percentile_is_one_of_the_values() -> None:
    assert load.percentile(range(1, 101), 0.99) == 100
    assert load.percentile([7.0], 0.99) == 7.0


def test_a_plan_is_told_as_arguments() -> None:
    assert Plan(streams=8, up=True).words()[:2] == ["--streams", "8"]
    assert Plan(up=True).words()[-1] == "--up"
    assert "--up" not in Plan().words()
    assert "--later -8.0" in " ".join(Plan(later=-8.0).words())


def test_a_target_of_its_own_says_its_port() -> None:
    with serving() as port:
        load.upload(Way(0, "127.0.0.1", port), SIZE)
