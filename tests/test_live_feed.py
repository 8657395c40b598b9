"""What is new once a second, for those who know more or less of it."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from proxy import live_feed
from proxy.address import Address
from proxy.api import SLICE
from proxy.connections import LONG, MOST_CLOSED, TUNNEL, AppProtocol, Connection, Connections, ConnectionView
from proxy.conversation import Conversation
from proxy.live_feed import CONNECTIONS, LOG, MEASURED_EVERY, PERIOD, STATE, Feed, TooLateError
from proxy.log_memory import LogMemory

if TYPE_CHECKING:
    from collections.abc import Callable

    import msgspec
    from trio.testing import MockClock

    from proxy.api_views import Clock


@dataclass(frozen=True)
class Choice:
    route: str
    rule: str = ""


class Source:
    """As that of the interface, and its state is a number."""

    def __init__(self) -> None:
        self.connections = Connections()
        self.log = LogMemory()
        self.asked = self.measured = 0
        self.fails = False
        self.process = ""

    def state(self) -> dict[str, int]:
        if self.fails:
            raise RuntimeError("a bug")
        self.asked += 1
        return {"asked": self.asked}

    def measure(self) -> None:
        self.measured += 1

    async def look_for_processes(self) -> None:
        for connection in self.connections.all_open():
            if connection.process is None:
                connection.process = self.process
        await trio.lowlevel.checkpoint()

    def connection(self, view: ConnectionView, clock: Clock) -> msgspec.Raw:
        import msgspec

        return msgspec.Raw(
            json.dumps(
                {
                    "id": view.id,
                    "up": view.bytes_up,
                    "state": view.state,
                    "long": view.long,
                    "host": view.address.host,
                    "protocol": view.protocol,
                    "process": view.process,
                }
            ).encode()
        )

    def open(self, number: int = 1) -> list[Connection]:
        now = trio.current_time()
        made = [self.connections.opened(AppProtocol.SOCKS5, Address("example.com", 443), now) for _ in range(number)]
        for each in made:
            each.reached()
        return made

    def line(self, text: str) -> None:
        self.log.emit(logging.LogRecord("ropeway", logging.INFO, "", 0, text, (), None))


class Watching:
    """Somebody who watches, and puts together what is told."""

    def __init__(self, feed: Feed, *parts: str) -> None:
        self.feed, self.known = feed, dict.fromkeys(parts, 0)
        self.open: dict[int, Any] = {}
        self.last: Any = None
        feed.watched.update(parts)

    def take(self) -> Any:
        self.last = json.loads(self.feed.message(self.known))
        if CONNECTIONS in self.known:
            told = self.last[CONNECTIONS]
            if not self.known[CONNECTIONS]:
                self.open.clear()
            for number in told["gone"]:
                self.open.pop(number, None)
            self.open.update({each["id"]: each for each in told["open"]})
        self.known = dict.fromkeys(self.known, self.feed.tick)
        return self.last

    async def next(self) -> Any:
        await self.feed.ticked.wait()
        return self.take()


def feed_of(source: Source) -> Feed:
    return Feed(source)  # type: ignore[arg-type]


async def test_who_watches_is_told_what_is_new(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    source = Source()
    feed = feed_of(source)
    first, second = source.open(2)
    gone = source.open()[0]
    gone.close(trio.current_time())
    source.line("before")
    watching = Watching(feed, STATE, CONNECTIONS, LOG)
    nursery.start_soon(feed.run)
    told = await watching.next()
    assert told["state"] == {"asked": 1}
    assert [each["id"] for each in told["connections"]["open"]] == [second.id, first.id]
    assert [each["id"] for each in told["connections"]["closed"]] == [gone.id]
    assert (told["connections"]["gone"], told["connections"]["open_count"]) == ([], 2)
    assert [line["text"] for line in told["log"]] == ["before"]

    first.traffic.up(10, trio.current_time())
    source.line("later")
    told = await watching.next()
    assert [(each["id"], each["up"]) for each in told["connections"]["open"]] == [(first.id, 10)]
    assert told["connections"]["closed"] == told["connections"]["gone"] == []
    assert [line["text"] for line in told["log"]] == ["later"]

    second.close(trio.current_time())
    told = await watching.next()
    assert told["connections"]["open"] == told["log"] == []
    assert [each["id"] for each in told["connections"]["closed"]] == told["connections"]["gone"] == [second.id]
    assert watching.open.keys() == {first.id}
    feed.watched.clear()


async def test_whose_connection_it_is_is_told_when_it_is_known(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    source = Source()
    source.process = "/usr/bin/browser"
    watching = Watching(feed_of(source), CONNECTIONS)
    (connection,) = source.open()
    nursery.start_soon(watching.feed.run)
    for process in ("", "/usr/bin/browser"):
        told = (await watching.next())["connections"]["open"]
        assert [(each["id"], each["process"]) for each in told] == [(connection.id, process)]
    assert (await watching.next())["connections"]["open"] == []


async def test_all_that_changes_is_told(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    source = Source()
    feed = feed_of(source)
    (connection,) = source.open()
    watching = Watching(feed, CONNECTIONS)
    nursery.start_soon(feed.run)
    await watching.next()
    traffic = connection.traffic
    changes: list[Callable[[], None]] = [
        lambda: traffic.up(1, trio.current_time()),
        lambda: traffic.down(1, trio.current_time()),
        lambda: traffic.down(0, trio.current_time()),
        lambda: connection.chosen("direct"),
    ]
    for change in changes:
        assert (await watching.next())["connections"]["open"] == []
        change()
        assert len((await watching.next())["connections"]["open"]) == 1
    await trio.sleep(LONG)
    watching.take()
    assert watching.open[connection.id]["long"]
    feed.watched.clear()


async def test_a_call_that_goes_elsewhere_is_told(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    source = Source()
    feed = feed_of(source)
    choice = Choice(TUNNEL)
    relay, peer = Address("198.51.100.1", 3478), Address("192.0.2.7", 50_000)
    entry = Conversation(source.connections, trio.CancelScope()).entry(relay, choice)
    watching = Watching(feed, CONNECTIONS)
    nursery.start_soon(feed.run)
    await watching.next()
    assert (watching.open[1]["host"], watching.open[1]["protocol"]) == (relay.host, "udp")
    entry.sent(peer, choice, 1000, trio.current_time())
    await watching.next()
    assert (watching.open[1]["host"], watching.open[1]["up"]) == (peer.host, 1000)
    feed.watched.clear()


async def test_who_comes_later_gets_all_of_it_and_who_was_away_what_was_missed(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    source = Source()
    feed = feed_of(source)
    first, second, third = source.open(3)
    watching, slow = Watching(feed, CONNECTIONS), Watching(feed, CONNECTIONS)
    nursery.start_soon(feed.run)
    await watching.next()
    slow.take()
    first.traffic.up(5, trio.current_time())
    await watching.next()
    second.close(trio.current_time())
    await watching.next()
    late = Watching(feed, CONNECTIONS)
    told = late.take()["connections"]
    assert ([each["id"] for each in told["open"]], told["gone"]) == ([third.id, first.id], [])
    told = slow.take()["connections"]
    assert ([each["id"] for each in told["open"]], told["gone"]) == ([first.id], [second.id])
    assert late.open == slow.open == watching.open
    feed.watched.clear()


async def test_what_is_not_known_any_more_is_said(
    autojump_clock: MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_feed, "MOST_GONE", 5)
    source = Source()
    feed = feed_of(source)
    made = source.open(6)
    watching, slow = Watching(feed, CONNECTIONS), Watching(feed, CONNECTIONS)
    nursery.start_soon(feed.run)
    await watching.next()
    slow.take()
    for few in (made[:3], made[3:]):
        for connection in few:
            connection.close(trio.current_time())
        await watching.next()
    with pytest.raises(TooLateError):
        slow.take()
    feed.watched.clear()


async def test_messages_are_made_once_for_all(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    source = Source()
    feed = feed_of(source)
    source.open(10)
    watching, other = Watching(feed, STATE, CONNECTIONS), Watching(feed, STATE, CONNECTIONS)
    nursery.start_soon(feed.run)
    await feed.ticked.wait()
    assert feed.message(watching.known) is feed.message(other.known)
    assert watching.take() == other.take()
    assert source.asked == 1
    feed.watched.clear()


async def test_nothing_is_looked_at_that_nobody_watches(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    source = Source()
    feed = feed_of(source)
    watching = Watching(feed, LOG)
    nursery.start_soon(feed.run)
    assert await watching.next() == {"log": []}
    await watching.next()
    assert source.asked == 0
    feed.watched.clear()
    await trio.sleep(2 * PERIOD)
    before = feed.tick
    await trio.sleep(10)
    assert feed.tick == before


async def test_round_trips_are_measured_while_somebody_watches(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    source = Source()
    feed = feed_of(source)
    watching = Watching(feed, CONNECTIONS)
    nursery.start_soon(feed.run)
    await trio.sleep(20)
    assert source.measured == 0
    feed.watched[STATE] += 1
    await trio.sleep(20)
    assert source.measured == 20 / MEASURED_EVERY
    watching.take()
    feed.watched.clear()


async def test_others_have_their_turn_meanwhile(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Thousands of connections are looked at in slices."""
    source = Source()
    feed = feed_of(source)
    source.open(SLICE * 5)
    watching = Watching(feed, CONNECTIONS)
    turns = 0
    nursery.start_soon(feed.run)
    with trio.CancelScope() as scope:
        nursery.start_soon(_end_after, feed.ticked, scope)
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()
    assert turns >= 5
    watching.take()
    assert len(watching.open) == SLICE * 5
    feed.watched.clear()


