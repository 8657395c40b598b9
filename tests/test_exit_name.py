"""Answers about an exit's name: true ones, none, and lies."""

from __future__ import annotations

import ipaddress

import pytest

from proxy.exit_name import Answers, judge_name
from proxy.finding import Kind

RIGHT, MOVED, PRIVATE, BOGUS = (
    ipaddress.ip_address(text) for text in ("8.8.8.8", "9.9.9.9", "10.0.0.1", "203.0.113.9")
)


def answers(*found: ipaddress.IPv4Address | ipaddress.IPv6Address, **others: object) -> Answers:
    return Answers("exit.example", found, **others)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "remembered", "kind", "words"),
    [
        (answers(RIGHT), [], Kind.OK, "8.8.8.8"),
        (answers(RIGHT), [RIGHT], Kind.OK, ""),
        (answers(PRIVATE), [], Kind.OK, ""),  # an exit may stand in the user's own network
        (answers(PRIVATE), [PRIVATE], Kind.OK, ""),
        (answers(MOVED), [RIGHT], Kind.NOTE, "was found at 8.8.8.8"),
        (answers(RIGHT, nobody=[PRIVATE]), [], Kind.NOTE, "do not exist"),
        (answers(failure="try again"), [], Kind.FAULT, "try again"),
        (answers(PRIVATE), [RIGHT], Kind.FAULT, "public"),
        (answers(BOGUS), [], Kind.FAULT, "nobody can have"),
        (answers(ipaddress.ip_address("::")), [], Kind.FAULT, "nobody can have"),
        (answers(RIGHT, nobody=[RIGHT]), [], Kind.FAULT, "same address"),
        (answers(RIGHT, rivals=[frozenset({RIGHT}), frozenset({MOVED})]), [], Kind.FAULT, "different answers"),
        (answers(RIGHT, rivals=[frozenset({RIGHT})] * 2), [], Kind.OK, ""),  # a datagram that came twice
    ],
)
def test_what_an_answer_means(given: Answers, remembered: list[ipaddress.IPv4Address], kind: Kind, words: str) -> None:
    found = judge_name(given, remembered)
    assert (found.kind, words in found.what) == (kind, True)
    assert kind is Kind.OK or found.mend
