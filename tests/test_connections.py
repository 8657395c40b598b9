"""The table of connections: what each entry says, what closes, and that all of it has bounds. Time is made up."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import connections
from proxy.address import Address
from proxy.connections import (
    BY_HAND,
    DIRECT,
    LONG,
    MOST_CLOSED,
    MOST_HOSTS,
    MOST_SHOWN,
    AppProtocol,
    Connection,
    Connections,
    ConnectionView,
    State,
    app_of_any,
)
from proxy.idleness import IDLE_TEXT

ADDRESS = Address("a.example", 443)


class Scope:
    cancelled = 0

    def cancel(self) -> None:
        self.cancelled += 1


def opened(table: Connections, now: float = 100.0, host: str = ADDRESS.host) -> Connection:
    return table.opened(AppProtocol.SOCKS5, Address(host, 443), now)


def only(table: Connections, now: float = 100.0) -> ConnectionView:
    (view,) = table.snapshot(now).open
    return view


def test_the_life_of_an_entry() -> None:
    table = Connections()
    connection = table.opened(AppProtocol.SOCKS4, ADDRESS, 100)
    assert only(table) == ConnectionView(
        id=1,
        protocol=AppProtocol.SOCKS4,
        address=ADDRESS,
        hosts=(ADDRESS.host,),
        route="",
        rule="",
        state=State.OPENING,
        reason="",
        opened_at=100,
        closed_at=None,
        bytes_up=0,
        bytes_down=0,
        last_up=None,
        last_down=None,
        waiting_since=None,
        long=False,
    )
    connection.chosen("tunnel", "rule 3: tunnel suffix:example")
    connection.reached("exit.example:443")
    connection.traffic.up(10, 101)
    connection.traffic.down(2000, 102.5)
    view = only(table)
    assert (view.route, view.rule, view.state) == ("tunnel", "rule 3: tunnel suffix:example", State.OPEN)
    assert view.exit == "exit.example:443"
    assert (view.bytes_up, view.bytes_down, view.last_up, view.last_down) == (10, 2000, 101, 102.5)
    connection.traffic.down(0, 102.9)
    assert only(table).state is State.HALF_CLOSED
    assert (only(table).bytes_down, only(table).last_down) == (2000, 102.5)
    connection.close(103, "the app broke it off")
    snapshot = table.snapshot(200)
    assert snapshot.open == ()
    (closed,) = snapshot.closed
    assert (closed.state, closed.reason, closed.closed_at, closed.long) == (
        State.CLOSED,
        "the app broke it off",
        103,
        False,
    )
    assert (closed.bytes_up, closed.bytes_down) == (10, 2000)
    connection.close(104, "again")
    assert table.snapshot(200).closed == (closed,)
    assert "socks4 closed" in repr(connection)
    assert "0 open" in repr(table)


def test_an_answer_is_waited_for_since_the_first_byte_that_nothing_has_come_back_to() -> None:
    table = Connections()
    traffic = opened(table).traffic
    traffic.down(1, 101)  # the server speaks first
    assert only(table).waiting_since is None
    traffic.up(1, 102)
    traffic.up(1, 105)
    assert only(table).waiting_since == 102
    traffic.down(1, 106)
    assert only(table).waiting_since is None
    traffic.up(1, 107)
    traffic.up(0, 108)
    traffic.down(0, 109)
    assert only(table).waiting_since == 107  # an end is no answer


@pytest.mark.parametrize(("age", "long"), [(0, False), (LONG, False), (LONG + 0.001, True)])
def test_what_is_long(age: float, long: bool) -> None:
    table = Connections()
    connection = opened(table)
    assert only(table, 100 + age).long is long
    connection.close(100 + age)
    assert table.snapshot(10_000).closed[0].long is long


def test_a_snapshot_stays_as_it_is() -> None:
    table = Connections()
    connection = opened(table)
    before = table.snapshot(100)
    connection.traffic.up(5, 101)
    connection.close(102)
    assert before.open[0].bytes_up == before.total.bytes_up == 0
    with pytest.raises(AttributeError):
        before.open[0].bytes_up = 1  # type: ignore[misc]


# ---- ended from here


def test_who_carries_it_is_asked_to_end_it() -> None:
    table = Connections()
    connection, scope = opened(table), Scope()
    connection.ends_with(scope)
    assert table.close(connection.id)
    assert scope.cancelled == 1
    assert connection.ending == BY_HAND
    assert table.close(connection.id, "for another reason")  # it is on its way out
    assert scope.cancelled == 1
    later = Scope()
    connection.ends_with(later)
    assert later.cancelled == 1  # whatever it has got to meanwhile
    connection.close(101, "the scope was cancelled")
    assert table.snapshot(101).closed[0].reason == BY_HAND
    assert not table.close(connection.id)
    connection.end("too late")
    assert connection.ending == BY_HAND
    assert not table.close(999)


def test_only_direct_connections_that_are_quiet_are_ended() -> None:
    table = Connections()
    made = {name: opened(table) for name in ("tunnelled", "quiet", "sending", "receiving")}
    for name, connection in made.items():
        connection.chosen("tunnel" if name == "tunnelled" else DIRECT)
        connection.traffic.up(1, 150)
        connection.traffic.down(1, 160)
    made["sending"].traffic.up(1, 200)
    made["receiving"].traffic.down(1, 200)
    fresh = opened(table, 200)
    fresh.chosen(DIRECT)
    table.end_idle(159.9)
    assert not any(connection.ending for connection in made.values())
    table.end_idle(160)
    assert [name for name, connection in made.items() if connection.ending == IDLE_TEXT] == ["quiet"]
    assert not fresh.ending


def test_an_association_is_not_ended_because_one_of_its_ways_is_idle() -> None:
    table = Connections()
    association = table.opened(AppProtocol.UDP, ADDRESS, 100)
    association.chosen(DIRECT)
    table.end_idle(10_000)
    assert not association.ending


@pytest.mark.parametrize(
    ("hosts", "app"), [((), ""), (("a",), ""), (("a", "line", "signal"), "line"), (("signal", "line"), "signal")]
)
def test_the_app_of_hosts_is_that_of_the_first_that_has_one(hosts: tuple[str, ...], app: str) -> None:
    assert app_of_any(hosts, {"line": "line", "signal": "signal", "a": ""}.__getitem__) == app


def test_datagrams_end_nothing_and_ask_for_no_answer() -> None:
    table = Connections()
    connection = table.opened(AppProtocol.UDP, ADDRESS, 100)
    connection.reached()
    for size in (7, 0):
        connection.traffic.datagram_up(size, 101)
        connection.traffic.datagram_down(size, 102)
    view = only(table, 103)
    assert (view.bytes_up, view.bytes_down, view.last_up, view.last_down) == (7, 7, 101, 102)
    assert (view.state, view.waiting_since) == (State.OPEN, None)


# ---- totals


def test_bytes_are_counted_for_each_host_and_for_all() -> None:
    table = Connections()
    for host, up, down in (("a", 1, 10), ("b", 2, 2000), ("a", 4, 40)):
        traffic = opened(table, host=host).traffic
        traffic.up(up, 101)
        traffic.down(down, 101)
    while_open = table.snapshot(102)
    assert [(each.host, each.connections, each.bytes_up, each.bytes_down) for each in while_open.hosts] == [
        ("b", 1, 2, 2000),
        ("a", 2, 5, 50),
    ]
    assert (while_open.total.connections, while_open.total.bytes_up, while_open.total.bytes_down) == (3, 7, 2050)
    for view in while_open.open[:2]:
        table._open[view.id].close(103)
    assert table.snapshot(103).hosts == while_open.hosts
    assert table.snapshot(103).total == while_open.total


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1000), st.booleans())))
def test_the_sums_always_agree(pieces: list[tuple[int, int, bool]]) -> None:
    """Whatever is open or closed, and whichever hosts are counted with the others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "MOST_HOSTS", 2)
        patch.setattr(connections, "MOST_OPEN", 3)
        table = Connections()
        for number, size, closes in pieces:
            connection = opened(table, host=f"host{number}")
            connection.traffic.up(size, 101)
            connection.traffic.down(2 * size, 101)
            if closes:
                connection.close(102)
        snapshot = table.snapshot(103)
        sums = [*snapshot.hosts, snapshot.others]
        for name in ("connections", "bytes_up", "bytes_down"):
            assert sum(getattr(each, name) for each in sums) == getattr(snapshot.total, name)
        assert snapshot.total.connections == len(pieces)
        assert snapshot.total.bytes_up == sum(size for _, size, _ in pieces)
        assert len(table._hosts) <= 2


