"""The file of what apps used: added up, bounded, private, and never in the way."""

from __future__ import annotations

import datetime as dt
import logging
import sqlite3
import sys
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from proxy import usage_file
from proxy.errors import UsageError
from proxy.usage_file import MOST_APPS, MOST_DAYS, Amount, UsageFile

if TYPE_CHECKING:
    from pathlib import Path

DAY = dt.date(2026, 11, 26)
ONE = Amount(1, 10, 1)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(usage_file, "PATIENCE", 0.0)
    return tmp_path / "state" / "usage.sqlite"


def test_amounts_are_added_up_by_day_and_app(path: Path) -> None:
    UsageFile(path).add({(DAY, "line"): ONE, (DAY, ""): Amount(5, 5, 5)})
    UsageFile(path).add({(DAY, "line"): Amount(2, 20, 0), (DAY + dt.timedelta(1), "line"): ONE})
    assert UsageFile(path).read() == {
        (DAY, "line"): Amount(3, 30, 1),
        (DAY, ""): Amount(5, 5, 5),
        (DAY + dt.timedelta(1), "line"): ONE,
    }


def test_nothing_is_there_at_first_and_looking_makes_nothing(path: Path) -> None:
    assert UsageFile(path).read() == {}
    UsageFile(path).wipe()
    assert not path.parent.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps rights in another way")
def test_only_its_user_can_read_it(path: Path) -> None:
    UsageFile(path).add({(DAY, "line"): ONE})
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.chmod(0o644)
    UsageFile(path).add({(DAY, "line"): ONE})
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_oldest_days_go(path: Path) -> None:
    days = [DAY + dt.timedelta(number) for number in range(MOST_DAYS + 3)]
    UsageFile(path).add({(day, app): ONE for day in days for app in ("line", "")})
    UsageFile(path).add({(days[0], "line"): ONE})
    assert {day for day, _ in UsageFile(path).read()} == set(days[3:])


def test_a_day_has_so_many_apps_and_the_others_together(path: Path) -> None:
    file = UsageFile(path)
    for first in (0, MOST_APPS // 2):
        file.add({(DAY, f"app{number}"): ONE for number in range(first, first + MOST_APPS)})
    read = file.read()
    assert len(read) == MOST_APPS
    assert read[DAY, "app0"] == ONE
    assert read[DAY, f"app{MOST_APPS // 2}"] == Amount(2, 20, 2)
    assert sum(amount.connections for amount in read.values()) == 2 * MOST_APPS
    assert read[DAY, ""].connections > MOST_APPS // 2


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + bytes(4096)])
def test_a_broken_file_is_put_aside(path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING, "ropeway"):
        UsageFile(path).add({(DAY, "line"): ONE})
    assert UsageFile(path).read() == {(DAY, "line"): ONE}
    assert path.with_name("usage.sqlite.broken").read_bytes() == content
    assert len(caplog.records) == 1


def test_a_broken_file_that_cannot_be_put_aside_ends_nothing(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database at all")
    path.with_name("usage.sqlite.broken").mkdir()
    for use in (lambda: UsageFile(path).add({(DAY, "line"): ONE}), UsageFile(path).read, UsageFile(path).wipe):
        with pytest.raises(UsageError, match=r"usage\.sqlite cannot be used: "):
            use()


@pytest.mark.parametrize(
    "change", ["PRAGMA user_version = 7", "DROP TABLE usage", "ALTER TABLE usage RENAME COLUMN up TO upwards"]
)
def test_a_file_of_another_kind_is_put_aside(path: Path, change: str) -> None:
    UsageFile(path).add({(DAY, "line"): ONE})
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(change)
    assert UsageFile(path).read() == {}
    UsageFile(path).add({(DAY, "line"): ONE})
    assert UsageFile(path).read() == {(DAY, "line"): ONE}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The content of a file."""
    path = tmp_path_factory.mktemp("sound") / "usage.sqlite"
    UsageFile(path).add({(DAY, f"app{number}"): ONE for number in range(20)})
    return path.read_bytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.integers(0, 8191), noise=st.binary(min_size=1, max_size=64))
@example(start=0, noise=b"")
@example(start=4200, noise=b"\xff" * 64)
def test_any_damage_is_survived(path: Path, sound: bytes, start: int, noise: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(sound[:start] + noise + sound[start + len(noise) :])
    with suppress(UsageError):
        UsageFile(path).read()
    with suppress(UsageError):
        UsageFile(path).add({(DAY, "line"): ONE})


def test_rows_that_are_none_are_passed_over(path: Path) -> None:
    UsageFile(path).add({(DAY, "line"): ONE})
    rows: list[tuple[object, ...]] = [
        ("someday", "a", 1, 1, 1),
        ("2026-11-26", "b", -1, 1, 1),
        ("2026-11-26", "c", "x", 1, 1),
    ]
    rows += [("2026-11-26", b"d", 1, 1, 1), ("2026-11-26", "e", 1.5, 1, 1)]
    with closing(sqlite3.connect(path)) as database, database:
        database.executemany("INSERT INTO usage VALUES (?, ?, ?, ?, ?)", rows)
    assert UsageFile(path).read() == {(DAY, "line"): ONE}


def test_a_locked_file_stays_where_it_is(path: Path) -> None:
    file = UsageFile(path)
    file.add({(DAY, "line"): ONE})
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for act in (file.read, file.wipe, lambda: file.add({(DAY, "line"): ONE})):
            with pytest.raises(UsageError, match="locked"):
                act()
        other.execute("ROLLBACK")
    file.add({(DAY, "line"): ONE})
    assert file.read() == {(DAY, "line"): Amount(2, 20, 2)}


def test_what_cannot_be_written_is_one_line(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(UsageError, match="cannot be used"):
        UsageFile(path).add({(DAY, "line"): ONE})


def test_half_of_it_is_never_written(path: Path) -> None:
    file = UsageFile(path)
    file.add({(DAY, "line"): ONE})
    with pytest.raises(OverflowError):
        file.add({(DAY, "line"): ONE, (DAY, "signal"): Amount(2**70, 0, 0)})
    assert file.read() == {(DAY, "line"): ONE}


def test_nothing_of_it_is_left_when_it_was_wiped(path: Path) -> None:
    file = UsageFile(path)
    file.add({(DAY, "whatsapp"): ONE})
    path.with_name("usage.sqlite.broken").write_bytes(b"whatsapp")
    file.wipe()
    assert file.read() == {}
    assert all(b"whatsapp" not in each.read_bytes() for each in path.parent.iterdir())
    file.add({(DAY, "line"): ONE})
    assert file.read() == {(DAY, "line"): ONE}


def test_a_python_without_sqlite(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlite3", None)
    with pytest.raises(UsageError, match="sqlite3"):
        UsageFile(path).add({(DAY, "line"): ONE})


def test_it_is_in_the_users_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("platformdirs.user_state_path", lambda *_arguments, **_options: tmp_path)
    UsageFile.of_user().add({(DAY, ""): ONE})
    assert (tmp_path / "usage.sqlite").exists()
