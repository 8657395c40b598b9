"""Drives a session's core over carriers, and makes each of its streams a trio stream.

What the core says happened wakes the one task that waits for it. A session has at most one carrier, and lives on without one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import trio

from .address import Address
from .carrier import Carrier
from .errors import Reason
from .protocol.event import (
    AssociationOpened,
    Code,
    DatagramReceived,
    GoneAway,
    StreamAccepted,
    StreamOpened,
    StreamReadable,
    StreamReset,
    StreamWritable,
)
from .session_association import SessionAssociation
from .session_stream import SessionStream, Wakeup

if TYPE_CHECKING:
    from .protocol.datagrams import Association
    from .protocol.mux import Mux
    from .protocol.stream import Stream

#: What to do with a stream that the local side opened; it runs until the stream is done with, and never raises.
Accept: TypeAlias = Callable[[SessionStream], None]
#: The same for an association.
AcceptAssociation: TypeAlias = Callable[[SessionAssociation], None]
Refused: TypeAlias = Callable[[Address], None]


class Session:
    """A session and its streams. `accept` is called for each stream that the peer opens, `refused` with where each stream was to go that the
    peer resets without having accepted it; neither may wait.
    """

    def __init__(
        self,
        mux: Mux,
        accept: Accept | None = None,
        refused: Refused | None = None,
        accept_association: AcceptAssociation | None = None,
    ) -> None:
        self.mux = mux
        self._accept = accept
        self._accept_association = accept_association
        self._refused = refused
        self._streams: dict[int, SessionStream] = {}
        self._associations: dict[int, SessionAssociation] = {}
        self.output = Wakeup()  # for the carrier's writer
        self._carrier: Carrier | None = None
        self.over = trio.Event()  # set when the session has ended and its streams are reset

    def __repr__(self) -> str:
        return f"<Session {'on a carrier' if self._carrier else 'waiting'}, {self.mux!r}>"

    @property
    def lingers(self) -> bool:
        """Whether another carrier may be about to take over where this one comes to its end: so at the exit."""
        return self._accept is not None

    def open(self, address: Address) -> SessionStream:
        """A stream that may be written to at once. Raises OpenError where the session takes none."""
        stream = self._made(self.mux.open(address, trio.current_time()))
        self.wake_writer()
        return stream

    @property
    def associations(self) -> int:
        """How many are open."""
        return len(self._associations)

    def associate(self) -> SessionAssociation:
        """An association on which datagrams may be sent at once. Raises OpenError where the session takes none."""
        association = self._associated(self.mux.associate(trio.current_time()))
        self.wake_writer()
        return association

    def _associated(self, association: Association) -> SessionAssociation:
        made = self._associations[association.id] = SessionAssociation(self, association)
        return made

    def _made(self, stream: Stream) -> SessionStream:
        made = self._streams[stream.id] = SessionStream(self, stream)
        return made

    def forget(self, stream: Stream) -> None:
        """Nobody waits for anything of it any more."""
        self._streams.pop(stream.id, None)
        self._associations.pop(stream.id, None)

    def wake_writer(self) -> None:
        """Call after anything that may have given the core something to say."""
        if self.output.awaited and self.mux.wants_to_send:
            self.output.wake()

    def go_away(self, code: Code, text: str) -> None:
        """Tells the peer; with DONE streams go on to their end, with any other code the session is over and its carrier ends when it was told."""
        self.mux.go_away(code, text)
        self.handle_events()
        self.wake_writer()

    def lost(self, text: str) -> None:
        """The session has ended without the peer: resets its streams. Where it is over already, the carrier ends when the peer was told why."""
        if self.mux.over is not None:
            return
        self.mux.session_lost(text)
        self.handle_events()
        if self._carrier is not None:
            self._carrier.give_up()

    def relieve(self) -> None:
        """Resets streams that are not read, where memory is short."""
        self.mux.relieve(trio.current_time())
        self.handle_events()
        self.wake_writer()

    def end_idle(self, since: float, text: str) -> None:
        """Resets the streams over which nothing has gone since then, also those that only wait for an app to take the rest."""
        for stream in [each for each in self._streams.values() if each.quiet_since <= since]:
            stream.reset(Reason.TIMED_OUT, text)

    # ---- carriers

    @property
    def carrier(self) -> Carrier | None:
        return self._carrier

    async def detach(self) -> None:
        """Gives up the carrier that it is on. After that no byte of it reaches the core any more."""
        if self._carrier is not None:
            self._carrier.give_up()
            await self._carrier.gone.wait()

    async def finish(self, seconds: float) -> bool:
        """Lets the carrier come to its end in both directions; returns whether it did. It is gone in any case."""
        carrier = self._carrier
        if carrier is None:
            return False
        carrier.finish()
        with trio.move_on_after(seconds):
            await carrier.gone.wait()
            return carrier.heard_all
        await self.detach()
        return False

    async def run_carrier(
        self, stream: trio.abc.HalfCloseableStream, first: bytes = b"", *, volume: float = math.inf
    ) -> str:
        """`Carrier.run` on this stream; the core must know of the carrier already."""
        assert self._carrier is None, "one carrier at a time"
        carrier = self._carrier = Carrier(self, stream, volume)
        try:
            return await carrier.run(first)
        finally:
            self._carrier = None

    def network_changed(self) -> None:
        """Asks the other side at once, where there is a carrier."""
        if self._carrier is not None:
            self.mux.network_changed(trio.current_time())
            self.wake_writer()
            self._carrier.look_at_timer()

    def measure(self) -> None:
        """Measures a round trip, where there is a carrier."""
        if self._carrier is not None:
            self.mux.measure(trio.current_time())
            self.wake_writer()
            self._carrier.look_at_timer()

    # ---- what the carrier and the streams call

    def receive(self, data: bytes) -> None:
        """Bytes of the carrier."""
        for event in self.mux.receive_data(data, trio.current_time()):
            _HANDLERS[type(event)](self, event)
        self.wake_writer()

    def handle_events(self) -> None:
        """Call after anything of the core that may have made something happen, and did not return it."""
        for event in self.mux.take_events():
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
        if (association := self._associations.pop(event.stream.id, None)) is not None:
            association.wake_all()
            return
        if self._refused is not None and not event.stream.accepted:
            self._refused(event.stream.address)
        if (stream := self._streams.pop(event.stream.id, None)) is not None:
            stream.wake_all()

    def _on_associated(self, event: AssociationOpened) -> None:
        assert self._accept_association is not None, "the core lets only the exit be opened associations at"
        self._accept_association(self._associated(event.association))

    def _on_datagram(self, event: DatagramReceived) -> None:
        if (association := self._associations.get(event.association.id)) is not None:
            association.arrived(event.address, event.data)

    def _on_gone_away(self, _event: GoneAway) -> None:
        if self.mux.over is not None:
            self.over.set()


_HANDLERS: dict[type, Callable[..., None]] = {
    StreamOpened: Session._on_opened,
    StreamAccepted: Session._on_readable,
    StreamReadable: Session._on_readable,
    StreamWritable: Session._on_writable,
    StreamReset: Session._on_reset,
    AssociationOpened: Session._on_associated,
    DatagramReceived: Session._on_datagram,
    GoneAway: Session._on_gone_away,
}
