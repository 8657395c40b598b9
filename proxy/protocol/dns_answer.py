"""What resolvers answer (RFC 1035, section 4.1). Records are handed on as they came: apps know kinds of data that we need not know."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dns.rcode import Rcode
from dns.rdatatype import RdataType

from .dns_message import Answer, MessageError, Question

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEADER = struct.Struct("!6H")
_RECORD = struct.Struct("!HHIH")  # type, class, life, size of the data
_LIFE_AT = 4
_IN = 1
_QR, _OPCODE, _RCODE = 0x8000, 0x7800, 15

# How long answers live, in seconds.
LONGEST_LIFE = 86_400  # our choice; RFC 8767, section 4, advises a bound
LONGEST_NEGATIVE = 900  # our choice; RFC 2308, section 5, advises one to three hours at most
FAILURE_LIFE = 5  # RFC 2308, section 7.1, and RFC 9520, section 3.2: one second to five minutes
_FOREVER = 2**31 - 1  # RFC 2181, section 8: more than that means nothing

#: Where a server has nothing more to say, these come without the question.
_FAILURES = {Rcode.FORMERR, Rcode.SERVFAIL, Rcode.NOTIMP, Rcode.REFUSED}


@dataclass(frozen=True, slots=True)
class _Record:
    begin: int
    rdtype: int
    life_at: int
    life: int
    end: int


def read_answer(wire: bytes, question: Question) -> Answer:
    """Raises MessageError where it is no answer to the question, or cannot be read."""
    try:
        return _read(wire, question)
    except (struct.error, IndexError):
        raise MessageError("it is cut off") from None


def _read(wire: bytes, question: Question) -> Answer:
    _, flags, questions, *counts = _HEADER.unpack_from(wire)
    if not flags & _QR or flags & _OPCODE:
        raise MessageError("not an answer")
    if not questions and flags & _RCODE in _FAILURES:
        return Answer(flags & _RCODE, life=FAILURE_LIFE)
    asked = question.name + struct.pack("!2H", question.rdtype, _IN)
    begin = _HEADER.size + len(asked)
    # In whatever spelling; only a name has letters that matter: the numbers after it are compared as they are.
    if questions != 1 or wire[_HEADER.size : begin - 4].lower() + wire[begin - 4 : begin] != asked:
        raise MessageError("another question")
    records = _records(wire, begin)
    sections = _Sections(*([next(records) for _ in range(count)] for count in counts))
    if (rcode := sections.rcode(flags & _RCODE)) not in (Rcode.NOERROR, Rcode.NXDOMAIN):
        return Answer(rcode, life=FAILURE_LIFE)
    return _answer(wire, begin, rcode, question, sections)


def _records(wire: bytes, at: int) -> Iterator[_Record]:
    """One after the other, as long as they are asked for."""
    while True:
        begin = at
        while 0 < wire[at] < 0x40:
            at += 1 + wire[at]
        if 0x40 <= wire[at] < 0xC0:
            raise MessageError("a label of no known kind")
        at += 2 if wire[at] else 1  # a pointer, or the root
        rdtype, _, life, size = _RECORD.unpack_from(wire, at)
        end = at + _RECORD.size + size
        if end > len(wire):
            raise MessageError("it is cut off")
        yield _Record(begin, rdtype, at + _LIFE_AT, life, end)
        at = end


@dataclass(frozen=True, slots=True)
class _Sections:
    answers: list[_Record]
    authorities: list[_Record]
    additional: list[_Record]

    def rcode(self, low: int) -> int:
        """SERVFAIL for those that concern us, and not who asks: its upper bits are in the option (RFC 6891, section 6.1.3)."""
        high = any(record.rdtype == RdataType.OPT and record.life >> 24 for record in self.additional)
        return Rcode.SERVFAIL if high else low

    def without_options(self) -> _Sections:
        """What is about the message stands last (RFC 6891, RFC 8945); where it does not, nothing needs the rest."""
        kept = self.additional
        while kept and kept[-1].rdtype in _ABOUT_THE_MESSAGE:
            kept = kept[:-1]
        return _Sections(
            self.answers, self.authorities, [] if any(r.rdtype in _ABOUT_THE_MESSAGE for r in kept) else kept
        )


_ABOUT_THE_MESSAGE = {RdataType.OPT, RdataType.TSIG}


def _answer(wire: bytes, begin: int, rcode: int, question: Question, sections: _Sections) -> Answer:
    sections = sections.without_options()
    kept = [*sections.answers, *sections.authorities, *sections.additional]
    body = bytearray(wire[begin : kept[-1].end if kept else begin])
    exists = rcode == Rcode.NOERROR and any(record.rdtype == question.rdtype for record in sections.answers)
    soas = [record for record in sections.authorities if record.rdtype == RdataType.SOA]
    # What does not exist lives as long as the zone's SOA says (RFC 2308, section 5), and not at all without one.
    longest = LONGEST_LIFE if exists else LONGEST_NEGATIVE if soas else 0
    for record in kept:
        life = record.life if record.life <= _FOREVER else 0
        if record in soas:
            life = min(life, int.from_bytes(wire[record.end - 4 : record.end], "big"))  # its last field
        struct.pack_into("!I", body, record.life_at - begin, life)
        longest = min(longest, life)
    counts = (len(sections.answers), len(sections.authorities), len(sections.additional))
    return Answer(rcode, bytes(body), counts, tuple(record.life_at - begin for record in kept), longest)
