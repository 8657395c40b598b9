"""What the exit's look-ups found, for all who ask for the same, and threads for those that are under way."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import trio

from . import telemetry
from .dialer import LOOKUPS_AT_ONCE, SystemLookup

if TYPE_CHECKING:
    from .dialer import Lookup

log = telemetry.logger("name_cache")

_Key: TypeAlias = tuple[str, socket.AddressFamily]

# Seconds.
#: getaddrinfo does not tell how long an answer lives; Chromium keeps what the system's resolver says for as long.
LIFE = 60.0
#: Our choice. A name that does not exist may in a moment, and somebody waits for it.
FAILURE_LIFE = 5.0
#: Our choice: how long somebody waits for a look-up. It may go on, and helps the next one who asks.
PATIENCE = 10.0
#: Our choice. What takes longer waits for nameservers that do not answer, and holds up none of the others.
SLOW = 2.0

# Our choices.
MOST_ENTRIES = 4096
#: Look-ups that are slow and do not count, beside the LOOKUPS_AT_ONCE that do; each is a thread.
MOST_SLOW = 64
#: Of names that end in the same two labels: a zone whose nameservers are silent has any number of names.
MOST_OF_A_ZONE = 16

#: The name does not exist; and it exists, but has no address of this family, which stays so for longer.
_NO_NAME = socket.EAI_NONAME
_NO_ADDRESS = {getattr(socket, name) for name in ("EAI_NODATA", "EAI_ADDRFAMILY") if hasattr(socket, name)} - {_NO_NAME}


@dataclass(slots=True)
class _Found:
    until: float
    addresses: list[str] = field(default_factory=list)
    failure: OSError | None = None

    def take(self) -> list[str]:
        if self.failure is not None:
            raise type(self.failure)(*self.failure.args)  # another one for each: who raises it adds where
        return list(self.addresses)


class _Flight:
    """A look-up that is under way, and how many wait for it."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.over = trio.Event()
        self.waiting = 0
        self.begun = False  # whether it has its thread, which nothing can end
        self.found: _Found | None = None


class CachedLookup:
    """A `Lookup` of `dialer`, for all users of an exit. Of one name and family there is never more than one look-up under way."""

    def __init__(self, lookup: Lookup | None = None) -> None:
        self._lookup = lookup or SystemLookup(LOOKUPS_AT_ONCE + MOST_SLOW)
        self._found: dict[_Key, _Found] = {}  # the oldest first
        self._flights: dict[_Key, _Flight] = {}
        self._slots = trio.CapacityLimiter(LOOKUPS_AT_ONCE)
        self._slow = 0
        self._zones: dict[str, trio.CapacityLimiter] = {}  # of the flights

    async def __call__(self, host: str, family: socket.AddressFamily) -> list[str]:
        """Raises OSError. When it is cancelled, others who wait for the same do not notice."""
        key = (host, family)
        if (found := self._known(key)) is None:
            found = await self._wait(key)
        else:
            await trio.lowlevel.checkpoint()
        return found.take()

    def _known(self, key: _Key) -> _Found | None:
        found = self._found.get(key)
        if found is not None and found.until <= trio.current_time():
            del self._found[key]
            return None
        return found

    async def _wait(self, key: _Key) -> _Found:
        flight = self._flights.get(key) or self._start(key)
        flight.waiting += 1
        try:
            with trio.move_on_after(PATIENCE):
                await flight.over.wait()
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.begun:
                flight.scope.cancel()
                self._flights.pop(key, None)
        if flight.found is None:
            raise socket.gaierror(socket.EAI_AGAIN, "no answer in time")
        return flight.found

    # ---- look-ups

    def _start(self, key: _Key) -> _Flight:
        """In a task of its own, which belongs to none of those who wait: any of them may go."""
        flight = self._flights[key] = _Flight()
        trio.lowlevel.spawn_system_task(self._fly, key, flight)
        return flight

    async def _fly(self, key: _Key, flight: _Flight) -> None:
        zone = ".".join(key[0].rstrip(".").split(".")[-2:])
        places = self._zones.setdefault(zone, trio.CapacityLimiter(MOST_OF_A_ZONE))
        try:
            with flight.scope:
                async with places, self._slots:
                    flight.begun = True
                    flight.found = await self._look_up(key)
                    self._keep(key, flight.found)
        finally:
            if self._flights.get(key) is flight:
                del self._flights[key]
            statistics = places.statistics()
            if not statistics.borrowed_tokens and not statistics.tasks_waiting and self._zones.get(zone) is places:
                del self._zones[zone]
            flight.over.set()

    async def _look_up(self, key: _Key) -> _Found:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._make_room)
            found = await self._ask(key)
            nursery.cancel_scope.cancel()
        return found

    async def _make_room(self) -> None:
        """The look-up beside it does not count any more once it is slow: another one may begin."""
        await trio.sleep(SLOW)
        self._count_slow(1)
        try:
            await trio.sleep_forever()
        finally:
            self._count_slow(-1)

    def _count_slow(self, more: int) -> None:
        self._slow += more
        self._slots.total_tokens = LOOKUPS_AT_ONCE + min(self._slow, MOST_SLOW)

    async def _ask(self, key: _Key) -> _Found:
        """The error boundary of a look-up: nothing may escape from a task that belongs to nobody."""
        try:
            addresses = await self._lookup(*key)
        except OSError as exc:
            return _Found(trio.current_time() + _life_of(exc), failure=exc)
        except Exception:
            log.error("a look-up ended with an error that is a bug of Ropeway", exc_info=True)
            return _Found(0.0, failure=socket.gaierror(socket.EAI_FAIL, "failed"))
        return _Found(trio.current_time() + LIFE, addresses)

    def _keep(self, key: _Key, found: _Found) -> None:
        if found.until > trio.current_time():
            self._found[key] = found
            if len(self._found) > MOST_ENTRIES:
                del self._found[next(iter(self._found))]


def _life_of(failure: OSError) -> float:
    """Whatever else fails may work in a moment."""
    if not isinstance(failure, socket.gaierror):
        return 0.0
    if failure.errno in _NO_ADDRESS:
        return LIFE
    return FAILURE_LIFE if failure.errno == _NO_NAME else 0.0
