"""The local end of the tunnel: keeps a session on a carrier, and opens streams on it. Nothing else knows about reconnecting."""

from __future__ import annotations

import math
import random
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import trio

from .errors import CarrierError, OpenError, Reason, RemoteProtocolError
from .protocol.event import Code
from .protocol.handshake import NO_TOKEN, NONCE_SIZE, Hello, NotAWelcomeError, Status, Welcome, read_welcome
from .protocol.mux import EARLY, Mux
from .session import Session, SessionStream
from .telemetry import logger
from .tls import TLSStream

if TYPE_CHECKING:
    from .address import Address
    from .keys import UserKey

log = logger("tunnel")

#: Makes a TLS connection to the exit; gives it and its channel binding. Raises CarrierError.
OpenCarrier: TypeAlias = Callable[[], Awaitable[tuple[TLSStream, bytes]]]

# Our choices; seconds.
CONNECT_TIMEOUT = 15.0  # TCP and TLS: two round trips of the worst links, and time for lost packets
WELCOME_TIMEOUT = (
    10.0  # one more; an exit that does not know the key is a web server, and waits for the rest of a request
)
ACCEPT_TIMEOUT = (
    30.0  # for the exit to connect: its own limit is 10 s for each destination, and a carrier may break meanwhile
)
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 60.0  # between attempts, with full jitter
STEADY = 0.5  # a carrier that lived as long was no failed attempt: the next one comes at once; after one that moved anything, soon
GOODBYE = 1.0  # what the exit is told at the end may not hold up a stop for longer
WAITING_TIME = 600.0  # streams wait for the exit as long as it waits for them
KNOWN_GOOD = 300.0  # a destination that connected within this time is expected to do so again
MAX_KNOWN_GOOD = 1024
MAX_STREAMS = 8192  # as many as the local port takes connections
PADDING = range(100, 701)  # docs/protocol.md, section 3

SILENT = "the exit does not answer: it is off, or its address is blocked on the way; it is tried again"
CUT = "the connection to the exit was cut before it could answer: somebody on the way may do that; it is tried again"
UNKNOWN_KEY = (
    "what listens there does not accept this key: the user was removed, or it is not a Ropeway exit; "
    "ask for a new link and join again"
)
NO_WELCOME = (
    "what listens there took the greeting and does not answer: it does not know this key, and then a new link helps, "
    "or the connection went silent; it is tried again"
)
REFUSED = "the exit refuses another session of this user: too many devices use the same link; give each its own"
FORGOTTEN = "the exit was restarted or waited too long: connections that were open are lost, new ones work"

#: What ends a handshake, and what it means for the user.
_MEANINGS: dict[type[Exception], str] = {
    trio.BrokenResourceError: CUT,
    trio.TooSlowError: NO_WELCOME,
    NotAWelcomeError: UNKNOWN_KEY,
}


class _ForgottenError(CarrierError):
    """The exit is there, and the session is not: a new one can be made at once."""


class _News:
    """Tells the user of changes, and each trouble once, however often it happens in a row."""

    def __init__(self) -> None:
        self._trouble = ""
        self._connected_before = False

    def connected(self) -> None:
        log.info("connected to the exit again" if self._connected_before else "connected to the exit")
        self._connected_before = True
        self._trouble = ""

    def trouble(self, text: str) -> None:
        if text != self._trouble:
            log.warning(text)
            self._trouble = text


@dataclass
class _Pause:
    """Back-off with full jitter: a crowd that lost its exit at once does not come back at once."""

    longest: float = FIRST_PAUSE

    def next(self) -> float:
        pause = random.uniform(0, self.longest)  # noqa: S311  (nobody gains by guessing it)
        self.longest = min(self.longest * 2, LONGEST_PAUSE)
        return pause


class KnownGood:
    """Destinations that have connected lately; the oldest is forgotten when there are too many."""

    def __init__(self) -> None:
        self._until: OrderedDict[Address, float] = OrderedDict()

    def add(self, address: Address, now: float) -> None:
        self._until[address] = now + KNOWN_GOOD
        self._until.move_to_end(address)
        if len(self._until) > MAX_KNOWN_GOOD:
            self._until.popitem(last=False)

    def discard(self, address: Address) -> None:
        self._until.pop(address, None)

    def has(self, address: Address, now: float) -> bool:
        return self._until.get(address, -math.inf) > now


