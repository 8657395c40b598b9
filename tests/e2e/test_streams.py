"""Many streams on one connection: how many there are, what they leave behind, and what one of them can do to others."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.e2e.apps import body_size, connect_by_socks, receive, receive_head, request
from tests.e2e.machine import connections, wait_until
from tests.e2e.pairs import start_pair
from tests.e2e.stall import BIG, STALL_SECONDS, fetch

if TYPE_CHECKING:
    import socket
    import threading
    from collections.abc import Iterator

    from tests.e2e.machine import Programs
    from tests.e2e.pairs import Pair
    from tests.e2e.servers import Body, Nginx
    from tests.e2e.stall import Stall

pytestmark = pytest.mark.e2e

STREAMS = 500
#: The largest window of a stream (docs/protocol.md, section 6), and what a process may take besides for anything else.
WINDOW, SLACK = 16 * 2**20, 32 * 2**20
#: Two busy cores run other tests at the same time. A stream that waits for the stalled one waits a minute.
SLOW_SECONDS = 5.0


@pytest.fixture
def quiet_pair(programs: Programs) -> Iterator[Pair]:
    """Used by one test only, so that every descriptor is the test's."""
    pair = start_pair(programs)
    yield pair
    for program in pair.programs:
        program.stop()


def descriptors(pair: Pair) -> list[int]:
    return [program.descriptors() for program in pair.programs]


def settled_descriptors(pair: Pair) -> list[int]:
    """What is open when the tunnel stands and no app is there."""
    wait_until(lambda: connections(pair.exit.port) == 1, "one carrier")
    return descriptors(pair)


@pytest.mark.usefixtures("bodies")
def test_five_hundred_streams_are_one_connection_and_leave_nothing(quiet_pair: Pair, nginx: Nginx) -> None:
    fetch(quiet_pair, nginx, 1)  # what is opened once and for all is open now
    wait_until(lambda: connections(quiet_pair.port) == 0, "no app")
    before = settled_descriptors(quiet_pair)
    with contextlib.ExitStack() as held:
        streams: list[socket.socket] = []
        for _ in range(STREAMS):
            reply, connection = connect_by_socks(quiet_pair.port, "127.0.0.1", nginx.http_port)
            streams.append(held.enter_context(connection))
            assert reply == 0
        for connection in streams:
            connection.sendall(request("/1"))
        for connection in streams:
            assert len(receive(connection, body_size(receive_head(connection)))) == 1
        assert connections(quiet_pair.port) == STREAMS
        assert connections(quiet_pair.exit.port) == 1
        assert min(descriptors(quiet_pair)) >= STREAMS
    wait_until(lambda: descriptors(quiet_pair) == before, f"{before} descriptors again")
    assert connections(quiet_pair.exit.port) == 1
    assert len(fetch(quiet_pair, nginx, 1)) == 1


@pytest.mark.last("stalled")
def test_an_app_that_stops_reading_for_a_minute_slows_nobody(
    stalled: tuple[Stall, threading.Thread], bodies: dict[int, Body]
) -> None:
    seen, thread = stalled
    thread.join(STALL_SECONDS + 60)
    assert not thread.is_alive()
    assert seen.failure == ""
    assert seen.lasted >= STALL_SECONDS
    assert max(seen.waits) < SLOW_SECONDS
    assert max(seen.growth) < WINDOW + SLACK
    assert seen.digest == bodies[BIG].digest
