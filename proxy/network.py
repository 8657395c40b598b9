"""Tells when this computer's network has changed, or when the computer has slept: what was connected before may be dead, and time-outs wait for it.

On Linux the kernel says so at once (netlink). Elsewhere, and where it may not be asked, the address that packets to the
world would leave from is compared every few seconds; another network that gives this computer the same address is not seen so.
"""

from __future__ import annotations

import errno
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

import trio

from . import telemetry
from .protocol.netlink import GROUPS, Known, ends_listing, requests

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Told what happened, for people.
Tell: TypeAlias = Callable[[str], None]
#: Runs until it is cancelled or can see nothing (more); it may tell the same change several times.
Source: TypeAlias = Callable[[Tell], Awaitable[None]]

CHANGED = "the addresses or routes of this computer changed"
SLEPT = "this computer was asleep"
STOPPED = "this computer was asleep, or this program was stopped"

# Our choices.
#: Joining a network is a burst of a dozen changes a few milliseconds apart; it is told once it is quiet, or has lasted, for so many seconds.
QUIET, LONGEST_BURST = 0.1, 1.0
#: In seconds. After as long liveness suspects a carrier in use, while one that idles would not be asked for 30 s.
POLL_PAUSE = 2.0
TICK = 1.0  # seconds between two looks at the clocks
#: Clocks that are read one after the other differ by microseconds, and a sleep that connections notice lasts longer than this, in seconds.
LEAST_SLEEP = 2.0
#: Where the wall clock shows the sleep: those who set clocks (NTP) step over less than a second as a rule, and a few at worst.
LEAST_STEP = 5.0
#: A tick so late, in seconds, was not merely waiting for a busy loop: after as much silence liveness takes a carrier for dead.
LATEST_TICK = 5.0
RECOVERY_PAUSE = 1.0  # seconds; messages are lost in a storm of them, and listening in it is of no use
#: Links, addresses and routes that are remembered, some megabytes. A router of the internet has a million routes, and one changes all the time.
MOST_KNOWN = 10_000

_READ_SIZE = 65_536  # the kernel puts at most 32 KiB of a listing into one datagram
#: Nobody's addresses (RFC 5737, RFC 3849), which are routed like most of the world's.
_WORLD = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
#: Say nothing about the network, only that the process or the machine has no room for a socket now.
_SHORTAGES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

_log = telemetry.logger("network")


async def watch_network(changed: Tell) -> None:
    """Calls `changed(why)` after each change, once for a burst of them. Runs until it is cancelled; raises nothing for what the system does."""
    await joined(changed, [watch_addresses, watch_sleep])


async def joined(changed: Tell, sources: Sequence[Source]) -> None:
    """Calls `changed` for what any of the sources tells, once for a burst. Runs until it is cancelled, even where all sources return."""
    burst = _Burst()
    async with trio.open_nursery() as nursery:
        for source in sources:
            nursery.start_soon(source, burst.tell)
        while True:
            changed(await burst.whole())


class _Burst:
    def __init__(self) -> None:
        self._reasons: dict[str, None] = {}  # each once, in the order told
        self._news = trio.Event()

    def tell(self, why: str) -> None:
        self._reasons[why] = None
        self._news.set()

    async def whole(self) -> str:
        """Waits for a burst to begin and to end."""
        await self._told()
        with trio.move_on_after(LONGEST_BURST):
            while await self._goes_on():
                pass
        why = "; ".join(self._reasons)
        self._reasons.clear()
        self._news = trio.Event()  # it is set where the time ran out just as something was told
        return why

    async def _told(self) -> None:
        await self._news.wait()
        self._news = trio.Event()

    async def _goes_on(self) -> bool:
        with trio.move_on_after(QUIET):
            await self._told()
            return True
        return False


# ---- sleep


class SleepDetector:
    """Compares two clocks that are read together about once in TICK: `running` stands still while the computer sleeps, `passing` goes on.

    Only what happened between two ticks counts, so that clocks which drift apart never add up to a sleep.
    """

    def __init__(self, running: float, passing: float, *, least: float = LEAST_SLEEP) -> None:
        self._running = running
        self._passing = passing
        self._least = least

    def tick(self, running: float, passing: float) -> str | None:
        """What happened since the last tick, if anything."""
        ran, passed = running - self._running, passing - self._passing
        self._running, self._passing = running, passing
        if passed - ran > self._least:
            return SLEPT
        # Both clocks went on: a system without a clock that stands still, a virtual machine that was paused, SIGSTOP.
        return STOPPED if ran > LATEST_TICK else None


