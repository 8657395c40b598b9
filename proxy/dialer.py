"""Connects to destinations: Happy Eyeballs version 2 (RFC 8305), and the policy of where an exit connects to.

The policy judges numbers, never names: what is checked is the very address that the socket is then told, so no answer of a resolver
gets around it, neither a name that means loopback nor a spelling such as 2130706433.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

import trio

from .address import Address, IPAddress, embedded_ipv4, is_public
from .errors import OpenError, Reason
from .tcp import mind_no_network

#: RFC 8305, section 5: how long an attempt is alone before the next one starts, in seconds.
ATTEMPT_DELAY = 0.25
#: RFC 8305, section 3: how long IPv4 waits for the answer about IPv6, in seconds.
RESOLUTION_DELAY = 0.05

# Our choices.
#: For looking up and connecting together, in seconds; browsers give up after 20 to 120 and would rather know sooner.
CONNECT_TIMEOUT = 10.0
#: Each lookup holds a thread for as long as the system's resolver likes, even when nobody waits for it any more.
LOOKUPS_AT_ONCE = 64
#: Of one name's addresses. A name with hundreds of them must not make the exit knock at hundreds of doors.
MOST_ATTEMPTS = 16
#: A quiet connection is asked for after so many seconds, again after so many, and given up after so many questions without an answer. What
#: stands before services forgets quiet connections without a word: load balancers after 240 s (Azure) or 350 s (AWS), NATs of phone networks
#: after about 300 s. The first question and two repeated ones are earlier than all of them, and who has vanished is known after 270 s.
KEEP_ALIVE = {"TCP_KEEPIDLE": 120, "TCP_KEEPALIVE": 120, "TCP_KEEPINTVL": 30, "TCP_KEEPCNT": 5}

#: Nobody's addresses (RFC 5737, RFC 3849): a system that binds to these binds to anything.
_NOBODY = {4: ipaddress.ip_address("192.0.2.1"), 6: ipaddress.ip_address("2001:db8::1")}
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}

#: The numeric addresses of one family that a name has, best first. Raises OSError.
Lookup: TypeAlias = Callable[[str, socket.AddressFamily], Awaitable[list[str]]]
#: One attempt. Raises OSError; when it is cancelled nothing stays open.
Attempt: TypeAlias = Callable[[IPAddress, int], Awaitable[trio.SocketStream]]

_REASONS = {
    errno.ECONNREFUSED: Reason.REFUSED,
    errno.ECONNRESET: Reason.REFUSED,
    errno.EHOSTUNREACH: Reason.HOST_UNREACHABLE,
    errno.EHOSTDOWN: Reason.HOST_UNREACHABLE,
    errno.ENETUNREACH: Reason.NETWORK_UNREACHABLE,
    errno.ENETDOWN: Reason.NETWORK_UNREACHABLE,
    errno.EAFNOSUPPORT: Reason.NETWORK_UNREACHABLE,  # a system without IPv6
    errno.EADDRNOTAVAIL: Reason.NETWORK_UNREACHABLE,  # a system that has no IPv6 address, but a route
    errno.ETIMEDOUT: Reason.TIMED_OUT,
    errno.EACCES: Reason.FORBIDDEN,  # the exit's own firewall, or a prohibited route
    errno.EPERM: Reason.FORBIDDEN,
    errno.EMFILE: Reason.BUSY,
    errno.ENFILE: Reason.BUSY,
    errno.ENOBUFS: Reason.BUSY,
    errno.ENOMEM: Reason.BUSY,
}
#: Of several failures the first of these is told: who answered says more than who was silent, and a limit or a policy says
#: more than a missing route, which is how the other family fails on most systems that lack it.
_TELLING = (
    Reason.REFUSED,
    Reason.TIMED_OUT,
    Reason.BUSY,
    Reason.FORBIDDEN,
    Reason.HOST_UNREACHABLE,
    Reason.FAILED,
    Reason.NETWORK_UNREACHABLE,
    Reason.NAME_NOT_FOUND,
)


class SystemLookup:
    """The system's resolver, in threads."""

    def __init__(self, at_once: int = LOOKUPS_AT_ONCE) -> None:
        self._limiter = trio.CapacityLimiter(at_once)

    async def __call__(self, host: str, family: socket.AddressFamily) -> list[str]:
        """Raises OSError. When it is cancelled the thread ends by itself later."""
        return await trio.to_thread.run_sync(look_up, host, family, limiter=self._limiter, abandon_on_cancel=True)


def look_up(host: str, family: socket.AddressFamily) -> list[str]:
    """Blocks as long as the system's resolver likes. Raises OSError."""
    # As bytes: the codec that Python sends a str through fails on labels that are empty or too long, and not with OSError.
    found = socket.getaddrinfo(host.encode("ascii"), None, family, socket.SOCK_STREAM)
    return [_with_scope(*address) for *_, address in found]


