"""Events are values: equal where they say the same, unchangeable, and apart where they mean different things."""

from __future__ import annotations

import dataclasses
from typing import get_args

import pytest

from proxy.address import Address
from proxy.protocol import event
from proxy.protocol.budget import Budget
from proxy.protocol.datagrams import Association
from proxy.protocol.event import AssociationOpened, Code, DatagramReceived, Event, GoneAway
from proxy.protocol.stream import Stream

KINDS = get_args(Event)
OF_STREAMS = [kind for kind in KINDS if kind not in (AssociationOpened, DatagramReceived, GoneAway)]
ASSOCIATION = Association(1, 0.0, Budget())
OTHERS = [
    AssociationOpened(ASSOCIATION),
    DatagramReceived(ASSOCIATION, Address("192.0.2.1", 53), b"x"),
    GoneAway(Code.DONE, "bye"),
]


def stream(number: int = 1) -> Stream:
    return Stream(number, Address("example.com", 443), 0.0)


def test_every_event_of_the_module_is_in_the_union() -> None:
    written = [kind for kind in vars(event).values() if isinstance(kind, type) and dataclasses.is_dataclass(kind)]
    assert set(written) == set(KINDS)


@pytest.mark.parametrize("kind", OF_STREAMS)
def test_equal_for_the_same_stream_only(kind: type) -> None:
    ours = stream()
    assert kind(ours) == kind(ours)
    assert kind(ours) != kind(stream())  # another stream, though of the same number
    assert all(kind(ours) != other(ours) for other in OF_STREAMS if other is not kind)


@pytest.mark.parametrize("made", [*(kind(stream()) for kind in OF_STREAMS), *OTHERS])
def test_unchangeable(made: Event) -> None:
    for field in dataclasses.fields(made):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, field.name, None)


def test_gone_away_says_code_and_text() -> None:
    assert GoneAway(Code.DONE, "bye") == GoneAway(Code(0), "bye")
    assert GoneAway(Code.DONE, "bye") != GoneAway(Code.CLOSED, "bye")
    assert GoneAway(Code.DONE, "bye") != GoneAway(Code.DONE, "")


@pytest.mark.parametrize("number", [6, 255])
def test_other_codes_do_not_exist(number: int) -> None:
    assert sorted(Code) == list(range(6))
    with pytest.raises(ValueError, match=str(number)):
        Code(number)
