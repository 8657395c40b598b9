"""Questions about names, each answered by the way that the rules say: judged, remembered, and asked once for all who ask the same.

A name that goes through the tunnel is never asked for in the clear, whatever fails: then there is no answer.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, TypeAlias

import trio
from dns.rcode import Rcode
from dns.rdatatype import RdataType

from . import telemetry
from .dns_pipeline import ResolveError
from .name_verdict import Way, verdict_of
from .protocol.dns_answer import FAILURE_LIFE, LONGEST_NEGATIVE
from .protocol.dns_cache import AnswerCache
from .protocol.dns_message import (
    BLOCKED,
    NETWORK_ERROR,
    NO_AUTHORITY,
    Answer,
    Question,
    address_answer,
    failure,
)

if TYPE_CHECKING:
    from .far_resolvers import FarResolvers
    from .name_verdict import Decide, Verdict
    from .nameservers import Nameservers

log = telemetry.logger("names")

#: What makes an answer another one.
_Key: TypeAlias = "tuple[Question, Verdict]"

# Our choices.
#: Until an app is told that there is no answer, in seconds: the C library waits as long before it asks again.
TIME_LIMIT = 5.0
#: Questions that wait for an answer. A browser that starts has a hundred.
MOST_IN_FLIGHT = 512

_LOOPBACK = {RdataType.A: ipaddress.ip_address("127.0.0.1"), RdataType.AAAA: ipaddress.ip_address("::1")}


class _Flight:
    """A question that was sent. `answer` is None where it was given up, as the rules have changed."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.over = trio.Event()
        self.answer: Answer | None = None


class Names:
    """Needs `run`."""

    def __init__(self, decide: Decide, far: FarResolvers, near: Nameservers) -> None:
        self._decide = decide
        self._far = far
        self._near = near
        self._cache = AnswerCache()
        self._flights: dict[_Key, _Flight] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until it is cancelled."""
        async with trio.open_nursery() as self._nursery:
            await self._nursery.start(self._far.run)
            task_status.started()

    def clear(self) -> None:
        """The rules have changed: what was answered by the old ones is forgotten, and what is under way is judged anew."""
        self._cache.clear()
        for flight in self._flights.values():
            flight.scope.cancel()
        self._flights.clear()

    async def resolve(self, question: Question) -> tuple[Answer, float]:
        """And the age of the answer. Raises nothing; it takes TIME_LIMIT at most, unless the rules change meanwhile."""
        while True:
            verdict = verdict_of(question.labels, self._decide)
            answer = _told_here(question, verdict)
            if answer is not None:
                await trio.lowlevel.checkpoint()
                return answer, 0.0
            key = (question, verdict)
            known = self._cache.get(key, trio.current_time())
            if known is not None:
                await trio.lowlevel.checkpoint()
                return known
            flight = self._flights.get(key) or self._start(key)
            if flight is None:
                await trio.lowlevel.checkpoint()
                return failure(), 0.0
            await flight.over.wait()
            if flight.answer is not None:
                return flight.answer, 0.0

    def _start(self, key: _Key) -> _Flight | None:
        """None where there are too many."""
        if len(self._flights) >= MOST_IN_FLIGHT:
            return None
        assert self._nursery is not None  # it runs
        flight = self._flights[key] = _Flight()
        self._nursery.start_soon(self._fly, key, flight)
        return flight

    async def _fly(self, key: _Key, flight: _Flight) -> None:
        try:
            with flight.scope:
                answer = await self._ask(*key)
                if not flight.scope.cancel_called:
                    flight.answer = answer
                    self._cache.put(key, answer, trio.current_time())
        finally:
            if self._flights.get(key) is flight:
                del self._flights[key]
            flight.over.set()

    async def _ask(self, question: Question, verdict: Verdict) -> Answer:
        """The error boundary of a question."""
        try:
            with trio.move_on_after(TIME_LIMIT):
                if verdict.way is Way.DIRECT:
                    return await self._near.resolve(question)
                return await self._far.resolve(question, verdict.exit)
        except ResolveError:
            return failure(NETWORK_ERROR)  # at once, and not kept: the tunnel or the network may come up at any time
        except Exception:
            log.error("a question about a name ended with an error that is a bug of Ropeway", exc_info=True)
            return failure()
        return failure(NO_AUTHORITY, life=FAILURE_LIFE)


def _told_here(question: Question, verdict: Verdict) -> Answer | None:
    """What needs nobody else."""
    labels = question.labels
    if labels[-1:] == (b"localhost",):  # RFC 6761, section 6.3
        address = _LOOPBACK.get(RdataType.make(question.rdtype))
        return address_answer(address.packed, LONGEST_NEGATIVE) if address else Answer(Rcode.NOERROR)
    if labels[-2:] == (b"resolver", b"arpa"):
        # RFC 9462, section 6.4. It asks for another way to this resolver, and the far one would name a way around the tunnel.
        return Answer(Rcode.NOERROR)
    if verdict.way is Way.BLOCK:
        return Answer(Rcode.NXDOMAIN, why=BLOCKED)
    return None