def _with_scope(host: str | int, _port: int, _flow: int = 0, scope: int = 0) -> str:
    return f"{host}%{scope}" if scope and "%" not in str(host) else str(host)


async def open_socket(ip: IPAddress, port: int) -> trio.SocketStream:
    """Connects to one address. Raises OSError."""
    sock = trio.socket.socket(_FAMILIES[ip.version], socket.SOCK_STREAM)
    try:
        _keep_alive(sock)
        if ip.is_loopback:
            mind_no_network(sock)
        await sock.connect((str(ip), port))
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)


def _keep_alive(sock: trio.socket.SocketType) -> None:
    """Towards destinations only. Apps are on this computer, where nothing in between forgets a connection and the kernel tells of each end."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEP_ALIVE.items():
        option = getattr(socket, name, None)  # macOS says TCP_KEEPALIVE for TCP_KEEPIDLE
        if option is not None:
            # An old system asks in its own time: two hours nearly everywhere (RFC 9293, section 3.8.4).
            with suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, option, value)


def is_own(ip: IPAddress) -> bool:
    """Whether it is an address of this machine, also inside a form that embeds an IPv4 address. No packet is sent.

    Raises OSError where there are no descriptors left, for then nothing is known.
    """
    if (inner := embedded_ipv4(ip)) is not None:
        return is_own(inner)
    # The kernel sends from the destination's address when that is its own, except to a second address in one network (it sends from
    # the first). Such an address can be bound to; which means nothing on a system set up to bind to addresses that it does not have.
    return source_towards(ip) == ip or (_binds(ip) and not _binds(_NOBODY[ip.version]))


def source_towards(ip: IPAddress) -> IPAddress | None:
    """The address of this machine that packets to it would come from; None where there is no way. No packet is sent."""
    with socket.socket(_FAMILIES[ip.version], socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((str(ip), 9))  # any port: nothing is sent
        except OSError:
            return None  # the attempt will say why
        return ipaddress.ip_address(sock.getsockname()[0])


def _binds(ip: IPAddress) -> bool:
    with socket.socket(_FAMILIES[ip.version], socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((str(ip), 0))
        except OSError:
            return False
        return True


@dataclass(frozen=True, kw_only=True)
class Dialer:
    """Where `allow_private` is not set, it connects to public addresses only and never to this machine's own."""

    allow_private: bool
    lookup: Lookup = field(default_factory=SystemLookup)
    attempt: Attempt = open_socket
    is_own: Callable[[IPAddress], bool] = is_own

    async def connect(self, address: Address) -> trio.SocketStream:
        """Raises OpenError with the most telling reason. When it is cancelled nothing stays open."""
        if (ip := address.ip) is not None:
            return await self._connect_to(ip, address.port)
        race = _Race(self, address)
        try:
            with trio.move_on_after(CONNECT_TIMEOUT) as scope:
                await race.run()
        except BaseException:
            await race.lose()
            raise
        if race.winner is None:
            raise race.verdict(late=scope.cancelled_caught)
        return race.winner

    async def _connect_to(self, ip: IPAddress, port: int) -> trio.SocketStream:
        """A race of one, without what a race costs: a fifth of a short connection's time at the exit."""
        try:
            if not self.allows(ip):
                raise OpenError(Reason.FORBIDDEN)
            with trio.move_on_after(CONNECT_TIMEOUT):
                return await self.attempt(ip, port)
        except OSError as exc:
            raise _attempt_failure(exc, ip) from None
        raise OpenError(Reason.TIMED_OUT)

    def allows(self, ip: IPAddress) -> bool:
        """Raises OSError where that cannot be found out."""
        if self.allow_private:
            return True
        scoped = (
            isinstance(ip, ipaddress.IPv6Address) and ip.scope_id is not None
        )  # means one link, whatever the number
        return not scoped and is_public(ip) and not self.is_own(ip)


