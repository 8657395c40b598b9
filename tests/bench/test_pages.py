from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from page_times import Loads, arrivals, in_turn, load_seconds
from webpage import ADDRESSES, HOSTS, RESOURCES, SIZE, Webpage, filled, kind_of, page


def times(*ends: float, load: float = 1500.0, size: int = SIZE) -> list[dict[str, Any]]:
    return [{"loadEventEnd": load}, *({"responseEnd": end, "decodedBodySize": size} for end in ends)]


def test_a_load_that_lacks_a_resource_is_no_load() -> None:
    with pytest.raises(ValueError, match=f"99 of {RESOURCES}"):
        load_seconds(times(*range(RESOURCES - 1)))
    with pytest.raises(ValueError, match=f"0 of {RESOURCES}"):
        load_seconds(times(*range(RESOURCES), size=0))


def test_the_median_of_loads_is_told_in_seconds() -> None:
    whole = tuple(range(RESOURCES))
    assert Loads([times(*whole, load=load) for load in (3000.0, 1000.0, 2000.0)]).seconds == 2.0


def test_arrivals_are_in_order() -> None:
    assert arrivals(times(300, 100, 200)) == [0.1, 0.2, 0.3]


def test_every_round_begins_with_another_way() -> None:
    rounds = [in_turn("abc", number) for number in range(3)]
    assert [first for first, *_ in rounds] == ["a", "b", "c"]
    assert all(sorted(ways) == ["a", "b", "c"] for ways in rounds)


def test_a_page_names_as_many_resources_of_each_host() -> None:
    urls = re.findall(r"https://v3\.h(\d)\.test:8443/(\d+\.\w+)", page(3))
    assert len({path for _, path in urls}) == RESOURCES
    assert set(Counter(host for host, _ in urls).values()) == {RESOURCES // HOSTS}


def test_names_of_different_visits_differ_and_each_host_has_its_address() -> None:
    lines = [line.split() for line in Webpage(visits=2).names.splitlines()]
    assert len({name for _, name in lines}) == 2 * HOSTS
    assert {address for address, _ in lines} == set(ADDRESSES)


def test_resources_have_the_size_that_is_said() -> None:
    assert len(filled("<a {filler} b>")) == SIZE
    assert Counter(kind_of(number) for number in range(RESOURCES)) == {"css": 20, "js": 20, "svg": 60}
