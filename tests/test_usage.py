"""What apps use: counted from connections, put down by day, and written now and then."""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import pytest
import trio
import trio.testing

from proxy import usage
from proxy.address import Address
from proxy.connections import TUNNEL, AppProtocol, Connections
from proxy.conversation import Conversation
from proxy.errors import UsageError
from proxy.usage import WRITE_EVERY, AppUsage, DayUsage, Meter, Usage
from proxy.usage_file import Amount, UsageFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from proxy.connections import Connection
    from proxy.usage_file import Amounts

DAY = dt.date(2026, 11, 26)
APPS = {"a.example": "line", "b.example": "line", "c.example": "signal"}


@dataclass(frozen=True)
class Choice:
    route: str
    rule: str = ""


class Memory(UsageFile):
    """In place of the file."""

    def __init__(self) -> None:
        self.written: list[Amounts] = []
        self.error: UsageError | None = None
        self.added = trio.Event()

    def add(self, amounts: Mapping[tuple[dt.date, str], Amount]) -> None:
        if self.error is not None:
            raise self.error
        self.written.append(dict(amounts))
        trio.from_thread.run_sync(self.added.set)

    def read(self) -> Amounts:
        return dict(self.written[-1]) if self.written else {}

    def wipe(self) -> None:
        self.written.clear()


class Bench:
    def __init__(self) -> None:
        self.connections = Connections()
        self.meter = Meter(self.connections)
        self.meter.start()
        self.file = Memory()
        self.day = DAY
        self.loaded = 0
        self.usage = Usage(self.file, self.meter, self._load, today=lambda: self.day)

    def _load(self) -> Callable[[str], str]:
        self.loaded += 1
        return lambda host: APPS.get(host, "")

    def opened(self, host: str, up: int = 0, down: int = 0) -> Connection:
        made = self.connections.opened(AppProtocol.SOCKS5, Address(host, 443), 0.0)
        moved(made, up, down)
        return made


def moved(connection: Connection, up: int, down: int) -> None:
    if up:
        connection.traffic.up(up, 1.0)
    if down:
        connection.traffic.down(down, 1.0)


@pytest.fixture
def bench() -> Bench:
    return Bench()


# ---- the meter


async def test_a_connection_is_counted_once_and_its_bytes_as_they_come(bench: Bench) -> None:
    connection = bench.opened("a.example", 5, 7)
    assert await bench.meter.take() == {("a.example",): Amount(5, 7, 1)}
    assert await bench.meter.take() == {}
    moved(connection, 1, 2)
    assert await bench.meter.take() == {("a.example",): Amount(1, 2, 0)}
    moved(connection, 3, 4)
    connection.close(2.0)
    connection.close(2.0)
    assert await bench.meter.take() == {("a.example",): Amount(3, 4, 0)}
    assert await bench.meter.take() == {}
    assert not bench.meter._counted


async def test_connections_that_come_and_go_between_are_counted(bench: Bench) -> None:
    for host in ("a.example", "a.example", "c.example"):
        bench.opened(host, 1, 1).close(1.0)
    assert await bench.meter.take() == {("a.example",): Amount(2, 2, 2), ("c.example",): Amount(1, 1, 1)}


async def test_one_that_is_beyond_the_table_is_counted_when_it_closes() -> None:
    connections = Connections(most=0)
    meter = Meter(connections)
    meter.start()
    connection = connections.opened(AppProtocol.SOCKS5, Address("a.example", 443), 0.0)
    moved(connection, 5, 7)
    assert await meter.take() == {}
    connection.close(1.0)
    assert await meter.take() == {("a.example",): Amount(5, 7, 1)}


async def test_one_that_closes_while_thousands_are_looked_at_is_counted_once(bench: Bench) -> None:
    made = [bench.opened("a.example", 1, 0) for _ in range(2000)]

    async def close_all() -> None:
        for connection in made:
            connection.close(1.0)

    taken: list[dict[tuple[str, ...], Amount]] = []

    async def take() -> None:
        taken.append(await bench.meter.take())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        nursery.start_soon(close_all)
    taken.append(await bench.meter.take())
    assert sum(each.get(("a.example",), Amount()).connections for each in taken) == 2000
    assert sum(each.get(("a.example",), Amount()).up for each in taken) == 2000


async def test_hosts_beyond_the_bound_are_counted_together(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "MOST_HOSTS", 2)
    for number in range(5):
        bench.opened(f"{number}.example", 1, 0).close(1.0)
    taken = await bench.meter.take()
    assert len(taken) == 3
    assert taken[()] == Amount(3, 0, 3)


async def test_an_association_is_counted_by_all_that_it_has_sent_to(bench: Bench) -> None:
    """What goes to somebody at home belongs to the app whose servers stand beside."""
    call = Conversation(bench.connections, trio.CancelScope())
    choice = Choice(TUNNEL)
    entry = call.entry(Address("a.example", 3478), choice)
    entry.sent(Address("a.example", 3478), choice, 100, 1.0)
    assert await bench.meter.take() == {("a.example",): Amount(100, 0, 1)}
    entry.sent(Address("192.0.2.7", 50_000), choice, 1000, 2.0)
    entry.received(3000, 2.0)
    entry.close()
    assert await bench.usage.days() == [DayUsage(DAY, (AppUsage("line", 1000, 3000, 0),))]


# ---- by day and app


