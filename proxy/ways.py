"""The ways to an exit: its addresses, in the order of what worked last, tried one shortly after the other.

A way is one address and port. A name is resolved by the system; where that fails or lies, the numeric addresses at which the exit was found
before are ways too, and the pin tells the exit from everybody else.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import trio

from .address import Address
from .dialer import look_up
from .errors import CarrierError, OpenError, Reason
from .telemetry import logger

if TYPE_CHECKING:
    import socket

    from .tls import TLSStream

log = logger("ways")

#: Makes a TCP connection. Raises OpenError.
Connect: TypeAlias = Callable[[Address], Awaitable[trio.SocketStream]]
#: Makes it a TLS connection to the exit, and gives that and its channel binding. Raises CarrierError, with the transport closed.
StartTLS: TypeAlias = Callable[[trio.SocketStream], Awaitable["tuple[TLSStream, bytes]"]]
#: Keeps the numeric addresses at which the exit was found, the last one first.
Remember: TypeAlias = Callable[[Sequence[Address]], Awaitable[None]]

# Our choices; times are in seconds.
#: How long a way is alone before the next one is tried: a handshake on a link of 250 ms.
STAGGER = 0.5
#: Linux sends a SYN each second; a new attempt does as well as going on, and on older systems better. Longer than any link's round trip.
TCP_TIMEOUT = 3.0
#: TLS: one round trip and time for two lost packets, or that many round trips.
TLS_TIMEOUT, TLS_ROUND_TRIPS = 1.5, 4.0
MOST_REMEMBERED = 8
#: A name's addresses are good for so long, and a lookup that was too slow for one attempt helps the next one.
LOOKUP_LIFE = 30.0

SILENT = "it does not answer: it is off, or its address is blocked on the way"
#: Why an exit cannot be reached, in the words of the one who wants to reach it.
_UNREACHABLE = {
    Reason.REFUSED: "nothing listens there: is `ropeway exit run` running, and does its firewall let this port through?",
    Reason.NAME_NOT_FOUND: "its name cannot be resolved: is this computer on a network? The name may be blocked here",
    Reason.TIMED_OUT: SILENT,
    Reason.HOST_UNREACHABLE: "there is no way to its address from this network",
    Reason.NETWORK_UNREACHABLE: "this computer is on no network that leads there",
}


@dataclass(frozen=True, slots=True)
class Opened:
    """A TLS connection to the exit, in which nothing was said yet. `round_trip`: the seconds that TCP took to connect."""

    stream: TLSStream
    binding: bytes
    round_trip: float


class Ways:
    """To one exit. `addresses` are those of its link, `remembered` those at which it was found before."""

    def __init__(
        self,
        addresses: Sequence[Address],
        connect: Connect,
        start_tls: StartTLS,
        *,
        remembered: Sequence[Address] = (),
        remember: Remember,
    ) -> None:
        self._connect = connect
        self._start_tls = start_tls
        self._found = list(remembered[:MOST_REMEMBERED])
        self._remember = remember
        # What worked last goes first; a name goes before what it may have meant in the past, but for the last of that.
        self._order = list(dict.fromkeys([*self._found[:1], *addresses, *self._found]))

    async def open(self) -> Opened:
        """The first that works. Raises CarrierError with the reason of the one that came farthest, when none does."""
        race = _Race(self._attempt, list(self._order))
        await race.run()
        if race.winner is None:
            raise race.verdict()
        way, opened = race.winner
        self._order.remove(way)
        self._order.insert(0, way)
        await self._note(opened)
        return opened

    async def _note(self, opened: Opened) -> None:
        transport = opened.stream.transport
        if not isinstance(transport, trio.SocketStream):
            return
        host, port, *_ = transport.socket.getpeername()
        here = Address.make(host, port)
        if self._found[:1] != [here]:
            self._found = [here, *(other for other in self._found if other != here)][:MOST_REMEMBERED]
            if here not in self._order:
                self._order.append(here)
            await self._remember(self._found)

    async def _attempt(self, way: Address) -> Opened:
        began = trio.current_time()
        try:
            with trio.fail_after(TCP_TIMEOUT):
                transport = await self._connect(way)
        except (OpenError, trio.TooSlowError) as exc:
            why = _UNREACHABLE.get(exc.reason, str(exc)) if isinstance(exc, OpenError) else SILENT
            raise _NoWayError(f"the exit {way} cannot be reached: {why}; it is tried again") from exc
        round_trip = trio.current_time() - began
        with trio.move_on_after(max(TLS_TIMEOUT, TLS_ROUND_TRIPS * round_trip)):
            stream, binding = await self._start_tls(transport)
            return Opened(stream, binding, round_trip)
        raise CarrierError(
            f"what listens at {way} does not finish the TLS handshake: somebody on the way swallows its answers; it is tried again"
        )


class _NoWayError(CarrierError):
    """Nobody was met."""


class _Race:
    """One attempt for each way, each begun when the one before it has failed or had its time alone."""

    def __init__(self, attempt: Callable[[Address], Awaitable[Opened]], ways: Sequence[Address]) -> None:
        self._attempt = attempt
        self._ways = ways
        self._failures: list[CarrierError] = []
        self.winner: tuple[Address, Opened] | None = None

    async def run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                for way in self._ways:
                    failed = trio.Event()
                    nursery.start_soon(self._run_one, way, failed, nursery.cancel_scope)
                    with trio.move_on_after(STAGGER):
                        await failed.wait()
        except BaseException:
            if self.winner is not None:
                await _close(self.winner[1])
            raise

    async def _run_one(self, way: Address, failed: trio.Event, race: trio.CancelScope) -> None:
        try:
            opened = await self._attempt(way)
        except CarrierError as exc:
            log.debug("%s", exc)
            self._failures.append(exc)
            failed.set()
            return
        if self.winner is None:
            self.winner = way, opened
            race.cancel()
        else:  # two came in at once
            await _close(opened)

    def verdict(self) -> CarrierError:
        met = [failure for failure in self._failures if not isinstance(failure, _NoWayError)]
        return (met or self._failures)[0]


async def _close(opened: Opened) -> None:
    with trio.CancelScope(shield=True):
        await trio.aclose_forcefully(opened.stream)


class PatientLookup:
    """The system's resolver, in threads. What a lookup finds that nobody waited for is there for the next one."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, socket.AddressFamily], tuple[float, list[str]]] = {}

    async def __call__(self, host: str, family: socket.AddressFamily) -> list[str]:
        """Raises OSError. When it is cancelled the thread ends by itself later."""
        at, found = self._found.get((host, family), (0.0, []))
        if found and time.monotonic() - at < LOOKUP_LIFE:
            await trio.lowlevel.checkpoint()
            return found
        return await trio.to_thread.run_sync(self._look_up, host, family, abandon_on_cancel=True)

    def _look_up(self, host: str, family: socket.AddressFamily) -> list[str]:
        found = look_up(host, family)
        self._found[host, family] = time.monotonic(), found  # one step, so that the thread needs no lock
        return found
