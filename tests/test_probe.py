"""Whether destinations answer: every way in which one may, and may not."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from proxy.address import Address
from proxy.errors import LocalPortError, OpenError, Reason
from proxy.listener import serve_local
from proxy.opener import always
from proxy.probe import ANSWER_LIMIT, AT_ONCE, Finding, probe, probe_all
from proxy.socks_client import connect_through
from tests.memory import ECHO, world

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio.testing import MockClock

    from tests.memory import Identity

ADDRESS = Address("example.com", 443)
REFUSED = OpenError(Reason.REFUSED)


class Far(trio.abc.HalfCloseableStream):
    """A connection to a destination that does something `after` so many seconds: it says this, ends with b"", or resets with None."""

    def __init__(self, does: bytes | None, after: float = 0.0) -> None:
        self.does, self.after = does, after
        self.ended = self.closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        raise AssertionError("a destination is told nothing")

    async def wait_send_all_might_not_block(self) -> None:
        raise NotImplementedError

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        self.ended = True

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        assert self.ended, "it does not know yet that nothing will be sent"
        await trio.sleep(self.after)
        if self.does is None:
            raise trio.BrokenResourceError
        return self.does

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


class World:
    """Answers each request with the next of these, after `wait` seconds."""

    def __init__(self, *answers: Far | Exception, wait: float = 0.0) -> None:
        self.answers, self.wait = list(answers), wait
        self.opened: list[Far] = []

    async def open(self, address: Address) -> Far:
        await trio.sleep(self.wait)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        self.opened.append(answer)
        return answer

    async def probe(self, *, left: int = 0) -> Finding:
        """So many of the answers never come."""
        with trio.fail_after(ANSWER_LIMIT + 1):
            finding = await probe(self.open, ADDRESS)
        assert len(self.answers) == left
        assert all(far.closed for far in self.opened)
        return finding


@pytest.mark.parametrize("does", [b"", b"2"])
async def test_it_ends_or_says_something(autojump_clock: MockClock, does: bytes) -> None:
    finding = await World(Far(does, after=0.25), wait=0.5).probe()
    assert finding == Finding(ADDRESS, 0.75)
    assert str(finding) == "answered in 750 ms"
    assert finding.reached


async def test_it_waits_for_the_app(autojump_clock: MockClock) -> None:
    finding = await World(Far(b"", after=3600)).probe()
    assert (finding, str(finding)) == (Finding(ADDRESS), "connected, and waits")
    assert finding.reached


async def test_it_cannot_be_connected_to(autojump_clock: MockClock) -> None:
    finding = await World(REFUSED).probe()
    assert (str(finding), finding.reached) == ("the destination refused the connection", False)


async def test_nobody_says_anything(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    finding = await World(Far(b""), wait=3600).probe(left=1)
    assert (str(finding), finding.reached) == ("no answer within 15 s", False)
    assert trio.current_time() - began == ANSWER_LIMIT


async def test_a_success_that_was_only_expected(autojump_clock: MockClock) -> None:
    """The local port said so, as it had connected there lately; then it found out."""
    assert await World(Far(None, after=2), REFUSED).probe() == Finding(ADDRESS, fault=str(REFUSED))


async def test_a_destination_that_resets(autojump_clock: MockClock) -> None:
    assert await World(Far(None, after=2), Far(None), wait=1).probe() == Finding(ADDRESS, 4.0)


async def test_a_second_connection_that_takes_too_long(autojump_clock: MockClock) -> None:
    finding = await World(Far(None, after=8), Far(b""), wait=6).probe(left=1)
    assert finding == Finding(ADDRESS, fault="no answer within 15 s")


# ---- many


def addresses(count: int) -> Sequence[Address]:
    return [Address("example.com", port) for port in range(1, count + 1)]


async def test_all_are_told_as_they_come_and_few_are_asked_at_once(autojump_clock: MockClock) -> None:
    at_once = most = 0

    async def open_stream(address: Address) -> Far:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await trio.sleep(1 / address.port)
        at_once -= 1
        if address.port % 2:
            raise REFUSED
        return Far(b"")

    told: list[Finding] = []
    times: list[float] = []

    def tell(finding: Finding) -> None:
        told.append(finding)
        times.append(trio.current_time())

    asked = addresses(3 * AT_ONCE)
    await probe_all(open_stream, asked, tell)
    assert most == AT_ONCE
    assert sorted(finding.address.port for finding in told) == [address.port for address in asked]
    assert [finding.reached for finding in told] == [finding.address.port % 2 == 0 for finding in told]
    assert times[0] < times[-1]


async def test_what_is_the_same_for_all_is_told_once(autojump_clock: MockClock) -> None:
    async def open_stream(address: Address) -> Far:
        await trio.sleep(address.port)
        raise LocalPortError("nothing listens")

    told: list[Finding] = []
    with pytest.raises(LocalPortError, match="nothing listens"):
        await probe_all(open_stream, addresses(40), told.append)
    assert told == []
    assert trio.current_time() < 10


# ---- through a local port


async def test_through_a_local_port_that_expected_a_success(nursery: trio.Nursery) -> None:
    """It replies before it knows, then resets; asked again, it tells the reason."""
    asked = 0

    async def open_stream(address: Address) -> trio.abc.HalfCloseableStream:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise REFUSED
        await trio.lowlevel.checkpoint()
        return Far(None)

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    await nursery.start(serve_local, listeners, always(open_stream), None)
    port = Address("127.0.0.1", listeners[0].socket.getsockname()[1])
    with trio.fail_after(ANSWER_LIMIT):
        finding = await probe(partial(connect_through, port, None), ADDRESS)
    assert (finding.fault, asked) == (str(REFUSED), 2)


async def test_through_a_tunnel_that_knows_the_destination(server: Identity, nursery: trio.Nursery) -> None:
    async with world(server, sockets=True) as made:
        tunnel = made.new_tunnel()
        made.run(tunnel)
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(serve_local, listeners, always(tunnel.open), None)
        connect = partial(connect_through, Address("127.0.0.1", listeners[0].socket.getsockname()[1]), None)
        with trio.fail_after(3 * ANSWER_LIMIT):
            for _ in range(2):
                assert (await probe(connect, ECHO)).seconds is not None
            made.destinations.refuse_all = True
            assert await probe(connect, ECHO) == Finding(ECHO, fault=str(REFUSED))
        assert made.destinations.asked == [ECHO] * 4
