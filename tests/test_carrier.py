"""A carrier beside its session: what ends it, when it is uneasy, and how it comes to its end."""

from __future__ import annotations

import itertools
import math
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from proxy.carrier import DEAD as SAYS_DEAD
from proxy.carrier import FIRST_BATCH, GROWTH, HELD, LEAST_BATCH, OVERTAKEN, RECORD_EXTRA, SEGMENT, _Kernel
from proxy.protocol.event import Code
from proxy.protocol.flight import PAUSE
from proxy.protocol.frame import MAX_PAYLOAD
from proxy.protocol.liveness import DEAD, SUSPECT
from proxy.protocol.mux import Mux
from proxy.protocol.schedule import LITTLE
from proxy.protocol.stream import INITIAL_CREDIT
from proxy.session import Session
from tests.pair import ADDRESS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    from proxy.carrier import Carrier
    from proxy.session_stream import SessionStream


class Ends:
    """The sessions of both sides, on one carrier, and why that ended on each."""

    def __init__(self, nursery: trio.Nursery, volume: float) -> None:
        self.opened: list[SessionStream] = []
        self.local = Session(Mux(opens=True, now=trio.current_time()))
        self.exit = Session(Mux(opens=False, now=trio.current_time()), self.opened.append)
        self.nursery = nursery
        self.why: dict[Session, str] = {}
        self.local.mux.carrier_made(trio.current_time())
        self.local.mux.welcomed(0, 0, trio.current_time())
        self.near, self.far = memory_stream_pair()
        nursery.start_soon(self._run, self.local, self.near, volume)
        nursery.start_soon(self._run, self.exit, self.far, math.inf)

    async def _run(self, session: Session, stream: trio.abc.HalfCloseableStream, volume: float) -> None:
        self.why[session] = await session.run_carrier(stream, volume=volume)

    @property
    def carrier(self) -> Carrier:
        """The local side's, while it is there."""
        assert self.local.carrier is not None
        return self.local.carrier

    def silence(self) -> None:
        """The exit hears no more of the local side."""

        async def swallow(data: bytes | bytearray | memoryview) -> None:
            await trio.lowlevel.checkpoint()

        self.near.send_all = swallow  # type: ignore[method-assign]


@asynccontextmanager
async def two_ends(volume: float = math.inf) -> AsyncIterator[Ends]:
    with trio.fail_after(600):
        async with trio.open_nursery() as nursery:
            ends = Ends(nursery, volume)
            await wait_all_tasks_blocked()
            yield ends
            nursery.cancel_scope.cancel()


async def test_suspect_then_dead(autojump_clock: MockClock) -> None:
    async with two_ends() as ends:
        carrier = ends.carrier
        ends.silence()
        start = trio.current_time()
        ends.local.open(ADDRESS)
        await carrier.uneasy.wait()
        assert carrier.suspect
        assert trio.current_time() - start == pytest.approx(SUSPECT)
        await carrier.gone.wait()
        assert trio.current_time() - start == pytest.approx(DEAD)
        await wait_all_tasks_blocked()
        assert ends.why[ends.local] == SAYS_DEAD


async def test_a_suspect_carrier_calms_down(autojump_clock: MockClock) -> None:
    async with two_ends() as ends:
        carrier = ends.carrier
        ends.silence()
        ends.local.open(ADDRESS)
        await carrier.uneasy.wait()
        del ends.near.send_all
        ends.exit.mux.network_changed(trio.current_time())  # it has something to say
        ends.exit.wake_writer()
        await trio.sleep(0.1)
        assert not carrier.suspect
        assert not carrier.uneasy.is_set()


async def test_a_carrier_is_worn_by_what_goes_through_it(autojump_clock: MockClock) -> None:
    async with two_ends(volume=50_000) as ends:
        carrier = ends.carrier
        stream = ends.local.open(ADDRESS)
        await stream.send_all(bytes(40_000))
        await wait_all_tasks_blocked()
        assert not carrier.uneasy.is_set()
        await stream.send_all(bytes(20_000))
        await wait_all_tasks_blocked()
        assert carrier.uneasy.is_set()
        assert not carrier.suspect
        carrier.spare()
        await stream.send_all(bytes(60_000))
        await wait_all_tasks_blocked()
        assert not carrier.uneasy.is_set()


