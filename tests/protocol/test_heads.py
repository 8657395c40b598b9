"""What apps have sent of requests: how much of it there may be, and who has to go."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.protocol import heads
from proxy.protocol.budget import LIMIT, Budget
from proxy.protocol.heads import HEADS, Head, Heads

#: So that all heads together may have 1,000 bytes.
SMALL = int(1000 / HEADS)


class World:
    def __init__(self, limit: int = SMALL) -> None:
        self.budget = Budget(limit)
        self.heads = Heads(self.budget)
        self.gone: list[int] = []
        self.all: list[Head] = []

    def head(self, size: int, now: float) -> Head:
        head, number = Head(self.heads), len(self.all)
        head.ends_with(lambda: self.gone.append(number))
        self.all.append(head)
        head.count(size, now)
        return head


def test_thousands_of_ordinary_heads_have_room() -> None:
    world = World(LIMIT)
    for number in range(8192):
        world.head(600, number / 1000)
    assert world.gone == []


def test_what_is_held_is_counted_in_the_budget_until_it_is_taken() -> None:
    world = World()
    head = world.head(300, 0)
    assert (world.heads.held, world.budget.held) == (300, 300)
    head.count(500, 1)
    assert (world.heads.held, world.budget.held) == (500, 500)
    head.count(0, 2)
    assert (world.heads.held, world.budget.held) == (0, 0)


def test_who_has_held_most_for_longest_goes() -> None:
    world = World()
    world.head(100, 0)  # for 20 seconds in the end
    world.head(400, 16)
    world.head(450, 18)
    world.head(40, 0)
    world.head(11, 20)
    assert (world.gone, world.heads.held) == ([0, 1, 2], 51)
    assert [head.crowded_out for head in world.all] == [True] * 3 + [False] * 2


def test_who_comes_last_goes_where_it_is_the_only_one() -> None:
    world = World()
    head = world.head(1001, 0)
    assert (world.gone, head.crowded_out, world.heads.held) == ([0], True, 0)
    head.count(2000, 1)
    assert (world.gone, world.budget.held) == ([0], 0)


def test_who_has_to_go_between_two_waits_goes_at_the_next_one() -> None:
    world = World()
    head = world.head(1001, 0)
    head.ends_with(lambda: world.gone.append(7))
    assert world.gone == [0, 7]


def test_a_smaller_budget_holds_at_once() -> None:
    world = World()
    world.head(900, 0)
    world.budget.change(SMALL // 2)
    world.head(1, 1)
    assert world.gone == [0]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 400)), max_size=60))
def test_the_limit_holds_and_the_count_is_right(steps: list[tuple[int, int]]) -> None:
    world = World()
    for _ in range(10):
        world.head(0, 0)
    for now, (number, size) in enumerate(steps):
        world.all[number].count(size, now)
        held = sum(head.size for head in world.all)
        assert world.budget.held == world.heads.held == held <= 1000
    assert sorted(world.gone) == [number for number in range(10) if world.all[number].crowded_out]


@pytest.mark.parametrize("fields", [1, 100])
def test_a_request_weighs_more_than_its_bytes(fields: int) -> None:
    request = h11.Request(method=b"GET", target=b"/" * 50, headers=[(b"Host", b"a")] + [(b"x", b"y")] * (fields - 1))
    assert 50 + fields * heads._FIELD < heads.weight(request) < 60 + fields * (heads._FIELD + 5)
