"""The exit: TLS for everybody, a session for who proves to hold a key, and the website for everybody else."""

from __future__ import annotations

import math
import random
import secrets
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import trio

from .acceptor import Acceptor
from .address import Address
from .errors import OpenError, Reason, RemoteProtocolError
from .protocol.handshake import (
    NONCE_SIZE,
    TOKEN_SIZE,
    Hello,
    NotAHelloError,
    Status,
    Wanted,
    Welcome,
    read_hello,
)
from .protocol.mux import Mux
from .relay import relay
from .session import Session
from .telemetry import logger, shown
from .tls import TLSStream

if TYPE_CHECKING:
    from .session_stream import SessionStream
    from .website import Website

log = logger("exit")

#: What a hello gets: the session and the welcome's `sending`, or why there is none.
Verdict: TypeAlias = "tuple[Status, ServedSession | None, int]"
Connect: TypeAlias = Callable[[Address], Awaitable[trio.abc.HalfCloseableStream]]

# Our choices; seconds.
HANDSHAKE_TIMEOUT = 10.0  # TLS; and the hello (docs/protocol.md, section 3)
WELCOME_TIMEOUT = 10.0
FINISH_TIMEOUT = 5.0  # for an old carrier to come to its end; its queue is emptied by then or it is broken
PADDING = range(100, 701)
#: Carriers and strangers at once; a stranger costs about 100 KB, most of it TLS.
MAX_CONNECTIONS = 1024
#: Of those, who has not proved to hold a key. The one that came first goes when another one comes: users always find a place.
MAX_STRANGERS = 768


@dataclass(frozen=True, slots=True)
class Limits:
    """What one user may take; see the configuration."""

    waiting_time: float = 600.0
    max_sessions: int = 16
    max_streams: int = 8192


class Strangers:
    """Connections that are no carriers, or not yet. When there are too many, the oldest is cancelled."""

    def __init__(self) -> None:
        self._scopes: dict[trio.CancelScope, None] = {}  # in the order in which they came

    def enter(self) -> trio.CancelScope:
        """The scope to run in; `leave` it in the end."""
        if len(self._scopes) >= MAX_STRANGERS:
            oldest = next(iter(self._scopes))
            self.leave(oldest)
            oldest.cancel()
        scope = trio.CancelScope()
        self._scopes[scope] = None
        return scope

    def leave(self, scope: trio.CancelScope) -> None:
        """Its connection has ended, or is a carrier. Twice is the same as once."""
        self._scopes.pop(scope, None)


class ServedSession:
    """A session at the exit, on a carrier or waiting for one."""

    def __init__(self, key_id: bytes, session: Session, tasks: trio.Nursery) -> None:
        self.key_id = key_id
        self._tasks = tasks  # they end with the session
        self.token = secrets.token_bytes(TOKEN_SIZE)
        self.session = session
        self._turn = 0  # of the carrier that it belongs to
        self._next_turn = trio.Event()
        self.waiting_since = math.inf
        self.taken_over = False  # another carrier is about to take over, and no third one may

    def take_turn(self) -> int:
        """For a carrier whose hello was accepted; whoever waits for the session's next carrier stops waiting."""
        self._turn += 1
        self._next_turn.set()
        self._next_turn = trio.Event()
        self.waiting_since = math.inf
        return self._turn

    def has_turn(self, turn: int) -> bool:
        """Whether no later carrier took over."""
        return turn == self._turn

    def wait(self, turn: int, waiting_time: float) -> None:
        """Call when this carrier has ended: when none comes in `waiting_time` seconds, the session is over."""
        if self.has_turn(turn) and not self.session.over.is_set():
            self.waiting_since = trio.current_time()
            self._tasks.start_soon(self._wait, self._next_turn, waiting_time)

    async def _wait(self, next_turn: trio.Event, waiting_time: float) -> None:
        with trio.move_on_after(waiting_time) as scope:
            await next_turn.wait()
        if scope.cancelled_caught:
            self.session.lost("it waited too long for its carrier")


async def _shakes_hands(stream: TLSStream) -> bool:
    """Whether it speaks our TLS."""
    try:
        with trio.fail_after(HANDSHAKE_TIMEOUT):
            await stream.do_handshake()
    except (ssl.SSLError, trio.TooSlowError):
        return False
    return True


