"""Bursts, clocks and polling in virtual time, a kernel that is a fake, and a real one with a network of its own."""

from __future__ import annotations

import errno
import ipaddress
import itertools
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import proxy.network
from proxy.network import (
    CHANGED,
    LATEST_TICK,
    LEAST_SLEEP,
    LONGEST_BURST,
    MOST_KNOWN,
    POLL_PAUSE,
    QUIET,
    SLEPT,
    STOPPED,
    TICK,
    Clocks,
    SleepDetector,
    joined,
    open_netlink,
    poll,
    source_addresses,
    system_clocks,
    watch_addresses,
    watch_netlink,
    watch_network,
    watch_sleep,
)
from proxy.protocol.netlink import messages
from tests.e2e.machine import missing, program
from tests.kernel import (
    DEL_ADDRESS,
    DONE,
    ERROR,
    GATEWAY,
    V4,
    V6,
    address,
    link,
    message,
    route,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trio.testing import MockClock

    from proxy.network import Netlink, Source, Tell

ROOT = Path(__file__).parent.parent

# ---- bursts


def telling(*script: tuple[float, str]) -> Source:
    """Waits, tells, and in the end returns."""

    async def source(tell: Tell) -> None:
        for seconds, why in script:
            await trio.sleep(seconds)
            tell(why)

    return source


async def told_by(sources: Sequence[Source], *, seconds: float = 60) -> list[tuple[float, str]]:
    """When `joined` told what."""
    begun = trio.current_time()
    told: list[tuple[float, str]] = []
    with trio.move_on_after(seconds):
        await joined(lambda why: told.append((trio.current_time() - begun, why)), sources)
    return told


def at(seconds: float, why: str) -> tuple[object, str]:
    return pytest.approx(seconds), why


async def test_a_burst_is_one_call(autojump_clock: MockClock) -> None:
    burst = telling((1, "a"), (QUIET / 2, "a"), (0, "a"), (QUIET / 2, "a"))
    assert await told_by([burst]) == [at(1 + 2 * QUIET, "a")]


async def test_what_comes_later_is_a_call_of_its_own(autojump_clock: MockClock) -> None:
    assert await told_by([telling((1, "a"), (QUIET * 2, "a"))]) == [at(1 + QUIET, "a"), at(1 + 3 * QUIET, "a")]


async def test_a_burst_without_end_is_told_again_and_again(autojump_clock: MockClock) -> None:
    told = await told_by([telling(*[(QUIET / 2, "a")] * 1000)], seconds=3.5)
    assert [why for _, why in told] == ["a"] * 3
    assert all(later - sooner <= LONGEST_BURST + QUIET for (sooner, _), (later, _) in itertools.pairwise(told))


async def test_each_reason_is_told_once(autojump_clock: MockClock) -> None:
    sources = [telling((1, "asleep"), (0, "changed")), telling((1, "changed"))]
    [(_, why)] = await told_by(sources)
    assert sorted(why.split("; ")) == ["asleep", "changed"]


async def test_without_changes_nothing_is_told(autojump_clock: MockClock) -> None:
    assert await told_by([telling(), telling()]) == []
    assert await told_by([]) == []


async def test_the_end_of_the_longest_burst_may_fall_on_news(autojump_clock: MockClock) -> None:
    async def source(tell: Tell) -> None:
        begun = trio.current_time()
        tell("a")
        for n in range(1, 16):
            await trio.sleep_until(begun + n * LONGEST_BURST / 16)
            tell("a")
        await trio.sleep_until(begun + LONGEST_BURST)  # and trio wakes both in whatever order
        tell("b")

    for _ in range(20):
        told = await told_by([source])
        assert [why for _, why in told] in (["a; b"], ["a", "b"])


# ---- sleep


def test_clocks_that_go_alike_are_no_sleep() -> None:
    detector = SleepDetector(100, 5000)
    assert [detector.tick(100 + n * TICK, 5000 + n * TICK) for n in range(1, 100)] == [None] * 99


def test_a_clock_that_went_on_alone_is_a_sleep_once() -> None:
    detector = SleepDetector(100, 5000)
    assert detector.tick(101, 5001 + LEAST_SLEEP + 0.1) == SLEPT
    assert detector.tick(102, 5002 + LEAST_SLEEP + 0.1) is None


def test_a_tick_far_too_late_is_a_sleep_once() -> None:
    detector = SleepDetector(100, 5000)
    assert detector.tick(101 + LATEST_TICK, 5001 + LATEST_TICK) == STOPPED
    assert detector.tick(102 + LATEST_TICK, 5002 + LATEST_TICK) is None


def test_a_busy_loop_is_no_sleep() -> None:
    assert SleepDetector(100, 5000).tick(100 + LATEST_TICK, 5000 + LATEST_TICK) is None


@pytest.mark.parametrize("step", [LEAST_SLEEP, -1, -86_400])
def test_small_steps_and_steps_back_of_the_wall_clock_are_no_sleep(step: float) -> None:
    assert SleepDetector(100, 5000).tick(101, 5001 + step) is None


def test_a_drift_never_adds_up() -> None:
    detector = SleepDetector(0, 0)
    assert [detector.tick(n, n * 1.5) for n in range(1, 100)] == [None] * 99


def test_the_least_step_is_the_callers() -> None:
    assert SleepDetector(0, 0, least=5).tick(1, 5) is None
    assert SleepDetector(0, 0, least=5).tick(1, 7) == SLEPT


async def test_a_sleep_is_told_at_the_next_tick(autojump_clock: MockClock) -> None:
    asleep = 0.0
    told: list[str] = []
    clocks = Clocks(trio.current_time, lambda: trio.current_time() + asleep, 2)
    with trio.move_on_after(10.5 * TICK):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch_sleep, told.append, clocks)
            await trio.sleep(3.5 * TICK)
            assert not told
            asleep = 3600
            await trio.sleep(TICK)
            assert told == [SLEPT]
    assert told == [SLEPT]