async def test_days_have_their_apps_the_newest_and_the_largest_first(bench: Bench) -> None:
    for host, size in (("a.example", 1), ("b.example", 2), ("c.example", 9), ("other.example", 5)):
        bench.opened(host, size, 0).close(1.0)
    await bench.usage.write()
    bench.day += dt.timedelta(1)
    bench.opened("c.example", 0, 4)
    assert await bench.usage.days() == [
        DayUsage(bench.day, (AppUsage("signal", 0, 4, 1),)),
        DayUsage(DAY, (AppUsage("signal", 9, 0, 1), AppUsage("", 5, 0, 1), AppUsage("line", 3, 0, 2))),
    ]
    assert bench.loaded == 1


async def test_it_is_written_in_json_as_the_interface_says(bench: Bench) -> None:
    bench.usage.add("whatsapp", 100, 900, 3)
    assert msgspec.json.decode(msgspec.json.encode(await bench.usage.days())) == [
        {"day": "2026-11-26", "apps": [{"app": "whatsapp", "up": 100, "down": 900, "connections": 3}]}
    ]


async def test_what_was_wiped_is_gone_and_what_comes_after_counts(bench: Bench) -> None:
    connection = bench.opened("a.example", 5, 7)
    await bench.usage.write()
    moved(connection, 1, 1)
    await bench.usage.wipe()
    assert await bench.usage.days() == []
    moved(connection, 0, 2)
    assert await bench.usage.days() == [DayUsage(DAY, (AppUsage("line", 0, 2, 0),))]


async def test_where_nothing_is_counted_the_past_can_be_seen_and_wiped() -> None:
    file = Memory()
    file.written.append({(DAY, "line"): Amount(1, 1, 1)})
    off = Usage(file, Meter(Connections()))
    assert not off.kept
    assert await off.days() == [DayUsage(DAY, (AppUsage("line", 1, 1, 1),))]
    await off.wipe()
    assert await off.days() == []


async def test_from_the_end_of_counting_on_nothing_is_counted_or_written(bench: Bench) -> None:
    stays = bench.opened("a.example", 5, 7)
    await bench.usage.write()
    moved(stays, 1, 1)
    bench.usage.add("line", 1, 1, 1)
    bench.usage.keep(False)
    assert not bench.usage.kept
    moved(stays, 10, 10)
    bench.opened("c.example", 10, 10).close(1.0)
    await bench.usage.write()
    assert bench.file.written == [{(DAY, "line"): Amount(5, 7, 1)}]
    assert await bench.usage.days() == [DayUsage(DAY, (AppUsage("line", 5, 7, 1),))]


async def test_what_is_open_when_counting_begins_counts_from_there(bench: Bench) -> None:
    bench.usage.keep(False)
    stays = bench.opened("a.example", 5, 7)
    for _ in range(2):  # twice is the same as once
        bench.usage.keep(True)
        moved(stays, 1, 2)
    bench.opened("c.example", 3, 0).close(1.0)
    stays.close(1.0)
    assert await bench.meter.take() == {("a.example",): Amount(2, 4, 0), ("c.example",): Amount(3, 0, 1)}


async def test_what_ends_while_thousands_are_looked_at_is_forgotten(bench: Bench) -> None:
    for _ in range(2000):
        bench.opened("a.example", 1, 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.usage.write)
        await trio.lowlevel.checkpoint()
        bench.usage.keep(False)
    assert bench.file.written == []
    assert bench.loaded == 0
    assert not bench.meter._counted


# ---- writing


async def test_it_is_written_each_minute_where_there_is_something_and_at_the_end(
    bench: Bench, mock_clock: trio.testing.MockClock
) -> None:
    """The clock does not jump by itself, as it would while a thread works."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.usage.run)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(WRITE_EVERY)
        await trio.testing.wait_all_tasks_blocked()
        assert bench.file.written == []
        assert bench.loaded == 0
        connection = bench.opened("a.example", 5, 7)
        mock_clock.jump(WRITE_EVERY)
        await bench.file.added.wait()
        moved(connection, 1, 0)
        nursery.cancel_scope.cancel()
    assert bench.file.written == [{(DAY, "line"): Amount(5, 7, 1)}, {(DAY, "line"): Amount(1, 0, 0)}]


async def test_what_cannot_be_written_waits_and_is_told_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.file.error = UsageError("the file is locked")
    with caplog.at_level(logging.WARNING, "ropeway"):
        for size in (1, 2):
            bench.opened("a.example", size, 0).close(1.0)
            await bench.usage.write()
    assert [record.getMessage() for record in caplog.records] == ["what apps used is not written: the file is locked"]
    bench.file.error = None
    await bench.usage.write()
    assert bench.file.written == [{(DAY, "line"): Amount(3, 0, 2)}]


async def test_what_cannot_be_written_when_counting_ends_is_forgotten(bench: Bench) -> None:
    bench.file.error = UsageError("the file is locked")
    bench.usage.add("line", 1, 1, 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.usage.write)
        await trio.testing.wait_all_tasks_blocked()  # but for the thread
        bench.usage.keep(False)
    bench.file.error = None
    bench.usage.keep(True)
    await bench.usage.write()
    assert bench.file.written == []


async def test_a_real_file(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "usage.sqlite"
    for size in (1, 2):
        kept = Usage(UsageFile(path), Meter(Connections()), today=lambda: DAY)
        kept.add("line", size, size, 1)
        await kept.write()
    kept.add("line", 4, 4, 0)
    assert await kept.days() == [DayUsage(DAY, (AppUsage("line", 7, 7, 2),))]
    await kept.wipe()
    assert await kept.days() == []