class Exit:
    """Serves connections that came to the exit's port. `secrets_of` maps the users' key ids to their keys."""

    def __init__(
        self, secrets_of: Mapping[bytes, bytes], binding: bytes, *, website: Website, connect: Connect, limits: Limits
    ) -> None:
        self._secrets_of = secrets_of
        self._binding = binding
        self._website = website
        self._connect = connect
        self._limits = limits
        self._sessions: dict[bytes, ServedSession] = {}
        self._strangers = Strangers()

    def __repr__(self) -> str:
        return f"<Exit with {len(self._sessions)} sessions>"

    async def serve(
        self,
        listeners: list[trio.SocketListener],
        context: ssl.SSLContext,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Until it is cancelled. Sessions outlive the connections that they come on."""
        async with trio.open_nursery() as nursery:

            async def handle(transport: trio.abc.HalfCloseableStream) -> None:
                await self._handle(transport, context, nursery)

            await nursery.start(Acceptor(handle, MAX_CONNECTIONS).run, listeners)
            task_status.started()

    async def _handle(
        self, transport: trio.abc.HalfCloseableStream, context: ssl.SSLContext, nursery: trio.Nursery
    ) -> None:
        stream = TLSStream(transport, context, server_side=True)
        with self._strangers.enter() as scope:
            try:
                if await _shakes_hands(stream):
                    await self._serve_connection(stream, nursery, scope)
            finally:
                self._strangers.leave(scope)

    async def _serve_connection(self, stream: TLSStream, nursery: trio.Nursery, scope: trio.CancelScope) -> None:
        data, hello, rest = b"", None, b""
        try:
            with trio.move_on_after(HANDSHAKE_TIMEOUT):
                while (answer := read_hello(data, self._secrets_of, self._binding)) is None:
                    more = await stream.receive_some()
                    if not more:
                        break
                    data += more
                else:
                    hello, rest = answer[0], data[answer[1] :]
        except NotAHelloError:
            pass
        if hello is None:
            await self._website(stream, data)
        else:
            self._strangers.leave(scope)
            await self._serve_carrier(stream, hello, rest, nursery)

    # ---- sessions

    async def _serve_carrier(self, carrier: TLSStream, hello: Hello, first: bytes, nursery: trio.Nursery) -> None:
        if hello.wanted is Wanted.NEW:
            status, served, sending = await self._new_session(hello, nursery)
        else:
            status, served, sending = await self._resumed_session(hello)
        nonce = secrets.token_bytes(NONCE_SIZE)
        if served is None:
            await self._welcome(carrier, hello, Welcome(nonce, status))
            with trio.move_on_after(
                WELCOME_TIMEOUT
            ):  # what is behind the hello is read, or a reset overtakes the welcome
                while await carrier.receive_some():
                    pass
            return
        turn = served.take_turn()
        try:
            await self._welcome(
                carrier, hello, Welcome(nonce, status, served.token, served.session.mux.received, sending)
            )
            if served.has_turn(turn):  # no other carrier came while the welcome was on its way
                why = await served.session.run_carrier(carrier, first)
                log.debug("a carrier ended: %s", why)
        finally:
            served.wait(turn, self._limits.waiting_time)

    async def _welcome(self, carrier: TLSStream, hello: Hello, welcome: Welcome) -> None:
        padding = secrets.token_bytes(random.choice(PADDING))  # noqa: S311  (the length is no secret)
        with trio.move_on_after(WELCOME_TIMEOUT) as scope:
            await carrier.send_all(welcome.encode(self._secrets_of[hello.key_id], self._binding, padding, hello))
        if scope.cancelled_caught:
            raise trio.BrokenResourceError("nobody takes the welcome")

    async def _new_session(self, hello: Hello, nursery: trio.Nursery) -> Verdict:
        mine = [served for served in self._sessions.values() if served.key_id == hello.key_id]
        if len(mine) >= self._limits.max_sessions:
            waiting = [served for served in mine if served.waiting_since < math.inf]
            # One without streams is nobody's loss: its first welcome never arrived, or its apps have closed.
            oldest = min(
                waiting, key=lambda served: (bool(served.session.mux.streams), served.waiting_since), default=None
            )
            if oldest is None:
                return Status.TOO_MANY, None, 0
            oldest.session.lost("the user has made too many others")
        served = await nursery.start(self._run_session, hello.key_id)
        return Status.NEW, served, 0

    async def _resumed_session(self, hello: Hello) -> Verdict:
        served = self._sessions.get(hello.token)
        if served is None:
            return Status.UNKNOWN, None, 0
        if served.key_id != hello.key_id:
            return Status.FOREIGN, None, 0
        if served.taken_over:
            return Status.BUSY, None, 0
        try:
            served.session.mux.check_resumable(hello.received, hello.sending)
        except RemoteProtocolError as exc:
            log.debug("a session cannot be resumed: %s", exc)
            return Status.IMPOSSIBLE, None, 0
        served.taken_over = True
        try:
            return await self._take_over(served, hello)
        finally:
            served.taken_over = False

    async def _take_over(self, served: ServedSession, hello: Hello) -> Verdict:
        session = served.session
        if hello.wanted is Wanted.HAND_OVER and await session.finish(FINISH_TIMEOUT):
            sending = session.mux.handed_over(trio.current_time())
        else:
            await session.detach()  # the old carrier may seem alive here
            try:
                sending = session.mux.resumed(hello.received, hello.sending, trio.current_time())
            except RemoteProtocolError as exc:  # the old carrier brought what does not go with this hello
                log.debug("a session cannot be resumed: %s", exc)
                return Status.IMPOSSIBLE, None, 0
        return (Status.UNKNOWN, None, 0) if session.over.is_set() else (Status.RESUMED, served, sending)

    async def _run_session(self, key_id: bytes, *, task_status: trio.TaskStatus[ServedSession]) -> None:
        """From its first hello to its end; the tasks of its streams live here."""
        async with trio.open_nursery() as nursery:

            def accept(stream: SessionStream) -> None:
                nursery.start_soon(self._serve_stream, stream)

            mux = Mux(opens=False, now=trio.current_time(), max_streams=self._limits.max_streams)
            served = ServedSession(key_id, Session(mux, accept), nursery)
            self._sessions[served.token] = served
            log.debug("a session begins")
            try:
                task_status.started(served)
                await served.session.over.wait()
            finally:
                del self._sessions[served.token]
                served.session.lost("the exit was stopped")  # where it is not over yet
                log.debug("a session has ended")
            nursery.cancel_scope.cancel()

    async def _serve_stream(self, stream: SessionStream) -> None:
        """One stream, from OPEN to its end; its error boundary."""
        try:
            with stream.until_reset():
                await trio.lowlevel.checkpoint()  # one that was reset at once costs no system call
                destination = await self._connect(stream.address)
                stream.accept()
                await relay(stream, destination)
        except OpenError as exc:
            log.debug("no connection to %s: %s", shown(stream.address), exc)
            stream.reset(exc.reason, str(exc))
        except Exception:  # it costs this stream and a line in the log, not the others
            log.error("a stream ended with an error that is a bug of Ropeway", exc_info=True)
            stream.reset(Reason.FAILED)
