"""The local end of the tunnel: keeps a session on a carrier, and opens streams on it. Nothing else knows about reconnecting.

down --a carrier is made, and the welcome says so--> up --it breaks, is dead--> down
                                                     |
              suspect, or due for rotation: another carrier is made beside it, and takes over with its welcome
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

import trio

from .backoff import Backoff
from .carrier import DEAD
from .errors import CarrierError, Reason, RemoteProtocolError
from .greeting import FORGOTTEN, ForgottenError, Greeting
from .known_good import KnownGood
from .openings import Openings
from .protocol.datagrams import AGE
from .protocol.event import Code
from .protocol.handshake import NO_TOKEN, Wanted
from .protocol.mux import EARLY, Mux
from .session import Session
from .succession import USUAL_ROTATION, Attempts, Succession, Welcomed
from .tunnel_news import TunnelNews

if TYPE_CHECKING:
    from .address import Address
    from .keys import UserKey
    from .protocol.budget import Budget
    from .protocol.liveness import Measured
    from .session_association import SessionAssociation
    from .session_stream import SessionStream
    from .succession import Rotation
    from .ways import Opened

#: Makes a TLS connection to the exit, within bounds of its own. Raises CarrierError.
OpenCarrier: TypeAlias = Callable[[], Awaitable["Opened"]]

# Our choices; seconds.
STEADY = 0.5  # a carrier that lived as long was no failed attempt: the next one comes at once; after one that moved anything, soon
GOODBYE = 1.0  # what the exit is told at the end may not hold up a stop for longer
WAITING_TIME = 600.0  # streams wait for the exit as long as it waits for them
MAX_STREAMS = 8192  # as many as the local port takes connections


class Tunnel:
    """`run` keeps it up; `open` may be called at any time while it runs."""

    # Over the budget of attributes: the session, who waits for it, and what is told about it.

    def __init__(
        self,
        open_carrier: OpenCarrier,
        key: UserKey,
        *,
        connect_wait: float,
        waiting_time: float = WAITING_TIME,
        rotation: Rotation = USUAL_ROTATION,
        datagram_age: float = AGE,
        budget: Budget | None = None,
    ) -> None:
        self._open_carrier = open_carrier
        self._budget = budget
        self._key = key
        self._openings = Openings()
        self._known_good = KnownGood()
        self._datagram_age = datagram_age
        self._session = self._new_session()
        self.adjust(connect_wait=connect_wait, waiting_time=waiting_time, rotation=rotation, datagram_age=datagram_age)
        self._token = NO_TOKEN
        self._down_since = -math.inf
        self._backoff = Backoff()
        self.news = TunnelNews(trio.current_time())
        self._attempts = Attempts(self.news)
        self._shield = trio.CancelScope(shield=True)  # around what the goodbye needs
        self._stopping = False
        self._stopped = trio.Event()

    def __repr__(self) -> str:
        return f"<Tunnel {'up' if self.up.is_set() else 'down'}, {self._session!r}>"

    def adjust(self, *, connect_wait: float, waiting_time: float, rotation: Rotation, datagram_age: float) -> None:
        """For what begins from now on; times are in seconds."""
        self._openings.connect_wait = connect_wait
        self._waiting_time = waiting_time
        self._rotation = rotation
        self._datagram_age = datagram_age
        self._session.mux.drop_after(datagram_age)

    @property
    def up(self) -> trio.Event:
        """Set while there is a carrier; each time that there is none it is another event."""
        return self._openings.up

    @property
    def down(self) -> trio.Event:
        """Set while there is no carrier; each time that there is one it is another event."""
        return self._openings.down

    @property
    def measured(self) -> Measured:
        """Round trips of this session; where it begins anew it is another one."""
        return self._session.mux.measured

    @property
    def round_trip(self) -> float:
        """Smoothed, in seconds; not a number where none was measured yet."""
        mux = self._session.mux
        return mux.round_trip if mux.measured.count else math.nan

    @property
    def streams(self) -> int:
        """How many are open, or about to be."""
        return len(self._session.mux.streams)

    def _new_session(self) -> Session:
        mux = Mux(opens=True, now=trio.current_time(), max_streams=MAX_STREAMS, budget=self._budget)
        mux.drop_after(self._datagram_age)
        return Session(mux, refused=self._known_good.discard)

    # ---- streams

    async def open(self, address: Address) -> SessionStream:
        """A stream to the address, once the exit is connected; at once where it has connected there lately.

        Raises OpenError with the exit's reason, or TUNNEL_DOWN after `connect_wait` seconds without a carrier. When it is cancelled, the
        exit gives up as well.
        """
        if not self.up.is_set():
            with self.wanted():
                await self._openings.until_up()
        if (known := self.open_soon(address)) is not None:
            return known
        stream = self._session.open(address)
        try:
            await self._openings.until_accepted(stream)
        except BaseException:
            stream.reset(Reason.CANCELLED)
            raise
        self._known_good.add(address, trio.current_time())
        return stream

    def open_soon(self, address: Address) -> SessionStream | None:
        """As `open` where there is a carrier and the exit has connected there lately; else None. Raises OpenError where the session takes none."""
        if self.up.is_set() and self._known_good.has(address, trio.current_time()):
            return self._session.open(address)
        return None

    async def associate(self) -> SessionAssociation:
        """An association at the exit, on which datagrams may be sent at once. Raises OpenError, as `open` does where there is no carrier."""
        if not self.up.is_set():
            with self.wanted():
                await self._openings.until_up()
        return self._session.associate()

    @contextmanager
    def wanted(self) -> Iterator[None]:
        """Somebody waits for it meanwhile: pauses between attempts to connect are short."""
        self._backoff.wanted()
        with self._openings.wanted():
            yield

    def measure(self) -> None:
        """Measures a round trip, if there is a carrier."""
        self._session.measure()

    def network_changed(self) -> None:
        """Looks at the carrier at once, or tries at once to make one."""
        self._session.network_changed()
        self._backoff.reset()
        self._attempts.network_changed()

    # ---- its life

    async def run(self) -> None:
        """Keeps the tunnel up until it is cancelled; then the exit is told, and resets what is open. What goes wrong is told in the log, once."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_up)
            try:
                await trio.sleep_forever()
            finally:
                with trio.move_on_after(GOODBYE, shield=True):
                    await self._say_goodbye()
                self._shield.cancel()

    async def _say_goodbye(self) -> None:
        self._stopping = True
        self._attempts.cancel()
        if self.up.is_set():
            self._session.go_away(Code.CLOSED, "the local side was stopped")
            await self._stopped.wait()

    async def _keep_up(self) -> None:
        with self._shield:
            self._down_since = trio.current_time()
            welcomed: Welcomed | None = None
            while not self._stopping:
                if welcomed is None:
                    welcomed = await self._try_to_connect()
                else:
                    welcomed = await self._run_carrier(welcomed)
            if welcomed is not None:  # it was there when nobody wanted it any more
                await trio.aclose_forcefully(welcomed.stream)
        self._stopped.set()

    async def _try_to_connect(self) -> Welcomed | None:
        """One attempt, and where it fails the pause before the next one."""
        began = trio.current_time()
        try:
            with self._attempts.one():
                return await self._connect()
        except ForgottenError as exc:
            self.news.trouble(str(exc))
            self._start_over(str(exc))
        except CarrierError as exc:
            self.news.trouble(str(exc))
            self._give_up_waiting()
            await self._backoff.pause(began, demand=self._in_demand)
        return None

    async def _run_carrier(self, welcomed: Welcomed) -> Welcomed | None:
        """Until it ends; returns the one that took over."""
        self.news.connected(trio.current_time(), anew=not welcomed.took_over)
        self._openings.went_up()
        made, before = trio.current_time(), self._session.mux.progress
        succession = Succession(self._session, self._token, self._greet, self._attempts)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(succession.run, self._rotation.age())
            why = await self._session.run_carrier(welcomed.stream, welcomed.first, volume=self._rotation.volume())
            self._openings.went_down()
            self._down_since = trio.current_time()
            self.news.disconnected(self._down_since)
            if why == DEAD:
                self._tell_loss(why)  # before the race is decided
            if not succession.moving:
                nursery.cancel_scope.cancel()
        if succession.successor is not None:
            return succession.successor
        self._tell_loss(why)
        if self._session.mux.over is not None:
            self._start_over(why)
        # A session that was made anew meanwhile counts too: the exit was there to say that the old one is over.
        steady = trio.current_time() - made > STEADY
        if steady or self._session.mux.progress != before:
            self._backoff.reset()
        if not (steady or self._stopping):
            await self._backoff.pause(made, demand=self._in_demand)
        return None

    @property
    def _in_demand(self) -> bool:
        return self._openings.waiting or bool(self._session.mux.streams)

    def _tell_loss(self, why: str) -> None:
        if not self._stopping:
            self.news.lost(self._down_since, why)

    def _give_up_waiting(self) -> None:
        if trio.current_time() - self._down_since > self._waiting_time and self._session.mux.streams:
            self._start_over("the exit was not reached for too long")

    def _start_over(self, why: str) -> None:
        """Resets the streams of the session, and makes another one for those that come."""
        self._session.lost(why)
        self._session = self._new_session()
        self._token = NO_TOKEN

    # ---- carriers

    async def _greet(self) -> Greeting:
        opened = await self._open_carrier()
        return Greeting(opened.stream, opened.binding, self._key, opened.round_trip)

    async def _connect(self) -> Welcomed:
        """A carrier that has proved itself, with its session resumed or new. Raises CarrierError."""
        greeting = await self._greet()
        mux, now = self._session.mux, trio.current_time()
        received, sending = mux.carrier_made(now)
        if self._token == NO_TOKEN:
            hello = greeting.hello(Wanted.NEW, NO_TOKEN, 0, 0)
        else:
            hello = greeting.hello(Wanted.RESUME, self._token, received, sending)
        early = bytearray()
        while len(early) < EARLY and (data := mux.data_to_send(EARLY, now)):
            early += data
        welcome, rest = await greeting.exchange(hello, bytes(early))
        try:
            mux.welcomed(welcome.received, welcome.sending, trio.current_time())
        except RemoteProtocolError as exc:
            await greeting.close()
            raise ForgottenError(FORGOTTEN) from exc
        self._token = welcome.token
        return Welcomed(greeting.carrier, rest, took_over=False)
