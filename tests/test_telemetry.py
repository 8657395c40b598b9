"""The log: one line for each event whatever is in it, no destinations and no tracebacks unless asked for."""

from __future__ import annotations

import io
import json
import logging
import re
from typing import TYPE_CHECKING

import pytest

from proxy import telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    root = logging.getLogger("ropeway")
    handlers, level, raising = root.handlers, root.level, logging.raiseExceptions
    yield
    telemetry.configure()  # forgets about destinations
    root.handlers, logging.raiseExceptions = handlers, raising
    root.setLevel(level)


def boom() -> ExceptionGroup[Exception]:
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        return ExceptionGroup("many", [error, ExceptionGroup("inner", [OSError(2, "gone"), EOFError()])])


def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure()
    telemetry.logger("tunnel").info("ready on port %d", 1080)
    telemetry.logger("tunnel").warning("slow")
    first, second = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d info ready on port 1080", first)
    assert re.fullmatch(r"\d\d:\d\d:\d\d warning slow", second)


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure("info", "json")
    telemetry.logger("tunnel").info("ready on %s", "a\nb")
    telemetry.logger("tunnel").error("lost", exc_info=boom())
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", first.pop("time"))
    assert first == {"level": "info", "logger": "ropeway.tunnel", "message": "ready on a\nb"}
    assert second["error"].startswith("ValueError")
    assert "traceback" not in second


@pytest.mark.parametrize(("level", "shown"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_levels(level: str, shown: int, capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure(level)
    log = telemetry.logger("tunnel")
    for write in (log.debug, log.info, log.warning, log.error):
        write("event")
    assert len(capsys.readouterr().err.splitlines()) == shown
    assert telemetry.level() == level


def test_what_is_configured_again_is_not_written_twice(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure()
    telemetry.configure("debug", "json")
    telemetry.logger("tunnel").debug("event")
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_an_event_cannot_forge_another_or_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure()
    telemetry.logger("exit").info("said %s", "x\n12:00:00 error forged \x1b[31m\u2028é")
    (line,) = capsys.readouterr().err.split("\n")[:-1]
    assert line.endswith(r"said x\n12:00:00 error forged \x1b[31m\u2028é")


def test_exceptions_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure()
    telemetry.logger("exit").error("the carrier broke", exc_info=boom())
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(r"the carrier broke: ValueError: two\nlines; FileNotFoundError: [Errno 2] gone; EOFError")


@pytest.mark.parametrize("form", ["text", "json"])
def test_level_debug_adds_the_traceback(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure("debug", form)
    telemetry.logger("exit").error("the carrier broke", exc_info=boom())
    written = capsys.readouterr().err
    text = json.loads(written)["traceback"] if form == "json" else written
    assert "Traceback" in text
    assert "in boom" in text


def test_destinations_are_hidden_unless_asked_for() -> None:
    telemetry.configure()
    assert telemetry.shown("example.com:443") == "(hidden)"
    telemetry.configure(destinations=True)
    assert telemetry.shown("example.com:443") == "example.com:443"
    telemetry.configure()
    assert telemetry.shown("example.com:443") == "(hidden)"


def test_a_closed_standard_error_disturbs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    monkeypatch.setattr("sys.stderr", closed)
    telemetry.configure()
    closed.close()
    telemetry.logger("exit").error("nobody reads this")
