"""Lists from files. What a file is shows from its content; the readers of each kind know nothing of files."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from .errors import ConfigError
from .rule_clash import is_provider, read_provider
from .rule_dat import read_dat
from .rule_entries import Entries
from .rule_mmdb import MARK, MARK_WITHIN, country_database, read_mmdb
from .rule_singbox import read_rule_set
from .rule_terms import Pause, no_pause
from .rule_text import AUTOPROXY, AUTOPROXY_BASE64, decoded, read_autoproxy, read_lines

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .rule_terms import CountryOf, Term
    from .rules import ListFile

#: Our choice: six times the largest file in use.
LARGEST_FILE = 64 * 1024 * 1024
#: Our choice: files that lists include, all together.
MOST_FILES = 4096

#: What tells a file from the one that was there before: when it was written, its size and its inode; None where there is none.
Mark: TypeAlias = tuple[int, int, int] | None

#: Of the bytes at the beginning, those that no text has.
_NOT_TEXT = bytes(set(range(32)) - set(b"\t\r\n\f")) + b"\x7f"
_BEGINNING = 4096


def mark_of(path: Path) -> Mark:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


@dataclass
class Lists:
    """Reads each list, each file once. Make another one to read them again: `marks` says of which files, and as they were before they were read."""

    marks: dict[Path, Mark] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    pause: Pause = no_pause
    _contents: dict[Path, bytes] = field(default_factory=dict)
    _databases: dict[Path, CountryOf] = field(default_factory=dict)

    def read(self, place: ListFile) -> Term:
        """Raises ConfigError that has the file, the line or record, and the reason."""
        entries = Entries(place.path, place.tag, pause=self.pause)
        data = self._content(place.path)
        for is_of, read in _FORMATS:
            if is_of(data):
                read(self, data, entries)
                break
        else:
            self._read_text(data, entries)
        if remark := entries.remark:
            self.remarks.append(remark)
        return entries.term()

    def forget_contents(self) -> None:
        """All have been read: what stood in the files is no longer needed."""
        self._contents.clear()

    def _content(self, path: Path) -> bytes:
        if path not in self._contents:
            if len(self.marks) >= MOST_FILES:
                raise ConfigError("", f"{path}: the lists are in more than {MOST_FILES} files")
            self.marks[path] = mark_of(path)  # first: what is written meanwhile shows at the next look
            self._contents[path] = _read(path)
        return self._contents[path]

    # ---- what is given to the readers

    def _read_text(self, data: bytes, entries: Entries) -> None:
        text = _as_text(data, entries)
        if text[:100].lstrip().lower().startswith(AUTOPROXY):
            read_autoproxy(text, entries)
        elif is_provider(text):
            read_provider(text, entries)
        elif text[:_BEGINNING].lstrip().startswith("{"):
            read_rule_set(text, entries)
        else:
            read_lines(text, entries, lambda path: _as_text(self._content(path), Entries(path)))

    def _read_gfwlist(self, data: bytes, entries: Entries) -> None:
        read_autoproxy(decoded(data, entries), entries)

    def _read_dat(self, data: bytes, entries: Entries) -> None:
        read_dat(data, entries)

    def _read_mmdb(self, data: bytes, entries: Entries) -> None:
        if entries.path not in self._databases:
            self._databases[entries.path] = country_database(data, entries)
        read_mmdb(self._databases[entries.path], entries)

    def _refuse_compiled(self, data: bytes, entries: Entries) -> None:
        kinds = {b"SRS": "`sing-box rule-set decompile`", b"MRS": "the YAML or text that it was made from"}
        raise entries.wrong(f"compiled rule sets are not read here; use what comes out of {kinds[data[:3]]}")


def _is_mmdb(data: bytes) -> bool:
    return MARK in data[-MARK_WITHIN:]


def _is_compiled(data: bytes) -> bool:
    return data[:3] in (b"SRS", b"MRS") and data[3:4] < b" "


def _is_gfwlist(data: bytes) -> bool:
    return data.lstrip().startswith(AUTOPROXY_BASE64)


def _is_dat(data: bytes) -> bool:
    """A list of messages, which no text begins as: there is something in it that is not printed."""
    beginning = data[:_BEGINNING]
    return data[:1] == b"\n" and len(beginning.translate(None, _NOT_TEXT)) < len(beginning)


_FORMATS: list[tuple[Callable[[bytes], bool], Callable[[Lists, bytes, Entries], None]]] = [
    (_is_mmdb, Lists._read_mmdb),
    (_is_compiled, Lists._refuse_compiled),
    (_is_gfwlist, Lists._read_gfwlist),
    (_is_dat, Lists._read_dat),
]


def _read(path: Path) -> bytes:
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConfigError("", f"{path} cannot be read: it is not a file")
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigError("", f"{path} cannot be read: {error.strerror}") from None
    if len(data) > LARGEST_FILE:
        raise ConfigError("", f"{path}: the file is larger than {LARGEST_FILE // (1024 * 1024)} MB")
    return data


def _without_waiting(path: str, flags: int) -> int:
    """A pipe waits until somebody writes to it, perhaps for ever, and no list would be read again meanwhile."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _as_text(data: bytes, entries: Entries) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        entries.place = f"line {line}"
        raise entries.wrong("it is neither text in UTF-8 nor a kind of list that is known here") from None
    beginning = data[:_BEGINNING]
    if len(beginning.translate(None, _NOT_TEXT)) < len(beginning):
        raise entries.wrong("it is neither text nor a kind of list that is known here")
    return text
