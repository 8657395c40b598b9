"""Findings as people and programs read them."""

from __future__ import annotations

import pytest

from proxy.finding import Finding, Kind, has_fault, lines_of

FAULT = Finding.fault("key", "the exit does not accept this key", "the user was removed", "`ropeway join` a new-link")


def test_a_fault_as_people_read_it() -> None:
    assert lines_of(FAULT, 100) == [
        "FAULT  key            the exit does not accept this key",
        "                      why: the user was removed",
        "                      mend: `ropeway join` a new-link",
    ]
    assert lines_of(Finding.ok("clock", "it agrees"), 100) == ["ok     clock          it agrees"]


@pytest.mark.parametrize("width", [1, 50, 80])
def test_long_texts_are_wrapped_and_nothing_is_lost(width: int) -> None:
    long = Finding.note("dns", "word " * 50 + "127.0.0.1:1080", "", "chmod --long-option " * 9)
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
    notes = [Finding.ok("a", "b"), Finding.note("a", "b")]
    assert not has_fault(notes)
    assert has_fault([*notes, FAULT])
    assert FAULT.kind is Kind.FAULT
