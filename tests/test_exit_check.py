"""The check of one exit, by itself; `test_doctor.py` plants the faults."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from proxy.exit_check import ExitCheck
from proxy.exit_name import Answers
from proxy.exit_walk import ExitWalk
from proxy.finding import Kind
from proxy.keys import UserKey
from proxy.share import Link
from tests.planted import LOOPBACK, answering, exit_on_loopback, faults, hang, the, unused_port

if TYPE_CHECKING:
    from tests.memory import Identity

KEY = UserKey.new()


async def no_names(name: str) -> Answers:
    await trio.lowlevel.checkpoint()
    return Answers(name, failure="no such name")


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def check(server: Identity, port: int, *others: int) -> ExitCheck:
    from proxy.address import Address

    link = Link(LOOPBACK, port, KEY, server.pin, also=tuple(Address(LOOPBACK, each) for each in others))
    return ExitCheck(ExitWalk(link, patience=0.2, portal_port=unused_port()), no_names, now)


async def test_one_address_that_works_is_enough(server: Identity) -> None:
    """The others cost nothing: neither a fault, nor the wait of one after the other."""
    async with exit_on_loopback(server, KEY) as port, answering(hang) as silent:
        findings = await check(server, unused_port(), silent, port).run()
    assert the(findings, "key").kind is Kind.OK
    assert faults(findings) == []


async def test_of_several_that_fail_one_is_told(server: Identity) -> None:
    async with answering(hang) as one, answering(hang) as two:
        findings = await check(server, one, two).run()
    assert [fault.check for fault in faults(findings)] == ["tls"]


async def test_a_name_without_an_address_ends_it(server: Identity) -> None:
    made = check(server, 443)
    made = replace(made, walk=ExitWalk(replace(made.walk.link, host="exit.example")))
    findings = await made.run()
    assert [finding.check for finding in findings] == ["name"]