class _Race:
    """One connect: lookups feed the waiting addresses, attempts take from them, and the first that succeeds wins."""

    def __init__(self, dialer: Dialer, address: Address) -> None:
        self._dialer = dialer
        self._address = address
        self._waiting: dict[int, deque[IPAddress]] = {6: deque(), 4: deque()}
        self._pending: set[int] = set()  # families that are being looked up
        self._seen: set[IPAddress] = set()
        self._last_family = 4  # of the last attempt; so the first one is IPv6
        self._running = 0
        self._failures: list[OpenError] = []
        self._news = trio.Event()  # set and replaced at every change
        self.winner: trio.SocketStream | None = None

    async def run(self) -> None:
        """Until there is a winner or nothing is left to try."""
        async with trio.open_nursery() as nursery:
            await self._look_up(nursery)
            await self._attempt_all(nursery)
            nursery.cancel_scope.cancel()

    async def lose(self) -> None:
        """Nobody wants the winner, if there is one."""
        if self.winner is not None:
            await trio.aclose_forcefully(self.winner)

    def verdict(self, *, late: bool) -> OpenError:
        """Why there is no winner."""
        if self._running and late:
            self._failures.append(OpenError(Reason.TIMED_OUT))
        elif not self._failures:
            text = "the destination's name could not be resolved in time at the exit" if late else ""
            self._failures.append(OpenError(Reason.NAME_NOT_FOUND, text))
        return min(self._failures, key=lambda error: _TELLING.index(error.reason))

    # ---- lookups

    async def _look_up(self, nursery: trio.Nursery) -> None:
        """Returns when attempts should start (RFC 8305, section 3); a lookup that is not over goes on."""
        for family in _FAMILIES:
            self._pending.add(family)
            nursery.start_soon(self._look_up_family, family)
        while 6 in self._pending and not self._waiting[4]:
            await self._news.wait()
        with trio.move_on_after(RESOLUTION_DELAY):
            while 6 in self._pending:
                await self._news.wait()

    async def _look_up_family(self, family: int) -> None:
        try:
            found = await self._dialer.lookup(self._address.host, _FAMILIES[family])
        except OSError as exc:
            self._failures.append(_lookup_failure(exc))
        else:
            for text in found:
                self._add(ipaddress.ip_address(text))
        self._pending.discard(family)
        self._tell()

    def _add(self, ip: IPAddress) -> None:
        if ip not in self._seen:
            self._seen.add(ip)
            self._waiting[ip.version].append(ip)

    # ---- attempts

    async def _attempt_all(self, nursery: trio.Nursery) -> None:
        attempts = 0
        while self.winner is None:
            ip = self._next() if attempts < MOST_ATTEMPTS else None
            if ip is not None:
                attempts += 1
                self._running += 1
                failed = trio.Event()
                nursery.start_soon(self._attempt, ip, failed, nursery.cancel_scope)
                with trio.move_on_after(ATTEMPT_DELAY):
                    await failed.wait()
            elif self._running or (self._pending and attempts < MOST_ATTEMPTS):
                await self._news.wait()
            else:
                return

    def _next(self) -> IPAddress | None:
        """The families take turns while both have addresses (RFC 8305, section 4)."""
        while any(self._waiting.values()):
            other = 10 - self._last_family
            family = other if self._waiting[other] else self._last_family
            ip = self._waiting[family].popleft()
            if self._allows(ip):
                self._last_family = family
                return ip
        return None

    def _allows(self, ip: IPAddress) -> bool:
        """Asked right before the attempt, and not for all that a name has: each answer costs system calls."""
        try:
            allowed = self._dialer.allows(ip)
        except OSError as exc:
            self._failures.append(_attempt_failure(exc, ip))
            return False
        if not allowed:
            self._failures.append(OpenError(Reason.FORBIDDEN))
        return allowed

    async def _attempt(self, ip: IPAddress, failed: trio.Event, race: trio.CancelScope) -> None:
        try:
            stream = await self._dialer.attempt(ip, self._address.port)
        except OSError as exc:
            self._running -= 1
            self._failures.append(_attempt_failure(exc, ip))
            failed.set()
            self._tell()
            return
        if self.winner is None:
            self.winner = stream
            race.cancel()
        else:  # two came in at once
            await trio.aclose_forcefully(stream)

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()


def _attempt_failure(error: OSError, ip: IPAddress) -> OpenError:
    reason = _REASONS.get(error.errno or 0, Reason.FAILED)
    if error.errno == errno.EADDRNOTAVAIL and ip.version == 4:
        reason = Reason.BUSY  # every local port towards that destination is in use
    text = ""
    if reason is Reason.FAILED and error.errno:
        # Not the error's own text: trio puts the destination into it, and this goes into the log.
        text = f"the exit could not connect to the destination: {os.strerror(error.errno)}"
    elif reason is Reason.FORBIDDEN:
        text = "the exit's own firewall does not let it connect to the destination"
    return OpenError(reason, text)


def _lookup_failure(error: OSError) -> OpenError:
    # A resolver's numbers are its own (EAI_...), and some equal those of the kernel.
    if isinstance(error, socket.gaierror):
        busy = error.errno == socket.EAI_MEMORY
    else:
        busy = _REASONS.get(error.errno or 0) is Reason.BUSY
    return OpenError(Reason.BUSY if busy else Reason.NAME_NOT_FOUND)
