"""One look-up for all who ask for the same, in virtual time; and what waits for what when nameservers are silent."""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from proxy import name_cache
from proxy.dialer import LOOKUPS_AT_ONCE
from proxy.name_cache import (
    FAILURE_LIFE,
    LIFE,
    MOST_OF_A_ZONE,
    MOST_SLOW,
    PATIENCE,
    SLOW,
    CachedLookup,
)

if TYPE_CHECKING:
    from trio.testing import MockClock

FOUR, SIX = socket.AF_INET, socket.AF_INET6
HERE = "example.com"


class Resolver:
    """Answers after `delay`; of silent zones only when it is released."""

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.asked: list[tuple[str, socket.AddressFamily]] = []
        self.failure: BaseException | None = None
        self.released = trio.Event()
        self.running = 0
        self.cached = CachedLookup(self)

    async def __call__(self, host: str, family: socket.AddressFamily) -> list[str]:
        self.asked.append((host, family))
        self.running += 1
        try:
            await trio.sleep(self.delay)
            if "silent" in host:
                await self.released.wait()
            if self.failure is not None:
                raise self.failure
        finally:
            self.running -= 1
        return [f"192.0.2.{len(self.asked)}"]

    async def ask(self, found: list[list[str]]) -> None:
        found.append(await self.cached(HERE, FOUR))

    async def failed(self) -> int | None:
        try:
            await self.cached(HERE, FOUR)
        except OSError as exc:
            return exc.errno
        raise AssertionError("it was found")


async def patiently(cached: CachedLookup, host: str) -> None:
    with pytest.raises(OSError, match="in time"):
        await cached(host, FOUR)


async def test_what_was_found_is_good_for_a_while_and_for_one_family(autojump_clock: MockClock) -> None:
    resolver = Resolver()
    assert await resolver.cached(HERE, FOUR) == ["192.0.2.1"]
    await trio.sleep(LIFE - 1)
    assert await resolver.cached(HERE, FOUR) == ["192.0.2.1"]
    assert await resolver.cached(HERE, SIX) == ["192.0.2.2"]
    await trio.sleep(1)
    assert await resolver.cached(HERE, FOUR) == ["192.0.2.3"]


async def test_nobody_changes_what_others_get(autojump_clock: MockClock) -> None:
    resolver = Resolver()
    (await resolver.cached(HERE, FOUR)).clear()
    assert await resolver.cached(HERE, FOUR) == ["192.0.2.1"]


@pytest.mark.parametrize(
    ("number", "life"),
    [
        (socket.EAI_NONAME, FAILURE_LIFE),
        (getattr(socket, "EAI_NODATA", socket.EAI_NONAME), LIFE if hasattr(socket, "EAI_NODATA") else FAILURE_LIFE),
        (socket.EAI_AGAIN, 0),
        (socket.EAI_FAIL, 0),
        (None, 0),
    ],
)
async def test_failures(autojump_clock: MockClock, number: int | None, life: float) -> None:
    resolver = Resolver()
    resolver.failure = OSError(24, "no descriptors") if number is None else socket.gaierror(number, "no")
    expected = 24 if number is None else number
    assert await resolver.failed() == expected
    if life:
        await trio.sleep(life - 0.1)
        assert await resolver.failed() == expected
        assert len(resolver.asked) == 1
        await trio.sleep(0.1)
    resolver.failure = None
    assert await resolver.cached(HERE, FOUR) == ["192.0.2.2"]


async def test_each_gets_an_error_of_its_own(autojump_clock: MockClock) -> None:
    resolver = Resolver()
    resolver.failure = socket.gaierror(socket.EAI_NONAME, "no")
    caught: list[OSError] = []
    for _ in range(2):
        try:
            await resolver.cached(HERE, FOUR)
        except OSError as exc:
            caught.append(exc)
    assert caught[0] is not caught[1]
    assert caught[0].args == caught[1].args == (socket.EAI_NONAME, "no")


