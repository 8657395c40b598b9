"""Happy Eyeballs in virtual time, the policy number by number, and a few real sockets on loopback."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import trio

import proxy.dialer
from proxy.address import Address
from proxy.dialer import CONNECT_TIMEOUT, LOOKUPS_AT_ONCE, MOST_ATTEMPTS, Dialer, SystemLookup, is_own, open_socket
from proxy.errors import OpenError, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trio.testing import MockClock

    from proxy.address import IPAddress

NAME = Address("example.com", 443)
FOUR, FOUR_TOO = "93.184.216.34", "93.184.216.35"
SIX, SIX_TOO = "2606:4700::1111", "2606:4700::2222"
NEVER = float("inf")


@dataclass
class World:
    """A resolver and a network: what is answered after how long."""

    names: dict[int, tuple[float, list[str] | OSError]] = field(default_factory=dict)
    hosts: dict[str, tuple[float, int]] = field(default_factory=dict)  # delay and errno, 0 for success
    lookups: list[str] = field(default_factory=list)
    attempts: list[tuple[float, str]] = field(default_factory=list)
    streams: list[trio.SocketStream] = field(default_factory=list)
    begun: float = field(default_factory=trio.current_time)
    shielded: bool = False  # attempts that finish though they are cancelled

    async def lookup(self, host: str, family: socket.AddressFamily) -> list[str]:
        self.lookups.append(host)
        delay, answer = self.names.get(
            6 if family == socket.AF_INET6 else 4, (0, socket.gaierror(socket.EAI_NONAME, "no"))
        )
        await trio.sleep(delay)
        if isinstance(answer, OSError):
            raise answer
        return answer

    async def attempt(self, ip: IPAddress, port: int) -> trio.SocketStream:
        assert port == NAME.port
        self.attempts.append((round(trio.current_time() - self.begun, 3), str(ip)))
        delay, number = self.hosts.get(str(ip), (NEVER, 0))
        with trio.CancelScope(shield=self.shielded):
            await trio.sleep(delay)
        if number:
            raise OSError(number, os.strerror(number))
        self.streams.append(trio.SocketStream(trio.socket.socket()))
        return self.streams[-1]

    def dialer(self, *, allow_private: bool = False, own: Iterable[str] = ()) -> Dialer:
        mine = {ipaddress.ip_address(text) for text in own}
        return Dialer(
            allow_private=allow_private, lookup=self.lookup, attempt=self.attempt, is_own=lambda ip: ip in mine
        )

    async def connect(self, address: Address = NAME) -> float:
        """How long it took; the winner is closed, and no other stream may be open."""
        winner = await self.dialer().connect(address)
        took = trio.current_time() - self.begun
        assert self.open_streams == [winner]
        await winner.aclose()
        return round(took, 3)

    async def failure(self, address: Address = NAME, dialer: Dialer | None = None) -> OpenError:
        with pytest.raises(OpenError) as caught:
            await (dialer or self.dialer()).connect(address)
        assert self.open_streams == []
        return caught.value

    @property
    def open_streams(self) -> list[trio.SocketStream]:
        return [stream for stream in self.streams if stream.socket.fileno() != -1]


class TestHappyEyeballs:
    async def test_ipv6_first_starts_at_once(self, autojump_clock: MockClock) -> None:
        world = World({6: (0.02, [SIX]), 4: (5, [FOUR])}, {SIX: (0.1, 0)})
        assert await world.connect() == 0.12
        assert world.attempts == [(0.02, SIX)]
        assert world.lookups == ["example.com"] * 2

    async def test_ipv4_first_waits_for_ipv6(self, autojump_clock: MockClock) -> None:
        world = World({6: (0.05, [SIX]), 4: (0.02, [FOUR])}, {SIX: (0.1, 0)})
        assert await world.connect() == 0.15
        assert world.attempts == [(0.05, SIX)]

    async def test_but_not_for_long(self, autojump_clock: MockClock) -> None:
        world = World({6: (3, [SIX]), 4: (0.02, [FOUR])}, {FOUR: (0.1, 0)})
        assert await world.connect() == 0.17
        assert world.attempts == [(0.07, FOUR)]

    async def test_ipv4_starts_when_there_is_no_ipv6(self, autojump_clock: MockClock) -> None:
        world = World({6: (0.03, []), 4: (0.02, [FOUR])}, {FOUR: (0.1, 0)})
        assert await world.connect() == 0.13

    async def test_ipv4_that_comes_after_no_ipv6_starts_at_once(self, autojump_clock: MockClock) -> None:
        world = World({6: (0.02, []), 4: (1, [FOUR])}, {FOUR: (0.1, 0)})
        assert await world.connect() == 1.1

    async def test_families_take_turns(self, autojump_clock: MockClock) -> None:
        world = World({6: (0, [SIX, SIX_TOO]), 4: (0, [FOUR, FOUR_TOO])}, {FOUR_TOO: (0.1, 0)})
        assert await world.connect() == 0.85
        assert world.attempts == [(0, SIX), (0.25, FOUR), (0.5, SIX_TOO), (0.75, FOUR_TOO)]

    async def test_a_failure_starts_the_next_at_once(self, autojump_clock: MockClock) -> None:
        refused = errno.ECONNREFUSED
        world = World(
            {6: (0, [SIX, SIX_TOO]), 4: (0, [FOUR])}, {SIX: (0.01, refused), FOUR: (0.02, refused), SIX_TOO: (0, 0)}
        )
        assert await world.connect() == 0.03
        assert world.attempts == [(0, SIX), (0.01, FOUR), (0.03, SIX_TOO)]

    async def test_a_dead_ipv6_costs_a_quarter_of_a_second(self, autojump_clock: MockClock) -> None:
        world = World({6: (0, [SIX]), 4: (0, [FOUR])}, {FOUR: (0.01, 0)})
        assert await world.connect() == 0.26

    async def test_the_first_attempt_may_still_win(self, autojump_clock: MockClock) -> None:
        world = World({6: (0, [SIX]), 4: (0, [FOUR])}, {SIX: (0.3, 0), FOUR: (1, 0)})
        assert await world.connect() == 0.3
        assert [ip for _, ip in world.attempts] == [SIX, FOUR]

    async def test_a_late_answer_joins_in(self, autojump_clock: MockClock) -> None:
        world = World({6: (1, [SIX]), 4: (0, [FOUR])}, {SIX: (0.1, 0)})
        assert await world.connect() == 1.1
        assert world.attempts == [(0.05, FOUR), (1, SIX)]

    async def test_a_late_answer_is_waited_for_when_all_else_failed(self, autojump_clock: MockClock) -> None:
        world = World({6: (1, [SIX]), 4: (0, [FOUR])}, {FOUR: (0, errno.ECONNREFUSED), SIX: (0.1, 0)})
        assert await world.connect() == 1.1

    async def test_two_that_come_in_at_once_leave_one(self, autojump_clock: MockClock) -> None:
        world = World({6: (0, [SIX]), 4: (0, [FOUR])}, {SIX: (0.35, 0), FOUR: (0.1, 0)}, shielded=True)
        assert await world.connect() == 0.35
        assert len(world.streams) == 2

    async def test_an_address_is_tried_once(self, autojump_clock: MockClock) -> None:
        world = World({4: (0, [FOUR, FOUR])}, {FOUR: (0, errno.ECONNREFUSED)})
        assert (await world.failure()).reason is Reason.REFUSED
        assert len(world.attempts) == 1

    async def test_numbers_are_not_looked_up(self, autojump_clock: MockClock) -> None:
        for number in (FOUR, SIX):
            world = World(hosts={number: (0.1, 0)})
            assert await world.connect(Address(number, 443)) == 0.1
            assert world.lookups == []

    async def test_a_name_with_many_addresses_is_not_tried_to_its_end(self, autojump_clock: MockClock) -> None:
        many = [f"93.184.216.{number}" for number in range(100)]
        world = World({4: (0, many)}, dict.fromkeys(many, (0.0, errno.ECONNREFUSED)))
        assert (await world.failure()).reason is Reason.REFUSED
        assert len(world.attempts) == MOST_ATTEMPTS


class TestReasons:
    @pytest.mark.parametrize(
        ("number", "reason"),
        [
            (errno.ECONNREFUSED, Reason.REFUSED),
            (errno.EHOSTUNREACH, Reason.HOST_UNREACHABLE),
            (errno.ENETUNREACH, Reason.NETWORK_UNREACHABLE),
            (errno.EAFNOSUPPORT, Reason.NETWORK_UNREACHABLE),
            (errno.ETIMEDOUT, Reason.TIMED_OUT),
            (errno.EACCES, Reason.FORBIDDEN),
            (errno.EMFILE, Reason.BUSY),
            (errno.ENFILE, Reason.BUSY),
            (errno.EADDRNOTAVAIL, Reason.BUSY),
            (errno.EIO, Reason.FAILED),
        ],
    )
    async def test_one_attempt(self, number: int, reason: Reason, autojump_clock: MockClock) -> None:
        error = await World(hosts={FOUR: (0.1, number)}).failure(Address(FOUR, 443))
        assert error.reason is reason
        assert FOUR not in str(error)

    async def test_no_ipv6_address_is_no_route(self, autojump_clock: MockClock) -> None:
        error = await World(hosts={SIX: (0, errno.EADDRNOTAVAIL)}).failure(Address(SIX, 443))
        assert error.reason is Reason.NETWORK_UNREACHABLE

    @pytest.mark.parametrize(
        ("six", "four", "reason"),
        [
            (errno.ENETUNREACH, errno.ECONNREFUSED, Reason.REFUSED),
            (errno.ECONNREFUSED, errno.ENETUNREACH, Reason.REFUSED),
            (errno.ENETUNREACH, errno.EHOSTUNREACH, Reason.HOST_UNREACHABLE),
            (errno.ENETUNREACH, errno.EMFILE, Reason.BUSY),
            (errno.ENETUNREACH, errno.EIO, Reason.FAILED),
        ],
    )
    async def test_the_most_telling(self, six: int, four: int, reason: Reason, autojump_clock: MockClock) -> None:
        world = World({6: (0, [SIX]), 4: (0, [FOUR])}, {SIX: (0, six), FOUR: (0, four)})
        assert (await world.failure()).reason is reason

    async def test_silence(self, autojump_clock: MockClock) -> None:
        world = World({6: (0, [SIX]), 4: (0, [FOUR])}, {SIX: (0, errno.ENETUNREACH)})
        assert (await world.failure()).reason is Reason.TIMED_OUT
        assert trio.current_time() - world.begun == CONNECT_TIMEOUT

    @pytest.mark.parametrize("answer", [[], socket.gaierror(socket.EAI_AGAIN, "later")])
    async def test_no_such_name(self, answer: list[str] | OSError, autojump_clock: MockClock) -> None:
        error = await World({6: (0.1, answer), 4: (0.2, answer)}).failure()
        assert error.reason is Reason.NAME_NOT_FOUND

    async def test_a_resolver_that_is_silent(self, autojump_clock: MockClock) -> None:
        error = await World({6: (NEVER, []), 4: (NEVER, [])}).failure()
        assert error.reason is Reason.NAME_NOT_FOUND
        assert "in time" in str(error)

    @pytest.mark.parametrize("answer", [OSError(errno.EMFILE, "many"), socket.gaierror(socket.EAI_MEMORY, "memory")])
    async def test_a_resolver_without_means(self, answer: OSError, autojump_clock: MockClock) -> None:
        assert (await World({6: (0, answer), 4: (0, answer)}).failure()).reason is Reason.BUSY

    async def test_half_an_answer_is_enough(self, autojump_clock: MockClock) -> None:
        world = World(
            {6: (0, socket.gaierror(socket.EAI_AGAIN, "later")), 4: (0, [FOUR])}, {FOUR: (0, errno.EHOSTUNREACH)}
        )
        assert (await world.failure()).reason is Reason.HOST_UNREACHABLE


class TestCancellation:
    @pytest.mark.parametrize("after", [0.01, 0.06, 0.2, 0.4, 1.0])
    async def test_nothing_stays_open(self, after: float, autojump_clock: MockClock) -> None:
        world = World({6: (0.05, [SIX]), 4: (0.02, [FOUR])})
        with trio.move_on_after(after) as scope:
            await world.dialer().connect(NAME)
        assert scope.cancelled_caught
        assert world.open_streams == []

    async def test_not_even_the_winner(self, autojump_clock: MockClock) -> None:
        """The cancellation comes while an attempt that is not to be stopped brings in its stream."""
        world = World({6: (0, [SIX, SIX_TOO])}, {SIX: (0.3, 0), SIX_TOO: (1, 0)}, shielded=True)
        with trio.move_on_after(0.5) as scope:
            await world.dialer().connect(NAME)
        assert scope.cancelled_caught
        assert len(world.streams) == 2
        assert world.open_streams == []


FORBIDDEN = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:0.0.0.0",
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::1",
    "2002:7f00:1::1",
    "2002:0a00:0001::",
    "2001:0:5ef5:79fb::1",
    "fe80::1",
    "fc00::1",
    "fd12:3456::1",
    "fec0::1",
    "ff02::1",
]


class TestPolicy:
    @pytest.mark.parametrize("number", FORBIDDEN)
    async def test_numbers(self, number: str, autojump_clock: MockClock) -> None:
        world = World()
        assert (await world.failure(Address.make(number, 443))).reason is Reason.FORBIDDEN
        assert world.attempts == []

    @pytest.mark.parametrize("number", FORBIDDEN)
    async def test_names_that_lead_there(self, number: str, autojump_clock: MockClock) -> None:
        version = ipaddress.ip_address(number).version
        world = World({version: (0, [number])})
        assert (await world.failure()).reason is Reason.FORBIDDEN
        assert world.attempts == []

    @pytest.mark.parametrize("number", [FOUR, SIX, "::ffff:93.184.216.34", "64:ff9b::5db8:d822", "2002:5db8:d822::1"])
    async def test_public_numbers(self, number: str, autojump_clock: MockClock) -> None:
        world = World(hosts={str(ipaddress.ip_address(number)): (0, 0)})
        await world.connect(Address.make(number, 443))

    async def test_only_what_is_allowed_is_tried(self, autojump_clock: MockClock) -> None:
        world = World({6: (0, ["::1", SIX]), 4: (0, ["10.0.0.1", FOUR, "127.0.0.1"])}, {FOUR: (0, 0)})
        await world.connect()
        assert [ip for _, ip in world.attempts] == [SIX, FOUR]

    async def test_what_was_tried_says_more_than_what_was_not(self, autojump_clock: MockClock) -> None:
        world = World({4: (0, ["10.0.0.1", FOUR])}, {FOUR: (0, errno.ECONNREFUSED)})
        assert (await world.failure()).reason is Reason.REFUSED

    async def test_own_addresses(self, autojump_clock: MockClock) -> None:
        world = World({6: (0, [SIX]), 4: (0, [FOUR])})
        error = await world.failure(dialer=world.dialer(own=[FOUR, SIX]))
        assert error.reason is Reason.FORBIDDEN
        assert world.attempts == []

    async def test_not_knowing_is_not_allowing(self, autojump_clock: MockClock) -> None:
        def unknown(_ip: IPAddress) -> bool:
            raise OSError(errno.EMFILE, "too many open files")

        world = World()
        dialer = Dialer(allow_private=False, lookup=world.lookup, attempt=world.attempt, is_own=unknown)
        assert (await world.failure(Address(FOUR, 443), dialer)).reason is Reason.BUSY
        assert world.attempts == []

    @pytest.mark.parametrize("number", ["127.0.0.1", "::1", "10.0.0.1", "fe80::1"])
    async def test_private_addresses_where_that_is_allowed(self, number: str, autojump_clock: MockClock) -> None:
        world = World(hosts={number: (0, 0)})
        stream = await world.dialer(allow_private=True, own=[number]).connect(Address.make(number, 443))
        await stream.aclose()
        assert [ip for _, ip in world.attempts] == [number]


class TestSystem:
    """Real sockets and the real resolver, which needs no network for these names; real time."""

    @pytest.mark.parametrize(
        "host",
        ["localhost", "2130706433", "127.1", "0x7f000001", "0x7f.1", "017700000001", "0", "LOCALHOST", "127.0.0.1"],
    )
    async def test_spellings_of_this_machine(self, host: str) -> None:
        with pytest.raises(OpenError) as caught:
            await Dialer(allow_private=False).connect(Address.make(host, 9))
        assert caught.value.reason is Reason.FORBIDDEN

    @pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".invalid", ".", "-" * 255])
    async def test_names_that_no_resolver_takes(self, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
        real = socket.getaddrinfo

        def numeric_only(host: bytes, port: None, family: socket.AddressFamily, kind: socket.SocketKind) -> object:
            return real(host, port, family, kind, 0, socket.AI_NUMERICHOST)  # nothing leaves the machine

        monkeypatch.setattr(socket, "getaddrinfo", numeric_only)
        with pytest.raises(OpenError) as caught:
            await Dialer(allow_private=False).connect(Address.make(host, 9))
        assert caught.value.reason is Reason.NAME_NOT_FOUND

    async def test_connects(self) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            port = listener.socket.getsockname()[1]
            async with await Dialer(allow_private=True).connect(Address("localhost", port)) as stream:
                assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                assert stream.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                async with await listener.accept() as accepted:
                    await stream.send_all(b"hello")
                    assert await accepted.receive_some() == b"hello"

    async def test_refused(self) -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))  # and it does not listen
            with pytest.raises(OpenError) as caught:
                await Dialer(allow_private=True).connect(Address("127.0.0.1", bound.getsockname()[1]))
        assert caught.value.reason is Reason.REFUSED

    async def test_a_failed_attempt_closes_its_socket(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made: list[trio.socket.SocketType] = []
        real = trio.socket.socket

        def remembered(family: socket.AddressFamily, kind: socket.SocketKind) -> trio.socket.SocketType:
            made.append(real(family, kind))
            return made[-1]

        monkeypatch.setattr(trio.socket, "socket", remembered)
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            with pytest.raises(ConnectionRefusedError):
                await open_socket(ipaddress.ip_address("127.0.0.1"), bound.getsockname()[1])
        assert [sock.fileno() for sock in made] == [-1]

    @pytest.mark.skipif(sys.platform != "linux", reason="others have no choice, and no such address of this computer")
    async def test_what_goes_to_this_computer_is_not_paced(self, monkeypatch: pytest.MonkeyPatch) -> None:
        told: list[trio.socket.SocketType] = []
        monkeypatch.setattr(proxy.dialer, "mind_no_network", told.append)
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            bound.listen()
            port = bound.getsockname()[1]
            async with await open_socket(ipaddress.ip_address("0.0.0.0"), port):
                assert not told
            async with await open_socket(ipaddress.ip_address("127.0.0.1"), port) as stream:
                assert told == [stream.socket]

    @pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="this system has another name for it")
    async def test_a_quiet_destination_is_asked_for_before_anything_forgets_it(self) -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            bound.listen()
            async with await open_socket(ipaddress.ip_address("127.0.0.1"), bound.getsockname()[1]) as stream:
                assert stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                idle, pause, count = (
                    stream.socket.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
                    for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
                )
        assert idle + 2 * pause < 240  # the shortest of what the comment at KEEP_ALIVE names
        assert idle + pause * count == 270

    async def test_a_system_without_those_options_connects_all_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            proxy.dialer, "KEEP_ALIVE", {"TCP_NO_SUCH_OPTION": 1, "TCP_MAXSEG": 1}
        )  # unknown, and refused
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            bound.listen()
            async with await open_socket(ipaddress.ip_address("127.0.0.1"), bound.getsockname()[1]) as stream:
                assert stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1

    async def test_the_resolver_is_asked_for_few_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        running = most = 0
        release = trio.Event()

        async def run_sync(*_args: object, limiter: trio.CapacityLimiter, **_options: object) -> list[str]:
            nonlocal running, most
            async with limiter:
                running += 1
                most = max(most, running)
                await release.wait()
                running -= 1
            return []

        monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)
        lookup = SystemLookup()
        async with trio.open_nursery() as nursery:
            for _ in range(2 * LOOKUPS_AT_ONCE):
                nursery.start_soon(lookup, "example.com", socket.AF_INET)
            await trio.testing.wait_all_tasks_blocked()
            assert running == LOOKUPS_AT_ONCE
            release.set()
        assert most == LOOKUPS_AT_ONCE

    async def test_a_scope_stays_with_its_address(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def found(*_args: object) -> list[object]:
            return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 0, 0, 2)), (0, 0, 6, "", (SIX, 0, 0, 0))]

        monkeypatch.setattr(socket, "getaddrinfo", found)
        assert await SystemLookup()("printer.local", socket.AF_INET6) == ["fe80::1%2", SIX]


class TestOwn:
    @pytest.mark.parametrize(
        "number", ["127.0.0.1", "127.5.5.5", "::ffff:127.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1"]
    )
    def test_this_machine(self, number: str) -> None:
        assert is_own(ipaddress.ip_address(number))

    @pytest.mark.parametrize("number", [FOUR, SIX, "::ffff:93.184.216.34"])
    def test_others(self, number: str) -> None:
        assert not is_own(ipaddress.ip_address(number))

    def test_a_second_address_in_one_network(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The kernel would send from the first one."""
        second = ipaddress.ip_address(FOUR_TOO)
        monkeypatch.setattr(proxy.dialer, "source_towards", lambda _ip: ipaddress.ip_address(FOUR))
        monkeypatch.setattr(proxy.dialer, "_binds", bound_to(FOUR_TOO))
        assert is_own(second)

    def test_a_system_that_binds_to_anything(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(proxy.dialer, "source_towards", lambda _ip: ipaddress.ip_address(FOUR))
        monkeypatch.setattr(proxy.dialer, "_binds", lambda _ip: True)
        assert not is_own(ipaddress.ip_address(FOUR_TOO))
        assert is_own(ipaddress.ip_address(FOUR))

    def test_where_no_packet_could_go(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The kernel refuses to connect a plain socket to a broadcast address."""
        monkeypatch.setattr(proxy.dialer, "_binds", bound_to())
        assert not is_own(ipaddress.ip_address("255.255.255.255"))

    def test_no_descriptors_left(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def none_left(*_args: object) -> None:
            raise OSError(errno.EMFILE, "too many open files")

        monkeypatch.setattr(socket, "socket", none_left)
        with pytest.raises(OSError, match="too many"):
            is_own(ipaddress.ip_address(FOUR))


def bound_to(*numbers: str) -> Callable[[IPAddress], bool]:
    return lambda ip: str(ip) in numbers
