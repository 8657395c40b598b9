"""A session at the exit as it goes from carrier to carrier; `test_exit.py` has the same over TLS, with what is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from proxy.errors import Reason
from proxy.protocol.frame import Type, encode
from proxy.protocol.handshake import AFTER_WELCOME, NO_TOKEN, Hello, Status, Wanted
from proxy.protocol.mux import Mux
from proxy.served_session import FINISH_TIMEOUT, ServedSession
from proxy.session import Session
from tests.pair import ADDRESS

if TYPE_CHECKING:
    from trio.testing import MockClock

    from proxy.session_stream import SessionStream

KEY_ID = b"anna...."


class Served:
    """A session of which one stream was opened, on a carrier whose other end is `peer`."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.streams: list[SessionStream] = []
        session = Session(Mux(opens=False, now=trio.current_time()), self.streams.append)
        self.it = ServedSession(KEY_ID, session)
        self.turn = self.it.take_turn()
        self.ours, self.peer = memory_stream_pair()
        self.opening = encode(Type.OPEN, 1, ADDRESS.encode())
        nursery.start_soon(session.run_carrier, self.ours, self.opening)

    def hello(self, wanted: Wanted = Wanted.RESUME, received: int = 0, sending: int = AFTER_WELCOME) -> Hello:
        return Hello(KEY_ID, bytes(16), wanted, self.it.token, received, sending)


@pytest.fixture
async def served(nursery: trio.Nursery) -> Served:
    made = Served(nursery)
    await wait_all_tasks_blocked()
    assert len(made.streams) == 1
    return made


async def test_the_last_carrier_has_it(served: Served) -> None:
    assert served.it.has_turn(served.turn)
    later = served.it.take_turn()
    assert not served.it.has_turn(served.turn)
    assert served.it.has_turn(later)


@pytest.mark.parametrize(
    ("hello", "status"),
    [
        (Hello(b"bert....", bytes(16), Wanted.RESUME, NO_TOKEN, 0, AFTER_WELCOME), Status.FOREIGN),
        (Hello(KEY_ID, bytes(16), Wanted.RESUME, NO_TOKEN, 1, AFTER_WELCOME), Status.IMPOSSIBLE),
        (Hello(KEY_ID, bytes(16), Wanted.RESUME, NO_TOKEN, 0, 10**6), Status.IMPOSSIBLE),
        (Hello(KEY_ID, bytes(16), Wanted.HAND_OVER, NO_TOKEN, 1, AFTER_WELCOME), Status.IMPOSSIBLE),
    ],
)
async def test_a_hello_that_cannot_be_leaves_it_where_it_is(served: Served, hello: Hello, status: Status) -> None:
    carrier = served.it.session.carrier
    assert await served.it.move(hello) == (status, 0)
    await wait_all_tasks_blocked()
    assert served.it.session.carrier is carrier
    assert carrier is not None


async def test_a_resume_takes_it_from_a_carrier_that_seems_alive(served: Served) -> None:
    assert await served.it.move(served.hello()) == (Status.RESUMED, 0)
    assert served.it.session.carrier is None
    assert served.it.session.mux.received == len(served.opening)


async def test_what_was_acknowledged_is_older_than_what_is_kept(served: Served) -> None:
    served.streams[0].accept()
    await wait_all_tasks_blocked()
    kept = served.it.session.mux.kept
    assert kept
    await served.peer.send_all(encode(Type.ACK, 0, kept.to_bytes(8, "big")))
    await wait_all_tasks_blocked()
    assert await served.it.move(served.hello(received=0)) == (Status.IMPOSSIBLE, 0)
    assert await served.it.move(served.hello(received=kept)) == (Status.RESUMED, kept)


async def test_only_one_carrier_takes_over_at_a_time(served: Served) -> None:
    statuses = []

    async def move() -> None:
        statuses.append((await served.it.move(served.hello()))[0])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(move)
        nursery.start_soon(move)
    assert sorted(statuses) == [Status.RESUMED, Status.BUSY]
    assert not served.it.moving
    assert await served.it.move(served.hello()) == (Status.RESUMED, 0)


@pytest.mark.parametrize(
    ("old", "seconds", "repeated"),
    [("comes to its end", 0.0, False), ("breaks", 0.0, True), ("is silent", FINISH_TIMEOUT, True)],
)
async def test_a_hand_over(served: Served, old: str, seconds: float, repeated: bool, autojump_clock: MockClock) -> None:
    """Where the old carrier comes to its end nothing is sent twice, and where it does not everything that may be lost."""
    served.streams[0].accept()
    await wait_all_tasks_blocked()
    kept = served.it.session.mux.kept
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        if old == "comes to its end":
            nursery.start_soon(served.peer.send_eof)
        elif old == "breaks":
            nursery.start_soon(served.ours.aclose)
        verdict = await served.it.move(served.hello(Wanted.HAND_OVER))
    assert verdict == (Status.RESUMED, 0 if repeated else kept)
    assert trio.current_time() - start == pytest.approx(seconds)
    assert served.it.session.carrier is None
    said = served.it.session.mux.data_to_send(1 << 20, trio.current_time())
    assert (encode(Type.OPENED, 1) in said) is repeated


async def test_a_hand_over_without_a_carrier_is_a_resume(served: Served) -> None:
    await served.it.session.detach()
    assert await served.it.move(served.hello(Wanted.HAND_OVER)) == (Status.RESUMED, 0)


async def test_a_session_that_ends_meanwhile_is_unknown(served: Served) -> None:
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def end() -> None:
            await wait_all_tasks_blocked()
            served.streams[0].reset(Reason.CANCELLED)
            served.it.session.lost("a test ends it")

        assert await served.it.move(served.hello(Wanted.HAND_OVER)) == (Status.UNKNOWN, 0)
    assert served.it.is_over
