"""The local side's exits as its settings say, and what becomes of them when the file changes."""

from __future__ import annotations

import logging
import os
import signal
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from proxy import config
from proxy.address import Address
from proxy.address_book import AddressBook
from proxy.errors import ConfigError
from proxy.keys import UserKey
from proxy.local_side import LocalSide, check_exits
from proxy.protocol.budget import LIMIT
from proxy.share import Link
from proxy.ways import Ways
from tests.memory import ECHO, exchange, world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    from proxy.settings import LocalSettings
    from proxy.ways import Opened
    from tests.memory import Identity, World

pytestmark = pytest.mark.usefixtures("log_as_before")

KEY = UserKey(b"\x01" * 8, b"\x02" * 32)
ONE, TWO, THREE = (
    Link(f"{name}.example", 443, KEY, name.encode().ljust(32, b"\0")) for name in ("one", "two", "three")
)


PATH = Path("config.toml")
RULES = config.check("", PATH).rules


def text(*links: Link, more: str = "") -> str:
    return f"[local]\nexits = {[str(link) for link in links]}\n{more}\n"


def settings(*links: Link, more: str = "") -> LocalSettings:
    return config.check(text(*links, more=more), Path("config.toml")).local


def names(side: LocalSide) -> list[str]:
    return [route.name.partition(".")[0] for route in side._routes()]


@pytest.fixture
def around(monkeypatch: pytest.MonkeyPatch) -> list[World]:
    """The world to which all ways lead, once there is one."""
    worlds: list[World] = []

    async def open_carrier(_: Ways) -> Opened:
        return await worlds[0].open_carrier()

    monkeypatch.setattr(Ways, "open", open_carrier)
    return worlds


@asynccontextmanager
async def running(server: Identity, around: list[World], more: str = "") -> AsyncIterator[tuple[LocalSide, Link]]:
    async with world(server) as made, trio.open_nursery() as nursery:
        around.append(made)
        link = replace(ONE, key=made.key, pin=server.pin)
        side = LocalSide(settings(link, more=more), RULES)
        await nursery.start(side.exits.run)
        yield side, link
        nursery.cancel_scope.cancel()


def test_a_side_without_an_exit() -> None:
    check_exits(config.check(text(ONE), PATH))
    with pytest.raises(ConfigError, match="ropeway join"):
        check_exits(config.check("", PATH))


def test_a_rule_that_names_no_exit() -> None:
    named = '\n[rules]\nrules = ["exit:two.example suffix:example.com"]\n'
    check_exits(config.check(text(ONE, TWO) + named, PATH))
    with pytest.raises(ConfigError, match=r"rule 1: two.example is no address of an exit"):
        check_exits(config.check(text(ONE) + named, PATH))


async def test_preferred_exits_go_first_and_then_what_worked_last(tmp_path: Path) -> None:
    book = AddressBook(tmp_path / "addresses.json")
    assert names(LocalSide(settings(ONE, TWO, THREE), RULES)) == ["one", "two", "three"]
    side = LocalSide(settings(ONE, TWO, THREE), RULES, book)
    assert names(side) == ["one", "two", "three"]
    await side._routes()[2].chosen()
    await side._routes()[2].chosen()
    assert names(LocalSide(settings(ONE, TWO, THREE), RULES, book)) == ["two", "three", "one"]
    preferring = settings(ONE, TWO, THREE, more='prefer = ["one.example"]')
    assert names(LocalSide(preferring, RULES, book)) == ["one", "two", "three"]


async def test_the_order_of_a_single_exit_is_not_written(tmp_path: Path) -> None:
    side = LocalSide(settings(ONE), RULES, AddressBook(tmp_path / "addresses.json"))
    await side._routes()[0].chosen()
    assert not (tmp_path / "addresses.json").exists()


