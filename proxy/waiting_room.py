"""Sessions that have lost their carrier wait here for another one: for so long, for so many bytes, and while memory is not short."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import trio

from .telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from .protocol.budget import Budget
    from .protocol.mux import Mux
    from .served_session import ServedSession

log = logger("exit")

#: Ends a session, with a reason for people.
End: TypeAlias = "Callable[[ServedSession, str], None]"

# Our choice; seconds.
#: How often bytes are counted while anybody waits. What destinations send in between is how far a share may be exceeded; counting 131,072
#: streams, as many as one user may have, took 5 ms.
LOOK_EVERY = 0.1

TOO_LONG = "it waited too long for its carrier"
USER_FULL = "its user's sessions keep too much while they wait for their carriers"
ALL_FULL = "sessions keep too much while they wait for their carriers"
SHORT = "memory is short, and those that wait for their carriers go first"


@dataclass(frozen=True, slots=True)
class Patience:
    """For how many seconds a session may wait, and how many bytes those of one user and of all may keep meanwhile."""

    seconds: float
    user_bytes: int
    all_bytes: int


@dataclass(slots=True)
class _Place:
    since: float
    held: int = 0


class WaitingRoom:
    """A user who is over the share loses sessions of its own, and when all are over theirs, or the process is over its budget, anybody does; who
    has waited longest goes first.

    `end` is called for each that has to go.
    """

    def __init__(self, patience: Patience, end: End, budget: Budget) -> None:
        self._patience = patience
        self._end = end
        self._budget = budget
        self._places: dict[ServedSession, _Place] = {}  # in the order in which they came
        self._occupied = trio.Event()

    def __repr__(self) -> str:
        return f"<WaitingRoom with {len(self._places)} sessions, {self.held} bytes>"

    def __contains__(self, served: ServedSession) -> bool:
        return served in self._places

    @property
    def held(self) -> int:
        """Bytes that all of them kept at the last look."""
        return sum(place.held for place in self._places.values())

    def enter(self, served: ServedSession) -> None:
        """It has no carrier from now on. Makes room at once, for which this one may be who has to go."""
        self._places[served] = place = _Place(trio.current_time(), held_by(served.session.mux))
        if place.held:
            self._make_room()
        self._occupied.set()

    def leave(self, served: ServedSession) -> None:
        """It has a carrier, or has ended. Does nothing for one that does not wait."""
        self._places.pop(served, None)

    def change(self, patience: Patience) -> None:
        """Holds for those that wait already, too, from the next look on."""
        self._patience = patience

    def least_missed(self, key_id: bytes) -> ServedSession | None:
        """Of this user. One without streams is nobody's loss: its first welcome never arrived, or its apps have closed."""
        mine = [served for served in self._places if served.key_id == key_id]
        return min(mine, key=lambda served: bool(served.session.mux.streams), default=None)

    async def run(self) -> None:
        """Looks at who waits, until it is cancelled."""
        while True:
            await self._occupied.wait()
            while self._places:
                self.look()
                await trio.sleep(LOOK_EVERY)
            self._occupied = trio.Event()

    def look(self) -> None:
        """Counts, and ends what has waited too long or keeps too much."""
        end_of_time = trio.current_time() - self._patience.seconds
        for served, place in list(self._places.items()):
            if place.since <= end_of_time:
                self._turn_out(served, TOO_LONG)
            else:
                place.held = held_by(served.session.mux)
        self._make_room()

    def _make_room(self) -> None:
        users: dict[bytes, list[ServedSession]] = {}
        for served in self._keeping:
            users.setdefault(served.key_id, []).append(served)
        for mine in users.values():
            self._shrink(mine, self._patience.user_bytes, USER_FULL)
        self._shrink(self._keeping, self._patience.all_bytes, ALL_FULL)
        if self._budget.short:
            self._relieve()

    def _relieve(self) -> None:
        for served in self._keeping:
            if not self._budget.relief:
                log.info("a session that waited was ended: %s", SHORT)
                self._turn_out(served, SHORT)

    @property
    def _keeping(self) -> list[ServedSession]:
        """Those that make room by going."""
        return [served for served, place in self._places.items() if place.held]

    def _shrink(self, those: Collection[ServedSession], share: int, why: str) -> None:
        total = sum(self._places[served].held for served in those)
        for served in those:
            if total <= share:
                return
            total -= self._places[served].held
            log.info("a session that waited was ended: %s", why)
            self._turn_out(served, why)

    def _turn_out(self, served: ServedSession, why: str) -> None:
        self.leave(served)
        self._end(served, why)


def held_by(mux: Mux) -> int:
    """Bytes that a session keeps: what the peer has not acknowledged, and what its streams have for either side."""
    return mux.kept + sum(stream.sender.queued + stream.receiver.buffered for stream in mux.streams.values())
