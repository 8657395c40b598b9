"""What dashboards for Clash watch, over memory streams in virtual time: as a WebSocket and as lines, until one side has enough."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import memory_stream_pair
from wsproto.events import AcceptConnection, CloseConnection, TextMessage

from proxy import clash_feeds
from proxy.api_request import ApiRequest
from proxy.clash_feeds import Feeds
from proxy.protocol.http_proxy import StatusError
from proxy.web_socket import HandshakeError
from tests.clash import read, shown
from tests.test_web_socket import Client

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.memory import Identity


class Watcher:
    """Watches `target` as lines, where it is not told to do so in a WebSocket."""

    def __init__(self, feeds: Feeds, target: str, nursery: trio.Nursery) -> None:
        self.ours, self.theirs = memory_stream_pair()
        self.allowed = True
        self._feeds = feeds
        self._target = target
        self._nursery = nursery
        self._data = b""
        self.ended = trio.Event()

    async def _serve(self, fields: list[str]) -> None:
        request, http = read(self._target, *fields)
        await self._feeds.serve(ApiRequest.of(request), request, self.ours, http, self.is_allowed)
        self.ended.set()

    async def is_allowed(self) -> bool:
        return self.allowed

    async def begin(self) -> bytes:
        """The head of the answer."""
        self._nursery.start_soon(self._serve, [])
        while b"\r\n\r\n" not in self._data:
            self._data += await self.theirs.receive_some()
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        return head

    async def line(self) -> Any:
        while b"\n" not in self._data:
            data = bytes(await self.theirs.receive_some())
            assert data, "the end"
            self._data += data
        line, _, self._data = self._data.partition(b"\n")
        return json.loads(line)

    async def socket(self) -> Client:
        client = Client(self.theirs)
        fields = client.opening.decode().split("\r\n")[1:]
        self._nursery.start_soon(
            self._serve, [field for field in fields if field and not field.lower().startswith("host")]
        )
        assert isinstance(await client.next(), AcceptConnection)
        return client


async def message(client: Client) -> Any:
    event = await client.next()
    assert isinstance(event, TextMessage)
    assert event.message_finished
    return json.loads(event.data)


async def test_connections_once_a_second(server: Identity, autojump_clock: MockClock) -> None:
    async with shown(server) as there, trio.open_nursery() as nursery:
        watcher = Watcher(Feeds(there.source), "/connections", nursery)
        head = await watcher.begin()
        began = trio.current_time()
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Content-Length" not in head
        assert b"Content-Type: application/json" in head
        assert (await watcher.line())["connections"] == []
        there.opened("www.example.com").reached("one")
        (found,) = (await watcher.line())["connections"]
        assert found["metadata"]["host"] == "www.example.com"
        assert trio.current_time() - began == pytest.approx(1)
        await watcher.theirs.aclose()
        await watcher.ended.wait()


async def test_the_interval_that_is_wished_for(server: Identity, autojump_clock: MockClock) -> None:
    async with shown(server) as there, trio.open_nursery() as nursery:
        for wish, seconds in (("5000", 5.0), ("1", 0.25), ("999999999", 60.0)):
            watcher = Watcher(Feeds(there.source), f"/connections?interval={wish}", nursery)
            await watcher.begin()
            await watcher.line()
            began = trio.current_time()
            await watcher.line()
            assert trio.current_time() - began == pytest.approx(seconds)
            await watcher.theirs.aclose()


async def test_a_web_socket(server: Identity, autojump_clock: MockClock) -> None:
    async with shown(server) as there, trio.open_nursery() as nursery:
        watcher = Watcher(Feeds(there.source), "/traffic?token=secret", nursery)
        client = await watcher.socket()
        assert await message(client) == {"up": 0, "down": 0, "upTotal": 0, "downTotal": 0}
        connection = there.opened("www.example.com")
        connection.traffic.up(100, trio.current_time())
        connection.traffic.down(3000, trio.current_time())
        assert await message(client) == {"up": 100, "down": 3000, "upTotal": 100, "downTotal": 3000}
        connection.close(trio.current_time())
        assert await message(client) == {"up": 0, "down": 0, "upTotal": 100, "downTotal": 3000}
        await client.send(CloseConnection(code=1000))
        while isinstance(event := await client.next(), TextMessage):
            pass
        assert isinstance(event, CloseConnection)
        await watcher.ended.wait()


async def test_who_is_silent_is_pinged_and_then_gone(server: Identity, autojump_clock: MockClock) -> None:
    async with shown(server) as there, trio.open_nursery() as nursery:
        watcher = Watcher(Feeds(there.source), "/memory", nursery)
        await watcher.socket()
        await watcher.ended.wait()


async def test_who_does_not_read_is_not_waited_for(server: Identity, autojump_clock: MockClock) -> None:
    async with shown(server) as there, trio.open_nursery() as nursery:
        watcher = Watcher(Feeds(there.source), "/memory", nursery)
        await watcher.begin()
        watcher.ours.send_stream.send_all_hook = trio.sleep_forever
        await watcher.ended.wait()


@pytest.mark.parametrize("in_socket", [False, True])
async def test_it_ends_where_the_secret_is_another_one(
    server: Identity, autojump_clock: MockClock, in_socket: bool
) -> None:
    async with shown(server) as there, trio.open_nursery() as nursery:
        watcher = Watcher(Feeds(there.source), "/memory", nursery)
        if in_socket:
            client = await watcher.socket()
            await message(client)
        else:
            await watcher.begin()
        watcher.allowed = False
        await watcher.ended.wait()
        if in_socket:
            while isinstance(event := await client.next(), TextMessage):
                pass
            assert isinstance(event, CloseConnection)


async def test_lines_of_the_log(server: Identity, autojump_clock: MockClock) -> None:
    async with shown(server) as there, trio.open_nursery() as nursery:
        there.say("before")
        there.say("detail", logging.DEBUG)
        watcher = Watcher(Feeds(there.source), "/logs?level=info", nursery)
        await watcher.begin()
        assert await watcher.line() == {"type": "info", "payload": "before"}
        there.say("another detail", logging.DEBUG)
        there.say("trouble", logging.WARNING)
        there.say("the end", logging.CRITICAL)
        assert await watcher.line() == {"type": "warning", "payload": "trouble"}
        assert await watcher.line() == {"type": "error", "payload": "the end"}
        await watcher.theirs.aclose()


async def test_structured_lines_and_levels(server: Identity, autojump_clock: MockClock) -> None:
    async with shown(server) as there, trio.open_nursery() as nursery:
        there.say("news")
        there.say("trouble", logging.WARNING)
        for level, messages in (
            ("debug", ["news", "trouble"]),
            ("warning", ["trouble"]),
            ("no such", ["news", "trouble"]),
        ):
            watcher = Watcher(
                Feeds(there.source), f"/logs?level={level.replace(' ', '%20')}&format=structured", nursery
            )
            await watcher.begin()
            lines = [await watcher.line() for _ in messages]
            assert [each["message"] for each in lines] == messages
            assert lines[-1]["level"] == "warn"
            assert len(lines[-1]["time"]) == len("12:00:00")
            assert lines[-1]["fields"] == []
            await watcher.theirs.aclose()


async def test_silent_is_silent(server: Identity, autojump_clock: MockClock) -> None:
    async with shown(server) as there, trio.open_nursery() as nursery:
        there.say("trouble", logging.ERROR)
        watcher = Watcher(Feeds(there.source), "/logs?level=silent", nursery)
        await watcher.begin()
        with trio.move_on_after(10) as limit:
            await watcher.line()
        assert limit.cancelled_caught
        await watcher.theirs.aclose()


async def test_places_are_given_back(
    server: Identity, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clash_feeds, "MOST_WATCHERS", 2)
    async with shown(server) as there, trio.open_nursery() as nursery:
        feeds = Feeds(there.source)
        watchers = [Watcher(feeds, "/memory", nursery) for _ in range(3)]
        for watcher in watchers[:2]:
            await watcher.begin()
        with pytest.raises(StatusError) as caught:
            await watchers[2]._serve([])
        assert caught.value.status == 503
        await watchers[0].theirs.aclose()
        await watchers[0].ended.wait()
        with pytest.raises(HandshakeError):  # a place that was not needed is free again
            await watchers[2]._serve(["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 8"])
        await watchers[2].begin()
        for watcher in watchers[1:]:
            await watcher.theirs.aclose()


@pytest.mark.parametrize("interval", ["x", "-1", "1.5", "9" * 20])
async def test_an_interval_that_is_none(server: Identity, autojump_clock: MockClock, interval: str) -> None:
    async with shown(server) as there, trio.open_nursery() as nursery:
        with pytest.raises(StatusError) as caught:
            await Watcher(Feeds(there.source), f"/memory?interval={interval}", nursery)._serve([])
        assert caught.value.status == 400


async def test_what_can_be_watched(server: Identity, autojump_clock: MockClock) -> None:
    async with shown(server) as there:
        feeds = Feeds(there.source)
        assert [name for name in ("connections", "traffic", "memory", "logs", "rules") if feeds.has((name,))] == [
            "connections",
            "traffic",
            "memory",
            "logs",
        ]
