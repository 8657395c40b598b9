"""What `ropeway top` shows, in terminals of all sizes, and what keys do to it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.api_client import Connection, State
from proxy.screen import Key, Style, columns
from proxy.top_view import Order, Row, Speeds, TopView, amount, duration, heading, speed, table
from tests.interface_standin import STATE

NOW = msgspec.convert(STATE, State)


def later(seconds: float) -> State:
    return msgspec.convert(STATE | {"now": NOW.now + seconds}, State)


def some(count: int) -> list[Connection]:
    return [Connection(number, f"host{number}.example", 443, opened=4000.0) for number in range(1, count + 1)]


def view(connections: list[Connection]) -> TopView:
    made = TopView(lambda number: f"{number} is closed")
    made.update(NOW, connections)
    return made


def shown(view: TopView, width: int = 100, height: int = 20) -> list[str]:
    return [line.text for line in view.lines(width, height)]


def hosts(view: TopView, height: int = 20) -> list[str]:
    return [
        text.split(".example")[0].split()[-1]
        for text in shown(view, 100, height)
        if ".example:443 " in text and text[:3] == "   "
    ]


def picked(view: TopView, height: int = 20) -> str:
    (line,) = [
        each.text for each in view.lines(100, height) if each.style is Style.REVERSE and "example" in each.text
    ] or [""]
    return line.strip().partition(".")[0]


# ---- words


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (999.6, "1.0 KB"),
        (1000, "1.0 KB"),
        (9949, "9.9 KB"),
        (9960, "10 KB"),
        (999_499, "999 KB"),
        (999_501, "1.0 MB"),
        (52_000_000, "52 MB"),
        (5.2e9, "5.2 GB"),
        (5.2e12, "5 TB"),
    ],
)
def test_amounts(size: float, text: str) -> None:
    assert amount(size) == text


@given(st.floats(0, 1e18))
def test_amounts_fit_into_their_column(size: float) -> None:
    assert len(amount(size)) <= 6
    assert len(speed(size)) <= 8


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1:00 h"),
        (86399, "23:59 h"),
        (86400, "1 d"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_speeds_are_between_two_looks() -> None:
    speeds = Speeds()
    one = Connection(1, "a.example", 443, up=100, down=1000)
    assert speeds.rows([one], 10.0) == [Row(one)]
    two = Connection(1, "a.example", 443, up=300, down=2000)
    new = Connection(2, "b.example", 443, down=7)
    assert speeds.rows([two, new], 12.0) == [Row(two, 100.0, 500.0), Row(new)]
    assert speeds.rows([new], 12.0) == [Row(new)]  # no time has passed


def test_the_heading() -> None:
    first, second, third = heading(NOW)
    assert first == "Ropeway 0.1.0   127.0.0.1:1080   home-direct   for 1:00 h"
    assert second.startswith("exit.example:443   up for 59 min   84 ms   connection 2, the last was lost at ")
    assert second.endswith(": the connection was reset")
    assert third == "down 88 KB/s   up 1.2 KB/s   in all 8.8 MB and 120 KB   2 open of 140 connections   memory 52 MB"
    assert heading(State(now=0.0))[1] == "no exit in use yet"


# ---- lines


def test_what_is_udp_says_so() -> None:
    call = Connection(1, "198.51.100.1", 3478, protocol="udp")
    chat = Connection(2, "chat.example", 443, protocol="socks5")
    for width in (80, 200):
        _, one, other = table([Row(call), Row(chat)], width, 0.0)
        assert " 198.51.100.1:3478/udp " in one
        assert " chat.example:443 " in other


@given(
    width=st.integers(1, 250),
    height=st.integers(1, 60),
    count=st.integers(0, 40),
    keys=st.lists(st.sampled_from([*Key, "s"]), max_size=8),
)
def test_every_terminal_is_filled_and_none_overflows(
    width: int, height: int, count: int, keys: list[Key | str]
) -> None:
    it = view(some(count))
    for key in keys:
        it.press(key)
        lines = it.lines(width, height)
        assert len(lines) == height
    titles, *rows = table(it._rows, width, NOW.now)
    assert all(columns(line) == columns(titles) <= max(width, 1) for line in rows)


def test_columns_give_way_where_it_is_narrow() -> None:
    rows = [Row(Connection(1, "a.example", 443, app="line", route="tunnel", rule="app:line", opened=4000.0), 1.0, 2.0)]
    for width, titles in (
        (110, "APP HOST ROUTE RULE PROTO STATE AGE DOWN UP BYTES"),
        (80, "APP HOST ROUTE AGE DOWN UP BYTES"),
        (55, "APP HOST DOWN UP BYTES"),
        (30, "HOST DOWN"),
        (10, "HOST"),
    ):
        assert table(rows, width, NOW.now)[0].split() == titles.split()


def test_what_comes_from_the_network_moves_no_cursor() -> None:
    it = view([Connection(1, "a\x1b[2J\r\n.example", 443, rule="\x07")])
    assert all(text.isprintable() for text in [*shown(it), *it.snapshot()])


def test_a_snapshot_has_all() -> None:
    lines = view(some(500)).snapshot()
    assert len(lines) == len(heading(NOW)) + 2 + 500
    assert not any(line.endswith(" ") for line in lines)
    assert any("host500.example:443" in line for line in lines)


# ---- keys


def test_q_ends_it() -> None:
    it = view([])
    assert it.press("x")
    assert it.press("s")
    assert not it.press("q")


def test_s_sorts_in_each_way_in_turn() -> None:
    it = TopView(lambda number: "")
    quiet, busy, new = (
        Connection(1, "a.example", 443, app="line", down=1000),
        Connection(2, "c.example", 443, down=500),
        Connection(3, "b.example", 443),
    )
    it.update(NOW, [quiet, busy, new])
    it.update(later(1), [new, msgspec.structs.replace(busy, down=900), quiet])
    orders = []
    for _ in range(5):
        orders.append((shown(it)[-1].split("sorted by ")[1].split("   ")[0], [row.connection.id for row in it._rows]))
        it.press("s")
    assert orders == [
        (Order.SPEED.value, [2, 1, 3]),
        (Order.TOTAL.value, [1, 2, 3]),
        (Order.NEWEST.value, [3, 2, 1]),
        (Order.HOST.value, [1, 3, 2]),
        (Order.SPEED.value, [2, 1, 3]),
    ]


def test_arrows_pick_and_scroll() -> None:
    it = view(some(30))  # the newest is the first
    height = 15  # three lines above, titles, ten rows, one below
    assert (hosts(it, height)[0], len(hosts(it, height)), picked(it, height)) == ("host30", 10, "")
    it.press(Key.DOWN)
    assert picked(it, height) == "host30"
    for _ in range(10):
        it.press(Key.DOWN)
    assert (picked(it, height), hosts(it, height)[0]) == ("host20", "host29")
    it.press(Key.UP)
    assert (picked(it, height), hosts(it, height)[0]) == ("host21", "host29")
    it.press(Key.END)
    assert (picked(it, height), hosts(it, height)[0]) == ("host1", "host10")
    it.press(Key.PAGE_UP)
    assert (picked(it, height), hosts(it, height)[0]) == ("host11", "host11")
    it.press(Key.HOME)
    it.press(Key.UP)
    assert (picked(it, height), hosts(it, height)[0]) == ("host30", "host30")
    it.press(Key.PAGE_DOWN)
    assert picked(it, height) == "host20"
    assert shown(it, 100, height)[-1].endswith("   2-11 of 30")


def test_what_is_picked_stays_picked_where_it_moves() -> None:
    it = view(some(3))
    it.press(Key.END)
    assert picked(it) == "host1"
    it.update(later(1), [*some(9)[3:], msgspec.structs.replace(some(1)[0], down=10**6)])
    assert (picked(it), hosts(it)[0]) == ("host1", "host1")
    it.update(later(2), some(9)[3:])
    assert picked(it) == ""


def test_c_closes_what_is_picked_and_nothing_else() -> None:
    closed: list[int] = []

    def close(number: int) -> str:
        closed.append(number)
        return "it is closed"

    it = TopView(close)
    it.update(NOW, some(3))
    it.press("c")
    assert (closed, shown(it)[-1]) == ([], "pick one with the arrow keys")
    it.press(Key.END)
    it.press("c")
    assert (closed, shown(it)[-1]) == ([1], "it is closed")
    it.update(later(1), some(3)[1:])
    it.press("c")
    assert closed == [1]


def test_nothing_is_picked_of_another_program() -> None:
    """Which has other connections under the same numbers."""
    it = view(some(3))
    it.press(Key.END)
    it.update(msgspec.convert(STATE | {"started": 2000.0}, State), some(3))
    assert picked(it) == ""


def test_keys_do_no_harm_where_there_is_nothing() -> None:
    it = view([])
    for key in [*Key, "c", "s"]:
        assert it.press(key)
    assert TopView(lambda number: "").snapshot() == []


def test_trouble_is_told_until_it_is_over() -> None:
    it = view(some(1))
    it.trouble = "nothing listens"
    it.press("s")
    assert shown(it)[-1] == "nothing listens"
    it.update(later(1), some(1))
    assert shown(it)[-1].startswith("q quit")


def test_an_answer_to_a_key_is_shown_for_a_while() -> None:
    it = view(some(1))
    it.press("c")
    notes = []
    for second in range(1, 6):
        it.update(later(second), some(1))
        notes.append(shown(it)[-1].partition(" ")[0])
    assert notes == ["pick", "pick", "pick", "q", "q"]
