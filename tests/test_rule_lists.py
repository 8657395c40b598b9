"""Files of every kind, known by what is in them."""

from __future__ import annotations

import base64
import os
import sys
from typing import TYPE_CHECKING

import pytest

from proxy import rule_lists
from proxy.errors import ConfigError
from proxy.rule_lists import Lists, mark_of
from proxy.rules import ListFile
from tests.lists import geoip, geosite, hits, mmdb

if TYPE_CHECKING:
    from pathlib import Path

PLACES = ["a.example", "b.a.example", "1.2.3.4", "c.example"]
NAMES, FIRST, NUMBERS = PLACES[:2], PLACES[:1], ["1.2.3.4"]

KINDS: list[tuple[bytes, str, list[str]]] = [
    (b"a.example\n", "", NAMES),
    (b"\n\na.example\n1.0.0.0/8\n", "", NAMES + NUMBERS),
    (b"\xef\xbb\xbfa.example\r\n", "", NAMES),
    (b"full:a.example @x\nc.example\n", "@x", FIRST),
    (b"DOMAIN,a.example\n", "", FIRST),
    (b"payload:\n  - a.example\n  - 1.2.3.4/32\n", "", FIRST + NUMBERS),
    (b"# x\npayload:\n- DOMAIN-SUFFIX,a.example\n", "", NAMES),
    (b' {"version": 2, "rules": [{"domain_suffix": "a.example"}]}', "", NAMES),
    (b"[AutoProxy 0.2.9]\n||a.example\n", "", NAMES),
    (base64.encodebytes(b"[AutoProxy 0.2.9]\n||a.example\n"), "", NAMES),
    (geosite({"X": [(2, "a.example", [])]}), "x", NAMES),
    (geoip({"X": ["1.0.0.0/8"]}), "x", NUMBERS),
    (mmdb({"1.0.0.0/8": "CN"}), "cn", NUMBERS),
]


@pytest.mark.parametrize(("data", "tag", "places"), KINDS)
def test_a_file_is_known_by_its_content(data: bytes, tag: str, places: list[str], tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(data)
    lists = Lists()
    assert hits(lists.read(ListFile(path, tag)), *PLACES) == places
    assert lists.marks == {path: mark_of(path)}
    assert lists.remarks == []


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"a.example\n\xff\n", ", line 2: it is neither text in UTF-8 nor a kind of list that is known here"),
        (b"a\x00b", ": it is neither text nor a kind of list that is known here"),
        (b"\x89PNG\r\n", ", line 1: it is neither text in UTF-8"),
        (b"SRS\x01\x02", ": compiled rule sets are not read here; use what comes out of `sing-box rule-set decompile`"),
        (b"MRS\x01\x02", ": compiled rule sets are not read here; use what comes out of the YAML or text"),
        (b"", ": there is no entry in it that means anything here"),
        (b"\n\n\n", ": there is no entry in it that means anything here"),
        (b"a.example\n-\n", ", line 2: '-' is no name"),
    ],
)
def test_a_file_that_is_wrong(data: bytes, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        Lists().read(ListFile(path, ""))
    assert str(caught.value).startswith(f"{path}{complaint}")


def test_a_file_that_is_not_there_or_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = Lists()
    with pytest.raises(ConfigError, match=r"cannot be read: No such file or directory"):
        lists.read(ListFile(tmp_path / "missing", ""))
    assert lists.marks == {tmp_path / "missing": None}
    monkeypatch.setattr(rule_lists, "LARGEST_FILE", 1024 * 1024)
    (tmp_path / "large").write_bytes(bytes(1024 * 1024 + 1))
    with pytest.raises(ConfigError, match="large: the file is larger than 1 MB"):
        lists.read(ListFile(tmp_path / "large", ""))


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes")
def test_a_pipe_is_no_file_and_nobody_waits_for_it(tmp_path: Path) -> None:
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match=r"pipe cannot be read: it is not a file"):
        Lists().read(ListFile(tmp_path / "pipe", ""))


def test_included_files_are_read_and_watched_too(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("include:other\n")
    (tmp_path / "other").write_text("a.example\n")
    lists = Lists()
    assert hits(lists.read(ListFile(tmp_path / "list", "")), *PLACES) == NAMES
    assert set(lists.marks) == {tmp_path / "list", tmp_path / "other"}
    (tmp_path / "list").write_text("x.example\ninclude:nothing\n")
    with pytest.raises(ConfigError) as caught:
        Lists().read(ListFile(tmp_path / "list", ""))
    assert str(caught.value).startswith(f"{tmp_path / 'list'}, line 2: {tmp_path / 'nothing'} cannot be read: ")


def test_the_files_together_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule_lists, "MOST_FILES", 1)
    for name in ("a", "b"):
        (tmp_path / name).write_text("a.example")
    lists = Lists()
    lists.read(ListFile(tmp_path / "a", ""))
    with pytest.raises(ConfigError, match="b: the lists are in more than 1 files"):
        lists.read(ListFile(tmp_path / "b", ""))


def test_a_file_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(geosite({"A": [(2, "a.example", [])], "C": [(2, "c.example", [])]}))
    lists = Lists()
    lists.read(ListFile(path, "a"))
    path.unlink()
    assert hits(lists.read(ListFile(path, "c")), *PLACES) == ["c.example"]
    lists.forget_contents()
    with pytest.raises(ConfigError):
        lists.read(ListFile(path, "a"))


def test_countries_of_one_database_share_it(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(mmdb({"1.0.0.0/8": "CN", "8.0.0.0/8": "US"}))
    lists = Lists()
    assert hits(lists.read(ListFile(path, "cn")), "1.1.1.1", "8.8.8.8") == ["1.1.1.1"]
    assert hits(lists.read(ListFile(path, "us")), "1.1.1.1", "8.8.8.8") == ["8.8.8.8"]
    assert len(lists._databases) == 1


def test_what_was_left_out_is_remarked(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("DOMAIN,a.example\nPROCESS-NAME,curl\n")
    lists = Lists()
    lists.read(ListFile(path, ""))
    assert lists.remarks == [f"{path}: left out, as they mean nothing here: 1 of PROCESS-NAME"]
