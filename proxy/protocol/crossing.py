"""How a session crosses from carrier to carrier: offsets, acknowledgements and time (docs/protocol.md, section 7)."""

from __future__ import annotations

from proxy.errors import RemoteProtocolError

from .budget import Budget
from .handshake import AFTER_WELCOME
from .inbox import Inbox
from .liveness import Health, Liveness, Measured
from .outbox import Outbox

# Our choice: what is kept goes right behind a hello up to this size, the bandwidth-delay product of 5 Mbit/s and 100 ms.
EARLY = 65_536


class Crossing:
    """Both directions of a session, on one carrier after the other. `asks` is True at the local side."""

    def __init__(self, *, asks: bool, now: float, budget: Budget | None = None) -> None:
        self.budget = budget or Budget()
        self._inbox = Inbox()
        self._outbox = Outbox(self.budget)
        self._liveness = Liveness(asks=asks)
        self._liveness.carrier_made(now, 0)
        self._told = 0  # the `received` of the last hello
        self._began = 0  # the `sending` of this carrier's welcome
        self._moving = False  # another carrier is being made beside this one, with that hello

    @property
    def received(self) -> int:
        """The offset up to which reliable frames of the peer were processed."""
        return self._inbox.received

    @property
    def progress(self) -> int:
        """Grows with every reliable byte that arrived, on either side."""
        return self._inbox.received + self._outbox.log.start

    @property
    def kept(self) -> int:
        """Bytes that wait for the peer's acknowledgement."""
        return self._outbox.log.size

    @property
    def round_trip(self) -> float:
        """Of the carrier, smoothed, in seconds."""
        return self._liveness.round_trip

    @property
    def measured(self) -> Measured:
        """Round trips as they were measured."""
        return self._liveness.measured

    @property
    def pace(self) -> float:
        """How many bytes a second the carrier is to send at most (`Flight.pace`)."""
        return self._outbox.flight.pace

    def chunk(self, now: float) -> int:
        """How many bytes to move at once, at most, so that messages do not wait long for it."""
        return self._outbox.chunk(now)

    @property
    def wants_to_send(self) -> bool:
        return self._outbox.ready

    # ---- the local side

    def carrier_made(self, now: float) -> tuple[int, int]:
        """Before the hello, where there is no old carrier: its `received` and `sending`.

        `data_to_send` gives what may go right behind the hello; nothing else may be sent before `welcomed`.
        """
        log = self._outbox.log
        held = log.size > EARLY
        log.rewind(log.start)
        self._begin(now, held=held, told=self.received)
        return self.received, AFTER_WELCOME if held else log.start

    def moving(self) -> int:
        """Before a hello on a carrier that is made beside the old one: its `received`. The old one goes on until `moved` or `stay`."""
        self._moving = True
        self._liveness.hold_acks(True)
        self._told = self.received
        return self._told

    def stay(self) -> None:
        """The other carrier came to nothing; where it has taken over this does nothing. Wake the writer after it: an ACK may have waited."""
        if self._moving:
            self._moving = False
            self._liveness.hold_acks(False)
            if self._liveness.owes_ack:
                self._outbox.ack = True
                self._liveness.acknowledged()

    def moved(self, received: int, sending: int, now: float) -> None:
        """Once the old carrier is gone: the other one takes over, with what its welcome says.

        Raises RemoteProtocolError where the session cannot go on from there; then it is on no carrier, and unchanged otherwise.
        """
        self._begin(now, held=True, told=self._told)
        self._liveness.received(self.received, now)
        # Where it was handed over while the exit sent again what this side had already, it goes on from below the hello's offset.
        self._go_on(received, sending, self._began, now)
        self._outbox.ack = True  # where it was handed over, nobody took the hello's offset for one

    def welcomed(self, received: int, sending: int, now: float) -> None:
        """What the welcome says. Raises RemoteProtocolError, and changes nothing, where it cannot be; nothing may be sent then before the
        next `carrier_made`.
        """
        self._go_on(received, sending, self._told, now)
        self._liveness.welcomed(now)

    def _go_on(self, received: int, sending: int, least: int, now: float) -> None:
        """`least`: of what `sending` can be."""
        log = self._outbox.log
        if not least <= sending <= self.received:
            raise RemoteProtocolError("the exit goes on from where this side is not")
        log.check_kept(received)
        if self._outbox.held:
            log.rewind(received)
            self._outbox.held = False
            self._outbox.take_off(now)
        else:
            self._outbox.acknowledge(received, now)
        self._liveness.data_acknowledged(now, everything=not log.waiting)
        self._inbox.carrier_made(self.received - sending)
        self._began = sending
        # The first round trip is measured at once. A second PING would take the PONG to one behind the hello for its own.
        if not self._liveness.awaiting:
            self._outbox.ping = True

    # ---- the exit

    def check_resumable(self, received: int, sending: int) -> None:
        """Raises RemoteProtocolError where the hello says what cannot be. Changes nothing."""
        if sending > self.received and sending != AFTER_WELCOME:
            raise RemoteProtocolError("the peer has forgotten what did not arrive")
        self._outbox.log.check_kept(received)

    def resumed(self, received: int, sending: int, now: float) -> int:
        """What the hello says, once the old carrier is gone. Returns the welcome's `sending`.

        Raises RemoteProtocolError, and changes nothing, where the session cannot go on from there.
        """
        self.check_resumable(received, sending)
        self._outbox.log.rewind(received)
        self._begin(now, held=False, told=self.received)
        self._inbox.carrier_made(0 if sending == AFTER_WELCOME else self.received - sending)
        self._outbox.ping = True
        return received

    def handed_over(self, now: float) -> int:
        """Once the old carrier has come to its end in both directions. Returns the welcome's `sending`."""
        self._begin(now, held=False, told=self.received)
        self._outbox.ping = True
        return self._outbox.log.sent

    # ---- both

    def _begin(self, now: float, *, held: bool, told: int) -> None:
        """A new carrier. `told`: the `received` that its hello or welcome says."""
        self._inbox.carrier_made(0)
        self._outbox.carrier_made(now, held=held)
        self._liveness.carrier_made(now, told)
        self._told = told
        self._moving = False
        if self._outbox.log.waiting:
            self._liveness.data_sent(now)

    def _acknowledge(self, offset: int, now: float) -> None:
        """The peer has everything before it. Raises RemoteProtocolError if it was never sent."""
        if self._outbox.acknowledge(offset, now):
            self._liveness.data_acknowledged(now, everything=not self._outbox.log.waiting)

    def _ack_to_send(self) -> int | None:
        """The offset to acknowledge now: it rides along with anything else that is sent. None where the peer knows it."""
        if not (self._outbox.ack or self._liveness.owes_ack):
            return None
        self._liveness.acknowledged()
        # What the other carrier's hello does not have, the peer must keep.
        return self._told if self._moving else self.received

    def _note_received(self, now: float) -> None:
        """After bytes of the carrier were processed."""
        self._liveness.received(self.received, now)
        self._liveness.part_received(now, part=self._inbox.incomplete)
        self._note_ack(now)

    def _note_ack(self, now: float) -> None:
        if self._liveness.ack_due(now):
            self._outbox.ack = True
            self._liveness.acknowledged()

    # ---- time

    def next_timer(self, now: float) -> float:
        """When `handle_timer` is to be called next; infinity for never."""
        return min(self._liveness.next_timer(now), self._outbox.stall_at)

    def handle_timer(self, now: float) -> Health:
        """How the carrier does. An ACK or PING that is due makes `wants_to_send` true."""
        if now >= self._outbox.stall_at:
            self._outbox.flight.stalled = True
        if self._liveness.stood_still(now):
            self.network_changed(now)
        health = self._liveness.health(now)
        if health is not Health.DEAD:
            self._note_ack(now)
            if self._liveness.ping_due(now):
                self._ask(now)
        return health

    def measure(self, now: float) -> None:
        """Measures a round trip, where none was measured just now: for who watches while nothing goes."""
        if self._liveness.probe_due(now):
            self._ask(now)

    def network_changed(self, now: float) -> None:
        """The carrier may be gone without a word: asks, and suspects it sooner."""
        if not self._liveness.awaiting:
            self._ask(now)
        self._liveness.network_changed()

    def _ask(self, now: float) -> None:
        self._outbox.ping = True
        self._liveness.asked(now)