MUCH = 2_000_000
#: One batch, also the first, and more than the kernel may hold then.
LESS = FIRST_BATCH - 1000
#: More than any kernel may hold.
FULL = 10**9


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """That of both sides: it takes what it is told, and says what it has not sent."""
    kernel = SimpleNamespace(pace=lambda _rate: None, hold=lambda _size: None, unsent=0)
    monkeypatch.setattr(trio.StapledStream, "tcp", kernel, raising=False)
    return kernel


async def drain(ends: Ends, size: int) -> None:
    """Reads so many bytes of the stream that was opened last, at the exit."""
    await wait_all_tasks_blocked()
    while size:
        size -= len(await ends.opened[-1].receive_some(min(size, MAX_PAYLOAD)))


async def test_what_is_sent_at_once_grows_with_what_was_sent_and_is_little_again_after_a_pause(
    autojump_clock: MockClock,
) -> None:
    async with two_ends() as ends:
        sizes: list[int] = []
        send_all = ends.near.send_all

        async def record(data: bytes | bytearray | memoryview) -> None:
            sizes.append(len(data))
            await send_all(data)

        ends.near.send_all = record  # type: ignore[method-assign]
        stream = ends.local.open(ADDRESS)
        for _ in range(2):
            sizes.clear()
            ends.nursery.start_soon(stream.send_all, bytes(MUCH))
            await drain(ends, MUCH)
            sent = 0
            for size in sizes:
                assert size <= max(FIRST_BATCH, GROWTH * sent) + 100  # and the headers
                sent += size
            assert max(sizes) > LEAST_BATCH
            await trio.sleep(PAUSE + 1)