async def test_ways_know_what_the_book_says_and_what_is_allowed(tmp_path: Path) -> None:
    book = AddressBook(tmp_path / "addresses.json")
    link = replace(ONE, also=(Address("192.0.2.1", 443), Address("192.0.2.2", 443)))
    numeric = Address("192.0.2.9", 443)
    book.remember(link.pin, link.address, [numeric])

    def candidates(more: str) -> list[Address]:
        side = LocalSide(settings(link, more=more), RULES, book)
        return [candidate.address for ways in side._ways.values() for candidate in ways._candidates()]

    assert candidates("") == [numeric, link.address, *link.also]
    assert candidates('prefer = ["192.0.2.2"]') == [link.also[1], numeric, link.address, link.also[0]]
    assert candidates('only = ["192.0.2.1"]') == [link.also[0]]


async def test_what_ways_find_is_written_into_the_book(tmp_path: Path) -> None:
    book = AddressBook(tmp_path / "addresses.json")
    side = LocalSide(settings(ONE, TWO), RULES, book)
    async with trio.open_nursery() as nursery:
        for link in (ONE, TWO):
            nursery.start_soon(side._remember, link.pin, link.address, [Address("192.0.2.9", 443)])
    assert book.of(ONE.pin) == {ONE.address: (Address("192.0.2.9", 443),)}
    assert book.of(TWO.pin) == {TWO.address: (Address("192.0.2.9", 443),)}


# ---- changes


async def test_a_changed_bound_of_memory_holds_at_once() -> None:
    side = LocalSide(settings(ONE), RULES)
    assert side._budget.limit == LIMIT
    side.change(settings(ONE, more="memory = 512"))
    assert side._budget.limit > 2 * LIMIT


async def test_a_changed_age_of_datagrams_holds_at_once_wherever_they_wait(
    server: Identity, around: list[World], autojump_clock: MockClock
) -> None:
    async with running(server, around, "datagram_age = 1") as (side, link):
        assert {side.udp_relay.age, side.routing.udp.age} == {1}
        side.change(settings(link, more="datagram_age = 2"))
        assert {side.udp_relay.age, side.routing.udp.age} == {2}
        (tunnel,) = side.exits.tunnels
        assert tunnel._session.mux._outbox.datagrams.age == 2


async def test_datagrams_that_wait_count_in_the_same_budget_as_streams() -> None:
    side = LocalSide(settings(ONE), RULES)
    assert side.routing.udp.budget is side.udp_relay.budget is side._budget


