"""The exit: TLS for everybody, a session for who proves to hold a key, and the website for everybody else."""

from __future__ import annotations

import random
import secrets
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import trio

from .acceptor import Acceptor
from .address import Address
from .association import Association, exchange
from .challenge import context_for
from .errors import OpenError, Reason
from .idleness import IDLE_TEXT, IDLE_TIME, end_idle
from .protocol.budget import CONNECTION, Budget, limit_of
from .protocol.datagrams import AGE
from .protocol.event import Code
from .protocol.handshake import (
    NO_TOKEN,
    NONCE_SIZE,
    Hello,
    NotAHelloError,
    Status,
    Wanted,
    Welcome,
    read_hello,
)
from .protocol.mux import Mux
from .relay import relay
from .served_session import ServedSession, Verdict
from .session import Session
from .strangers import Strangers
from .telemetry import logger, shown
from .tls import TLSStream
from .waiting_room import Patience, WaitingRoom

if TYPE_CHECKING:
    from pathlib import Path

    from .session_association import SessionAssociation
    from .session_stream import SessionStream
    from .website import Website

log = logger("exit")

Connect: TypeAlias = Callable[[Address], Awaitable[trio.abc.HalfCloseableStream]]
Associate: TypeAlias = Callable[[], Association]
Listener: TypeAlias = trio.abc.Listener[trio.abc.HalfCloseableStream]

# Our choices; seconds.
HANDSHAKE_TIMEOUT = 10.0  # TLS; and the hello (docs/protocol.md, section 3)
WELCOME_TIMEOUT = 10.0
STOP_TIMEOUT = 3.0  # for sessions to be told that the exit stops; it has to be gone within 5 s
RELIEVE_EVERY = 0.5  # how often it looks whether memory is short
PADDING = range(100, 701)
#: Carriers and strangers at once; a stranger costs about 100 KB, most of it TLS.
MAX_CONNECTIONS = 1024
#: Associations of all sessions; each is a socket.
MAX_ASSOCIATIONS = 4096


@dataclass(frozen=True, slots=True)
class Limits:
    """What one user may take, what sessions may that wait for a carrier, and what the process may; see the configuration."""

    waiting_time: float = 600.0
    max_sessions: int = 16
    max_streams: int = 8192
    max_associations: int = 1024
    datagram_age: float = AGE
    waiting_bytes_user: int = 64_000_000
    waiting_bytes: int = 128_000_000
    memory: int = 256_000_000
    idle_time: float = IDLE_TIME

    @property
    def patience(self) -> Patience:
        return Patience(self.waiting_time, self.waiting_bytes_user, self.waiting_bytes)


@dataclass(frozen=True, slots=True)
class Identity:
    """What the exit shows in a TLS handshake, the channel binding that goes with it, and where the answer to an authority would be."""

    context: ssl.SSLContext
    binding: bytes
    challenge: Path | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What the exit goes by. `secrets_of` maps the users' key ids to their keys."""

    secrets_of: Mapping[bytes, bytes]
    identity: Identity
    website: Website
    connect: Connect
    associate: Associate
    limits: Limits


@dataclass(frozen=True, slots=True)
class _Caller:
    """A carrier whose hello proved a key, what came behind the hello, and what a welcome is sealed with."""

    carrier: TLSStream
    hello: Hello
    first: bytes
    secret: bytes
    binding: bytes

    async def welcome(self, status: Status, token: bytes = NO_TOKEN, received: int = 0, sending: int = 0) -> None:
        """Raises trio.BrokenResourceError where nobody takes it."""
        welcome = Welcome(secrets.token_bytes(NONCE_SIZE), status, token, received, sending)
        padding = secrets.token_bytes(random.choice(PADDING))  # noqa: S311  (the length is no secret)
        with trio.move_on_after(WELCOME_TIMEOUT) as scope:
            await self.carrier.send_all(welcome.encode(self.secret, self.binding, padding, self.hello))
        if scope.cancelled_caught:
            raise trio.BrokenResourceError("nobody takes the welcome")

    async def refuse(self, status: Status) -> None:
        await self.welcome(status)
        # What is behind the hello is read, or a reset overtakes the welcome.
        with trio.move_on_after(WELCOME_TIMEOUT):
            while await self.carrier.receive_some():
                pass


async def _shakes_hands(stream: TLSStream, challenge: Path | None) -> bool:
    """Whether it speaks our TLS."""
    try:
        with trio.fail_after(HANDSHAKE_TIMEOUT):
            await stream.do_handshake(partial(context_for, challenge) if challenge else None)
    except (ssl.SSLError, trio.TooSlowError):
        return False
    return True


