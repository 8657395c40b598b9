"""Drives a session's core over carriers, and makes each of its streams a trio stream.

Three tasks for each carrier (one reads, one writes, one keeps time) touch the core between awaits only, so there is no lock. What the core
says happened wakes the one task that waits for it.
"""

from __future__ import annotations

import operator
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

import trio

from .address import Address
from .errors import OpenError, Reason
from .protocol.event import (
    Code,
    Event,
    GoneAway,
    StreamAccepted,
    StreamOpened,
    StreamReadable,
    StreamReset,
    StreamWritable,
)
from .protocol.frame import HEADER_SIZE, MAX_PAYLOAD

if TYPE_CHECKING:
    from .protocol.mux import Mux
    from .protocol.stream import Reset, Stream

# Our choices.
#: How much is chosen at once: little while the carrier is slow, so that what comes next is chosen late; while it is fast, as much as one
#: read of an app gives, in frames.
LEAST_BATCH, MOST_BATCH = 16_384, 4 * (MAX_PAYLOAD + HEADER_SIZE)
#: A batch is what the kernel takes over in so many seconds: that is how long a chat message may wait for one.
BATCH_TIME = 0.01
#: How long a GO_AWAY may take to be sent, in seconds.
LAST_WORD = 1.0
READ_SIZE = 262_144


class Wakeup:
    """Lets one task wait for a word of others. A word that nobody waits for is lost: look first, then wait, with no await in between."""

    __slots__ = ("_task",)

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None

    async def wait(self) -> None:
        """Raises trio.BusyResourceError where another task waits already."""
        if self._task is not None:
            raise trio.BusyResourceError("another task is waiting here")
        self._task = trio.lowlevel.current_task()

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            self._task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def wake(self) -> None:
        if self._task is not None:
            trio.lowlevel.reschedule(self._task)
            self._task = None