async def test_what_is_moved_at_once_is_what_the_core_says(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As beside messages, which wait for it."""
    few = 10_000
    monkeypatch.setattr(Mux, "chunk", lambda _mux, _now: few)
    async with two_ends() as ends:
        written: list[int] = []
        asked: list[int | None] = []
        send_all, receive_some = ends.near.send_all, ends.far.receive_some

        async def send(data: bytes | bytearray | memoryview) -> None:
            written.append(len(data))
            await send_all(data)

        async def receive(max_bytes: int | None = None) -> bytes | bytearray:
            asked.append(max_bytes)
            return await receive_some(max_bytes)

        ends.near.send_all, ends.far.receive_some = send, receive  # type: ignore[method-assign]
        ends.nursery.start_soon(ends.local.open(ADDRESS).send_all, bytes(MUCH))
        await drain(ends, MUCH)
        assert few < max(written) <= few + 100  # and the headers
        assert set(asked) == {few}


async def test_a_writer_that_never_waits_gives_others_a_turn(autojump_clock: MockClock) -> None:
    async with two_ends() as ends:
        turns, sent, written = 0, 0, list[int]()

        async def send_soon(data: bytes) -> bool:
            nonlocal sent
            sent += len(data)
            written.append(turns)
            return False

        async def take_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await trio.lowlevel.checkpoint()

        ends.near.send_soon = send_soon  # type: ignore[attr-defined]
        ends.nursery.start_soon(ends.local.open(ADDRESS).send_all, bytes(INITIAL_CREDIT))
        ends.nursery.start_soon(take_turns)
        while sent < INITIAL_CREDIT:
            await trio.lowlevel.checkpoint()
        assert len(written) > 3
        assert max(map(written.count, written)) <= 2  # who of two is first each time is chance


async def test_what_is_sent_is_chosen_when_the_kernel_has_room(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, kernel: SimpleNamespace
) -> None:
    room = trio.Event()

    async def wait(_self: object) -> None:
        await room.wait()

    async with two_ends() as ends:
        bulk = ends.local.open(ADDRESS)
        await bulk.send_all(bytes(LITTLE))
        await drain(ends, LITTLE)
        kernel.unsent = FULL
        monkeypatch.setattr(trio.StapledStream, "wait_send_all_might_not_block", wait)
        ends.nursery.start_soon(bulk.send_all, bytes(MUCH))
        await wait_all_tasks_blocked()
        chat = ends.local.open(ADDRESS)
        await chat.send_all(b"hello")
        await wait_all_tasks_blocked()
        assert len(ends.opened) == 1
        taken: list[bytes] = []
        data_to_send = ends.local.mux.data_to_send

        def record(limit: int, now: float) -> bytes:
            taken.append(data_to_send(limit, now))
            return taken[-1]

        monkeypatch.setattr(ends.local.mux, "data_to_send", record)
        kernel.unsent = 0
        room.set()
        await wait_all_tasks_blocked()
        assert b"hello" in taken[0]
        assert await ends.opened[1].receive_some() == b"hello"


async def test_a_kernel_that_can_is_told_the_pace_and_what_to_hold(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, kernel: SimpleNamespace
) -> None:
    paces: list[float] = []
    held: list[int] = []
    kernel.pace, kernel.hold = paces.append, held.append
    steps = itertools.chain([math.inf, 1e6, 1.01e6, 2e6, 2e6, math.inf], itertools.repeat(math.inf))
    monkeypatch.setattr(Mux, "pace", property(lambda mux: next(steps) if mux._opens else math.inf))
    async with two_ends() as ends:
        stream = ends.local.open(ADDRESS)
        ends.nursery.start_soon(stream.send_all, bytes(MUCH))
        await drain(ends, MUCH)
    assert paces == [1e6, 2e6, math.inf]  # not of one that differs by less than a twentieth
    assert held[0] < FIRST_BATCH
    assert max(held) > LEAST_BATCH


async def test_a_kernel_that_says_it_is_full_and_that_it_has_room_is_written_to(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, kernel: SimpleNamespace
) -> None:
    """So it is after a reset, and nothing but the write says that."""
    kernel.unsent = FULL
    waits = 0

    async def wait(_self: object) -> None:
        nonlocal waits
        waits += 1
        assert waits < 100, "it does nothing but look"
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(trio.StapledStream, "wait_send_all_might_not_block", wait)
    async with two_ends() as ends:
        await ends.local.open(ADDRESS).send_all(b"hello")
        await wait_all_tasks_blocked()
        assert await ends.opened[-1].receive_some() == b"hello"
        assert waits


class Asked:
    """A kernel that counts how often it was asked what it has not sent."""

    def __init__(self) -> None:
        self.times = 0
        self.says = 0

    def pace(self, rate: float) -> None: ...

    def hold(self, size: int) -> None: ...

    @property
    def unsent(self) -> int:
        self.times += 1
        return self.says


#: What it may hold while batches are the first.
FIRST_HELD = int(HELD * FIRST_BATCH)


def asked_and_told() -> tuple[Asked, _Kernel]:
    """One that has said that it has sent everything."""
    asked = Asked()
    kernel = _Kernel(SimpleNamespace(tcp=asked))  # type: ignore[arg-type]
    kernel.hold(FIRST_BATCH)
    assert not kernel.full
    assert asked.times == 1
    return asked, kernel


@pytest.mark.parametrize(
    ("size", "fit"),
    [
        (1000, FIRST_HELD // (1000 + RECORD_EXTRA)),
        (1, FIRST_HELD // (1 + RECORD_EXTRA)),  # what TLS adds is most of it
        (FIRST_HELD - 1 - RECORD_EXTRA, 1),
        (FIRST_HELD - RECORD_EXTRA, 0),
    ],
)
def test_a_kernel_is_asked_once_it_can_hold_what_it_may(size: int, fit: int) -> None:
    asked, kernel = asked_and_told()
    for _ in range(fit):
        kernel.took(size)
        assert not kernel.full
    assert asked.times == 1
    kernel.took(size)
    assert not kernel.full
    assert asked.times == 2
    for _ in range(fit):  # there is as much room again
        kernel.took(size)
        assert not kernel.full
    assert asked.times == 2


def test_a_kernel_that_has_much_left_is_asked_sooner() -> None:
    asked, kernel = asked_and_told()
    asked.says = FIRST_HELD - 500
    kernel.took(FIRST_HELD)
    assert not kernel.full
    kernel.took(400)
    assert not kernel.full
    assert asked.times == 2
    asked.says = FIRST_HELD
    kernel.took(400)
    assert kernel.full
    assert kernel.full  # it is asked until it is not
    assert asked.times == 4
    asked.says = 0
    assert not kernel.full


def test_a_kernel_that_may_hold_what_it_takes_anyway_is_not_asked() -> None:
    asked, kernel = asked_and_told()
    kernel.hold(10 * SEGMENT)
    kernel.took(100 * SEGMENT)
    assert not kernel.full
    assert asked.times == 1


async def test_nothing_is_begun_where_it_is_finished_while_the_kernel_has_no_room(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, kernel: SimpleNamespace
) -> None:
    room = trio.Event()

    async def wait(_self: object) -> None:
        await room.wait()

    async with two_ends() as ends:
        stream = ends.local.open(ADDRESS)
        await stream.send_all(bytes(LESS))
        await drain(ends, LESS)
        kernel.unsent = FULL
        monkeypatch.setattr(trio.StapledStream, "wait_send_all_might_not_block", wait)
        await stream.send_all(b"for the next one")
        await wait_all_tasks_blocked()
        ends.carrier.finish()
        room.set()
        await wait_all_tasks_blocked()
        assert ends.local.mux.wants_to_send
        (other,) = ends.opened
        assert not other._stream.receiver.buffered


async def test_both_sides_bring_it_to_its_end(autojump_clock: MockClock) -> None:
    async with two_ends() as ends:
        stream = ends.local.open(ADDRESS)
        await stream.send_all(b"the last words")
        await wait_all_tasks_blocked()
        ends.local.mux.write(stream._stream, b"for the next one", trio.current_time())
        ends.carrier.finish()
        assert await ends.exit.finish(5)
        await wait_all_tasks_blocked()
        assert set(ends.why.values()) == {"it was handed over"}
        (other,) = ends.opened
        assert await other.receive_some() == b"the last words"
        assert ends.local.mux.wants_to_send
        assert ends.local.carrier is None


async def test_a_carrier_that_does_not_come_to_its_end_is_given_up(autojump_clock: MockClock) -> None:
    async with two_ends() as ends:
        start = trio.current_time()

        async def lose_the_end() -> None:
            await trio.lowlevel.checkpoint()

        ends.far.send_eof = lose_the_end  # type: ignore[method-assign]
        assert not await ends.exit.finish(3)
        assert trio.current_time() - start == pytest.approx(3)
        assert ends.exit.carrier is None


async def test_no_carrier_needs_no_end(autojump_clock: MockClock) -> None:
    async with two_ends() as ends:
        await ends.exit.detach()
        assert not await ends.exit.finish(5)


async def test_the_exit_waits_for_a_hello_that_the_end_overtook(autojump_clock: MockClock) -> None:
    async with two_ends() as ends:
        start = trio.current_time()
        ends.carrier.finish()
        await trio.sleep(OVERTAKEN / 2)
        assert await ends.exit.finish(5)
        assert trio.current_time() - start == pytest.approx(OVERTAKEN / 2)


async def test_an_end_without_a_hello_is_the_end(autojump_clock: MockClock) -> None:
    async with two_ends() as ends:
        ends.carrier.finish()
        await trio.sleep(OVERTAKEN + 0.1)
        assert ends.why[ends.exit] == "the other side closed it"


async def test_given_up_it_is_gone_at_once(autojump_clock: MockClock) -> None:
    async with two_ends() as ends:
        carrier = ends.carrier
        await ends.local.detach()
        assert carrier.gone.is_set()
        assert ends.why[ends.local] == "it was given up for another one"
        await trio.sleep(OVERTAKEN + 0.1)
        assert ends.exit.carrier is None


async def test_the_last_word_is_said_whole_also_where_the_peer_talks_meanwhile(autojump_clock: MockClock) -> None:
    async with two_ends() as ends:
        said: list[bytes] = []
        whole = ends.far.send_all

        async def send_slowly(data: bytes | bytearray | memoryview) -> None:
            await trio.sleep(0.5)
            said.append(bytes(data))
            await whole(data)

        stream = ends.local.open(ADDRESS)
        await trio.sleep(1)  # everything is acknowledged
        ends.far.send_all = send_slowly  # type: ignore[method-assign]
        ends.exit.go_away(Code.CLOSED, "good-bye")
        await trio.sleep(0.1)
        await stream.send_all(b"I am still here")
        await ends.local.over.wait()
        assert b"good-bye" in said[-1]
        await trio.sleep(1)
        assert len(ends.why) == 2
