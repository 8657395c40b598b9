"""A session at the exit: whose it is, which carrier has it, and how another carrier takes it over."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, TypeAlias

import trio

from .errors import RemoteProtocolError
from .protocol.handshake import TOKEN_SIZE, Hello, Status, Wanted
from .telemetry import logger

if TYPE_CHECKING:
    from .session import Session

log = logger("exit")

#: What a hello gets: a status, and the welcome's `sending`.
Verdict: TypeAlias = tuple[Status, int]

# Our choice; seconds.
FINISH_TIMEOUT = 5.0  # for an old carrier to come to its end; its queue is emptied by then or it is broken


class ServedSession:
    """One session of the user with this key id. Carriers take turns: the last one whose hello was accepted has it."""

    def __init__(self, key_id: bytes, session: Session) -> None:
        self.key_id = key_id
        self.session = session
        self.token = secrets.token_bytes(TOKEN_SIZE)
        self.moving = False  # a carrier is about to take it over, and no third one may
        self._turn = 0

    def __repr__(self) -> str:
        return f"<ServedSession {'moving, ' if self.moving else ''}{self.session!r}>"

    @property
    def is_over(self) -> bool:
        """Whether nothing can go on with it; its carrier may still have to say so."""
        return self.session.mux.over is not None

    def take_turn(self) -> int:
        """For a carrier whose hello was accepted."""
        self._turn += 1
        return self._turn

    def has_turn(self, turn: int) -> bool:
        """Whether no later carrier took over."""
        return turn == self._turn

    async def move(self, hello: Hello) -> Verdict:
        """Takes the session from its old carrier, where it has one, for the carrier that said this hello.

        RESUMED means that the session has no carrier, and goes on from this welcome. A hello that cannot be right leaves it where it is.
        """
        if hello.key_id != self.key_id:
            return Status.FOREIGN, 0
        if self.moving:
            return Status.BUSY, 0
        try:
            self.session.mux.check_resumable(hello.received, hello.sending)
        except RemoteProtocolError as exc:
            log.debug("a session cannot be resumed: %s", exc)
            return Status.IMPOSSIBLE, 0
        self.moving = True
        try:
            return await self._move(hello)
        finally:
            self.moving = False

    async def _move(self, hello: Hello) -> Verdict:
        session = self.session
        handed_over = hello.wanted is Wanted.HAND_OVER and await session.finish(FINISH_TIMEOUT)
        await session.detach()  # the old carrier may seem alive here, or still be closing
        if handed_over:
            sending = session.mux.handed_over(trio.current_time())
        else:
            try:
                sending = session.mux.resumed(hello.received, hello.sending, trio.current_time())
            except RemoteProtocolError as exc:  # the old carrier brought what does not go with this hello
                log.debug("a session cannot be resumed: %s", exc)
                return Status.IMPOSSIBLE, 0
        return (Status.UNKNOWN, 0) if self.is_over else (Status.RESUMED, sending)
