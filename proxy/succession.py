"""How one carrier follows another while the session goes on: it is raced where it is suspect, and handed over where it works (docs/protocol.md, section 7)."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import trio

from .errors import CarrierError, RemoteProtocolError
from .protocol.handshake import AFTER_WELCOME, Wanted
from .telemetry import logger

if TYPE_CHECKING:
    from .carrier import Carrier
    from .greeting import Greeting
    from .session import Session
    from .tls import TLSStream
    from .tunnel_news import TunnelNews

log = logger("tunnel")

#: Makes a connection to the exit on which nothing was said. Raises CarrierError.
Greet: TypeAlias = Callable[[], Awaitable["Greeting"]]

# Our choices; seconds.
FINISH_TIMEOUT = 5.0  # for a carrier that was handed over to come to its end (docs/protocol.md, section 7)
RETRY = 1.0  # before a suspect carrier is raced once more
RETRY_ROTATION = 60.0  # before a carrier that works is replaced, where the last attempt failed
#: Attempts in a row that changes of the network cut short; the next one has its time, or a network that never rests leads nowhere.
MOST_CUT_SHORT = 3


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a carrier that works is replaced: after a random number of seconds and of bytes, of which these are the bounds."""

    least_age: float = 600.0
    most_age: float = 2400.0
    least_volume: float = 1e9
    most_volume: float = 4e9

    def age(self) -> float:
        return random.uniform(self.least_age, self.most_age)  # noqa: S311  (it is no secret)

    def volume(self) -> float:
        return random.uniform(self.least_volume, self.most_volume)  # noqa: S311


USUAL_ROTATION = Rotation()


@dataclass(frozen=True, slots=True)
class Welcomed:
    """A carrier that the session is on, and what came behind the welcome."""

    stream: TLSStream
    first: bytes
    took_over: bool


class Attempts:
    """To make a carrier, one at a time: a change of the network cuts it short, as it went out on the network that was."""

    def __init__(self, news: TunnelNews) -> None:
        self._news = news
        self._scope = trio.CancelScope()
        self._cut_short = 0  # in a row

    @contextmanager
    def one(self) -> Iterator[None]:
        scope = self._scope = trio.CancelScope()
        try:
            with scope, self._news.attempting():
                yield
        finally:
            self._cut_short = self._cut_short + 1 if scope.cancelled_caught else 0

    async def pause(self, gone: trio.Event) -> None:
        """After one that failed, before the next: a moment, or until the carrier is gone. It has none where the attempt was cut short."""
        if not self._scope.cancel_called:
            with trio.move_on_after(RETRY) as self._scope:
                await gone.wait()

    def network_changed(self) -> None:
        if self._cut_short < MOST_CUT_SHORT:
            self.cancel()

    def cancel(self) -> None:
        self._scope.cancel()


class Succession:
    """Of one carrier of a session, which `token` resumes."""

    def __init__(self, session: Session, token: bytes, greet: Greet, attempts: Attempts) -> None:
        self.moving = False  # whether another carrier is about to take over
        self.successor: Welcomed | None = None  # the one that has
        self._session = session
        self._token = token
        self._greet = greet
        self._attempts = attempts

    async def run(self, age: float) -> None:
        """Waits until the carrier is suspect or worn, or so old, and then puts another one in its place."""
        if (carrier := self._session.carrier) is None:
            return  # it is gone already
        deadline = trio.current_time() + age
        while not carrier.gone.is_set():
            with trio.move_on_at(deadline):
                await carrier.uneasy.wait()
            self.moving = True
            try:
                with self._attempts.one():
                    self.successor = await self._take_over(carrier)
                    return
            except CarrierError as exc:
                log.debug("the carrier was not replaced: %s", exc)
            finally:
                self.moving = False
                self._session.mux.stay()
                self._session.wake_writer()
            if not carrier.suspect:
                deadline = trio.current_time() + RETRY_ROTATION
                carrier.spare()
            else:
                await self._attempts.pause(carrier.gone)

    async def _take_over(self, carrier: Carrier) -> Welcomed:
        """Raises CarrierError; the old carrier goes on then, or is gone where there is no way back to it."""
        was_suspect = carrier.suspect
        greeting = await self._greet()
        lost = carrier.suspect or carrier.gone.is_set()
        if was_suspect and not lost:
            await greeting.close()
            raise CarrierError("the old one answers again")
        try:
            return await self._move(carrier, greeting, Wanted.RESUME if lost else Wanted.HAND_OVER)
        except BaseException:
            if carrier.finishing:
                carrier.give_up()  # nothing more may be sent on it
            await greeting.close()
            raise

    async def _move(self, carrier: Carrier, greeting: Greeting, wanted: Wanted) -> Welcomed:
        mux = self._session.mux
        hello = greeting.hello(wanted, self._token, mux.moving(), AFTER_WELCOME)
        if wanted is Wanted.RESUME:
            welcome, rest = await greeting.exchange(hello)
        else:
            welcome, rest = await greeting.exchange(hello, sent=carrier.finish, patience=FINISH_TIMEOUT)
            with trio.move_on_after(FINISH_TIMEOUT):
                await carrier.gone.wait()
        await self._session.detach()
        try:
            mux.moved(welcome.received, welcome.sending, trio.current_time())
        except RemoteProtocolError as exc:
            raise CarrierError(f"it cannot go on there: {exc}") from exc
        return Welcomed(greeting.carrier, rest, took_over=True)