class Tunnel:
    """`run` keeps it up; `open` may be called at any time while it runs."""

    def __init__(self, open_carrier: OpenCarrier, key: UserKey, *, connect_wait: float) -> None:
        self._open_carrier = open_carrier
        self._key = key
        self._connect_wait = connect_wait
        self._known_good = KnownGood()
        self._session = self._new_session()
        self._token = NO_TOKEN
        self._up = trio.Event()
        self._down_since = -math.inf
        self._news = _News()
        self._shield = trio.CancelScope(shield=True)  # around what the goodbye needs
        self._stopping = False
        self._stopped = trio.Event()

    def __repr__(self) -> str:
        return f"<Tunnel {'up' if self._up.is_set() else 'down'}, {self._session!r}>"

    def _new_session(self) -> Session:
        mux = Mux(opens=True, now=trio.current_time(), max_streams=MAX_STREAMS)
        return Session(mux, refused=self._known_good.discard)

    # ---- streams

    async def open(self, address: Address) -> SessionStream:
        """A stream to the address, once the exit is connected; at once where it has connected there lately.

        Raises OpenError with the exit's reason, or TUNNEL_DOWN after `connect_wait` seconds without a carrier. When it is cancelled, the
        exit gives up as well.
        """
        with trio.move_on_after(self._connect_wait):
            await self._up.wait()
        if not self._up.is_set():
            raise OpenError(Reason.TUNNEL_DOWN)
        stream = self._session.open(address)
        if self._known_good.has(address, trio.current_time()):
            return stream
        try:
            with trio.move_on_after(ACCEPT_TIMEOUT) as scope:
                await stream.wait_accepted()
            if scope.cancelled_caught:
                raise OpenError(Reason.TIMED_OUT)
        except BaseException:
            stream.reset(Reason.CANCELLED)
            raise
        self._known_good.add(address, trio.current_time())
        return stream

    # ---- carriers

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
        if self._up.is_set():
            self._session.go_away(Code.CLOSED, "the local side was stopped")
            await self._stopped.wait()

    async def _keep_up(self) -> None:
        with self._shield:
            await self._connect_again_and_again()
        self._stopped.set()

    async def _connect_again_and_again(self) -> None:
        pause = _Pause()
        self._down_since = trio.current_time()
        while not self._stopping:
            try:
                carrier, first = await self._connect()
            except _ForgottenError as exc:
                self._news.trouble(str(exc))
                self._start_over(str(exc))
                continue
            except CarrierError as exc:
                self._news.trouble(str(exc))
                self._give_up_waiting()
                await trio.sleep(pause.next())
                continue
            made, before = trio.current_time(), self._session.mux.progress
            await self._run_carrier(carrier, first)
            # A session that was made anew meanwhile counts too: the exit was there to say that the old one is over.
            steady = trio.current_time() - made > STEADY
            if steady or self._session.mux.progress != before:
                pause = _Pause()
            if not steady:
                await trio.sleep(pause.next())

    async def _run_carrier(self, carrier: TLSStream, first: bytes) -> None:
        self._news.connected()
        self._up.set()
        try:
            why = await self._session.run_carrier(carrier, first)
        finally:
            self._up = trio.Event()
            self._down_since = trio.current_time()
        if self._stopping:
            return
        self._news.trouble(f"the connection to the exit is gone, and is made again: {why}")
        if self._session.mux.over is not None:
            self._start_over(why)

    def _give_up_waiting(self) -> None:
        if trio.current_time() - self._down_since > WAITING_TIME and self._session.mux.streams:
            self._start_over("the exit was not reached for too long")

    def _start_over(self, why: str) -> None:
        """Resets the streams of the session, and makes another one for those that come."""
        self._session.lost(why)
        self._session = self._new_session()
        self._token = NO_TOKEN

    async def _connect(self) -> tuple[TLSStream, bytes]:
        """A carrier that has proved itself, with its session resumed or new, and what came behind the welcome."""
        try:
            with trio.fail_after(CONNECT_TIMEOUT):
                carrier, binding = await self._open_carrier()
        except trio.TooSlowError as exc:
            raise CarrierError(SILENT) from exc
        try:
            with trio.fail_after(WELCOME_TIMEOUT):
                return carrier, await self._shake_hands(carrier, binding)
        except BaseException as exc:
            with trio.CancelScope(shield=True):  # or a cancellation from outside would replace the error
                await trio.aclose_forcefully(carrier)
            for kind, meaning in _MEANINGS.items():
                if isinstance(exc, kind):
                    raise CarrierError(meaning) from exc
            raise

    async def _shake_hands(self, carrier: TLSStream, binding: bytes) -> bytes:
        mux, now = self._session.mux, trio.current_time()
        received, sending = mux.carrier_made(now)
        if self._token == NO_TOKEN:
            received = sending = 0
        hello = Hello(self._key.key_id, secrets.token_bytes(NONCE_SIZE), self._token, received, sending)
        padding = secrets.token_bytes(random.choice(PADDING))  # noqa: S311  (the length is no secret)
        flight = bytearray(hello.encode(self._key.secret, binding, padding))
        while len(flight) < EARLY and (data := mux.data_to_send(EARLY, now)):
            flight += data
        await carrier.send_all(bytes(flight))
        welcome, rest = await self._read_welcome(carrier, binding, hello)
        if welcome.status is Status.REFUSED:
            raise CarrierError(REFUSED)
        if welcome.status is Status.UNKNOWN:
            raise _ForgottenError(FORGOTTEN)
        try:
            mux.welcomed(welcome.received, trio.current_time())
        except RemoteProtocolError as exc:
            raise _ForgottenError(FORGOTTEN) from exc
        self._token = welcome.token
        return rest

    async def _read_welcome(self, carrier: TLSStream, binding: bytes, hello: Hello) -> tuple[Welcome, bytes]:
        data = b""
        while True:
            answer = read_welcome(data, self._key.secret, binding, hello)
            if answer is not None:
                welcome, size = answer
                if welcome.status is Status.UNKNOWN and self._token == NO_TOKEN:
                    raise NotAWelcomeError  # there was nothing to know
                return welcome, data[size:]
            more = await carrier.receive_some()
            if not more:
                raise NotAWelcomeError
            data += more