async def _end_after(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


async def test_a_bug_is_logged_and_no_end(
    autojump_clock: MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    source = Source()
    feed = feed_of(source)
    source.fails = True
    watching = Watching(feed, STATE)
    nursery.start_soon(feed.run)
    assert await watching.next() == {"state": None}
    assert "RuntimeError: a bug" in caplog.text
    source.fails = False
    assert await watching.next() == {"state": {"asked": 1}}
    feed.watched.clear()


@given(st.lists(st.tuples(st.sampled_from(["open", "close", "up", "tick", "slow"]), st.integers(0, 9)), max_size=60))
def test_differences_add_up(steps: list[tuple[str, int]]) -> None:
    async def run() -> None:
        source = Source()
        feed = feed_of(source)
        watching, slow = Watching(feed, CONNECTIONS), Watching(feed, CONNECTIONS)
        there: list[Connection] = []
        for step, number in [*steps, ("tick", 0), ("slow", 0)]:
            if step == "open":
                there += source.open()
            elif step == "close" and there:
                there.pop(number % len(there)).close(trio.current_time())
            elif step == "up" and there:
                there[number % len(there)].traffic.up(1, trio.current_time())
            elif step == "tick":
                await feed._look()
                feed.tick += 1
                feed._made.clear()
                watching.take()
            elif step == "slow" and feed.tick:
                slow.take()
        expected = {each.id: each.traffic.bytes_up for each in there}
        for each in (watching, slow):
            assert {number: entry["up"] for number, entry in each.open.items()} == expected

    trio.run(run)
    assert MOST_CLOSED > 60
