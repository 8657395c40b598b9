"""One association of a session, for whoever sends and receives its datagrams."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from .association import Association
from .errors import OpenError, Reason
from .protocol.datagrams import DatagramQueue
from .session_stream import Wakeup

if TYPE_CHECKING:
    from .address import Address
    from .protocol.datagrams import Association as Core
    from .session import Session


class SessionAssociation(Association):
    """It stays whole while its session goes from carrier to carrier; what was on its way meanwhile may be lost.

    Raises trio.BrokenResourceError once it was reset, whose cause is the OpenError that says why. One task at a time may receive.
    """

    def __init__(self, session: Session, core: Core) -> None:
        self._session = session
        self._core = core
        self._arrived: DatagramQueue[tuple[Address, bytes]] = DatagramQueue(session.mux.budget)
        self._readable = Wakeup()
        self._closed = False

    def __repr__(self) -> str:
        return f"<SessionAssociation of {self._core!r}>"

    @property
    def siblings(self) -> int:
        """How many its session has, with this one."""
        return self._session.associations

    def _check(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this association is closed")
        if (reset := self._core.reset) is not None:
            raise trio.BrokenResourceError("the association was reset") from OpenError(reset.reason, reset.text)

    def accept(self) -> None:
        """At the exit: it takes datagrams."""
        self._session.mux.accept(self._core)
        self._session.wake_writer()

    def send(self, address: Address, data: bytes) -> None:
        self._check()
        self._session.mux.send_datagram(self._core, address, data, trio.current_time())
        self._session.wake_writer()

    async def receive(self) -> tuple[Address, bytes]:
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            self._check()
            arrived = self._arrived.take(0.0)
            if arrived is not None:
                await trio.lowlevel.cancel_shielded_checkpoint()
                return arrived
            await self._readable.wait()

    def reset(self, reason: Reason, text: str = "") -> None:
        """Ends it, and tells the other side why. Twice is the same as once."""
        self._closed = True
        self.give_up(reason, text)

    def give_up(self, reason: Reason, text: str = "") -> None:
        """Ends it as if the other side had: to whoever uses it, it was reset."""
        self._session.mux.reset(self._core, reason, text)
        self._session.forget(self._core)
        self._session.wake_writer()
        self.wake_all()

    async def aclose(self) -> None:
        self.reset(Reason.CANCELLED)
        await trio.lowlevel.checkpoint()

    # ---- what the session calls

    def arrived(self, address: Address, data: bytes) -> None:
        if not self._closed:
            self._arrived.put((address, data), len(data), trio.current_time())
            self._readable.wake()

    def wake_all(self) -> None:
        """It was reset or closed."""
        self._arrived.clear()
        self._readable.wake()