async def test_a_bug_ends_no_more_than_the_look_up(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    resolver = Resolver()
    resolver.failure = ZeroDivisionError()
    assert await resolver.failed() == socket.EAI_FAIL
    assert "bug of Ropeway" in caplog.text


async def test_the_bound(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name_cache, "MOST_ENTRIES", 50)
    resolver = Resolver()
    for number in range(51):
        await resolver.cached(f"host{number}.example", FOUR)
    await resolver.cached("host1.example", FOUR)
    assert len(resolver.asked) == 51
    await resolver.cached("host0.example", FOUR)
    assert len(resolver.asked) == 52


class TestJoins:
    async def test_the_same_is_looked_up_once(self, autojump_clock: MockClock) -> None:
        resolver, found = Resolver(1), list[list[str]]()
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(resolver.ask, found)
            nursery.start_soon(resolver.cached, HERE, SIX)
        assert found == [found[0]] * 100
        assert sorted(resolver.asked) == sorted([(HERE, FOUR), (HERE, SIX)])

    async def test_who_goes_takes_nothing_from_the_others(self, autojump_clock: MockClock) -> None:
        resolver, found = Resolver(1), list[list[str]]()
        async with trio.open_nursery() as others:
            with trio.move_on_after(0.5) as first:
                others.start_soon(resolver.ask, found)  # whichever of them began it
                await resolver.cached(HERE, FOUR)
        assert first.cancelled_caught
        assert found == [["192.0.2.1"]]

    async def test_what_nobody_waits_for_helps_the_next_one(self, autojump_clock: MockClock) -> None:
        resolver = Resolver(3)
        for _ in range(2):
            with trio.move_on_after(1):
                await resolver.cached(HERE, FOUR)
        await trio.sleep(1)
        assert await resolver.cached(HERE, FOUR) == ["192.0.2.1"]
        assert len(resolver.asked) == 1


class TestSilence:
    async def test_a_wait_has_its_bound_and_the_name_its_one_thread(self, autojump_clock: MockClock) -> None:
        resolver, begun = Resolver(), trio.current_time()
        for turn in (1, 2, 3):
            await patiently(resolver.cached, "silent.example")
            assert trio.current_time() - begun == pytest.approx(turn * PATIENCE)
        assert len(resolver.asked) == 1
        resolver.released.set()
        assert await resolver.cached("silent.example", FOUR) == ["192.0.2.1"]

    async def test_a_zone_takes_a_part(self, autojump_clock: MockClock) -> None:
        resolver = Resolver()
        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(patiently, resolver.cached, f"x{number}.silent.example")
            await wait_all_tasks_blocked()
            assert resolver.running == MOST_OF_A_ZONE
            with trio.fail_after(0.1):
                await resolver.cached(HERE, FOUR)
        # Those that have no thread yet are forgotten with whoever waited for them.
        assert len(resolver.cached._flights) == MOST_OF_A_ZONE
        resolver.released.set()
        await wait_all_tasks_blocked()
        assert (resolver.cached._flights, resolver.cached._zones) == ({}, {})

    async def test_slow_ones_hold_up_no_others_up_to_a_bound(self, autojump_clock: MockClock) -> None:
        resolver = Resolver()
        async with trio.open_nursery() as nursery:
            for number in range(2 * (LOOKUPS_AT_ONCE + MOST_SLOW)):
                nursery.start_soon(patiently, resolver.cached, f"silent.zone{number}")
            await wait_all_tasks_blocked()
            assert resolver.running == LOOKUPS_AT_ONCE
            await trio.sleep(SLOW + 0.1)
            assert resolver.running == LOOKUPS_AT_ONCE + MOST_SLOW
            await trio.sleep(SLOW + 0.1)
            assert resolver.running == LOOKUPS_AT_ONCE + MOST_SLOW
        resolver.released.set()
        await wait_all_tasks_blocked()
        assert resolver.cached._slots.total_tokens == LOOKUPS_AT_ONCE
        assert resolver.cached._flights == {}

    async def test_a_quick_one_comes_through_beside_them(self, autojump_clock: MockClock) -> None:
        resolver, begun = Resolver(), trio.current_time()
        async with trio.open_nursery() as nursery:
            for number in range(LOOKUPS_AT_ONCE):
                nursery.start_soon(patiently, resolver.cached, f"silent.zone{number}")
            await wait_all_tasks_blocked()
            await resolver.cached(HERE, FOUR)
            assert trio.current_time() - begun == pytest.approx(SLOW)
            await resolver.cached("other.example", FOUR)
            assert trio.current_time() - begun == pytest.approx(SLOW)
            nursery.cancel_scope.cancel()
        resolver.released.set()


async def test_the_systems_resolver_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args: [(FOUR, 1, 6, "", ("192.0.2.9", 0))])
    ask = partial(CachedLookup(), HERE, FOUR)
    with trio.fail_after(30):
        assert await ask() == ["192.0.2.9"]
