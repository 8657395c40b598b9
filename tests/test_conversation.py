"""What the table says of associations: which destination is shown, whose it is, and that strangers make no more of it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from proxy.address import Address
from proxy.connections import BY_HAND, DIRECT, TUNNEL, AppProtocol, Connections, ConnectionView, State
from proxy.conversation import HEAD_START, LEAD, MOST_HOSTS, Conversation, Entry

STUN, RELAY, PEER = Address("stun.example", 3478), Address("198.51.100.1", 3478), Address("192.0.2.7", 50_000)


@dataclass(frozen=True)
class Choice:
    route: str
    rule: str


TUNNELLED, AT_HOME = Choice(TUNNEL, "mode all"), Choice(DIRECT, "rule 1: direct private")


class Scope:
    cancelled = 0

    def cancel(self) -> None:
        self.cancelled += 1


class World:
    def __init__(self) -> None:
        self.table = Connections()
        self.scope = Scope()
        self.conversation = Conversation(self.table, self.scope)

    def entry(self, address: Address = STUN, choice: Choice = TUNNELLED) -> Entry:
        """As it begins: with a datagram."""
        entry = self.conversation.entry(address, choice)
        entry.sent(address, choice, 28, 1.0)
        return entry

    def views(self) -> list[ConnectionView]:
        """The oldest first."""
        return list(reversed(self.table.snapshot(2.0).open))

    @property
    def only(self) -> ConnectionView:
        (view,) = self.views()
        return view


@pytest.fixture
async def world() -> World:
    """Within trio, for its clock."""
    await trio.lowlevel.checkpoint()
    return World()


async def test_the_life_of_an_entry(world: World) -> None:
    entry = world.entry()
    view = world.only
    assert (view.protocol, view.address, view.state) == (AppProtocol.UDP, STUN, State.OPENING)
    assert (view.route, view.rule, view.exit) == (TUNNEL, "mode all", "")
    entry.reached("exit.example:443")
    entry.received(100, 3.0)
    view = world.only
    assert (view.state, view.exit) == (State.OPEN, "exit.example:443")
    assert (view.bytes_up, view.last_up, view.bytes_down, view.last_down) == (28, 1.0, 100, 3.0)
    assert view.waiting_since is None
    entry.close()
    assert world.table.open_count == 0
    (closed,) = world.table.last_closed(1)
    assert (closed.state, closed.reason, closed.bytes_up, closed.bytes_down) == (State.CLOSED, "", 28, 100)


# ---- which destination


async def test_it_shows_the_destination_that_most_goes_to(world: World) -> None:
    entry = world.entry()
    entry.sent(RELAY, TUNNELLED, 100, 2.0)
    assert world.only.address == RELAY
    for _ in range(1000):
        entry.sent(RELAY, TUNNELLED, 160, 2.0)
        entry.sent(STUN, TUNNELLED, 28, 2.0)
        assert world.only.address == RELAY


async def test_it_shows_another_one_when_the_call_moves_there(world: World) -> None:
    """From a relay to the other side itself, after hours."""
    entry = world.entry(RELAY)
    for _ in range(10_000):
        entry.sent(RELAY, TUNNELLED, 1000, 2.0)
    sent = 0
    while world.only.address == RELAY:
        entry.sent(PEER, TUNNELLED, 1000, 2.0)
        sent += 1000
    assert sent <= LEAD + 2000
    assert world.only.address == PEER


async def test_its_rule_is_that_of_the_destination_that_is_shown(world: World) -> None:
    entry = world.entry()
    other = Choice("exit:far.example", "rule 2")
    entry.sent(STUN, other, 28, 2.0)
    assert (world.only.route, world.only.rule) == ("exit:far.example", "rule 2")  # the rules have changed
    entry.sent(STUN, TUNNELLED, 1000, 2.0)
    entry.sent(RELAY, other, 28, 2.0)
    assert (world.only.address, world.only.rule) == (STUN, "mode all")
    entry.sent(RELAY, other, 2000, 2.0)
    assert (world.only.address, world.only.rule) == (RELAY, "rule 2")


async def test_a_crowd_is_one_entry_and_changes_it_seldom(world: World) -> None:
    entry = world.entry()
    shown = set()
    for number in range(10_000):
        entry.sent(Address(f"192.0.2.{number % 256}", 1024 + number), TUNNELLED, 100, 2.0)
        shown.add(world.only.address)
    assert world.table.open_count == 1
    assert len(shown) <= 2 + 10_000 * 100 // HEAD_START
    assert len(world.only.hosts) <= MOST_HOSTS
    assert world.only.bytes_up == 28 + 1_000_000


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 65_507)), max_size=200), st.integers(0, 3))
def test_what_has_more_than_all_others_is_shown(sent: list[tuple[int, int]], most: int) -> None:
    """Whatever went before, once so much more has gone to it as a lead can be."""

    async def run() -> None:
        await trio.lowlevel.checkpoint()
        world = World()
        entry = world.entry()
        addresses = [Address("192.0.2.1", 1000 + number) for number in range(4)]
        for number, size in sent:
            entry.sent(addresses[number], TUNNELLED, size, 2.0)
        for _ in range(3):  # each takes away what another one is ahead at most
            entry.sent(addresses[most], TUNNELLED, 65_507, 2.0)
        assert world.only.address == addresses[most]
        assert world.only.bytes_up == 28 + sum(size for _, size in sent) + 3 * 65_507

    trio.run(run)


# ---- whose it is


async def test_it_is_known_whose_it_is_when_the_call_goes_to_somebody_at_home(world: World) -> None:
    entry = world.entry()
    entry.sent(RELAY, TUNNELLED, 1000, 2.0)
    entry.sent(PEER, TUNNELLED, 10_000, 2.0)
    assert world.only.hosts == (PEER.host, RELAY.host, STUN.host)
    entry.close()
    (closed,) = world.table.last_closed(1)
    assert closed.hosts == (PEER.host, RELAY.host, STUN.host)


async def test_all_ways_of_an_association_are_of_one_app(world: World) -> None:
    world.entry()
    world.entry(PEER, AT_HOME)
    first, second = world.views()
    assert (first.hosts, second.hosts) == ((STUN.host, PEER.host), (PEER.host, STUN.host))
    assert (second.route, second.rule) == (DIRECT, "rule 1: direct private")


# ---- the end


async def test_one_that_is_ended_by_hand_ends_all_of_its_association(world: World) -> None:
    entries = [world.entry(), world.entry(PEER, AT_HOME)]
    assert world.table.close(1)
    assert world.scope.cancelled
    for entry in entries:
        entry.close()
    assert [view.reason for view in world.table.last_closed(9)] == [BY_HAND, BY_HAND]


async def test_a_refusal_is_the_reason_of_all(world: World) -> None:
    entries = [world.entry(), world.entry(PEER, AT_HOME)]
    world.conversation.end("the exit carries 2")
    assert world.scope.cancelled
    for entry in entries:
        entry.close()
    assert {view.reason for view in world.table.last_closed(9)} == {"the exit carries 2"}


async def test_a_way_that_is_not_taken_any_more_is_forgotten(world: World) -> None:
    world.entry().close()
    world.entry(PEER, AT_HOME)
    assert world.table.open_count == 1
    world.table.close(2)
    (closed,) = world.table.last_closed(9)
    assert (closed.address, closed.reason) == (STUN, "")


async def test_its_entries_know_the_stream_of_the_app(world: World) -> None:
    """By which its program is found."""
    stream = object()
    Conversation(world.table, world.scope, stream).entry(STUN, TUNNELLED)
    (connection,) = world.table.all_open()
    assert connection.app is stream
