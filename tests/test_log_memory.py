"""The last lines of the log, in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy import telemetry
from proxy.log_memory import LONGEST_LINE, MOST_LINES, LogMemory

if TYPE_CHECKING:
    import pytest

log = telemetry.logger("test")


def test_it_has_what_the_log_has(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure("info")
    memory = LogMemory()
    with telemetry.heard_by(memory):
        log.info("to %s", telemetry.shown("secret.example"))
        log.debug("nobody wants to know")
        telemetry.configure("warning")  # as where the file is read again
        log.info("nor this")
        log.warning("two\nlines", exc_info=ValueError("why"))
    log.warning("later")
    assert [(line.level, line.text) for line in memory.last(9)] == [
        ("info", "to (hidden)"),
        ("warning", "two\\nlines: ValueError: why"),
    ]
    assert "secret" not in capsys.readouterr().err


def test_it_is_bounded() -> None:
    memory = LogMemory()
    telemetry.configure("info")
    with telemetry.heard_by(memory):
        for number in range(MOST_LINES + 5):
            log.info("line %d", number)
        assert memory.count == MOST_LINES + 5
        assert [line.text for line in memory.since(MOST_LINES + 3)] == ["line 503", "line 504"]
        assert memory.since(memory.count) == []
        assert len(memory.since(0)) == len(memory.last(10_000)) == MOST_LINES
        assert memory.last(0) == []
        log.info("x" * 10_000)
    assert len(memory.last(1)[0].text) == LONGEST_LINE
