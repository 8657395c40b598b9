"""Hello and welcome over a carrier, at the local side (docs/protocol.md, section 3)."""

from __future__ import annotations

import random
import secrets
from typing import TYPE_CHECKING

import trio

from .errors import CarrierError
from .protocol.handshake import NO_TOKEN, NONCE_SIZE, Hello, NotAWelcomeError, Status, Wanted, Welcome, read_welcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from .keys import UserKey
    from .tls import TLSStream

# Our choices; seconds.
#: One round trip, and time for lost packets: an exit that does not know the key is a web server, and waits for the rest of a request.
WELCOME_TIMEOUT = 3.0
#: The same on a slow link, in round trips.
WELCOME_ROUND_TRIPS = 6.0
PADDING = range(100, 701)  # docs/protocol.md, section 3

CUT = "the connection to the exit was cut before it could answer: somebody on the way may do that; it is tried again"
UNKNOWN_KEY = (
    "what listens there does not accept this key: the user was removed, or it is not a Ropeway exit; "
    "ask for a new link and join again"
)
NO_WELCOME = (
    "what listens there took the greeting and does not answer: it does not know this key, and then a new link helps, "
    "or the connection went silent; it is tried again"
)
TOO_MANY = "the exit refuses another session of this user: too many devices use the same link; give each its own"
FORGOTTEN = "the exit was restarted or waited too long: connections that were open are lost, new ones work"
BUSY = "the exit is moving this session to another connection already; it is tried again"

#: What ends a greeting, and what it means for the user.
_MEANINGS: dict[type[Exception], str] = {
    trio.BrokenResourceError: CUT,
    trio.TooSlowError: NO_WELCOME,
    NotAWelcomeError: UNKNOWN_KEY,
}


class ForgottenError(CarrierError):
    """The exit is there, and the session is not: a new one can be made at once."""


_REFUSALS = {Status.TOO_MANY: TOO_MANY, Status.BUSY: BUSY}


class Greeting:
    """What one user says on one carrier, of which `round_trip` is the time that TCP took to connect."""

    def __init__(self, carrier: TLSStream, binding: bytes, key: UserKey, round_trip: float) -> None:
        self.carrier = carrier
        self._binding = binding
        self._key = key
        self._timeout = max(WELCOME_TIMEOUT, WELCOME_ROUND_TRIPS * round_trip)

    def hello(self, wanted: Wanted, token: bytes, received: int, sending: int) -> Hello:
        return Hello(self._key.key_id, secrets.token_bytes(NONCE_SIZE), wanted, token, received, sending)

    async def exchange(
        self, hello: Hello, early: bytes = b"", *, patience: float = 0.0, sent: Callable[[], None] = lambda: None
    ) -> tuple[Welcome, bytes]:
        """The welcome, of a session that is new or goes on, and what came behind it. `early`: frames behind the hello; `patience`: seconds that
        the exit may need besides; `sent` is called when the hello is on its way.

        Raises ForgottenError where the session cannot go on, CarrierError for all else, and closes the carrier then.
        """
        try:
            return await self._exchange(hello, early, patience, sent)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """At once, and without replacing the error that brought us here by a cancellation from outside."""
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(self.carrier)

    async def _exchange(
        self, hello: Hello, early: bytes, patience: float, sent: Callable[[], None]
    ) -> tuple[Welcome, bytes]:
        padding = secrets.token_bytes(random.choice(PADDING))  # noqa: S311  (the length is no secret)
        try:
            with trio.fail_after(self._timeout + patience):
                await self.carrier.send_all(hello.encode(self._key.secret, self._binding, padding) + early)
                sent()
                welcome, rest = await self._read_welcome(hello)
        except tuple(_MEANINGS) as exc:
            raise CarrierError(_MEANINGS[type(exc)]) from exc
        if welcome.status in (Status.NEW, Status.RESUMED):
            return welcome, rest
        if welcome.status in _REFUSALS:
            raise CarrierError(_REFUSALS[welcome.status])
        if hello.token == NO_TOKEN:  # there was nothing to know
            raise CarrierError(UNKNOWN_KEY)
        raise ForgottenError(FORGOTTEN)

    async def _read_welcome(self, hello: Hello) -> tuple[Welcome, bytes]:
        data = b""
        while (answer := read_welcome(data, self._key.secret, self._binding, hello)) is None:
            more = await self.carrier.receive_some()
            if not more:
                raise NotAWelcomeError
            data += more
        welcome, size = answer
        return welcome, data[size:]