def test_the_systems_clocks_go_alike() -> None:
    running, passing, least = system_clocks()
    detector = SleepDetector(running(), passing(), least=least)
    assert detector.tick(running(), passing()) is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has CLOCK_BOOTTIME")
def test_without_the_clock_of_linux_the_wall_clock_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(clock: int) -> float:
        raise OSError(errno.EINVAL, "Invalid argument")

    assert system_clocks().least == LEAST_SLEEP
    monkeypatch.setattr("time.clock_gettime", unknown)
    assert system_clocks().least > LEAST_SLEEP


# ---- polling


async def polled(*answers: object) -> int:
    """How often `poll` told a change while it was given these answers, an OSError to raise, and the last one for ever."""
    waiting = deque(answers)

    def look() -> object:
        answer = waiting.popleft() if len(waiting) > 1 else waiting[0]
        if isinstance(answer, OSError):
            raise answer
        return answer

    told: list[str] = []
    with trio.move_on_after(POLL_PAUSE * (len(answers) + 2)):
        await poll(told.append, look)
    assert told == [CHANGED] * len(told)
    return len(told)


async def test_another_address_is_a_change(autojump_clock: MockClock) -> None:
    assert await polled("a", "a", "b", "b", "a") == 2
    assert await polled((None, None), ("192.0.2.7", None)) == 1


async def test_the_same_address_is_none(autojump_clock: MockClock) -> None:
    assert await polled((None, None)) == 0


async def test_a_look_that_fails_says_nothing(autojump_clock: MockClock) -> None:
    shortage = OSError(errno.EMFILE, "Too many open files")
    assert await polled("a", shortage, "a") == 0
    assert await polled("a", shortage, "b") == 1
    assert await polled(shortage, "a") == 0
    assert await polled(shortage) == 0


def test_source_addresses_are_addresses() -> None:
    for found, version in zip(source_addresses(), (4, 6), strict=True):
        assert found is None or ipaddress.ip_address(found.partition("%")[0]).version == version


@pytest.mark.parametrize(
    ("number", "raises"), [(errno.EMFILE, True), (errno.EAFNOSUPPORT, False), (errno.EACCES, False)]
)
def test_a_shortage_is_not_a_missing_network(monkeypatch: pytest.MonkeyPatch, number: int, raises: bool) -> None:
    def no_socket(*_: object) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr("socket.socket", no_socket)
    if raises:
        with pytest.raises(OSError, match="no"):
            source_addresses()
    else:
        assert source_addresses() == (None, None)


# ---- the socket

LOST = OSError(errno.ENOBUFS, "No buffer space available")


class FakeNetlink:
    """A kernel: `there` is what it lists, `news` what it says after that, with errors to raise; then it is silent."""

    def __init__(
        self, there: Sequence[bytes] = (), news: Sequence[bytes | OSError] = (), *, refuses: bool = False
    ) -> None:
        self._listing = [message(ERROR, bytes(20))] if refuses else [*there, message(DONE, bytes(4))]
        self._news = list(news)
        self._waiting: deque[bytes | OSError] = deque()
        self.requests: list[int] = []
        self.closed = False

    async def send(self, data: bytes, /) -> int:
        await trio.lowlevel.checkpoint()
        assert not self._waiting, "the kernel has one listing at a time"
        [(kind, _, _)] = messages(data)
        self.requests.append(kind)
        self._waiting.extend(self._listing)
        if len(self.requests) == 3:
            self._waiting.extend(self._news)
        return len(data)

    async def recv(self, size: int, /) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self._waiting:
            await trio.sleep_forever()
        data = self._waiting.popleft()
        if isinstance(data, OSError):
            raise data
        return data[:size]

    def close(self) -> None:
        self.closed = True


def opening(*sockets: FakeNetlink | OSError) -> Callable[[], Netlink]:
    waiting = deque(sockets)

    def opened() -> Netlink:
        sock = waiting.popleft()
        if isinstance(sock, OSError):
            raise sock
        return sock

    return opened


