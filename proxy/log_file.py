"""A log in a file that does not grow without end, for systems whose supervisor keeps none."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path

#: Our choice, in bytes; the file before it is kept as well. A quiet month is some hundred KB.
MAX_SIZE = 2_000_000


class LogFile(io.TextIOBase):
    """What stands in for standard error. When the file is full it becomes the one before, NAME.1, and a new one is begun. Where the disk is full,
    lines are lost and nothing else happens.
    """

    def __init__(self, path: Path, max_size: int = MAX_SIZE) -> None:
        super().__init__()
        self._path = path
        self._max_size = max_size
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._open()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # the base class has a plain attribute
        return "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        data = text.encode(errors="backslashreplace")
        try:
            if self._file.tell() + len(data) > self._max_size and self._file.tell():
                self._turn()
            self._file.write(data)
        except OSError:
            pass
        return len(text)

    def close(self) -> None:
        self._file.close()
        super().close()

    def _open(self) -> BinaryIO:
        return self._path.open("ab", buffering=0)

    def _turn(self) -> None:
        self._file.close()
        try:
            self._path.replace(before(self._path))
        except OSError:  # Windows: somebody reads it
            self._path.write_bytes(b"")
        finally:
            self._file = self._open()


def before(path: Path) -> Path:
    return path.with_name(f"{path.name}.1")


def tail(path: Path, count: int) -> str:
    """The last lines of the log, with those of the file before it where it has too few; empty where there is none."""
    lines: list[str] = []
    for each in (before(path), path):
        try:
            data = each.read_bytes()[-MAX_SIZE:]
        except OSError:
            continue
        lines += data.decode(errors="replace").splitlines()
    return "".join(f"{line}\n" for line in lines[-count:])