# ---- bounds


def test_beyond_the_bound_connections_work_and_do_not_show() -> None:
    table = Connections(most=2)
    made = [opened(table) for _ in range(3)]
    assert [view.id for view in table.snapshot(101).open] == [2, 1]
    assert table.snapshot(101).open_count == 3
    assert not table.close(3)
    made[2].traffic.up(7, 101)
    made[2].close(102)
    snapshot = table.snapshot(103)
    assert (snapshot.open_count, len(snapshot.open), snapshot.closed[0].bytes_up) == (2, 2, 7)
    made[0].close(104)
    opened(table)
    assert [view.id for view in table.snapshot(105).open] == [4, 2]


def test_a_snapshot_shows_the_last_that_were_opened_and_counts_all() -> None:
    table = Connections()
    for _ in range(MOST_SHOWN + 5):
        opened(table).traffic.up(1, 101)
    snapshot = table.snapshot(102)
    assert [view.id for view in snapshot.open] == list(range(MOST_SHOWN + 5, 5, -1))
    assert (snapshot.open_count, snapshot.total.connections, snapshot.total.bytes_up) == (MOST_SHOWN + 5,) * 3
    assert [view.id for view in table.snapshot(102, most=2).open] == [MOST_SHOWN + 5, MOST_SHOWN + 4]


