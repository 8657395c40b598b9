"""One carrier while a session is on it: three tasks that read, write and keep time.

They touch the session's core between awaits only, so there is no lock.

    running --finish()--> finishing: writes what was begun and the end, and reads on --the end of both--> gone
       |                                        |
       '------ broken, dead or given up --------'---------------------------------------------------------> gone
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import trio

from .protocol.budget import LARGEST
from .protocol.flight import PAUSE
from .protocol.frame import framed
from .protocol.liveness import Health
from .shortcut import send_soon

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .protocol.mux import Mux
    from .session_stream import Wakeup
    from .tcp import TCPStream

# Our choices. Times are in seconds.
#: How much is chosen at once: little while the carrier is slow, so that what comes next is chosen late; while it is fast, as much as one
#: read of an app gives, in frames.
LEAST_BATCH, MOST_BATCH = 16_384, framed(LARGEST)
#: TCP's congestion window begins with ten segments (RFC 6928) and grows with what was sent. The first batches are so small that one of them fits
#: into it, as a TLS record and beside the welcome: after a broken carrier apps get bytes with the welcome and not a round trip or two later. Later
#: ones are this part of what was sent since the last `PAUSE`, or what is chosen next would wait in the kernel, a round trip or more, where TCP has much already.
FIRST_BATCH, GROWTH = 8_192, 1 / 8
#: A batch is what the kernel takes over in so many seconds: that is how long a chat message may wait for one.
BATCH_TIME = 0.01
#: Of a batch, what the kernel may have waiting to be sent: or it would have nothing before its writer has woken up. So it is `LEAST_BATCH` at
#: least, but with the first batches: with one of them less than ten segments, and what comes next waits no longer than one round trip.
HELD = 0.5
#: However little the kernel may hold, it takes what makes the last of its segments whole, and holds back only who waits for room.
SEGMENT = 65_536
#: By how much a TLS record is longer than what is in it: header, content type and tag (RFC 8446, section 5.2).
RECORD_EXTRA = 5 + 1 + 16
#: The kernel is told of another pace where it differs by this factor: a system call for each acknowledgement would be too many.
PACED = 1.05
#: How long a GO_AWAY may take to be sent.
LAST_WORD = 1.0
#: How long an exit waits for the hello of a carrier that takes over, where the end of the old one overtook it.
OVERTAKEN = 2.0
#: The reason of a carrier that is dead.
DEAD = "nothing was heard on it for seconds"


class Rider(Protocol):
    """The session that is on it."""

    mux: Mux
    output: Wakeup  # for the writer, when the core has something to say

    @property
    def lingers(self) -> bool:
        """Whether another carrier may be about to take over where this one comes to its end."""

    def receive(self, data: bytes) -> None:
        """Called with what the carrier brought."""

    def handle_events(self) -> None:
        """Called after anything of the core that may have made something happen, and did not return it."""

    def wake_writer(self) -> None:
        """Called after anything that may have given the core something to say."""


class _Kernel:
    """What it was told about sending. Streams that are not over TCP have none to tell."""

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self._tcp: TCPStream | None = getattr(stream, "tcp", None)
        self._paced = math.inf  # bytes a second
        self._held = LEAST_BATCH  # bytes
        self._most = math.inf  # bytes that it may have waiting: what it said last, and what it took since

    def pace(self, rate: float) -> None:
        if self._tcp is not None and rate != self._paced and not self._paced / PACED < rate < self._paced * PACED:
            self._paced = rate
            self._tcp.pace(rate)

    def hold(self, batch: int) -> None:
        """What may wait in the kernel while batches are of this size: while they are the first it is told once."""
        held = int(HELD * batch) if batch < LEAST_BATCH else max(int(HELD * batch), LEAST_BATCH)
        if self._tcp is not None and not self._held / 2 < held < self._held * 2:
            self._held = held
            self._tcp.hold(held)

    @property
    def full(self) -> bool:
        """Whether it holds as much as it may, where that is less than it takes in any case. It is asked where it can be: for messages that come one
        by one that would be a system call for each.
        """
        if self._tcp is None or self._held >= SEGMENT or self._most < self._held:
            return False
        self._most = self._tcp.unsent
        return self._most >= self._held

    def took(self, size: int) -> None:
        """Call when it has taken so many bytes at once: of messages that come one by one each is a record, and of bulk they add nothing that counts."""
        self._most += size + RECORD_EXTRA


class _Batch:
    """How much is chosen at once: `size` bytes."""

    def __init__(self, kernel: _Kernel, now: float) -> None:
        self._kernel = kernel
        self._pace = 0.0  # seconds for a byte, smoothed
        self._restart(now)

    def _restart(self, now: float) -> None:
        self.size, self._sent, self._at = FIRST_BATCH, 0, now
        self._kernel.hold(self.size)

    def begins(self, now: float) -> None:
        """Call before one is chosen."""
        if now > self._at + PAUSE:
            self._restart(now)

    def taken(self, size: int, seconds: float, now: float, *, whole: bool) -> None:
        """Call when the kernel has taken one of so many bytes in this time; `whole`: it was as large as it might be."""
        self._at = now
        self._sent += size
        self._kernel.took(size)
        if whole:
            self._pace += (seconds / size - self._pace) / 4
            steady = min(max(BATCH_TIME / max(self._pace, 1e-12), LEAST_BATCH), MOST_BATCH)
            self.size = int(min(steady, max(GROWTH * self._sent, FIRST_BATCH)))
            self._kernel.hold(self.size)


class Carrier:
    """`volume`: the bytes in both directions after which it is worn."""

    def __init__(self, session: Rider, stream: trio.abc.HalfCloseableStream, volume: float = math.inf) -> None:
        self._session = session
        self._stream = stream
        self._left = volume
        self._scope = trio.CancelScope()
        self._finishing = trio.Event()
        self._said_all = trio.Event()
        self._timer: trio.CancelScope | None = None
        self._writing = False
        self.heard_all = False  # the other side has ended its direction, with everything before that processed
        self.suspect = False
        self.uneasy = trio.Event()  # set while it is suspect or worn: time for another one
        self.gone = trio.Event()

    async def run(self, first: bytes) -> str:
        """Until it breaks, is dead, has come to its end or is given up; returns why, for people. Closes the stream in any case.

        `first`: what came behind the hello or the welcome. Never raises for what a peer or a network does.
        """
        why: list[str] = []
        try:
            with self._scope:
                await self._run_parts(first, why)
        finally:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(self._stream)
            self.gone.set()
        if self._finishing.is_set() and self.heard_all:
            return "it was handed over"
        return self._last_word() or (why[0] if why else "it was given up for another one")

    async def _run_parts(self, first: bytes, why: list[str]) -> None:
        async with trio.open_nursery() as nursery:
            for task in (self._write, self._keep_time):
                nursery.start_soon(self._run_part, task, nursery.cancel_scope, why)
            if first:
                self._session.receive(first)
            await self._run_part(self._read, nursery.cancel_scope, why)

    def give_up(self) -> None:
        """After `gone` no byte of it reaches the core any more."""
        self._scope.cancel()

    def finish(self) -> None:
        """Nothing more is sent but what was begun, and the end; it goes on until the other side has ended too."""
        self._finishing.set()
        self._session.output.wake()

    @property
    def finishing(self) -> bool:
        return self._finishing.is_set()

    def spare(self) -> None:
        """It could not be replaced: whatever it carries from now on does not wear it."""
        self._left = math.inf
        if not self.suspect:
            self.uneasy = trio.Event()

    def look_at_timer(self) -> None:
        """Call where the next timer may have come nearer."""
        if self._timer is not None:
            timer = self._session.mux.next_timer(trio.current_time())
            if timer < self._timer.deadline:
                self._timer.deadline = timer

    async def _run_part(self, part: Callable[[], Awaitable[str]], scope: trio.CancelScope, why: list[str]) -> None:
        """The one error boundary of a carrier: the first part that ends it says why."""
        try:
            reason = await part()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            reason = f"it broke ({exc.__cause__ or exc})"
        why.append(reason)
        scope.cancel()

    def _last_word(self) -> str:
        over = self._session.mux.over
        return f"the session has ended: {over.text}" if over is not None else ""

    def _wear(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            self.uneasy.set()

    async def _read(self) -> str:
        session = self._session
        while data := await self._stream.receive_some(session.mux.chunk(trio.current_time())):
            session.receive(bytes(data))
            self._wear(len(data))
            if self.suspect:
                self._calm_down()
            self.look_at_timer()
            if session.mux.over is not None:
                with trio.move_on_after(LAST_WORD if session.mux.wants_to_send or self._writing else 0):
                    await trio.sleep_forever()  # the writer ends the carrier when it has said why
                return ""
        self.heard_all = True
        if session.lingers:
            with trio.move_on_after(OVERTAKEN):
                await self._finishing.wait()
        if self._finishing.is_set():
            await self._said_all.wait()
        return "the other side closed it"

    def _calm_down(self) -> None:
        self.suspect = False
        if self._left >= 0:
            self.uneasy = trio.Event()

    async def _write(self) -> str:
        mux, output = self._session.mux, self._session.output
        kernel = _Kernel(self._stream)
        batch = _Batch(kernel, trio.current_time())
        while True:
            while not (mux.wants_to_send or self._finishing.is_set()):
                await output.wait()
            start = trio.current_time()
            batch.begins(start)
            if kernel.full and not self._finishing.is_set():
                # Once: after a reset there is always room, and what it holds stays, until something is sent.
                await self._stream.wait_send_all_might_not_block()
            if self._finishing.is_set():
                await self._stream.send_eof()
                self._said_all.set()
                await trio.sleep_forever()
            now = trio.current_time()
            limit = min(batch.size, framed(mux.chunk(now)))
            data = mux.data_to_send(limit, now)
            self._session.handle_events()
            self.look_at_timer()
            if not data:
                continue  # there were datagrams, and all were too old
            kernel.pace(mux.pace)
            await self._send(data)
            self._wear(len(data))
            if mux.over is not None and not mux.wants_to_send:
                return ""
            now = trio.current_time()
            batch.taken(len(data), now - start, now, whole=len(data) >= limit)

    async def _send(self, data: bytes) -> None:
        self._writing = True
        if await send_soon(self._stream)(data) is False and self._session.mux.wants_to_send:
            await trio.lowlevel.checkpoint()  # or the writer would wait for nobody
        self._writing = False

    async def _keep_time(self) -> str:
        mux = self._session.mux
        while True:
            with trio.CancelScope(deadline=mux.next_timer(trio.current_time())) as self._timer:
                await trio.sleep_forever()
            health = mux.handle_timer(trio.current_time())
            if health is Health.DEAD:
                return DEAD
            if health is Health.SUSPECT:
                self.suspect = True
                self.uneasy.set()
            self._session.wake_writer()
