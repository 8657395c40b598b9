"""What is kept, for how long, and what goes when there is no room."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.protocol.dns_cache import AnswerCache
from proxy.protocol.dns_message import Answer


def test_an_answer_lives_as_long_as_it_says() -> None:
    cache, answer = AnswerCache(), Answer(0, b"x", life=10)
    cache.put("a", answer, 100)
    assert cache.get("a", 100) == (answer, 0)
    assert cache.get("a", 109.5) == (answer, 9.5)
    assert cache.get("b", 109.5) is None
    assert cache.get("a", 110) is None
    assert (len(cache), cache.size) == (0, 0)


def test_what_does_not_live_is_not_kept_and_takes_the_place_of_what_was() -> None:
    cache = AnswerCache()
    cache.put("a", Answer(0, life=10), 0)
    cache.put("a", Answer(0, life=0), 1)
    assert cache.get("a", 1) is None


def test_what_was_not_asked_for_longest_goes_first() -> None:
    cache = AnswerCache(most_entries=2)
    for key in "ab":
        cache.put(key, Answer(0, life=10), 0)
    assert cache.get("a", 1)
    cache.put("c", Answer(0, life=10), 1)
    assert [bool(cache.get(key, 1)) for key in "abc"] == [True, False, True]


def test_bytes_are_bounded() -> None:
    cache = AnswerCache(most_bytes=10_000)
    for key in range(9):
        cache.put(key, Answer(0, bytes(3000), life=10), 0)
    assert len(cache) == 2
    assert cache.get(8, 0)
    cache.put("more than there is room for", Answer(0, bytes(20_000), life=10), 0)
    assert len(cache) == 2


def test_clear() -> None:
    cache = AnswerCache()
    cache.put("a", Answer(0, life=10), 0)
    cache.clear()
    assert cache.get("a", 0) is None
    assert cache.size == 0


@given(st.lists(st.tuples(st.sampled_from("pgc"), st.integers(0, 5), st.integers(0, 900), st.integers(0, 3))))
def test_the_count_is_that_of_what_is_kept(steps: list[tuple[str, int, int, int]]) -> None:
    cache, now = AnswerCache(4, 4000), 0
    for what, key, size, life in steps:
        now += 1
        if what == "p":
            cache.put(key, Answer(0, bytes(size), life=life), now)
        elif what == "g":
            cache.get(key, now)
        else:
            cache.clear()
        assert len(cache) <= 4
        assert cache.size <= 4000
    for key in range(6):
        cache.put(key, Answer(0), now)  # lives no longer
    assert (len(cache), cache.size) == (0, 0)
