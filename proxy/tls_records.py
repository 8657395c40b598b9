"""The records of a TLS connection, on their way from the transport to the library (RFC 8446, section 5)."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The plaintext of one TLS record (RFC 8446, section 5.1). No read of either library returns more, and both allocate what is asked for.
RECORD_SIZE = 16_384
# A record of application data as TLS 1.3 has it, and by how much it may be longer than its plaintext (RFC 8446, section 5.2).
_RECORD, _VERSION, _RECORD_HEADER, _RECORD_GROWTH = b"\x17\x03\x03", 0x0303, struct.Struct("!BHH"), 256
_LONGEST_RECORD = _RECORD_HEADER.size + RECORD_SIZE + _RECORD_GROWTH


class Arrived:
    """What the transport brought and the library was not given yet.

    utls moves all that it was given each time that it reads a record, and takes long to say that it wants more, so it gets one record at a time.
    The standard library is fastest with everything at once.
    """

    __slots__ = ("_at", "_begun", "_data", "by_record")

    def __init__(self, *, by_record: bool) -> None:
        self.by_record = by_record
        self._begun = b""  # of a record whose rest is in what came next
        self._data = b""
        self._at = 0

    def add(self, data: bytes) -> None:
        begun = self.take_all()
        if begun and _end_of_record(begun, 0) != 0:  # it is more than the beginning of one, or none at all
            begun, data = b"", begun + data
        self._begun, self._data = begun, data

    def take_all(self) -> bytes:
        rest = self._data[self._at :]
        data = self._begun + rest if self._begun else rest
        self._begun = self._data = b""
        self._at = 0
        return data

    def take(self) -> tuple[bytes, float]:
        """What the library gets next, empty where more has to come, and how many records that is: infinitely many where nobody has looked.

        By record this is a whole one, or everything where no record begins.
        """
        if not self.by_record:
            return self.take_all(), math.inf
        for record in self.records():
            return record, 1
        data = self.take_all()
        if _end_of_record(data, 0) is None:
            return data, 1
        self._data = data
        return b"", 0

    def records(self) -> Iterator[bytes]:
        """Whole ones, each taken as it is given out, up to what is none, or not whole."""
        data, begun = self._data, len(self._begun)
        if begun:  # not all is put together, but as much as one record may be
            first = self._begun + data[:_LONGEST_RECORD]
            end = _end_of_record(first, 0)
            if not end:
                return
            self._begun, self._at = b"", end - begun
            yield first[:end]
        at = self._at
        while (end := _end_of_record(data, at)) is not None and end > at:
            self._at = end
            yield data[at:end]
            at = end


def _end_of_record(data: bytes, at: int) -> int | None:
    """Where the record ends that begins there: there where more has to come, and None where no record begins."""
    rest = len(data) - at
    if rest < _RECORD_HEADER.size:
        return at if _RECORD.startswith(data[at : at + len(_RECORD)]) else None
    kind, version, size = _RECORD_HEADER.unpack_from(data, at)
    if kind != _RECORD[0] or version != _VERSION or size > RECORD_SIZE + _RECORD_GROWTH:
        return None
    size += _RECORD_HEADER.size
    return at + size if rest >= size else at
