"""A log that stays small, and of which nothing is lost but what is old."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import pytest

from proxy import log_file, telemetry
from proxy.log_file import LogFile, tail

if TYPE_CHECKING:
    from pathlib import Path


def test_lines_are_appended_and_shown(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "ropeway.log"
    for word in ("first", "second"):
        with LogFile(path) as log:
            print(word, "\udc80 ü", file=log)
    assert path.read_text(encoding="utf-8") == "first \\udc80 ü\nsecond \\udc80 ü\n"
    assert tail(path, 1) == "second \\udc80 ü\n"


def test_what_is_full_becomes_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "ropeway.log"
    with LogFile(path, max_size=100) as log:
        for number in range(50):
            log.write(f"line {number:02}\n")
    assert {each.name for each in tmp_path.iterdir()} == {"ropeway.log", "ropeway.log.1"}
    assert all(each.stat().st_size <= 100 for each in tmp_path.iterdir())
    assert tail(path, 14).splitlines() == [f"line {number}" for number in range(36, 50)]
    assert tail(tmp_path / "none.log", 5) == ""


def test_one_line_longer_than_the_file_is_kept_whole(tmp_path: Path) -> None:
    path = tmp_path / "ropeway.log"
    with LogFile(path, max_size=10) as log:
        log.write("x" * 50)
        log.write("y\n")
    assert (log_file.before(path).read_text(), path.read_text()) == ("x" * 50, "y\n")


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_a_full_disk_stops_nobody() -> None:
    from pathlib import Path

    with LogFile(Path("/dev/full")) as log:
        assert log.write("lost\n") == 5


@pytest.mark.usefixtures("log_as_before")
def test_it_stands_in_for_standard_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ropeway.log"
    with LogFile(path) as log:
        monkeypatch.setattr(sys, "stderr", log)
        telemetry.configure()
        logging.getLogger("ropeway.test").warning("what happened")
        assert path.read_text().endswith("warning what happened\n")
    assert log.encoding == "utf-8"
