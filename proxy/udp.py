"""Associations on the network itself: at the exit for its users, at the local side for what goes directly.

Each has one socket, for both families and for every destination, so that all of them see it at the same address and port, and anybody may answer
(endpoint-independent mapping and filtering, RFC 4787): that is how two apps behind such exits find each other.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import trio

from .address import Address, IPAddress
from .association import Association
from .protocol.budget import Budget
from .protocol.datagrams import AGE, TURN, DatagramQueue
from .session_stream import Wakeup
from .turns import BATCH, Reader, Turns

if TYPE_CHECKING:
    from .dialer import Lookup

# Our choices; seconds.
#: A socket over which nothing went for so long is closed, and the next datagram gets another one (RFC 4787, REQ-5).
IDLE = 300.0
#: How often it is looked whether one was idle for too long.
_SWEEP = 15.0
#: What is known of a name holds while it is used, and then as long as browsers keep what the system's resolver says; that one cannot be
#: resolved, shorter.
_NAME_LIFE, _FAILURE_LIFE = 60.0, 5.0
#: How long a name may take: what is said in a call is too old by then in any case, but the next look-up knows the answer.
_LOOKUP_TIME = 10.0
#: Of one association: an app talks to few.
_MOST_NAMES, _MOST_JUDGED = 32, 256
#: Read into by whoever reads, and copied out at once: no datagram is longer, and a buffer for each would leave gaps in the heap.
_buffer = memoryview(bytearray(65_535))

Allows: TypeAlias = Callable[[IPAddress], bool]


@dataclass(frozen=True, slots=True)
class Policy:
    """Where an association may send to, and how names are found. `allows` raises OSError where it cannot find out."""

    allows: Allows
    lookup: Lookup


class UDP:
    """`run` has to run; `associate` may be called meanwhile."""

    def __init__(self, *, idle: float = IDLE, age: float = AGE, budget: Budget | None = None) -> None:
        self._idle = idle
        self.age = age
        self.budget = budget or Budget()
        self.turns = Turns()
        self._nursery: trio.Nursery | None = None
        self._open: set[SocketAssociation] = set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until it is cancelled; then every association is closed."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            try:
                while True:
                    await trio.sleep(min(_SWEEP, self._idle / 4))
                    before = trio.current_time() - self._idle
                    for association in self._open:
                        association.sweep(before)
            finally:
                for association in list(self._open):
                    association.close()
                self._nursery.cancel_scope.cancel()

    def associate(self, policy: Policy) -> SocketAssociation:
        association = SocketAssociation(self, policy)
        self._open.add(association)
        return association

    def forget(self, association: SocketAssociation) -> None:
        self._open.discard(association)

    def begin(self, task: Callable[[str], Awaitable[None]], host: str) -> None:
        """Runs it on its own."""
        assert self._nursery is not None, "it does not run"
        self._nursery.start_soon(task, host)


class _Name:
    """What is known of a name, until when, and what waits for it to be known."""

    def __init__(self, budget: Budget) -> None:
        self.ip: IPAddress | None = None
        self.until = 0.0
        self.asked = False
        self.waiting: DatagramQueue[tuple[int, bytes]] = DatagramQueue(budget)


class SocketAssociation(Association):
    """What the network refuses, or what may not be sent, is dropped, as networks do. One task at a time may receive."""

    def __init__(self, udp: UDP, policy: Policy) -> None:
        self._udp = udp
        self._policy = policy
        self._socket: socket.socket | None = None
        self._made = Wakeup()
        self._reader = Reader()
        self._read: list[tuple[Address, bytes]] = []  # and not received, the next one last
        self._used_at = trio.current_time()
        self._names: dict[str, _Name] = {}
        # And until when that holds: this machine's addresses change.
        self._judged: dict[IPAddress, tuple[bool, float]] = {}
        self._closed = False

    def __repr__(self) -> str:
        return f"<SocketAssociation {'closed' if self._closed else 'open' if self._socket else 'idle'}>"

    def send(self, address: Address, data: bytes) -> None:
        self._check()
        if (ip := address.ip) is not None:
            self._send_to(ip, address.port, data)
        else:
            self._send_to_name(address, data)

    async def receive(self) -> tuple[Address, bytes]:
        """The next of those that were read at once comes without a turn of its own."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._read:
            await self._udp.turns.take(self._reader)
            if not self._closed and self._socket is not None and self._read_turn(self._socket):
                break
            await self._until_readable()
        self._check()
        return self._read.pop()

    async def _until_readable(self) -> None:
        self._check()
        if self._socket is None:
            await self._made.wait()
            return
        with contextlib.suppress(trio.ClosedResourceError):
            await trio.lowlevel.wait_readable(self._socket)

    def _read_turn(self, sock: socket.socket) -> bool:
        """Whether there was something: a turn's worth of it is in `_read` then, if it was not all errors."""
        total = 0
        for _ in range(BATCH):
            try:
                size, sender = sock.recvfrom_into(_buffer)
            except BlockingIOError:
                break
            except OSError:
                continue  # an earlier datagram was refused (ICMP), which says nothing of the others
            # From port 0 comes what nobody could answer (RFC 768); as an address it would end the session (docs/protocol.md, section 8).
            if sender[1]:
                self._read.append((_address_of(sender[0], sender[1]), bytes(_buffer[:size])))
            total += size
            if total >= TURN:
                break
        self._reader.has_read(total)
        if self._read:
            self._read.reverse()
            self._used_at = trio.current_time()
        return bool(self._read)

    def _check(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this association is closed")

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        self._closed = True
        self._udp.forget(self)
        for name in self._names.values():
            name.waiting.clear()
        self._close_socket()
        self._made.wake()

    def sweep(self, before: float) -> None:
        """Closes the socket where it was used last before then."""
        if self._used_at < before:
            self._close_socket()

    def _close_socket(self) -> None:
        if self._socket is not None:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
            self._socket = None

    # ---- sending

    def _send_to(self, ip: IPAddress, port: int, data: bytes) -> None:
        if not self._may_send_to(ip):
            return
        # No descriptor, no route, too long, a full buffer, a refusal of an earlier one.
        with contextlib.suppress(OSError):
            if self._socket is None:
                self._socket = _open_socket()
                self._made.wake()
            host = f"::ffff:{ip}" if ip.version == 4 and self._socket.family == socket.AF_INET6 else str(ip)
            self._socket.sendto(data, (host, port))
            self._used_at = trio.current_time()

    def _may_send_to(self, ip: IPAddress) -> bool:
        allowed, until = self._judged.get(ip, (False, 0.0))
        if trio.current_time() >= until:
            if len(self._judged) >= _MOST_JUDGED:
                self._judged.clear()
            try:
                allowed = _is_one(ip) and self._policy.allows(ip)
            except OSError:
                return False
            self._judged[ip] = allowed, trio.current_time() + _NAME_LIFE
        return allowed

    # ---- names

    def _send_to_name(self, address: Address, data: bytes) -> None:
        now = trio.current_time()
        name = self._names.get(address.host)
        if name is None:
            if len(self._names) >= _MOST_NAMES and not self._forget_a_name(now):
                return
            name = self._names[address.host] = _Name(self._udp.budget)
        if now < name.until:
            if name.ip is not None:
                # A conversation does not move to another server in the middle, nor wait there.
                name.until = now + _NAME_LIFE
                self._send_to(name.ip, address.port, data)
            return
        name.waiting.put((address.port, data), len(data), now)
        if not name.asked:
            name.asked = True
            self._udp.begin(self._look_up, address.host)

    def _forget_a_name(self, now: float) -> bool:
        """Whether there was one whose time is over."""
        for host, name in self._names.items():
            if not name.asked and name.until <= now:
                del self._names[host]
                return True
        return False

    async def _look_up(self, host: str) -> None:
        name = self._names[host]
        with trio.move_on_after(_LOOKUP_TIME):
            name.ip = await self._found(host)
        now = trio.current_time()
        name.asked = False
        name.until = now + (_NAME_LIFE if name.ip is not None else _FAILURE_LIFE)
        while not self._closed and (waiting := name.waiting.take(now - self._udp.age)) is not None:
            if name.ip is not None:
                self._send_to(name.ip, *waiting)

    async def _found(self, host: str) -> IPAddress | None:
        """The first that may be sent to, IPv4 where there is one: there is no race as for TCP, and more networks drop IPv6 without a word than IPv4."""
        for family in (socket.AF_INET, socket.AF_INET6):
            with contextlib.suppress(OSError):
                for text in await self._policy.lookup(host, family):
                    ip = ipaddress.ip_address(text)
                    if self._may_send_to(ip):
                        return ip
        return None


def _is_one(ip: IPAddress) -> bool:
    """Whether it is the address of one host, also in the form that embeds an IPv4 address."""
    inner = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    one = inner or ip
    return not one.is_multicast and not one.is_unspecified


def _open_socket() -> socket.socket:
    """For both families where the system has IPv6. Raises OSError."""
    try:
        made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        try:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            made.bind(("::", 0))
        except OSError:
            made.close()
            raise
    except OSError:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind(("", 0))
    made.setblocking(False)
    return made


def _address_of(host: str, port: int) -> Address:
    """A sender: an IPv4 address as one of IPv6 is the former."""
    ip = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return Address(str(ip), port)
