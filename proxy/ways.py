"""The ways to an exit: its addresses, in the order of what worked last, tried one shortly after the other.

A way is one address and port. A name is resolved by the system; where that fails or lies, the numeric addresses at which the exit was found
before are ways too, and the pin tells the exit from everybody else.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import trio

from .address import Address
from .address_book import MOST_ADDRESSES
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
#: Keeps the numeric addresses at which the exit was found under that address of its link, the last one first.
Remember: TypeAlias = Callable[[Address, Sequence[Address]], Awaitable[None]]

# Our choices; times are in seconds.
#: How long a way is alone before the next one is tried: a handshake on a link of 250 ms.
STAGGER = 0.5
#: Linux sends a SYN each second; a new attempt does as well as going on, and on older systems better. Longer than any link's round trip.
TCP_TIMEOUT = 3.0
#: TLS: one round trip and time for two lost packets, or that many round trips.
TLS_TIMEOUT, TLS_ROUND_TRIPS = 1.5, 4.0
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


@dataclass(frozen=True, slots=True)
class _Candidate:
    """What to connect to, and the address of the link that it stands for."""

    address: Address
    way: Address


class Ways:
    """To one exit. `addresses` are those of its link, of which `preferred` go first; `remembered` says at which numeric addresses it was found
    before under each of them, what worked last first.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        connect: Connect,
        start_tls: StartTLS,
        *,
        preferred: Collection[Address] = (),
        remembered: Mapping[Address, Sequence[Address]] | None = None,
        remember: Remember,
    ) -> None:
        self._connect = connect
        self._start_tls = start_tls
        self._found = {way: tuple(found[:MOST_ADDRESSES]) for way, found in (remembered or {}).items()}
        self._remember = remember
        self._shaking_hands: set[Address] = set()
        self.use(addresses, preferred)

    def use(self, addresses: Sequence[Address], preferred: Collection[Address] = ()) -> None:
        """These are its ways from now on. What is remembered of others is kept, and not used."""
        self._addresses = tuple(addresses)
        self._preferred = frozenset(preferred)

    async def open(self) -> Opened:
        """The first that works. Raises CarrierError with the reason of the one that came farthest, when none does."""
        race = _Race(self._attempt, self._candidates())
        await race.run()
        if race.winner is None:
            raise race.verdict()
        candidate, opened = race.winner
        try:
            await self._note(candidate.way, opened)
        except BaseException:
            await _close(opened)
            raise
        return opened

    def _candidates(self) -> list[_Candidate]:
        """Each address once, the preferred ones first. Among them the numeric address that worked last is first, so that no resolver is waited
        for; names go before what they meant in the past.
        """
        found: list[_Candidate] = []
        for preferred in (True, False):
            ways = [way for way in self._by_success() if (way in self._preferred) is preferred]
            known = [_Candidate(address, way) for way in ways for address in self._found.get(way, ())]
            last = known[:1] if ways and known and known[0].way == ways[0] else []
            found += [*last, *(_Candidate(way, way) for way in ways), *known]
        first: dict[Address, _Candidate] = {}
        for candidate in found:
            first.setdefault(candidate.address, candidate)
        return list(first.values())

    def _by_success(self) -> list[Address]:
        return list(dict.fromkeys([*(way for way in self._found if way in self._addresses), *self._addresses]))

    async def _note(self, way: Address, opened: Opened) -> None:
        here = _peer(opened.stream.transport)
        if here is None or (next(iter(self._found), None) == way and self._found[way][:1] == (here,)):
            return
        others = [other for other in self._found.get(way, ()) if other != here]
        found = (here, *others)[:MOST_ADDRESSES]
        self._found = {way: found} | {other: known for other, known in self._found.items() if other != way}
        await self._remember(way, found)

    async def _attempt(self, candidate: _Candidate) -> Opened:
        if candidate.address in self._shaking_hands:
            raise _NoWayError(f"the exit {candidate.address} is being tried already")
        began = trio.current_time()
        try:
            with trio.fail_after(TCP_TIMEOUT):
                transport = await self._connect(candidate.address)
        except (OpenError, trio.TooSlowError) as exc:
            why = _UNREACHABLE.get(exc.reason, str(exc)) if isinstance(exc, OpenError) else SILENT
            raise _NoWayError(f"the exit {candidate.address} cannot be reached: {why}; it is tried again") from exc
        round_trip = trio.current_time() - began
        return await self._shake_hands(transport, _peer(transport) or candidate.address, candidate, round_trip)

    async def _shake_hands(
        self, transport: trio.SocketStream, peer: Address, candidate: _Candidate, round_trip: float
    ) -> Opened:
        """One at a time for each address: names may mean the same one, and what was remembered as well."""
        if peer in self._shaking_hands:
            await trio.aclose_forcefully(transport)
            raise _NoWayError(f"the exit {candidate.address} is being tried already, at {peer}")
        self._shaking_hands.add(peer)
        try:
            with trio.move_on_after(max(TLS_TIMEOUT, TLS_ROUND_TRIPS * round_trip)):
                stream, binding = await self._start_tls(transport)
                return Opened(stream, binding, round_trip)
        finally:
            self._shaking_hands.discard(peer)
        raise CarrierError(
            f"what listens at {candidate.address} does not finish the TLS handshake: "
            "somebody on the way swallows its answers; it is tried again"
        )


def _peer(transport: trio.abc.Stream) -> Address | None:
    if not isinstance(transport, trio.SocketStream):
        return None
    try:
        host, port, *_ = transport.socket.getpeername()
        return Address.make(host, port)
    except (OSError, ValueError):  # it broke just now, or is local to a link
        return None


class _NoWayError(CarrierError):
    """Nobody was met."""


class _Race:
    """One attempt for each way, each begun when the one before it has failed or had its time alone."""

    def __init__(self, attempt: Callable[[_Candidate], Awaitable[Opened]], candidates: Sequence[_Candidate]) -> None:
        self._attempt = attempt
        self._candidates = candidates
        self._failures: list[CarrierError] = []
        self.winner: tuple[_Candidate, Opened] | None = None

    async def run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                for candidate in self._candidates:
                    failed = trio.Event()
                    nursery.start_soon(self._run_one, candidate, failed, nursery.cancel_scope)
                    with trio.move_on_after(STAGGER):
                        await failed.wait()
        except BaseException:
            if self.winner is not None:
                await _close(self.winner[1])
            raise

    async def _run_one(self, candidate: _Candidate, failed: trio.Event, race: trio.CancelScope) -> None:
        try:
            opened = await self._attempt(candidate)
        except CarrierError as exc:
            log.debug("%s", exc)
            self._failures.append(exc)
            failed.set()
            return
        if self.winner is None:
            self.winner = candidate, opened
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