class Exit:
    """Serves connections that came to the exit's port. `budget` is given where something else of the process counts in it as well."""

    def __init__(self, terms: Terms, budget: Budget | None = None) -> None:
        self._terms = terms
        self._sessions: dict[bytes, ServedSession] = {}
        self._budget = budget or Budget(limit_of(terms.limits.memory))
        self._room = WaitingRoom(terms.limits.patience, self._end, self._budget)
        self._strangers = Strangers()
        self._associations = 0  # of all sessions
        self._carriers: set[trio.CancelScope] = set()
        self._tasks: trio.Nursery  # of the streams: they outlive the connection that they came on, and see the goodbye
        self._stopping = False

    def __repr__(self) -> str:
        return f"<Exit with {len(self._sessions)} sessions>"

    def change(self, terms: Terms) -> None:
        """From now on it goes by these. Connections stay as they are, but for the sessions of keys that are not in force any more."""
        before, self._terms = self._terms.secrets_of, terms
        self._room.change(terms.limits.patience)
        self._budget.change(limit_of(terms.limits.memory))
        for served in list(self._sessions.values()):
            if before.get(served.key_id) != terms.secrets_of.get(served.key_id):
                self._say_goodbye(served, Code.REVOKED, "the key was removed")

    async def serve(
        self, listeners: Sequence[Listener], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Until it is cancelled. Then it listens no more, visitors are cut off, sessions are told, and it returns within STOP_TIMEOUT seconds
        whatever peers do.
        """
        async with trio.open_nursery() as nursery:
            shield = trio.CancelScope(shield=True)
            self._tasks = await nursery.start(self._hold_tasks, shield)
            gone = trio.Event()
            try:
                await nursery.start(self._accept, listeners, gone)
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._stopping = True
                for served in list(self._sessions.values()):
                    self._say_goodbye(served, Code.CLOSED, "the exit was stopped")
                with trio.move_on_after(STOP_TIMEOUT, shield=True):
                    await gone.wait()
                for scope in (shield, *self._carriers):
                    scope.cancel()

    async def _hold_tasks(self, shield: trio.CancelScope, *, task_status: trio.TaskStatus[trio.Nursery]) -> None:
        with shield:
            async with trio.open_nursery() as tasks:
                task_status.started(tasks)
                tasks.start_soon(self._room.run)
                tasks.start_soon(end_idle, lambda: self._terms.limits.idle_time, self._end_idle)
                await self._relieve()

    async def _relieve(self) -> None:
        """Streams that are not read go where memory is short, also those of sessions on which nothing happens."""
        while True:
            await trio.sleep(RELIEVE_EVERY)
            if self._budget.short:
                for served in list(self._sessions.values()):
                    served.session.relieve()

    def _end_idle(self, since: float) -> None:
        for served in list(self._sessions.values()):
            served.session.end_idle(since, IDLE_TEXT)

    async def _accept(
        self, listeners: Sequence[Listener], gone: trio.Event, *, task_status: trio.TaskStatus[Sequence[Listener]]
    ) -> None:
        """Sets `gone` when there is no connection any more."""
        try:
            await Acceptor(self._handle, MAX_CONNECTIONS).run(listeners, task_status=task_status)
        finally:
            gone.set()

    # ---- connections

    async def _handle(self, transport: trio.abc.HalfCloseableStream) -> None:
        self._budget.held += CONNECTION
        try:
            await self._serve_connection(transport)
        finally:
            self._budget.held -= CONNECTION

    async def _serve_connection(self, transport: trio.abc.HalfCloseableStream) -> None:
        identity = self._terms.identity
        stream = TLSStream(transport, identity.context, server_side=True)
        caller: _Caller | None = None
        with self._strangers.enter() as stranger:
            try:
                if await _shakes_hands(stream, identity.challenge):
                    caller = await self._receive(stream, identity.binding)
            finally:
                self._strangers.leave(stranger)
        if caller is not None and not self._stopping:
            refusal: Status | None = None
            with trio.CancelScope(shield=True) as scope:  # so that it can be told of the end
                self._carriers.add(scope)
                try:
                    refusal = await self._serve_carrier(caller)
                finally:
                    self._carriers.discard(scope)
            if refusal is not None:
                await caller.refuse(refusal)

    async def _receive(self, stream: TLSStream, binding: bytes) -> _Caller | None:
        """Who says hello; a visitor has been to the website."""
        data = b""
        try:
            with trio.move_on_after(HANDSHAKE_TIMEOUT):
                while (answer := read_hello(data, self._terms.secrets_of, binding)) is None:
                    more = await stream.receive_some()
                    if not more:
                        break
                    data += more
                else:
                    hello, size = answer
                    return _Caller(stream, hello, data[size:], self._terms.secrets_of[hello.key_id], binding)
        except NotAHelloError:
            pass
        await self._terms.website(stream, data)
        return None

    async def _serve_carrier(self, caller: _Caller) -> Status | None:
        """To the end of the carrier; or at once, with why there is no session for it."""
        served, (status, sending) = await self._session_for(caller.hello)
        if served is None:
            return status
        self._room.leave(served)
        turn = served.take_turn()
        caller.carrier.read_size = min(caller.carrier.read_size, self._budget.batch)
        try:
            mux = served.session.mux
            await caller.welcome(status, served.token, mux.received, sending)
            # No other carrier came while the welcome was on its way, and if the session ended meanwhile, then with a word about it.
            if served.has_turn(turn) and (not served.is_over or mux.wants_to_send):
                why = await served.session.run_carrier(caller.carrier, caller.first)
                log.debug("a carrier ended: %s", why)
        finally:
            if served.has_turn(turn):
                self._settle(served)
        return None

    # ---- sessions

    def _settle(self, served: ServedSession) -> None:
        """It may have no carrier any more."""
        if served.session.carrier is not None or served.moving:
            return
        if served.is_over:
            self._end(served, "")
        elif served not in self._room:
            self._room.enter(served)

    def _end(self, served: ServedSession, why: str) -> None:
        """Nothing goes on with it."""
        self._room.leave(served)
        if self._sessions.pop(served.token, None) is not None:
            log.debug("a session has ended")
        served.session.lost(why)

    def _say_goodbye(self, served: ServedSession, code: Code, text: str) -> None:
        """Its streams are reset, and its carrier ends when the peer was told why."""
        served.session.go_away(code, text)
        self._settle(served)

    async def _session_for(self, hello: Hello) -> tuple[ServedSession | None, Verdict]:
        """The session, without a carrier; or None, and what to tell."""
        if hello.wanted is Wanted.NEW:
            new = self._new_session(hello.key_id)
            return new, (Status.TOO_MANY if new is None else Status.NEW, 0)
        served = self._sessions.get(hello.token)
        if served is None:
            return None, (Status.UNKNOWN, 0)
        verdict = await served.move(hello)
        if verdict[0] is Status.RESUMED:
            return served, verdict
        self._settle(served)
        return None, verdict

    def _new_session(self, key_id: bytes) -> ServedSession | None:
        """None where the user has too many. It is counted at once: hellos that come together get no more than one after another."""
        mine = [served for served in self._sessions.values() if served.key_id == key_id and not served.is_over]
        if len(mine) >= self._terms.limits.max_sessions:
            oldest = self._room.least_missed(key_id)
            if oldest is None:
                return None
            self._end(oldest, "the user has made too many others")
        limits = self._terms.limits
        mux = Mux(opens=False, now=trio.current_time(), max_streams=limits.max_streams, budget=self._budget)
        mux.drop_after(limits.datagram_age)
        session = Session(mux, self._begin_stream, accept_association=self._begin_association)
        served = ServedSession(key_id, session)
        self._sessions[served.token] = served
        log.debug("a session begins")
        return served

    # ---- streams

    def _begin_stream(self, stream: SessionStream) -> None:
        self._tasks.start_soon(self._serve_stream, stream)

    async def _serve_stream(self, stream: SessionStream) -> None:
        """One stream, from OPEN to its end; its error boundary."""
        try:
            with stream.until_reset() as scope:
                await trio.lowlevel.checkpoint_if_cancelled()  # one that was reset at once costs no system call
                destination = await self._terms.connect(stream.address)
            if not scope.cancelled_caught:
                stream.accept()
                await relay(stream, destination)
        except OpenError as exc:
            log.debug("no connection to %s: %s", shown(stream.address), exc)
            stream.reset(exc.reason, str(exc))
        except Exception:  # it costs this stream and a line in the log, not the others
            log.error("a stream ended with an error that is a bug of Ropeway", exc_info=True)
            stream.reset(Reason.FAILED)

    # ---- associations

    def _begin_association(self, association: SessionAssociation) -> None:
        most = self._terms.limits.max_associations
        if association.siblings > most:
            association.reset(Reason.BUSY, f"the exit carries {most} UDP associations of one device, the most at once")
        elif self._associations >= MAX_ASSOCIATIONS:
            association.reset(Reason.BUSY, "too many apps use UDP at the exit")
        else:
            self._associations += 1
            self._tasks.start_soon(self._serve_association, association)

    async def _serve_association(self, association: SessionAssociation) -> None:
        """One association, to its end; its error boundary."""
        try:
            association.accept()
            await exchange(association, self._terms.associate())
        except Exception:
            log.error("an association ended with an error that is a bug of Ropeway", exc_info=True)
            association.reset(Reason.FAILED)
        finally:
            self._associations -= 1
