"""Hello and welcome over a carrier: what each answer means, and that no carrier is left open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from proxy.errors import CarrierError
from proxy.greeting import (
    BUSY,
    CUT,
    FORGOTTEN,
    NO_WELCOME,
    TOO_MANY,
    UNKNOWN_KEY,
    WELCOME_ROUND_TRIPS,
    WELCOME_TIMEOUT,
    ForgottenError,
    Greeting,
)
from proxy.keys import UserKey
from proxy.protocol.handshake import NO_TOKEN, NONCE_SIZE, TOKEN_SIZE, Hello, Status, Wanted, Welcome, read_hello
from proxy.tls import TLSStream, connect_tls, local_context
from tests.memory import Cable, Identity

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

KEY = UserKey.new()
TOKEN = b"t" * TOKEN_SIZE


class Greeter:
    """A greeting on one end of a carrier; `answer` is what the exit does with the hello at the other."""

    def __init__(self, server: Identity, round_trip: float = 0.0) -> None:
        self._server = server
        self._round_trip = round_trip
        self.cable = Cable()
        self.got = b""

    async def exchange(
        self, answer: Callable[[TLSStream, Hello], Awaitable[None]], token: bytes = NO_TOKEN, **options: object
    ) -> tuple[Welcome, bytes]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve, answer)
            stream, binding = await connect_tls(self.cable.near, local_context(roots=False), "", self._server.pin)
            greeting = Greeting(stream, binding, KEY, self._round_trip)
            hello = greeting.hello(Wanted.RESUME if token != NO_TOKEN else Wanted.NEW, token, 0, 0)
            try:
                return await greeting.exchange(hello, b"early", **options)  # type: ignore[arg-type]
            finally:
                nursery.cancel_scope.cancel()

    async def _serve(self, answer: Callable[[TLSStream, Hello], Awaitable[None]]) -> None:
        stream = TLSStream(self.cable.far, self._server.context, server_side=True)
        await stream.do_handshake()
        secrets = {KEY.key_id: KEY.secret}
        while (found := read_hello(self.got, secrets, self._server.binding)) is None:
            self.got += await stream.receive_some()
        await answer(stream, found[0])
        await trio.sleep_forever()


def with_status(server: Identity, status: Status, behind: bytes = b"") -> Callable[[TLSStream, Hello], Awaitable[None]]:
    async def answer(stream: TLSStream, hello: Hello) -> None:
        welcome = Welcome(bytes(NONCE_SIZE), status, TOKEN, 7, 8)
        data = welcome.encode(KEY.secret, server.binding, bytes(300), hello) + behind
        await stream.send_all(data[:40])
        await stream.send_all(data[40:])

    return answer


@pytest.mark.parametrize("status", [Status.NEW, Status.RESUMED])
async def test_a_welcome_and_what_is_behind_it(server: Identity, status: Status, autojump_clock: MockClock) -> None:
    greeter = Greeter(server)
    said = []
    welcome, rest = await greeter.exchange(with_status(server, status, b"frames"), sent=lambda: said.append("sent"))
    assert (welcome.status, welcome.token, welcome.received, welcome.sending) == (status, TOKEN, 7, 8)
    assert rest == b"frames"
    assert greeter.got.endswith(b"early")
    assert said == ["sent"]
    assert not greeter.cable.near.closed


@pytest.mark.parametrize(
    ("status", "token", "error", "text"),
    [
        (Status.TOO_MANY, NO_TOKEN, CarrierError, TOO_MANY),
        (Status.BUSY, TOKEN, CarrierError, BUSY),
        (Status.UNKNOWN, TOKEN, ForgottenError, FORGOTTEN),
        (Status.FOREIGN, TOKEN, ForgottenError, FORGOTTEN),
        (Status.IMPOSSIBLE, TOKEN, ForgottenError, FORGOTTEN),
        (Status.UNKNOWN, NO_TOKEN, CarrierError, UNKNOWN_KEY),
    ],
)
async def test_a_refusal(
    server: Identity, status: Status, token: bytes, error: type[CarrierError], text: str, autojump_clock: MockClock
) -> None:
    greeter = Greeter(server)
    with pytest.RaisesGroup(pytest.RaisesExc(error, check=lambda exc: str(exc) == text and type(exc) is error)):
        await greeter.exchange(with_status(server, status), token)
    assert greeter.cable.near.closed


@pytest.mark.parametrize(
    ("round_trip", "patience", "lasts"),
    [(0.0, 0.0, WELCOME_TIMEOUT), (1.0, 0.0, WELCOME_ROUND_TRIPS), (0.0, 5.0, WELCOME_TIMEOUT + 5)],
)
async def test_no_welcome(
    server: Identity, round_trip: float, patience: float, lasts: float, autojump_clock: MockClock
) -> None:
    async def say_nothing(_stream: TLSStream, _hello: Hello) -> None:
        await trio.sleep_forever()

    greeter = Greeter(server, round_trip)
    with pytest.RaisesGroup(pytest.RaisesExc(CarrierError, check=lambda exc: str(exc) == NO_WELCOME)):
        await greeter.exchange(say_nothing, patience=patience)
    assert trio.current_time() == pytest.approx(lasts)
    assert greeter.cable.near.closed


async def test_a_cut(server: Identity, autojump_clock: MockClock) -> None:
    greeter = Greeter(server)

    async def cut(_stream: TLSStream, _hello: Hello) -> None:
        greeter.cable.cut()

    with pytest.RaisesGroup(pytest.RaisesExc(CarrierError, check=lambda exc: str(exc) == CUT)):
        await greeter.exchange(cut)
    assert greeter.cable.near.closed


@pytest.mark.parametrize("what", ["an error page", "the end"])
async def test_something_else_answers(server: Identity, what: str, autojump_clock: MockClock) -> None:
    async def answer(stream: TLSStream, _hello: Hello) -> None:
        if what == "an error page":
            await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(2000))
        else:
            await stream.send_eof()

    greeter = Greeter(server)
    with pytest.RaisesGroup(pytest.RaisesExc(CarrierError, check=lambda exc: str(exc) == UNKNOWN_KEY)):
        await greeter.exchange(answer)
    assert greeter.cable.near.closed


async def test_cancelled_it_closes_the_carrier(server: Identity, autojump_clock: MockClock) -> None:
    async def say_nothing(_stream: TLSStream, _hello: Hello) -> None:
        await trio.sleep_forever()

    greeter = Greeter(server)
    with trio.move_on_after(1) as scope:
        await greeter.exchange(say_nothing)
    assert scope.cancelled_caught
    assert greeter.cable.near.closed
