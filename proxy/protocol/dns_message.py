"""DNS messages (RFC 1035, RFC 6891): what apps ask, what is asked for them, and what they are answered.

Nothing of an app's message goes further but the question and two flags: what else may stand in it (cookies, names in other
sections, the spelling) says something about who asks, or is a name that nobody judged.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import dns.exception
import dns.message
import dns.name
from dns.rcode import Rcode
from dns.rdatatype import RdataType

_HEADER = struct.Struct("!6H")
_IN = 1
_OPT = 41  # RFC 6891, section 6.1.1
_QR, _TC, _RD, _RA, _CD, _DO = 0x8000, 0x0200, 0x0100, 0x0080, 0x0010, 0x8000
_OPCODE = 0x7800

#: RFC 1035, section 4.2.1: what an app takes over UDP that says nothing else.
LEAST_SIZE = 512
#: What we take over UDP: the flag day of 2020, so that no fragments are needed.
OUR_SIZE = 1232
#: Our choice: an answer over UDP is never longer, whatever an app says. There are no fragments on loopback.
MOST_SIZE = 4096
#: Our choice: a question takes 300 bytes at most, and what apps add to it is short.
LONGEST_QUERY = 4096
_LONGEST = 65_535  # over TCP (RFC 1035, section 4.2.2)

# RFC 8914, section 4.
BLOCKED, NO_AUTHORITY, NETWORK_ERROR = 15, 22, 23

#: Names cannot be transferred or changed here, and these are no types of records (RFC 6895, section 3.1).
_META = {RdataType.OPT, *(number for number in range(128, 256) if number != RdataType.ANY)}


class MessageError(ValueError):
    """What came is no answer to the question."""


@dataclass(frozen=True, slots=True)
class Question:
    """`name` is in wire form and in lower case; the class is IN. `dnssec` is the flag DO, `unchecked` is CD."""

    name: bytes
    rdtype: int
    dnssec: bool = False
    unchecked: bool = False

    @property
    def labels(self) -> tuple[bytes, ...]:
        """Without the root."""
        found, at = [], 0
        while size := self.name[at]:
            found.append(self.name[at + 1 : at + 1 + size])
            at += 1 + size
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Query:
    """A question as an app put it. `size` is the longest answer that it takes over UDP."""

    number: int
    question: Question
    spelling: bytes
    recursion: bool
    edns: bool
    size: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What follows the question: `body` has so many records in each section, with the lives at `lives`. It may be kept for `life` seconds.

    `why` is the code of RFC 8914 for people who look, where there is one.
    """

    rcode: int
    body: bytes = b""
    counts: tuple[int, int, int] = (0, 0, 0)
    lives: tuple[int, ...] = ()
    life: int = 0
    why: int | None = None

    @property
    def good(self) -> bool:
        """Whether no other resolver would know better."""
        return self.rcode in (Rcode.NOERROR, Rcode.NXDOMAIN)


def failure(why: int | None = None, *, life: int = 0) -> Answer:
    return Answer(Rcode.SERVFAIL, why=why, life=life)


# ---- what apps say


def read_query(wire: bytes) -> Query | bytes | None:
    """The query; or what to answer where it asks for nothing that is told here; or None where no answer is due."""
    if len(wire) < _HEADER.size:
        return None
    number, flags, questions, *_ = _HEADER.unpack_from(wire)
    if flags & _QR:  # an answer: to answer it might never end
        return None
    if flags & _OPCODE:
        return _bare(number, flags, Rcode.NOTIMP)
    if questions != 1 or len(wire) > LONGEST_QUERY:
        return _bare(number, flags, Rcode.FORMERR)
    try:
        message = dns.message.from_wire(wire, keyring=False)
    except (dns.exception.DNSException, ValueError):
        return _bare(number, flags, Rcode.FORMERR)
    return _judged(_query(message), message.edns, message.question[0].rdclass)


def _query(message: dns.message.Message) -> Query:
    asked = message.question[0]
    spelling = _wire(asked.name)
    edns = message.edns >= 0
    question = Question(
        spelling.lower(),  # a length is less than 64, and no letter
        int(asked.rdtype),
        edns and bool(message.ednsflags & _DO),
        bool(message.flags & _CD),
    )
    size = min(max(message.payload, LEAST_SIZE), MOST_SIZE) if edns else LEAST_SIZE
    return Query(message.id, question, spelling, bool(message.flags & _RD), edns, size)


