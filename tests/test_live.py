"""The dashboard's WebSockets, with a client of another author."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import wsproto
from trio.testing import wait_all_tasks_blocked
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage

from proxy import live, live_feed
from proxy.address import Address
from proxy.connections import AppProtocol
from proxy.dashboard_token import TokenFile
from proxy.protocol import fault_answer
from proxy.watchers import MOST_WATCHERS
from tests.dashboard_world import dashboard_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from tests.dashboard_world import DashboardWorld

pytestmark = pytest.mark.usefixtures("log_as_before")


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_feed, "PERIOD", 0.02)


class Client:
    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._protocol = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        self._text = ""

    async def begin(self, host: str, *fields: tuple[bytes, bytes]) -> wsproto.events.Event:
        """How the server answers."""
        request = Request(host=host, target="/api/v1/live", extra_headers=list(fields))
        await self._stream.send_all(self._protocol.send(request))
        return await self._event()

    async def say(self, **words: Any) -> None:
        await self._stream.send_all(self._protocol.send(TextMessage(json.dumps(words))))

    async def say_text(self, text: str) -> None:
        await self._stream.send_all(self._protocol.send(TextMessage(text)))

    async def hear(self) -> Any:
        """The next message, or the code of the close."""
        with trio.fail_after(20):
            while True:
                event = await self._event()
                if isinstance(event, CloseConnection):
                    return event.code
                assert isinstance(event, TextMessage)
                self._text += event.data
                if event.message_finished:
                    whole, self._text = self._text, ""
                    return json.loads(whole)

    async def _event(self) -> wsproto.events.Event:
        while True:
            for event in self._protocol.events():
                return event
            data = bytes(await self._stream.receive_some(65536))
            self._protocol.receive_data(data or None)


@asynccontextmanager
async def client_of(world: DashboardWorld) -> AsyncIterator[Client]:
    async with await trio.open_tcp_stream("127.0.0.1", world.port) as stream:
        client = Client(stream)
        assert isinstance(await client.begin(f"127.0.0.1:{world.port}"), AcceptConnection)
        yield client


def opened(world: DashboardWorld) -> None:
    world.side.connections.opened(AppProtocol.CONNECT, Address("example.com", 443), trio.current_time())


async def test_who_has_the_token_is_told_what_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world, client_of(world) as client:
        opened(world)
        await client.say(token=world.token, watch=["connections", "state", "what is to come"])
        told = await client.hear()
        assert told.keys() == {"connections", "state"}
        assert [each["host"] for each in told["connections"]["open"]] == ["example.com"]
        assert told["state"]["open"] == 1
        await client.say(watch=["log"])
        while (told := await client.hear()).keys() != {"log"}:
            pass
        await client.say(watch=[])
        await client.say(watch=["connections"])
        while not (told := await client.hear()).get("connections", {}).get("open"):
            pass
        assert [each["host"] for each in told["connections"]["open"]] == ["example.com"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"token": "wrong", "watch": ["state"]}', 4401),
        ('{"token": "", "watch": ["state"]}', 4401),
        ('{"watch": ["state"]}', 4400),
        ("{", 4400),
        ("[]", 4400),
        ('{"token": 1, "watch": 2}', 4400),
    ],
)
async def test_who_has_not_is_shut_out(text: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world, client_of(world) as client:
        await client.say_text(text)
        assert await client.hear() == code


async def test_who_says_nothing_is_shut_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "FIRST_LIMIT", 0.01)
    async with dashboard_world(tmp_path, monkeypatch) as world, client_of(world) as client:
        assert await client.hear() == 4400


async def test_what_is_not_understood_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world, client_of(world) as client:
        await client.say(token=world.token, watch=["state"])
        await client.hear()
        await client.say_text("{")
        while isinstance(told := await client.hear(), dict):
            pass
        assert told == 4400


async def test_who_comes_while_it_is_looked_is_told_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world:
        looks, go_on = trio.Event(), trio.Event()
        look = live_feed.Feed._look_at_connections

        async def slowly(feed: live_feed.Feed, tick: int) -> None:
            looks.set()
            await go_on.wait()
            await look(feed, tick)

        monkeypatch.setattr(live_feed.Feed, "_look_at_connections", slowly)
        async with client_of(world) as first, client_of(world) as second:
            await first.say(token=world.token, watch=["connections"])
            await looks.wait()
            await second.say(token=world.token, watch=["state", "connections"])
            await wait_all_tasks_blocked(0.05)
            go_on.set()
            assert (await first.hear()).keys() == {"connections"}
            assert all(told is not None for told in (await second.hear()).values())
            while (told := await second.hear()).keys() != {"connections", "state"}:
                pass
            assert told["state"]["open"] == 0


async def test_who_has_missed_too_much_is_shut_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def message(_feed: live_feed.Feed, _known: object) -> str:
        raise live_feed.TooLateError

    async with dashboard_world(tmp_path, monkeypatch) as world, client_of(world) as client:
        await client.say(token=world.token, watch=["state"])
        assert "state" in await client.hear()
        monkeypatch.setattr(live_feed.Feed, "message", message)
        while isinstance(told := await client.hear(), dict):
            pass
        assert told == 4408


async def test_another_token_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_CHECKED_EVERY", 1)
    async with dashboard_world(tmp_path, monkeypatch) as world, client_of(world) as client:
        await client.say(token=world.token, watch=["state"])
        await client.hear()
        TokenFile.of_user().renew()
        while isinstance(told := await client.hear(), dict):
            pass
        assert told == 4401


async def test_there_are_so_many_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_WATCHERS", 1)
    async with dashboard_world(tmp_path, monkeypatch) as world:
        async with client_of(world) as first:
            await first.say(token=world.token, watch=["state"])
            await first.hear()
            async with client_of(world) as second:
                await second.say(token=world.token, watch=["state"])
                assert await second.hear() == 1013
        told: Any = 1013
        with trio.fail_after(10):
            while told == 1013:  # until it has noticed that the first one is gone
                async with client_of(world) as third:
                    await third.say(token=world.token, watch=["state"])
                    told = await third.hear()
        assert told.keys() == {"state"}


async def test_who_has_the_token_gets_in_however_many_have_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "FIRST_LIMIT", 60)  # they would stay
    async with dashboard_world(tmp_path, monkeypatch) as world, AsyncExitStack() as others:
        for _ in range(2 * MOST_WATCHERS):
            await others.enter_async_context(client_of(world))
        async with client_of(world) as client:
            await client.say(token=world.token, watch=["state"])
            assert (await client.hear()).keys() == {"state"}
            for _ in range(2 * MOST_WATCHERS):  # who is in stays
                await others.enter_async_context(client_of(world))
            await client.say(watch=["log"])
            while "log" not in (told := await client.hear()):
                assert isinstance(told, dict)


async def test_who_has_not_shown_the_token_has_little_to_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world:
        async with client_of(world) as client:
            await client.say(token=world.token, watch=["x" * live.FIRST_MESSAGE])
            assert await client.hear() == 1009  # RFC 6455, section 7.4.1: too big
        async with client_of(world) as client:
            await client.say(token=world.token, watch=[])
            await client.say(watch=["state", "x" * live.FIRST_MESSAGE])
            assert (await client.hear()).keys() == {"state"}


OTHERS: Sequence[tuple[str, list[tuple[bytes, bytes]]]] = [
    ("127.0.0.1:{port}", [(b"Origin", b"https://evil.example")]),
    ("127.0.0.1:{port}", [(b"Origin", b"http://127.0.0.1:1")]),
    ("127.0.0.1:{port}", [(b"Sec-Fetch-Site", b"cross-site")]),
    ("evil.example:{port}", []),
    ("evil.example:{port}", [(b"Origin", b"http://evil.example")]),
]


@pytest.mark.parametrize(("host", "fields"), OTHERS)
async def test_a_page_of_others_cannot_tell_that_there_is_one(
    host: str, fields: list[tuple[bytes, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world:
        answers = []
        for path in ("/api/v1/live", "/nowhere"):
            given = "".join(f"{name.decode()}: {value.decode()}\r\n" for name, value in fields)
            upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            head = f"GET {path} HTTP/1.1\r\nHost: {host.format(port=world.port)}\r\n"
            answers.append(await world.send(f"{head}{given}{upgrade}{key}\r\n".encode()))
        assert answers == [fault_answer.nameless_answer()] * 2


async def test_our_own_page_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world_of = dashboard_world(tmp_path, monkeypatch)
    async with world_of as world, await trio.open_tcp_stream("127.0.0.1", world.port) as stream:
        fields = [(b"Origin", f"http://localhost:{world.port}".encode()), (b"Sec-Fetch-Site", b"same-origin")]
        assert isinstance(await Client(stream).begin(f"localhost:{world.port}", *fields), AcceptConnection)


async def test_what_is_no_websocket_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world:
        answer = await world.ask("live")
        assert answer.status == 426
        assert b"Upgrade: websocket" in answer.head
        assert "WebSocket" in answer.error