def test_the_last_that_closed_are_kept_the_last_one_first() -> None:
    table = Connections()
    for _ in range(MOST_CLOSED + 5):
        opened(table).close(101)
    closed = table.snapshot(102).closed
    assert [view.id for view in closed] == list(range(MOST_CLOSED + 5, 5, -1))


def test_hosts_that_have_been_away_for_longest_are_counted_with_the_others() -> None:
    table = Connections()
    for number in range(MOST_HOSTS):
        opened(table, host=f"host{number}").close(101)
    opened(table, host="host0").close(102)
    connection = opened(table, host="one.more")
    connection.close(103)
    snapshot = table.snapshot(104)
    hosts = {each.host for each in snapshot.hosts}
    assert len(hosts) == MOST_HOSTS
    assert {"host0", "one.more"} <= hosts
    assert "host1" not in hosts
    assert snapshot.others.connections == 1


def test_an_idle_connection_costs_a_few_hundred_bytes() -> None:
    count = 2000
    addresses = [Address(f"host{number}", 443) for number in range(count)]
    table = Connections()
    tracemalloc.start()
    try:
        for number, address in enumerate(addresses):
            connection = table.opened(AppProtocol.CONNECT, address, 100.0 + number)
            connection.reached()
            connection.traffic.up(5000 + number, 101.0 + number)
            connection.traffic.down(70_000 + number, 102.0 + number)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used / count < 500


def test_what_is_asked_for_once_a_second() -> None:
    table = Connections()
    first, second = (table.opened(AppProtocol.SOCKS5, Address("example.com", 443), 1.0) for _ in range(2))
    first.traffic.up(10, 2.0)
    second.traffic.down(5, 2.0)
    assert [each.id for each in table.all_open()] == [second.id, first.id]
    assert (table.open_count, table.closed_count) == (2, 0)
    total = table.total()
    assert (total.connections, total.bytes_up, total.bytes_down) == (2, 10, 5)
    first.close(3.0)
    assert (table.open_count, table.closed_count) == (1, 1)
    assert table.total() == total
    second.close(4.0)
    assert table.total() == total
    assert [view.id for view in table.last_closed(5)] == [second.id, first.id]
    assert [view.id for view in table.last_closed(1)] == [second.id]
    assert table.last_closed(0) == []
