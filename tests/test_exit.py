"""The exit over memory: who is a visitor, who has a session, what one user may take, bad hellos, removed keys and the goodbye.

`test_tunnel.py` has the conversations.
"""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

import pytest
import trio
from trio.testing import lockstep_stream_pair, wait_all_tasks_blocked

from proxy.address import Address
from proxy.errors import CarrierError, OpenError, Reason
from proxy.exit import HANDSHAKE_TIMEOUT, RELIEVE_EVERY, STOP_TIMEOUT, Limits
from proxy.idleness import LOOK_EVERY as LOOK_FOR_IDLE_EVERY
from proxy.keys import UserKey, new_certificate
from proxy.protocol.budget import LIMIT
from proxy.protocol.event import Code
from proxy.protocol.frame import FrameDecoder, Type, encode, text_payload
from proxy.protocol.handshake import AFTER_WELCOME, NO_TOKEN, Hello, Status, Wanted
from proxy.protocol.mux import Mux
from proxy.served_session import FINISH_TIMEOUT
from proxy.session import Session
from proxy.waiting_room import LOOK_EVERY
from tests.memory import (
    ECHO,
    HELD,
    SLOW,
    Cable,
    Greeted,
    Identity,
    MemoryAssociation,
    Visits,
    World,
    exchange,
    greet,
    identity,
    world,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from trio.testing import MockClock

    from proxy.session_stream import SessionStream
    from proxy.ways import Opened


async def test_bytes_that_are_no_hello_reach_the_website_whole(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server) as around:
        carrier = (await around.open_carrier()).stream
        await carrier.send_all(b"GET / HTTP/1.1\r\n\r\n")
        await trio.sleep(1)
        assert around.website.seen[0].startswith(b"GET / HTTP/1.1\r\n\r\n")
        assert around.sessions == 0


async def test_the_beginning_of_a_key_id_and_nothing_more_is_a_visitor(
    server: Identity, autojump_clock: MockClock
) -> None:
    async with world(server) as around:
        carrier = (await around.open_carrier()).stream
        await carrier.send_all(around.key.key_id[:5])
        await trio.sleep(HANDSHAKE_TIMEOUT - 1)
        assert not around.website.seen
        await trio.sleep(2)
        assert around.website.seen[0].startswith(around.key.key_id[:5])


async def test_another_users_key_has_no_session(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server) as around:
        around.run(tunnel := around.new_tunnel(UserKey.new(), connect_wait=1))
        with pytest.raises(OpenError) as caught:
            await tunnel.open(ECHO)
        assert caught.value.reason is Reason.TUNNEL_DOWN
        assert around.sessions == 0


async def test_one_user_takes_no_more_sessions_than_allowed(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server, Limits(max_sessions=1)) as around:
        around.run(first := around.new_tunnel())
        await exchange(await first.open(ECHO))
        around.run(second := around.new_tunnel(connect_wait=1))
        with pytest.raises(OpenError):
            await second.open(ECHO)
        assert around.sessions == 1
        await exchange(await first.open(ECHO))


async def test_at_the_limit_sessions_without_streams_go_first(server: Identity, autojump_clock: MockClock) -> None:
    """The welcomes of another device get lost, again and again, while this one has no network."""
    async with world(server, Limits(max_sessions=3)) as around:
        around.run(tunnel := around.new_tunnel())
        stream = await tunnel.open(ECHO)
        await exchange(stream)
        around.reachable = False
        around.cut()
        for _ in range(5):
            around.reachable = True
            await around.greet()
            around.reachable = False
            around.cut()
            await trio.sleep(1)
        assert around.sessions == 3
        around.reachable = True
        await exchange(stream)


async def test_who_breaks_the_protocol_is_told_so(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server) as around:
        greeted = await around.greet(behind=encode(Type.OPENED, 7))
        assert b"never opened" in await greeted.read_to_end()


async def test_strangers_never_take_every_place(
    server: Identity, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They keep their connections open for ever; the oldest goes, and carriers do not count."""
    monkeypatch.setattr("proxy.strangers.MAX_STRANGERS", 5)
    async with world(server) as around:
        around.run(tunnel := around.new_tunnel())
        stream = await tunnel.open(ECHO)
        visitors = []
        for _ in range(12):
            carrier = (await around.open_carrier()).stream
            await carrier.send_all(b"GET / HTTP/1.1\r\n\r\n")
            visitors.append(carrier)
            await trio.sleep(0.1)
        for carrier in visitors[:7]:
            with pytest.raises(trio.BrokenResourceError), trio.fail_after(1):
                await carrier.receive_some()
        for carrier in visitors[7:]:
            with trio.move_on_after(1) as scope:
                await carrier.receive_some()
            assert scope.cancelled_caught
        await exchange(stream)
        around.run(second := around.new_tunnel())
        await exchange(await second.open(ECHO))


# ---- who may have how much


async def test_hellos_in_the_same_instant_get_no_more_sessions_than_allowed(
    server: Identity, autojump_clock: MockClock
) -> None:
    async with world(server, Limits(max_sessions=3)) as around:
        carriers = [await around.open_carrier() for _ in range(10)]
        hello = Hello(around.key.key_id, bytes(16))
        got: list[Status] = []

        async def say_hello(opened: Opened) -> None:
            got.append((await greet(opened, around.key, hello)).welcome.status)

        async with trio.open_nursery() as nursery:
            for opened in carriers:
                nursery.start_soon(say_hello, opened)
        assert sorted(got) == [Status.NEW] * 3 + [Status.TOO_MANY] * 7
        assert around.sessions == 3


async def test_a_session_that_is_over_takes_nobodys_place(server: Identity, autojump_clock: MockClock) -> None:
    """Its carrier takes nothing, so the peer cannot be told."""
    async with world(server, Limits(max_sessions=1)) as around:
        around.make_cable = lambda: Cable(room=20_000)
        first = await around.greet(behind=encode(Type.OPEN, 1, HELD.encode()))
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(around.destinations.held[0].send_all, bytes(200_000))
            await wait_all_tasks_blocked()
            await first.carrier.send_all(encode(Type.OPENED, 7))
            await wait_all_tasks_blocked()
            assert (await around.greet()).welcome.status is Status.NEW
            nursery.cancel_scope.cancel()


async def leave_a_session(around: World, key: UserKey, size: int) -> Greeted:
    """Opens a session whose destination says so many bytes after its carrier was cut."""
    greeted = await around.greet(key=key, behind=encode(Type.OPEN, 1, HELD.encode()))
    await wait_all_tasks_blocked()
    destination = around.destinations.held[-1]
    around.cut()
    await destination.send_all(bytes(size))
    await trio.sleep(2 * LOOK_EVERY)
    return greeted


async def test_who_leaves_sessions_behind_is_held_to_a_share(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server, Limits(waiting_bytes_user=200_000, waiting_bytes=10**9)) as around:
        around.run(tunnel := around.new_tunnel())
        stream, waits = await tunnel.open(ECHO), await leave_a_session(around, around.key, 50_000)
        for _ in range(10):
            await leave_a_session(around, around.other_key, 60_000)
            assert around.exit._room.held <= 250_000
        assert around.sessions == 2 + 3
        await exchange(stream)
        again = await around.greet(Wanted.RESUME, waits.welcome.token, 0, AFTER_WELCOME)
        assert again.welcome.status is Status.RESUMED


async def test_a_session_that_had_to_go_resets_its_destinations(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server, Limits(waiting_bytes_user=50_000)) as around:
        left = await leave_a_session(around, around.key, 60_000)
        assert around.sessions == 0
        with pytest.raises(trio.BrokenResourceError):
            await around.destinations.held[-1].send_all(b"more")
        again = await around.greet(Wanted.RESUME, left.welcome.token, 0, AFTER_WELCOME)
        assert again.welcome.status is Status.UNKNOWN


async def test_streams_that_nobody_reads_go_where_memory_is_short(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server) as around, trio.open_nursery() as nursery:
        side = LocalSide(around, nursery)
        echo = await side.begin()
        slow = side.session.open(SLOW)
        await slow.send_all(bytes(50_000))
        await exchange(echo)
        around.exit._budget.held += LIMIT
        with pytest.raises(trio.BrokenResourceError, match="memory is short"):
            await slow.receive_some()
        await exchange(echo)
        around.exit._budget.held -= LIMIT
        await around.stop_exit()
        assert (around.exit._budget.held, around.exit._budget.streams, around.exit._budget.sessions) == (0, 0, 0)
        nursery.cancel_scope.cancel()


async def test_a_changed_bound_of_memory_holds_at_once(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server) as around:
        assert around.exit._budget.limit == LIMIT
        around.exit.change(around.terms(Limits(memory=512_000_000)))
        assert around.exit._budget.limit > 2 * LIMIT


# ---- hellos that ask for what is not theirs, or is not


class LocalSide:
    """A session of which a test makes the carriers itself, with a stream to an echo."""

    def __init__(self, around: World, nursery: trio.Nursery) -> None:
        self._around = around
        self._nursery = nursery
        self.mux = Mux(opens=True, now=trio.current_time())
        self.session = Session(self.mux)
        self.token = NO_TOKEN

    async def begin(self) -> SessionStream:
        greeted = await self._around.greet()
        self.token = greeted.welcome.token
        self.mux.carrier_made(trio.current_time())
        self.mux.welcomed(0, 0, trio.current_time())
        self._nursery.start_soon(self.session.run_carrier, greeted.carrier, greeted.rest)
        return self.session.open(ECHO)

    async def move(self, wanted: Wanted) -> Greeted:
        return await self._around.greet(wanted, self.token, self.mux.moving(), AFTER_WELCOME)

    async def go_on(self, greeted: Greeted) -> None:
        await self.session.detach()
        self.mux.moved(greeted.welcome.received, greeted.welcome.sending, trio.current_time())
        self._nursery.start_soon(self.session.run_carrier, greeted.carrier, greeted.rest)


@pytest.fixture(params=["memory", "sockets"])
async def around(request: pytest.FixtureRequest, server: Identity) -> AsyncIterator[World]:
    """Without a clock that jumps, as the kernel's sockets know of none."""
    async with world(server, sockets=request.param == "sockets") as made:
        yield made


@pytest.mark.parametrize(
    ("wanted", "received", "sending", "status"),
    [
        (Wanted.RESUME, "now", AFTER_WELCOME, "another user's"),
        (Wanted.RESUME, "now", AFTER_WELCOME, "unknown"),
        (Wanted.RESUME, "future", AFTER_WELCOME, "impossible"),
        (Wanted.RESUME, "now", 10**6, "impossible"),
        (Wanted.RESUME, "stale", AFTER_WELCOME, "impossible"),
        (Wanted.HAND_OVER, "future", AFTER_WELCOME, "impossible"),
        (Wanted.HAND_OVER, "stale", AFTER_WELCOME, "impossible"),
        (Wanted.HAND_OVER, "now", AFTER_WELCOME, "another user's"),
    ],
)
async def test_a_hello_that_cannot_be_disturbs_nobody(
    around: World, wanted: Wanted, received: str, sending: int, status: str
) -> None:
    """One with old offsets may have been stuck on the way for longer than the carrier lived that it was meant to replace."""
    around.run(tunnel := around.new_tunnel())
    stream = await tunnel.open(ECHO)
    await exchange(stream, b"before" * 1000)
    mux = tunnel._session.mux
    await acknowledged(around)
    offsets = {"now": mux.received, "future": mux.received + 10**6, "stale": 0}
    token = tunnel._token if status != "unknown" else b"no such session."
    key = around.other_key if status == "another user's" else around.key
    expected = {"another user's": Status.FOREIGN, "unknown": Status.UNKNOWN, "impossible": Status.IMPOSSIBLE}
    greeted = await around.greet(wanted, token, offsets[received], sending, key=key, behind=bytes(100))
    assert greeted.welcome.status is expected[status]
    assert (greeted.welcome.token, greeted.welcome.received, greeted.welcome.sending) == (NO_TOKEN, 0, 0)
    await exchange(stream, b"after" * 1000)
    assert len(around.attempts) == 2  # the tunnel never had to connect again


async def acknowledged(around: World) -> None:
    """Until the exit keeps nothing."""
    with trio.fail_after(10):
        while any(served.session.mux.kept for served in around.exit._sessions.values()):  # noqa: ASYNC110
            await trio.sleep(0.01)


async def hears(greeted: Greeted, expected: bytes) -> None:
    """Exactly these bytes are said on the streams of this carrier."""
    decoder, data, said = FrameDecoder(), greeted.rest, b""
    while True:
        said += b"".join(frame.payload for frame in decoder.feed(data) if frame.type == Type.DATA)
        if len(said) >= len(expected):
            break
        data = await greeted.carrier.receive_some()
    assert said == expected


async def test_two_carriers_that_take_over_at_once(around: World) -> None:
    """The second is refused; the session goes on with every byte, on the first."""
    old = await around.greet(behind=encode(Type.OPEN, 1, ECHO.encode()) + encode(Type.DATA, 1, b"before"))
    await hears(old, b"before")
    (served,) = around.exit._sessions.values()
    took_over: list[Greeted] = []

    async def take_over(wanted: Wanted) -> Greeted:
        return await around.greet(wanted, old.welcome.token, 0, AFTER_WELCOME)

    with trio.fail_after(30):
        async with trio.open_nursery() as takers:

            @takers.start_soon
            async def hand_over() -> None:
                took_over.append(await take_over(Wanted.HAND_OVER))

            while not served.moving:  # noqa: ASYNC110
                await trio.sleep(0.01)
            for wanted in (Wanted.RESUME, Wanted.HAND_OVER):
                assert (await take_over(wanted)).welcome.status is Status.BUSY
            assert not took_over
            await old.carrier.send_eof()
        (new,) = took_over
        assert new.welcome.status is Status.RESUMED
        await new.carrier.send_all(encode(Type.DATA, 1, b"after"))
        await hears(new, b"after")


@pytest.mark.parametrize(("old", "seconds"), [("ends", 0.0), ("is cut", 0.0), ("is silent", FINISH_TIMEOUT)])
async def test_a_hand_over_whatever_the_old_carrier_does(
    server: Identity, nursery: trio.Nursery, autojump_clock: MockClock, old: str, seconds: float
) -> None:
    async with world(server) as around:
        local = LocalSide(around, nursery)
        stream = await local.begin()
        await exchange(stream, b"before" * 1000)
        carrier, cable = local.session.carrier, around.cables[-1]
        assert carrier is not None
        cable.silent = old == "is silent"
        await stream.send_all(b"meanwhile" * 1000)
        start = trio.current_time()
        async with trio.open_nursery() as takers:

            @takers.start_soon
            async def take_over() -> None:
                greeted = await local.move(Wanted.HAND_OVER)
                assert greeted.welcome.status is Status.RESUMED
                await local.go_on(greeted)

            if old == "ends":
                carrier.finish()
            elif old == "is cut":
                await wait_all_tasks_blocked()
                cable.cut()
        assert trio.current_time() - start == pytest.approx(seconds, abs=0.1)
        got = b""
        while len(got) < 9000:
            got += await stream.receive_some()
        assert got == b"meanwhile" * 1000
        await exchange(stream, b"after" * 1000)


async def test_a_hand_over_of_a_session_without_a_carrier(
    server: Identity, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with world(server) as around:
        local = LocalSide(around, nursery)
        stream = await local.begin()
        await exchange(stream)
        around.cut()
        await stream.send_all(b"meanwhile")
        await trio.sleep(60)
        greeted = await local.move(Wanted.HAND_OVER)
        assert greeted.welcome.status is Status.RESUMED
        await local.go_on(greeted)
        assert await stream.receive_some() == b"meanwhile"


async def test_a_hand_over_that_comes_to_nothing_leaves_the_session_waiting(
    server: Identity, autojump_clock: MockClock
) -> None:
    """What the old carrier brought last does not go with the hello, and then it broke."""
    async with world(server, Limits(waiting_time=100)) as around:
        old = await around.greet(behind=encode(Type.OPEN, 1, ECHO.encode()) + encode(Type.DATA, 1, b"word"))
        await hears(old, b"word")
        cable, (served,) = around.cables[-1], around.exit._sessions.values()
        async with trio.open_nursery() as takers:

            @takers.start_soon
            async def hand_over() -> None:
                refused = await around.greet(Wanted.HAND_OVER, old.welcome.token, 0, AFTER_WELCOME)
                assert refused.welcome.status is Status.IMPOSSIBLE

            await wait_all_tasks_blocked()
            assert served.moving
            await old.carrier.send_all(encode(Type.ACK, 0, served.session.mux.kept.to_bytes(8, "big")))
            await wait_all_tasks_blocked()
            cable.cut()
        await trio.sleep(99)
        assert (around.sessions, around.destinations.open) == (1, 1)
        await trio.sleep(2)
        assert (around.sessions, around.destinations.open) == (0, 0)


# ---- other terms


async def test_a_removed_key_ends_its_sessions_at_once(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server) as around:
        around.run(other := around.new_tunnel(around.other_key))
        stays = await other.open(ECHO)
        left = await around.greet(behind=encode(Type.OPEN, 1, SLOW.encode()))
        around.cut()
        there = await around.greet(behind=encode(Type.OPEN, 1, SLOW.encode()))
        await trio.sleep(1)
        assert (around.destinations.waiting, around.sessions) == (2, 3)
        around.exit.change(around.terms(keys=[around.other_key]))
        await wait_all_tasks_blocked()
        assert (around.destinations.waiting, around.sessions) == (0, 1)
        assert encode(Type.GO_AWAY, 0, text_payload(Code.REVOKED, "the key was removed")) in await there.read_to_end()
        await exchange(stays)
        for hello in (
            Hello(around.key.key_id, bytes(16)),
            Hello(around.key.key_id, bytes(16), Wanted.RESUME, left.welcome.token, 0, AFTER_WELCOME),
        ):
            opened = await around.open_carrier()
            said = hello.encode(around.key.secret, opened.binding, b"")
            await opened.stream.send_all(said)
            await trio.sleep(1)
            assert around.website.seen[-1] == said


async def test_a_key_removed_while_its_welcome_is_on_its_way(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server) as around:
        opened = await around.open_carrier()
        await trio.sleep(1)
        around.cables[-1].room = 150  # for a hello, and not for a welcome
        hello = Hello(around.key.key_id, bytes(16))
        await opened.stream.send_all(hello.encode(around.key.secret, opened.binding, b""))
        await trio.sleep(1)
        assert around.sessions == 1
        around.exit.change(around.terms(keys=[]))
        assert around.sessions == 0
        said = b""
        with suppress(trio.BrokenResourceError):
            while data := await opened.stream.receive_some():
                said += data
        assert b"the key was removed" in said


async def test_a_new_key_under_an_old_id_is_another_key(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server) as around:
        there = await around.greet()
        around.exit.change(around.terms(keys=[UserKey(around.key.key_id, bytes(32))]))
        assert b"the key was removed" in await there.read_to_end()


async def test_other_limits_hold_for_sessions_that_wait(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server) as around:
        await leave_a_session(around, around.key, 60_000)
        assert around.sessions == 1
        around.exit.change(around.terms(Limits(waiting_bytes_user=50_000)))
        await trio.sleep(2 * LOOK_EVERY)
        assert around.sessions == 0


async def test_other_terms_leave_what_runs_and_hold_for_what_comes(
    server: Identity, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A certificate, a website, destinations and limits."""
    async with world(server) as around:
        around.run(tunnel := around.new_tunnel())
        stream = await tunnel.open(ECHO)
        slow = await around.open_carrier()  # its hello goes with the old certificate
        before, visits = around.server, Visits()
        renewed = identity(tmp_path, *new_certificate("exit.example"))
        around.server, around.website = renewed, visits

        async def refuse(_address: Address) -> NoReturn:
            await trio.lowlevel.checkpoint()
            raise OpenError(Reason.FORBIDDEN)

        around.exit.change(dataclasses.replace(around.terms(Limits(max_sessions=2)), connect=refuse))
        await exchange(stream)
        hello = Hello(around.key.key_id, bytes(16))
        assert (await greet(slow, around.key, hello)).welcome.status is Status.NEW
        assert (await around.greet()).welcome.status is Status.TOO_MANY
        with pytest.raises(OpenError, match="does not connect to private"):
            await tunnel.open(HELD)
        visitor = (await around.open_carrier()).stream  # which looks at the pin
        await visitor.send_all(b"GET / HTTP/1.1\r\n\r\n")
        await trio.sleep(1)
        assert visits.seen
        around.server = before
        with pytest.raises(CarrierError, match="another certificate"):
            await around.open_carrier()


# ---- the end


async def test_a_stop_tells_sessions_and_ends_everything(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server) as around:
        left = await around.greet(behind=encode(Type.OPEN, 1, SLOW.encode()))
        around.cut()
        opening = encode(Type.OPEN, 1, SLOW.encode()) + encode(Type.OPEN, 2, ECHO.encode())
        there = await around.greet(behind=opening)
        visitor = (await around.open_carrier()).stream
        await visitor.send_all(b"GET / HTTP/1.1\r\n\r\n")
        await trio.sleep(1)
        assert (around.destinations.waiting, around.destinations.open, around.sessions) == (2, 1, 2)
        start = trio.current_time()
        await around.stop_exit()
        assert trio.current_time() - start < 0.1
        assert around.listener.closed
        assert (around.destinations.waiting, around.sessions) == (0, 0)
        told = encode(Type.GO_AWAY, 0, text_payload(Code.CLOSED, "the exit was stopped"))
        assert told in await there.read_to_end()
        with pytest.raises(trio.BrokenResourceError):
            await visitor.receive_some()
        await wait_all_tasks_blocked()
        assert around.destinations.open == 0
        assert left.rest == b""


@pytest.mark.parametrize("turns", range(6))
async def test_hellos_in_the_instant_of_a_stop_do_not_hold_it_up(
    server: Identity, autojump_clock: MockClock, turns: int
) -> None:
    async with world(server) as around:
        carriers = [await around.open_carrier() for _ in range(12)]
        hello = Hello(around.key.key_id, bytes(16)).encode(around.key.secret, around.server.binding, b"")
        await trio.sleep(1)

        async def say_hello(opened: Opened) -> None:
            with suppress(trio.BrokenResourceError):
                await opened.stream.send_all(hello)

        async with trio.open_nursery() as nursery:
            for opened in carriers:
                nursery.start_soon(say_hello, opened)
            for _ in range(turns):  # of the event loop
                await trio.lowlevel.checkpoint()
            start = trio.current_time()
            await around.stop_exit()
            assert trio.current_time() - start < 0.1
            nursery.cancel_scope.cancel()
        assert around.sessions == 0


async def test_a_local_side_goes_on_with_the_next_exit(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server) as around:
        around.run(tunnel := around.new_tunnel())
        stream = await tunnel.open(ECHO)
        await trio.sleep(1)
        await around.stop_exit()
        with pytest.raises(trio.BrokenResourceError, match="the exit was stopped"):
            await stream.receive_some()
        await around.start_exit()
        await exchange(await tunnel.open(ECHO))


async def test_peers_that_do_nothing_hold_up_a_stop_no_longer_than_its_bound(
    server: Identity, autojump_clock: MockClock
) -> None:
    """A carrier that takes nothing, a refused one that never closes, a hand over that never ends, a handshake that never begins."""
    async with world(server, Limits(max_sessions=2)) as around:
        around.make_cable = lambda: Cable(room=20_000)
        moves = await around.greet(behind=encode(Type.OPEN, 1, HELD.encode()))
        stalled = await around.greet(behind=encode(Type.OPEN, 1, HELD.encode()))
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(around.destinations.held[1].send_all, bytes(200_000))
            await around.greet()  # too many
            opened = await around.open_carrier()
            hello = Hello(around.key.key_id, bytes(16), Wanted.HAND_OVER, moves.welcome.token, 0, AFTER_WELCOME)
            await opened.stream.send_all(hello.encode(around.key.secret, opened.binding, b""))
            silent = around.listener.lay(Cable())
            await trio.sleep(1)
            assert around.sessions == 2
            start = trio.current_time()
            await around.stop_exit()
            assert trio.current_time() - start <= STOP_TIMEOUT < 5
            nursery.cancel_scope.cancel()
        assert await silent.receive_some() == b""
        assert around.sessions == 0
        assert stalled.welcome.status is Status.NEW


def test_a_carrier_error_is_one_line() -> None:
    assert "\n" not in str(CarrierError("one line"))


# ---- associations


PEER, OTHER_PEER = Address("192.0.2.9", 3478), Address("192.0.2.10", 4000)


async def test_datagrams_of_an_app_and_of_whoever_answers(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server) as around:
        around.run(tunnel := around.new_tunnel())
        association = await tunnel.associate()
        association.send(PEER, b"up")
        await wait_all_tasks_blocked()
        (there,) = around.associations
        assert there.sent == [(PEER, b"up")]
        there.arrive(OTHER_PEER, b"down")
        assert await association.receive() == (OTHER_PEER, b"down")
        await association.aclose()
        await there.closed.wait()


async def test_an_association_stays_the_same_on_the_next_carrier(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server) as around:
        around.run(tunnel := around.new_tunnel())
        association = await tunnel.associate()
        association.send(PEER, b"one")
        await wait_all_tasks_blocked()
        for number in range(3):
            around.cut()
            await trio.sleep(1)
            association.send(PEER, b"%d" % number)
            await wait_all_tasks_blocked()
        (there,) = around.associations
        assert there.sent == [(PEER, b"one"), (PEER, b"0"), (PEER, b"1"), (PEER, b"2")]


async def test_associations_of_one_session_are_limited(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server, Limits(max_associations=2)) as around:
        around.run(tunnel := around.new_tunnel())
        open_ones = [await tunnel.associate() for _ in range(2)]
        with pytest.raises(trio.BrokenResourceError) as caught:
            await (await tunnel.associate()).receive()
        assert isinstance(caught.value.__cause__, OpenError)
        assert caught.value.__cause__.reason is Reason.BUSY
        assert "2 UDP associations of one device" in str(caught.value.__cause__)
        await open_ones[0].aclose()
        await wait_all_tasks_blocked()
        another = await tunnel.associate()
        another.send(PEER, b"there is room again")
        await wait_all_tasks_blocked()
        assert around.associations[-1].sent == [(PEER, b"there is room again")]
        await exchange(await tunnel.open(ECHO))


async def test_ten_thousand_associations_disturb_no_stream(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server) as around:
        around.run(tunnel := around.new_tunnel())
        stream = await tunnel.open(ECHO)
        for _ in range(5000):
            with suppress(OpenError):
                await tunnel.associate()
        await exchange(stream)
        assert len(around.associations) == Limits().max_associations


async def test_an_association_ends_with_its_session(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server) as around:
        running = around.run(tunnel := around.new_tunnel())
        association = await tunnel.associate()
        await wait_all_tasks_blocked()
        running.cancel()
        await around.associations[0].closed.wait()
        with pytest.raises((trio.BrokenResourceError, trio.ClosedResourceError)):
            await association.receive()


async def test_a_fault_of_one_association_is_its_own(
    server: Identity, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    async with world(server) as around:
        around.run(tunnel := around.new_tunnel())
        monkeypatch.setattr(MemoryAssociation, "send", fail)
        association = await tunnel.associate()
        association.send(PEER, b"")
        with pytest.raises(trio.BrokenResourceError):
            await association.receive()
        await exchange(await tunnel.open(ECHO))
    assert [record.getMessage() for record in caplog.records if "association" in record.getMessage()]


# ---- memory that is short


async def test_who_reads_nothing_goes_though_nothing_else_happens(
    server: Identity, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others have taken the memory: no frame of this session would make it look."""
    async with world(server) as around:
        around.run(tunnel := around.new_tunnel())
        await exchange(await tunnel.open(ECHO))
        monkeypatch.setattr(
            "tests.memory.memory_stream_pair", lockstep_stream_pair
        )  # what is sent there waits for its reader
        stream = await tunnel.open(HELD)
        await stream.send_all(bytes(200_000))
        await trio.sleep(10)
        around.exit._budget.held += LIMIT
        began = trio.current_time()
        with pytest.raises(trio.BrokenResourceError, match="not read fast enough"):
            await stream.receive_some()
        around.exit._budget.held -= LIMIT
        assert trio.current_time() - began <= RELIEVE_EVERY + 0.1


# ---- idle streams


IDLE = 1800.0


@pytest.mark.usefixtures("rare_looks")
async def test_an_idle_stream_is_reset_and_told_why(server: Identity, autojump_clock: MockClock) -> None:
    """Not before its time, and within a minute or so after it. What has said a word meanwhile stays, also half-closed."""
    async with world(server, Limits(idle_time=IDLE)) as around:
        around.run(tunnel := around.new_tunnel())
        idle, busy, half_closed = [await tunnel.open(address) for address in (HELD, ECHO, HELD)]
        for stream in (idle, half_closed):
            await stream.send_all(b"hello")
        await half_closed.send_eof()
        await exchange(busy)
        begun = trio.current_time()
        await trio.sleep(IDLE - 5)
        assert not idle.reset_text
        await exchange(busy)
        idle_destination, answering = around.destinations.held
        await answering.send_all(b"late answer")
        with pytest.raises(
            trio.BrokenResourceError, match=r"timed_out \(nothing went over it for longer than idle_time"
        ):
            await idle.receive_some()
        assert IDLE <= trio.current_time() - begun <= IDLE + LOOK_FOR_IDLE_EVERY + 5
        assert await idle_destination.receive_some() == b"hello"
        with pytest.raises(trio.BrokenResourceError):
            await idle_destination.send_all(b"anybody?")
        await exchange(busy)
        assert await half_closed.receive_some() == b"late answer"


@pytest.mark.usefixtures("rare_looks")
@pytest.mark.parametrize("idle_time", [0.0, 7200.0])
async def test_the_exit_lets_streams_be_idle_as_long_as_it_is_set(
    server: Identity, autojump_clock: MockClock, idle_time: float
) -> None:
    async with world(server, Limits(idle_time=idle_time)) as around:
        around.run(tunnel := around.new_tunnel())
        stream = await tunnel.open(ECHO)
        await exchange(stream)
        await trio.sleep(6900)
        await exchange(stream)


@pytest.mark.usefixtures("rare_looks")
async def test_a_changed_idle_time_holds_for_streams_that_are_open(server: Identity, autojump_clock: MockClock) -> None:
    async with world(server, Limits(idle_time=0)) as around:
        around.run(tunnel := around.new_tunnel())
        stream = await tunnel.open(ECHO)
        await trio.sleep(2 * IDLE)
        around.exit.change(around.terms(Limits(idle_time=IDLE)))
        with pytest.raises(trio.BrokenResourceError, match="idle_time"):
            await stream.receive_some()
