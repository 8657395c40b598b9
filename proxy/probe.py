"""Whether destinations answer, found out the way apps go: by a connection to each.

The local port tells an app at once that it is connected where the destination connected some minutes ago, so that is no proof. What is one: the
destination is told that nothing will be sent, and closes as well, or says something. A connection that is reset instead is made once more: then the local
port has forgotten that it worked lately and waits for the truth; and where that is a connection, it was the destination that reset the first one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from .errors import LocalPortError, OpenError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .address import Address
    from .opener import OpenStream

# Our choices.
#: Seconds for all that is done with one destination; an exit gives up after 10 s, so by then its answer is there.
ANSWER_LIMIT = 15.0
AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Finding:
    """`fault` is empty where the destination was reached. It answered after so many seconds, or is silent: it waits for the app to begin."""

    address: Address
    seconds: float | None = None
    fault: str = ""

    @property
    def reached(self) -> bool:
        return not self.fault

    def __str__(self) -> str:
        if self.fault:
            return self.fault
        return "connected, and waits" if self.seconds is None else f"answered in {self.seconds * 1000:.0f} ms"


async def probe_all(open_stream: OpenStream, addresses: Iterable[Address], tell: Callable[[Finding], None]) -> None:
    """Tells of each as soon as it is known, AT_ONCE of them at a time. Raises LocalPortError, which is the same for all."""
    limiter = trio.CapacityLimiter(AT_ONCE)
    failures: list[LocalPortError] = []

    async def one(address: Address) -> None:
        async with limiter:
            try:
                tell(await probe(open_stream, address))
            except LocalPortError as exc:  # taken out of the nursery by hand, so that no group comes around it
                failures.append(exc)
                nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for address in addresses:
            nursery.start_soon(one, address)
    if failures:
        raise failures[0]


async def probe(open_stream: OpenStream, address: Address) -> Finding:
    """Never takes longer than ANSWER_LIMIT. Raises LocalPortError."""
    began = trio.current_time()
    connected = False
    with trio.move_on_after(ANSWER_LIMIT):
        try:
            stream = await open_stream(address)
            connected = True
            if not await _reacts(stream):
                connected = False
                await trio.aclose_forcefully(await open_stream(address))
        except OpenError as exc:
            return Finding(address, fault=str(exc))
        return Finding(address, trio.current_time() - began)
    return Finding(address) if connected else Finding(address, fault=f"no answer within {ANSWER_LIMIT:.0f} s")


async def _reacts(stream: trio.abc.HalfCloseableStream) -> bool:
    """Whether it ends or sends something, rather than being reset. Closes it."""
    try:
        await stream.send_eof()
        await stream.receive_some(1)
    except trio.BrokenResourceError:
        return False
    finally:
        await trio.aclose_forcefully(stream)
    return True