class Clocks(NamedTuple):
    running: Callable[[], float]
    passing: Callable[[], float]
    least: float  # seconds that `passing` has to gain for a sleep


def system_clocks() -> Clocks:
    if sys.platform == "linux":
        passing = partial(time.clock_gettime, time.CLOCK_BOOTTIME)
        try:
            passing()
        except OSError:
            pass  # a sandbox that does not know this clock
        else:
            return Clocks(time.monotonic, passing, LEAST_SLEEP)
    return Clocks(time.monotonic, time.time, LEAST_STEP)


async def watch_sleep(tell: Tell, clocks: Clocks | None = None) -> None:
    running, passing, least = clocks or system_clocks()
    detector = SleepDetector(running(), passing(), least=least)
    while True:
        await trio.sleep(TICK)
        why = detector.tick(running(), passing())
        if why is not None:
            tell(why)


# ---- addresses and routes, asked for


async def watch_addresses(tell: Tell) -> None:
    await watch_netlink(tell)
    await poll(tell)


async def poll(tell: Tell, look: Callable[[], object] | None = None) -> None:
    """Tells when what `look` returns differs from the last time. Where it raises OSError nothing is known, and the next time counts."""
    look = look or source_addresses
    known: object = None  # not looked yet
    while True:
        try:
            seen = look()
        except OSError:
            seen = known
        if known is not None and seen != known:
            tell(CHANGED)
        known = seen
        await trio.sleep(POLL_PAUSE)


def source_addresses() -> tuple[str | None, ...]:
    """Where packets to the world would leave from, for each family. No packet is sent. Raises OSError where nothing can be known now."""
    return tuple(_source_towards(family, world) for family, world in _WORLD.items())


def _source_towards(family: socket.AddressFamily, world: str) -> str | None:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((world, 9))  # any port: nothing is sent
            return str(sock.getsockname()[0])
    except OSError as exc:
        if exc.errno in _SHORTAGES:
            raise
        return None  # no route, or no such family


# ---- addresses and routes, as the kernel tells them


class Netlink(Protocol):
    """The part of a trio socket that is used here."""

    def send(self, data: bytes, /) -> Awaitable[int]: ...
    def recv(self, size: int, /) -> Awaitable[bytes]: ...
    def close(self) -> None: ...


def open_netlink() -> Netlink:
    """Raises OSError where it cannot be had."""
    if sys.platform != "linux":
        raise OSError(errno.EAFNOSUPPORT, "this system has no netlink")
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    try:
        sock.bind((0, GROUPS))  # 0: the kernel chooses the port
    except BaseException:
        sock.close()
        raise
    return trio.socket.from_stdlib_socket(sock)


async def watch_netlink(tell: Tell, opened: Callable[[], Netlink] = open_netlink) -> None:
    """Tells at once. Returns where netlink cannot be had or read, or where there is too much to remember."""
    lost = False
    while True:
        try:
            with closing(opened()) as netlink:
                known = await _listed(netlink)
                if lost:
                    tell(CHANGED)  # perhaps, while nobody listened
                await _follow(netlink, known, tell)
                _log.debug("too many routes to follow, so addresses are polled")
                return
        except OSError as exc:
            if exc.errno != errno.ENOBUFS:
                _log.debug(
                    "the kernel does not tell of changes of the network, so addresses are polled: %s", exc.strerror
                )
                return
        lost = True
        tell(CHANGED)
        await trio.sleep(RECOVERY_PAUSE)


async def _listed(netlink: Netlink) -> Known:
    """What there is now. Changes meanwhile are part of it."""
    known = Known()
    for request in requests():
        await netlink.send(request)
        ended = False
        while not ended and len(known) <= MOST_KNOWN:
            data = await netlink.recv(_READ_SIZE)
            known.hear(data)
            ended = ends_listing(data)
    return known


async def _follow(netlink: Netlink, known: Known, tell: Tell) -> None:
    while len(known) <= MOST_KNOWN:
        if known.hear(await netlink.recv(_READ_SIZE)):
            tell(CHANGED)