class SessionStream(trio.abc.HalfCloseableStream):
    """One stream of a session. It stays whole while its session goes from carrier to carrier.

    Raises trio.BrokenResourceError once the stream was reset; its text says by whom and why, and where the exit never connected its cause is
    the OpenError. What was given to a cancelled `send_all` may still be sent. `aclose` sends what is queued and END; where it is cancelled, or the app has left something unread, it resets.
    """

    def __init__(self, session: Session, stream: Stream) -> None:
        self._session = session
        self._stream = stream
        self._readable = Wakeup()
        self._writable = Wakeup()
        self._sending = self._closed = False
        self._scope: trio.CancelScope | None = None

    def __repr__(self) -> str:
        return f"<SessionStream of {self._stream!r}>"

    @property
    def address(self) -> Address:
        """Where it goes."""
        return self._stream.address

    def _check(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this stream is closed")
        if (reset := self._stream.reset) is not None:
            cause = None if self._stream.accepted else OpenError(reset.reason, reset.text)
            raise trio.BrokenResourceError(_reset_text(reset)) from cause

    async def wait_accepted(self) -> None:
        """Until the exit is connected. Raises OpenError with the exit's reason."""
        while not self._stream.accepted:
            if self._stream.reset is not None:
                raise OpenError(self._stream.reset.reason, self._stream.reset.text)
            await self._readable.wait()

    def until_reset(self) -> trio.CancelScope:
        """A scope that is cancelled when the stream is reset: at the exit, nobody waits for the connection any more."""
        self._scope = trio.CancelScope()
        if self._stream.reset is not None:
            self._scope.cancel()
        return self._scope

    def accept(self) -> None:
        """At the exit: says that it is connected."""
        self._session.mux.accept(self._stream)
        self._session.wake_writer()

    def reset(self, reason: Reason, text: str = "") -> None:
        """Ends both directions at once."""
        self._closed = True
        self._session.mux.reset(self._stream, reason, text)
        self._session.forget(self._stream)
        self._session.wake_writer()
        self.wake_all()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._check()
        if self._stream.sender.ending:
            raise trio.ClosedResourceError("the end of this stream was sent")
        self._sending = True
        try:
            if not isinstance(data, bytes):
                data = bytes(data)  # it is kept after we return
            go_on = self._session.mux.write(self._stream, data, trio.current_time())
            self._session.wake_writer()
            if go_on:
                await trio.lowlevel.checkpoint()
                return
            await self._writable.wait()
            self._check()
        finally:
            self._sending = False

    async def wait_send_all_might_not_block(self) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._check()
        await trio.lowlevel.checkpoint()  # every `send_all` leaves little queued, so there is room

    async def send_eof(self) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._check()
        self._session.mux.write_end(self._stream, trio.current_time())
        self._session.wake_writer()
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if max_bytes is not None and operator.index(max_bytes) < 1:
            raise ValueError("max_bytes must be >= 1")
        limit = max_bytes or READ_SIZE
        receiver = self._stream.receiver
        waited = False
        await trio.lowlevel.checkpoint_if_cancelled()  # before anything is taken that a cancellation would lose
        while True:
            self._check()
            if receiver.buffered:
                data = self._session.mux.read(self._stream, limit, trio.current_time())
                self._session.wake_writer()
                if not waited:
                    await trio.lowlevel.cancel_shielded_checkpoint()
                return data
            if receiver.ended:
                await trio.lowlevel.checkpoint()
                return b""
            await self._readable.wait()
            waited = True

    async def aclose(self) -> None:
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled:
            self.reset(Reason.CANCELLED)
            raise
        self._closed = True
        self._session.mux.close(self._stream, trio.current_time())
        self._session.forget(self._stream)
        self._session.wake_writer()
        self.wake_all()

    def wake_all(self) -> None:
        """The stream was reset or closed: whoever waits looks again."""
        self._readable.wake()
        self._writable.wake()
        if self._scope is not None and self._stream.reset is not None:
            self._scope.cancel()

    def wake_reader(self) -> None:
        self._readable.wake()

    def wake_sender(self) -> None:
        self._writable.wake()


def _reset_text(reset: Reset) -> str:
    return f"the stream was reset: {reset.reason.name.lower()}" + (f" ({reset.text})" if reset.text else "")


#: What to do with a stream that the local side opened; it runs until the stream is done with, and never raises.
Accept: TypeAlias = Callable[[SessionStream], None]
Refused: TypeAlias = Callable[[Address], None]


class Session:
    """A session and its streams. `accept` is called for each stream that the peer opens, `refused` with where each stream was to go that the
    peer resets without having accepted it; neither may wait.
    """

    def __init__(self, mux: Mux, accept: Accept | None = None, refused: Refused | None = None) -> None:
        self.mux = mux
        self._accept = accept
        self._refused = refused
        self._streams: dict[int, SessionStream] = {}
        self._output = Wakeup()
        self._carrier: trio.CancelScope | None = None
        self._carrier_gone = trio.Event()
        self._timer: trio.CancelScope | None = None
        self.over = trio.Event()  # set when the session has ended and its streams are reset

    def __repr__(self) -> str:
        return f"<Session {'on a carrier' if self._carrier else 'waiting'}, {self.mux!r}>"

    def open(self, address: Address) -> SessionStream:
        """A stream that may be written to at once. Raises OpenError where the session takes none."""
        stream = self._made(self.mux.open(address, trio.current_time()))
        self.wake_writer()
        return stream

    def _made(self, stream: Stream) -> SessionStream:
        made = self._streams[stream.id] = SessionStream(self, stream)
        return made

    def forget(self, stream: Stream) -> None:
        """Nobody waits for anything of it any more."""
        self._streams.pop(stream.id, None)

    def wake_writer(self) -> None:
        """Call after anything that may have given the core something to say."""
        if self.mux.wants_to_send:
            self._output.wake()

    def go_away(self, code: Code, text: str) -> None:
        """Tells the peer; with DONE streams go on to their end, with any other code the session is over and its carrier ends when it was told."""
        self.mux.go_away(code, text)
        self._handle(self.mux.take_events())
        self.wake_writer()

    def lost(self, text: str) -> None:
        """The session has ended without the peer: resets its streams. Where it is over already, the carrier ends when the peer was told why."""
        if self.mux.over is not None:
            return
        self.mux.session_lost(text)
        self._handle(self.mux.take_events())
        if self._carrier is not None:
            self._carrier.cancel()

    async def detach(self) -> None:
        """Gives up the carrier that it is on. After that no byte of it reaches the core any more."""
        while self._carrier is not None:
            self._carrier.cancel()
            await self._carrier_gone.wait()

    async def run_carrier(self, carrier: trio.abc.Stream, first: bytes = b"") -> str:
        """Until the carrier breaks, is dead, or is given up; returns why, for people. `first`: what came behind the hello or the welcome.

        The core must know of the carrier already. The carrier is closed in any case. Never raises for what a peer or a network does.
        """
        assert self._carrier is None, "one carrier at a time"
        why: list[str] = []
        self._carrier_gone = trio.Event()
        with trio.CancelScope() as self._carrier:
            try:
                async with trio.open_nursery() as nursery:
                    for task in (self._write, self._keep_time):
                        nursery.start_soon(self._run_part, task, carrier, nursery.cancel_scope, why)
                    self._handle(self.mux.receive_data(first, trio.current_time()) if first else [])
                    await self._run_part(self._read, carrier, nursery.cancel_scope, why)
            finally:
                self._carrier = None
                self._carrier_gone.set()
                with trio.CancelScope(shield=True):
                    await trio.aclose_forcefully(carrier)
        return self._last_word() or (why[0] if why else "it was given up for another one")

    async def _run_part(
        self,
        part: Callable[[trio.abc.Stream], Awaitable[str]],
        carrier: trio.abc.Stream,
        scope: trio.CancelScope,
        why: list[str],
    ) -> None:
        """The one error boundary of a carrier: the first part that ends it says why."""
        try:
            reason = await part(carrier)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            reason = f"it broke ({exc.__cause__ or exc})"
        why.append(reason)
        scope.cancel()

    async def _read(self, carrier: trio.abc.Stream) -> str:
        while True:
            data = await carrier.receive_some()
            if not data:
                return "the other side closed it"
            self._handle(self.mux.receive_data(bytes(data), trio.current_time()))
            self.wake_writer()
            self._arm()
            if self.mux.over is not None:
                with trio.move_on_after(LAST_WORD if self.mux.wants_to_send else 0):
                    await trio.sleep_forever()  # the writer ends the carrier when it has said why
                return ""

    def _last_word(self) -> str:
        return f"the session has ended: {self.mux.over.text}" if self.mux.over is not None else ""

    async def _write(self, carrier: trio.abc.Stream) -> str:
        batch, pace = LEAST_BATCH, 0.0  # bytes; seconds for a byte, smoothed
        while True:
            while not self.mux.wants_to_send:
                await self._output.wait()
            start = trio.current_time()
            data = self.mux.data_to_send(batch, start)
            self._handle(self.mux.take_events())
            self._arm()
            await carrier.send_all(data)
            if self.mux.over is not None and not self.mux.wants_to_send:
                return ""
            if len(data) >= batch:
                pace += ((trio.current_time() - start) / len(data) - pace) / 4
                batch = int(min(max(BATCH_TIME / max(pace, 1e-12), LEAST_BATCH), MOST_BATCH))

    async def _keep_time(self, _carrier: trio.abc.Stream) -> str:
        while True:
            with trio.CancelScope(deadline=self.mux.next_timer()) as self._timer:
                await trio.sleep_forever()
            if not self.mux.handle_timer(trio.current_time()):
                return "nothing was heard on it for seconds"
            self.wake_writer()

    def _arm(self) -> None:
        """Call where the next timer may have come nearer."""
        if self._timer is not None:
            timer = self.mux.next_timer()
            if timer < self._timer.deadline:
                self._timer.deadline = timer

    def _handle(self, events: list[Event]) -> None:
        for event in events:
            _HANDLERS[type(event)](self, event)

    def _on_opened(self, event: StreamOpened) -> None:
        assert self._accept is not None, "the core lets only the exit be opened streams at"
        self._accept(self._made(event.stream))

    def _on_readable(self, event: StreamReadable | StreamAccepted) -> None:
        if (stream := self._streams.get(event.stream.id)) is not None:
            stream.wake_reader()

    def _on_writable(self, event: StreamWritable) -> None:
        if (stream := self._streams.get(event.stream.id)) is not None:
            stream.wake_sender()

    def _on_reset(self, event: StreamReset) -> None:
        if self._refused is not None and not event.stream.accepted:
            self._refused(event.stream.address)
        if (stream := self._streams.pop(event.stream.id, None)) is not None:
            stream.wake_all()

    def _on_gone_away(self, _event: GoneAway) -> None:
        if self.mux.over is not None:
            self.over.set()


_HANDLERS: dict[type, Callable[..., None]] = {
    StreamOpened: Session._on_opened,
    StreamAccepted: Session._on_readable,
    StreamReadable: Session._on_readable,
    StreamWritable: Session._on_writable,
    StreamReset: Session._on_reset,
    GoneAway: Session._on_gone_away,
}