def _judged(query: Query, version: int, rdclass: int) -> Query | bytes:
    if version > 0:
        return render(query, Answer(16), 0, MOST_SIZE)  # BADVERS: RFC 6891, section 6.1.3
    if query.question.rdtype == RdataType.ANY:  # RFC 8482: few servers answer it, and nothing honest needs it
        return render(query, Answer(Rcode.NOTIMP), 0, MOST_SIZE)
    if rdclass != _IN or query.question.rdtype in _META:
        return render(query, Answer(Rcode.REFUSED), 0, MOST_SIZE)
    return query


def _bare(number: int, flags: int, rcode: int) -> bytes:
    return _HEADER.pack(number, _QR | flags & (_OPCODE | _RD) | _RA | rcode, 0, 0, 0, 0)


# ---- what apps are answered


def render(query: Query, answer: Answer, age: float, limit: int) -> bytes:
    """The answer as it is `age` seconds after it came: the lives of its records are shorter by that. Beyond the limit it says so (TC)."""
    body = bytearray(answer.body)
    for at in answer.lives:
        (life,) = struct.unpack_from("!I", body, at)
        struct.pack_into("!I", body, at, max(life - int(age), 0))
    option = _option(query, answer)
    whole = _message(query, answer, answer.counts, bytes(body), option)
    return whole if len(whole) <= limit else _message(query, answer, None, b"", option)


def _message(query: Query, answer: Answer, counts: tuple[int, int, int] | None, body: bytes, option: bytes) -> bytes:
    # Never AD: nobody here has checked a signature. RFC 6840, section 5.8, wants it only from who has.
    flags = _QR | _RA | answer.rcode & 15
    flags |= query.recursion * _RD | query.question.unchecked * _CD | (counts is None) * _TC
    answers, authorities, additional = counts or (0, 0, 0)
    head = _HEADER.pack(query.number, flags, 1, answers, authorities, additional + bool(option))
    return head + query.spelling + struct.pack("!2H", query.question.rdtype, _IN) + body + option


def _option(query: Query, answer: Answer) -> bytes:
    """RFC 6891, section 6.1.2, and in it the reason (RFC 8914, section 2)."""
    if not query.edns:
        return b""
    reason = b"" if answer.why is None else struct.pack("!3H", 15, 2, answer.why)
    return _record(answer.rcode >> 4, query.question.dnssec * _DO, reason)


def _record(extended: int, flags: int, data: bytes) -> bytes:
    return struct.pack("!BHHBBHH", 0, _OPT, OUR_SIZE, extended, 0, flags, len(data)) + data


def address_answer(packed: bytes, life: int) -> Answer:
    """One address for the name that was asked for, of the type that was asked for."""
    rdtype = RdataType.A if len(packed) == 4 else RdataType.AAAA
    body = struct.pack("!3HIH", 0xC000 | _HEADER.size, rdtype, _IN, life, len(packed)) + packed
    return Answer(Rcode.NOERROR, body, (1, 0, 0), (6,), life)


# ---- what resolvers are asked, and what they say


def write_query(number: int, question: Question, *, edns: bool = True) -> bytes:
    """What is asked for an app: nothing but the question and its flags."""
    flags = _RD | question.unchecked * _CD
    option = _record(0, question.dnssec * _DO, b"") if edns else b""
    head = _HEADER.pack(number, flags, 1, 0, 0, int(edns))
    return head + question.name + struct.pack("!2H", question.rdtype, _IN) + option


def number_of(wire: bytes) -> int | None:
    """Which query it may be the answer to; None where it is no answer."""
    if len(wire) < _HEADER.size or not wire[2] & _QR >> 8:
        return None
    return int.from_bytes(wire[:2], "big")


def is_truncated(wire: bytes) -> bool:
    return bool(wire[2] & _TC >> 8)


def _wire(name: dns.name.Name) -> bytes:
    wire = name.to_wire()
    assert wire is not None  # it is None where a file is given to write to
    return wire


# ---- over TCP


class Framing:
    """Cuts messages out of a stream (RFC 1035, section 4.2.2)."""

    def __init__(self, longest: int = _LONGEST) -> None:
        self._longest = longest
        self._data = bytearray()

    def receive_data(self, data: bytes | bytearray) -> list[bytes]:
        """The messages that are whole now. Raises MessageError where one is longer than it may be."""
        self._data += data
        found, at = [], 0
        while len(self._data) >= at + 2:
            size = int.from_bytes(self._data[at : at + 2], "big")
            if size > self._longest:
                raise MessageError(f"a message of {size} bytes")
            if len(self._data) < at + 2 + size:
                break
            found.append(bytes(self._data[at + 2 : at + 2 + size]))
            at += 2 + size
        del self._data[:at]
        return found


def framed(wire: bytes) -> bytes:
    return len(wire).to_bytes(2, "big") + wire
