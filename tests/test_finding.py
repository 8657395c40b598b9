"""Findings as people and programs read them."""

from __future__ import annotations

import pytest

from proxy.finding import Finding, Kind, Text, has_fault, lines_of

FAULT = Finding.fault(
    "key",
    Text("the exit does not accept this key"),
    Text("the user was removed"),
    Text("`ropeway join` a new-link"),
)


def test_a_fault_as_people_read_it() -> None:
    assert lines_of(FAULT, 100) == [
        "FAULT  key            the exit does not accept this key",
        "                      why: the user was removed",
        "                      mend: `ropeway join` a new-link",
    ]
    assert lines_of(Finding.ok("clock", Text("it agrees")), 100) == ["ok     clock          it agrees"]


@pytest.mark.parametrize("width", [1, 50, 80])
def test_long_texts_are_wrapped_and_nothing_is_lost(width: int) -> None:
    long = Finding.note("dns", Text("word " * 50 + "127.0.0.1:1080"), mend=Text("chmod --long-option " * 9))
    lines = lines_of(long, width)
    assert " ".join(" ".join(lines).split()) == " ".join(f"note dns {long.what} mend: {long.mend}".split())
    assert all(len(line) <= max(width, 50) for line in lines)


def test_as_programs_read_it() -> None:
    assert FAULT.plain() == {
        "check": "key",
        "kind": "fault",
        "what": FAULT.what,
        "why": FAULT.why,
        "mend": FAULT.mend,
    }


def test_only_faults_count() -> None:
    notes = [Finding.ok("a", Text("b")), Finding.note("a", Text("b"))]
    assert not has_fault(notes)
    assert has_fault([*notes, FAULT])
    assert FAULT.kind is Kind.FAULT


def test_a_text_is_its_english_and_has_its_parts() -> None:
    inner = Text("{n} days", n=3)
    text = Text("{name} is {span} slow, {why}", name="{x}", span=inner, why=Text("and why"))
    assert text == "{x} is 3 days slow, and why"
    assert text.words == {
        "pattern": "{name} is {span} slow, {why}",
        "values": {"name": "{x}", "span": {"pattern": "{n} days", "values": {"n": "3"}}, "why": "and why"},
    }
    assert Finding.ok("clock", inner).words == {"what": inner.words, "why": "", "mend": ""}
