"""Files that lead a browser into the dashboard: for their user alone, and for moments."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from proxy.entry_codes import LIFE
from proxy.entry_files import EntryFiles
from proxy.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

ADDRESS = "http://127.0.0.1:1080/dashboard/enter/code"


def test_it_leads_there_and_nobody_else_can_read_it(tmp_path: Path) -> None:
    path = EntryFiles(tmp_path / "state").write(ADDRESS, "code")
    assert f'<meta http-equiv="refresh" content="0; url={ADDRESS}">' in path.read_text()
    assert "code" not in path.name
    if sys.platform != "win32":
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700


def test_what_is_in_it_ends_no_text_of_the_page(tmp_path: Path) -> None:
    assert '"><b>' not in EntryFiles(tmp_path).write('http://x/"><b>', "code").read_text()


def test_it_takes_no_file_that_is_there_already(tmp_path: Path) -> None:
    files = EntryFiles(tmp_path)
    path = files.write(ADDRESS, "code")
    with pytest.raises(ConfigError, match=r"enter-[0-9a-f]+\.html cannot be written"):
        files.write(ADDRESS, "code")
    path.unlink()
    if sys.platform != "win32":
        other = tmp_path / "other"
        path.symlink_to(other)
        with pytest.raises(ConfigError):
            files.write(ADDRESS, "code")
        assert not other.exists()


def test_it_goes_when_it_was_used_and_others_stay(tmp_path: Path) -> None:
    files = EntryFiles(tmp_path)
    used, other = files.write(ADDRESS, "code"), files.write(ADDRESS, "other")
    for _ in range(2):
        files.remove("code")
    assert (used.exists(), other.exists()) == (False, True)


def test_one_that_is_newer_than_the_clock_stays(tmp_path: Path) -> None:
    files = EntryFiles(tmp_path, lambda: 1_790_000_000.0)
    path = files.write(ADDRESS, "code")
    os.utime(path, (0, 1_790_000_000.01))
    assert files.sweep()
    assert path.exists()


@pytest.mark.parametrize(("error", "left"), [(PermissionError, True), (FileNotFoundError, False)])
def test_one_that_a_browser_holds_is_left_for_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[OSError], left: bool
) -> None:
    def unlink(_path: Path) -> None:
        raise error

    files = EntryFiles(tmp_path, lambda: 1_790_000_000.0)
    os.utime(files.write(ADDRESS, "code"), (0, 0))
    with monkeypatch.context() as patch:
        patch.setattr(type(tmp_path), "unlink", unlink)
        assert files.sweep() is left
    assert not files.sweep()
    assert list(tmp_path.iterdir()) == []


def test_old_ones_are_swept(tmp_path: Path) -> None:
    now = [1_790_000_000.0]
    files = EntryFiles(tmp_path / "state", lambda: now[0])
    assert not files.sweep()  # no folder either
    old, new = files.write(ADDRESS, "old"), files.write(ADDRESS, "new")
    (tmp_path / "state" / "dashboard.token").touch()
    os.utime(old, (0, now[0] - LIFE))
    os.utime(new, (0, now[0] - LIFE + 1))
    assert files.sweep()
    assert (old.exists(), new.exists()) == (False, True)
    now[0] -= 3600  # the clock was set; nobody knows how old it is
    assert not files.sweep()
    assert not new.exists()
    assert (tmp_path / "state" / "dashboard.token").exists()