async def test_streams_stay_where_an_exit_gets_another_address(
    server: Identity, around: list[World], autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(server, around) as (side, link):
        stream = await side.exits.open(ECHO)
        await exchange(stream)
        newer = replace(link, also=(Address("192.0.2.1", 443),), name="anna")
        side.change(settings(newer, TWO, more='prefer = ["192.0.2.1"]'))
        await exchange(stream)
        assert len(around[0].attempts) == 1
        (ways, _) = side._ways.values()
        assert [candidate.address for candidate in ways._candidates()] == [newer.also[0], newer.address]
    assert "started again" not in caplog.text


async def test_an_exit_that_was_taken_out_ends(
    server: Identity, around: list[World], autojump_clock: MockClock
) -> None:
    async with running(server, around) as (side, _):
        stream = await side.exits.open(ECHO)
        await exchange(stream)
        side.change(settings(TWO))
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        assert len(side._ways) == 1


async def test_times_and_rotation_hold_at_once_for_what_runs(
    server: Identity, around: list[World], autojump_clock: MockClock
) -> None:
    async with running(server, around) as (side, link):
        stream = await side.exits.open(ECHO)
        await exchange(stream)
        await trio.sleep(60)
        assert len(around[0].attempts) == 1
        side.change(
            settings(link, more="rotation_age = [5, 10]\nconnect_wait = 2\nwaiting_time = 20"),
        )
        around[0].cut()  # the carrier that is made now is the first that the new rotation is for
        await trio.sleep(100)
        assert len(around[0].attempts) > 9
        await exchange(stream)
        around[0].reachable = False
        around[0].cut()
        began = trio.current_time()
        with pytest.raises(trio.BrokenResourceError, match="not reached for too long"):
            await stream.receive_some()
        assert 20 < trio.current_time() - began < 22


async def test_the_volume_is_in_megabytes(server: Identity, around: list[World], autojump_clock: MockClock) -> None:
    more = "rotation_volume = [1, 1]"
    async with running(server, around, more) as (side, _):
        stream = await side.exits.open(ECHO)
        await exchange(stream, bytes(450_000))  # both directions count
        await trio.sleep(1)
        assert len(around[0].attempts) == 1
        await exchange(stream, bytes(100_000))
        await trio.sleep(1)
        assert len(around[0].attempts) > 1


async def test_what_needs_a_restart_is_told(
    server: Identity, around: list[World], autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(server, around) as (side, link):
        side.change(
            settings(link, more='listen = "127.0.0.1:9"\nusername = "u"\npassword = "secret"\nmax_associations = 9')
        )
        assert (
            "local.listen, local.username, local.password, local.max_associations holds when `ropeway run` is started again"
            in caplog.text
        )
        assert "secret" not in caplog.text
        caplog.clear()
        side.change(settings(link))
        assert "started again" not in caplog.text


# ---- the file


async def test_the_file_is_read_again(
    server: Identity, around: list[World], autojump_clock: MockClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.toml"
    async with running(server, around) as (side, link):
        path.write_text("[log]\nformat = 'json'\nlevel = 'debug'\n" + text(link, TWO))
        path.chmod(0o600)
        await side.reload(path)
        assert names(side) == ["one", "two"]
        assert '"message": "the configuration was read again"' in capsys.readouterr().err
        assert logging.getLogger("ropeway").level == logging.DEBUG


async def test_what_else_there_is_is_told_of_each_file_that_can_be_used(
    server: Identity, around: list[World], autojump_clock: MockClock, tmp_path: Path
) -> None:
    path = tmp_path / "config.toml"
    async with running(server, around) as (side, link):
        told: list[bool] = []
        side.when_read.append(lambda config: told.append(config.dashboard.usage))
        for more in ("", "\n[dashboard]\nusage = false\n", "\n[dashboard]\nusage = 5\n"):
            path.write_text(text(link) + more)
            path.chmod(0o600)
            await side.reload(path)
        assert told == [True, False]


@pytest.mark.parametrize(
    ("broken", "word"),
    [("[local", "not TOML"), ("[local]\nlisten = 5", "local.listen"), ("", "ropeway join"), (None, "no configuration")],
)
async def test_a_file_that_is_broken_changes_nothing(
    server: Identity,
    around: list[World],
    autojump_clock: MockClock,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    broken: str | None,
    word: str,
) -> None:
    path = tmp_path / "config.toml"
    if broken is not None:
        path.write_text("[log]\nlevel = 'error'\n" + broken)
    async with running(server, around) as (side, _):
        stream = await side.exits.open(ECHO)
        level = logging.getLogger("ropeway").level
        await side.reload(path)
        await exchange(stream)
        assert names(side) == ["one"]
        assert logging.getLogger("ropeway").level == level
    (line,) = [record.getMessage() for record in caplog.records if record.name == "ropeway.local_side"]
    assert line.startswith("the configuration cannot be used, and everything stays as it is: ")
    assert word in line
    assert "\n" not in line


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
async def test_a_hangup_reads_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery) -> None:
    if sys.platform == "win32":  # for the type checker, which reads no further there
        return
    read, told = trio.open_memory_channel[Path](1)
    monkeypatch.setattr(LocalSide, "reload", lambda _, path: read.send(path))
    side = LocalSide(settings(ONE), RULES)
    nursery.start_soon(side.reload_on_hangup, tmp_path / "config.toml")
    await wait_all_tasks_blocked()
    with trio.fail_after(20):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGHUP)
            assert await told.receive() == tmp_path / "config.toml"