async def netlink_tells(*sockets: FakeNetlink | OSError) -> tuple[list[str], bool]:
    """What it told, and whether it returned."""
    told: list[str] = []
    with trio.move_on_after(60) as scope:
        await watch_netlink(told.append, opening(*sockets))
    assert all(sock.closed for sock in sockets if isinstance(sock, FakeNetlink))
    return told, not scope.cancelled_caught


async def test_what_was_there_before_is_no_change(autojump_clock: MockClock) -> None:
    kernel = FakeNetlink([link(2), address(V4), route(GATEWAY)], [address(V4), route(GATEWAY), link(2)])
    assert await netlink_tells(kernel) == ([], False)
    assert kernel.requests == [18, 22, 26]


async def test_what_is_new_is_a_change(autojump_clock: MockClock) -> None:
    kernel = FakeNetlink([address(V4)], [address(V6), address(V6), address(V4, DEL_ADDRESS)])
    assert await netlink_tells(kernel) == ([CHANGED] * 2, False)


async def test_lost_messages_are_a_change_and_everything_is_listed_again(autojump_clock: MockClock) -> None:
    second = FakeNetlink([address(V6)], [address(V6), address(V4)])
    # What is lost, what happened before it listens again, and V4.
    assert await netlink_tells(FakeNetlink(news=[LOST]), second) == ([CHANGED] * 3, False)


@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES, errno.EAFNOSUPPORT, errno.EMFILE])
async def test_without_netlink_it_returns(number: int) -> None:
    assert await netlink_tells(OSError(number, "no")) == ([], True)


async def test_a_socket_that_fails_is_the_end() -> None:
    assert await netlink_tells(FakeNetlink(news=[OSError(errno.EBADF, "no")])) == ([], True)


async def test_a_listing_may_be_refused(autojump_clock: MockClock) -> None:
    kernel = FakeNetlink(news=[address(V4)], refuses=True)
    assert await netlink_tells(kernel) == ([CHANGED], False)


async def test_more_routes_than_are_worth_remembering_are_the_end() -> None:
    many = b"".join(route(str(ipaddress.IPv4Address(n))) for n in range(MOST_KNOWN))
    last = [route("10.0.0.1"), route("10.0.0.2")]
    told, ended = await netlink_tells(BigNetlink(news=[many, *last]))
    assert ended
    assert told == [CHANGED] * 2


class BigNetlink(FakeNetlink):
    """One that says in one datagram what takes a kernel hundreds."""

    async def recv(self, size: int, /) -> bytes:
        return await super().recv(2**30)


async def test_where_netlink_fails_it_polls(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    async def no_netlink(tell: Tell) -> None:
        tell("no netlink")

    looks = iter(range(100))
    monkeypatch.setattr(proxy.network, "watch_netlink", no_netlink)
    monkeypatch.setattr(proxy.network, "source_addresses", lambda: next(looks))
    told: list[str] = []
    with trio.move_on_after(1.5 * POLL_PAUSE):
        await watch_addresses(told.append)
    assert told == ["no netlink", CHANGED]


@pytest.mark.skipif(sys.platform == "linux", reason="Linux has netlink")
def test_other_systems_have_no_netlink() -> None:
    with pytest.raises(OSError, match="netlink"):
        open_netlink()


async def test_a_cancellation_ends_it() -> None:
    with trio.move_on_after(0) as scope:
        await watch_network(lambda _: None)
    assert scope.cancelled_caught


# ---- a real kernel


def test_a_real_network_changes() -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux has netlink")
    if subprocess.run([program("unshare"), "--net", "true"], capture_output=True, check=False).returncode:
        missing("it takes root to make a network that may be changed")
    code = f"import trio; from {__name__} import {change_network.__name__} as main; trio.run(main)"
    command = [program("unshare"), "--net", sys.executable, "-c", code, program("ip")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


async def change_network() -> None:
    """In a process of its own, which has a network of its own."""
    send, told = trio.open_memory_channel[str](100)
    singly: list[str] = []

    async def ip(arguments: str) -> None:
        await trio.run_process([sys.argv[1], *arguments.split()])

    async def changes(arguments: str) -> None:
        await ip(arguments)
        with trio.fail_after(1):
            assert await told.receive() == CHANGED
        await wait_all_tasks_blocked()

    await ip("link set lo up")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_network, send.send_nowait)
        nursery.start_soon(watch_netlink, singly.append)
        await wait_all_tasks_blocked()  # until they have read the listings, which the kernel has at once
        await changes("address add 198.51.100.1/32 dev lo")
        await ip("address replace 198.51.100.1/32 dev lo valid_lft 1000 preferred_lft 500")
        await changes("address add 198.51.100.2/32 dev lo")
        assert len(singly) == 2, "an address whose life time was renewed counts"
        await changes("address del 198.51.100.1/32 dev lo")
        assert len(singly) == 3
        for change in ("route add 203.0.113.0/24 dev lo", "route del 203.0.113.0/24", "link set lo down"):
            await changes(change)
        nursery.cancel_scope.cancel()
    print("done")
