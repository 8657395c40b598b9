"""Two cores joined by a carrier that can be split, held and cut at any byte."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from proxy.address import Address
from proxy.protocol.event import Event, StreamOpened
from proxy.protocol.mux import Mux

if TYPE_CHECKING:
    from proxy.protocol.stream import Stream

ADDRESS = Address("example.com", 443)
#: How the bytes of one flight are cut before they are fed.
Cutter = Callable[[bytes], list[bytes]]


def whole(data: bytes) -> list[bytes]:
    return [data]


def byte_by_byte(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


class Pair:
    """`local` opens, `exit` accepts. Time moves only by hand."""

    def __init__(self, cutter: Cutter = whole, *, max_streams: int = 8192) -> None:
        self.now = 100.0
        self.cutter = cutter
        self.local = Mux(opens=True, now=self.now)
        self.exit = Mux(opens=False, now=self.now, max_streams=max_streams)
        self.events: dict[Mux, list[Event]] = {self.local: [], self.exit: []}
        self.fresh = True
        self.connect()

    def connect(self) -> None:
        """A new carrier, as both drivers make it: with frames right behind the hello."""
        received, sending = self.local.carrier_made(self.now)
        early = self.local.data_to_send(1 << 20, self.now)
        begins = 0 if self.fresh else self.exit.resumed(received, sending, self.now)
        self.fresh = False
        answer = self.exit.received
        self._collect(self.local, self.local.take_events())
        self.feed(self.exit, early)
        self.local.welcomed(answer, begins, self.now)

    def feed(self, side: Mux, data: bytes) -> None:
        for piece in self.cutter(data):
            self._collect(side, side.receive_data(piece, self.now))

    def _collect(self, side: Mux, events: list[Event]) -> None:
        self.events[side] += events

    def take(self, side: Mux, limit: int = 65536) -> bytes:
        data = side.data_to_send(limit, self.now)
        self._collect(side, side.take_events())
        return data

    def other(self, side: Mux) -> Mux:
        return self.exit if side is self.local else self.local

    def settle(self, limit: int = 65536) -> None:
        """Moves bytes until neither side has anything to say."""
        for _ in range(10_000):
            moved = False
            for side in (self.local, self.exit):
                if side.wants_to_send and (data := self.take(side, limit)):
                    self.feed(self.other(side), data)
                    moved = True
            if not moved:
                return
        raise AssertionError("the two sides never stop talking")

    def open(self, address: Address = ADDRESS) -> tuple[Stream, Stream]:
        """An accepted stream: its local end and its exit end."""
        local = self.local.open(address, self.now)
        self.settle()
        opened = [event.stream for event in self.events[self.exit] if isinstance(event, StreamOpened)]
        exit_end = opened[-1]
        assert exit_end.id == local.id
        self.exit.accept(exit_end)
        self.settle()
        assert local.accepted
        return local, exit_end

    def read(self, side: Mux, stream: Stream) -> bytes:
        """Everything that is buffered."""
        parts = []
        while data := side.read(stream, 1 << 20, self.now):
            parts.append(data)
        return b"".join(parts)

    def tick(self, seconds: float) -> None:
        """Lets time pass, then both timers, then what they made due."""
        self.now += seconds
        for side in (self.local, self.exit):
            side.handle_timer(self.now)
        self.settle()
