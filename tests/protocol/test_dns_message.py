"""Messages that dnspython made and reads, and what is no message at all."""

from __future__ import annotations

import struct

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.protocol.dns_answer import read_answer
from proxy.protocol.dns_message import (
    BLOCKED,
    LONGEST_QUERY,
    MOST_SIZE,
    Answer,
    Framing,
    MessageError,
    Query,
    address_answer,
    failure,
    framed,
    is_truncated,
    number_of,
    read_query,
    render,
    write_query,
)
from tests.resolvers import question, reply

LIMIT = 65_535


def query_of(message: dns.message.Message) -> Query:
    query = read_query(message.to_wire())
    assert isinstance(query, Query)
    return query


def asked(name: str = "www.example", rdtype: str = "A", **options: object) -> Query:
    return query_of(dns.message.make_query(name, rdtype, **options))  # type: ignore[arg-type]


def answered(*lines: str, authority: str = "", rdtype: str = "A", rcode: dns.rcode.Rcode = dns.rcode.NOERROR) -> Answer:
    """What is made of a resolver's answer to the question for www.example."""
    query = dns.message.from_wire(write_query(7, question(rdtype=rdtype)))
    return read_answer(
        reply(query, *lines, authority=authority, rcode=rcode).to_wire(max_size=65_535), question(rdtype=rdtype)
    )


def rendered(query: Query, answer: Answer, age: float = 0, limit: int = LIMIT) -> dns.message.Message:
    return dns.message.from_wire(render(query, answer, age, limit))


class TestQuery:
    def test_the_question_and_its_flags(self) -> None:
        query = asked("WWW.Example", "HTTPS", want_dnssec=True, payload=1400, id=77, flags=dns.flags.RD | dns.flags.CD)
        assert query == Query(
            77, question("www.example", "HTTPS", dnssec=True, unchecked=True), b"\3WWW\7Example\0", True, True, 1400
        )
        assert query.question.labels == (b"www", b"example")

    def test_without_edns(self) -> None:
        query = asked(use_edns=False)
        assert (query.edns, query.size, query.question.dnssec) == (False, 512, False)

    @pytest.mark.parametrize(("said", "taken"), [(0, 512), (512, 512), (65_535, MOST_SIZE)])
    def test_sizes_that_nobody_means(self, said: int, taken: int) -> None:
        assert asked(use_edns=0, payload=said).size == taken

    @pytest.mark.parametrize("wire", [b"", b"x" * 11, reply(dns.message.make_query("a.example", "A", id=7)).to_wire()])
    def test_no_answer_is_due(self, wire: bytes) -> None:
        assert read_query(wire) is None

    @pytest.mark.parametrize("opcode", range(1, 16))
    def test_operations_other_than_questions(self, opcode: int) -> None:
        wire = bytearray(dns.message.make_query("a.example", "A").to_wire())
        wire[2] |= opcode << 3
        refused = read_query(bytes(wire))
        assert isinstance(refused, bytes)
        assert refused[:2] == wire[:2]
        assert refused[2] >> 3 & 15 == opcode
        assert refused[2] & 0x80
        assert refused[3] & 15 == dns.rcode.NOTIMP

    @pytest.mark.parametrize(
        ("rdtype", "rdclass", "rcode"),
        [
            ("ANY", "IN", dns.rcode.NOTIMP),
            ("AXFR", "IN", dns.rcode.REFUSED),
            ("IXFR", "IN", dns.rcode.REFUSED),
            ("OPT", "IN", dns.rcode.REFUSED),
            ("TKEY", "IN", dns.rcode.REFUSED),
            ("TXT", "CH", dns.rcode.REFUSED),
            ("A", "ANY", dns.rcode.REFUSED),
        ],
    )
    def test_types_and_classes_that_are_not_told(self, rdtype: str, rdclass: str, rcode: dns.rcode.Rcode) -> None:
        query = dns.message.make_query("version.bind", "A", rdclass)
        query.question[0].rdtype = dns.rdatatype.from_text(rdtype)
        refused = read_query(query.to_wire())
        assert isinstance(refused, bytes)
        answer = dns.message.from_wire(refused)
        assert (answer.rcode(), answer.id) == (rcode, query.id)
        assert not answer.answer

    def test_an_edns_of_tomorrow(self) -> None:
        refused = read_query(dns.message.make_query("a.example", "A", use_edns=1).to_wire())
        assert isinstance(refused, bytes)
        answer = dns.message.from_wire(refused)
        assert (answer.rcode(), answer.edns) == (dns.rcode.BADVERS, 0)

    @pytest.mark.parametrize(
        "wire",
        [
            struct.pack("!6H", 5, 0x0100, 0, 0, 0, 0),
            struct.pack("!6H", 5, 0x0100, 2, 0, 0, 0) + 2 * b"\1a\0\0\1\0\1",
            struct.pack("!6H", 5, 0x0100, 1, 0, 0, 0) + b"\1a\0\0\1",
            struct.pack("!6H", 5, 0x0100, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1",
            struct.pack("!6H", 5, 0x0100, 1, 0, 0, 0) + b"\1a\0\0\1\0\1and more",
            struct.pack("!6H", 5, 0x0100, 1, 0, 0, 2) + b"\1a\0\0\1\0\1" + 2 * b"\0\0\x29\4\0\0\0\0\0\0\0",
            struct.pack("!6H", 5, 0x0100, 1, 0, 0, 0) + b"\1a\0\0\1\0\1" + bytes(LONGEST_QUERY),
        ],
    )
    def test_malformed(self, wire: bytes) -> None:
        refused = read_query(wire)
        assert isinstance(refused, bytes)
        answer = dns.message.from_wire(refused)
        assert (answer.id, answer.rcode()) == (5, dns.rcode.FORMERR)

    @given(st.binary(max_size=100), st.data())
    def test_mutated(self, junk: bytes, data: st.DataObject) -> None:
        wire = dns.message.make_query(
            "www.example.com",
            "A",
            use_edns=0,
            options=[dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"12345678")],
        ).to_wire()
        at = data.draw(st.integers(0, len(wire)))
        until = data.draw(st.integers(at, len(wire)))
        result = read_query(wire[:at] + junk + wire[until:])
        assert result is None or isinstance(result, (bytes, Query))
        if isinstance(result, Query):
            assert number_of(render(result, failure(), 0, 512)) == result.number

    @given(st.binary(min_size=12, max_size=64))
    def test_noise(self, noise: bytes) -> None:
        head = struct.pack("!6H", 1, 0x0100, 1, 0, 0, noise[0] % 3)
        result = read_query(head + noise)
        assert isinstance(result, (bytes, Query))


class TestRender:
    def test_an_answer_in_the_spelling_of_the_app(self) -> None:
        query = asked("wWw.eXample", id=99)
        message = rendered(query, answered("www.example. 60 IN A 203.0.113.5"))
        assert message.id == 99
        assert message.to_wire()[12:25] == b"\3wWw\7eXample\0"
        assert str(message.answer[0]) == "wWw.eXample. 60 IN A 203.0.113.5"
        assert message.flags == dns.flags.QR | dns.flags.RD | dns.flags.RA
        assert message.edns == -1

    def test_lives_are_shorter_by_the_age(self) -> None:
        lines = ("www.example. 60 IN CNAME host.example.", "host.example. 20 IN A 203.0.113.5")
        answer = answered(*lines)
        assert answer.life == 20
        message = rendered(asked(), answer, age=7.9)
        assert [rrset.ttl for rrset in message.answer] == [53, 13]

    def test_flags_come_back(self) -> None:
        query = asked(want_dnssec=True, flags=dns.flags.CD)
        message = rendered(query, answered("www.example. 60 IN A 203.0.113.5"))
        assert message.flags == dns.flags.QR | dns.flags.RA | dns.flags.CD
        assert message.ednsflags & dns.flags.DO

    def test_a_resolver_cannot_say_for_us_that_it_is_authentic(self) -> None:
        query = dns.message.from_wire(write_query(7, question()))
        said = reply(query, "www.example. 60 IN A 203.0.113.5")
        said.flags |= dns.flags.AD | dns.flags.AA
        message = rendered(asked(), read_answer(said.to_wire(), question()))
        assert not message.flags & (dns.flags.AD | dns.flags.AA)

    def test_what_is_too_long_says_so(self) -> None:
        answer = answered(*(f"www.example. 60 IN A 203.0.113.{i}" for i in range(100)))
        query = asked(use_edns=0, payload=1232)
        message = rendered(query, answer, limit=query.size)
        assert message.flags & dns.flags.TC
        assert not message.answer
        assert message.edns == 0
        whole = rendered(query, answer, limit=LIMIT)
        assert len(whole.answer[0]) == 100
        assert not whole.flags & dns.flags.TC
        size = len(render(query, answer, 0, LIMIT))
        assert not is_truncated(render(query, answer, 0, size))
        assert is_truncated(render(query, answer, 0, size - 1))

    def test_why(self) -> None:
        refused = Answer(dns.rcode.NXDOMAIN, why=BLOCKED)
        (option,) = rendered(asked(use_edns=0), refused).options
        assert isinstance(option, dns.edns.EDEOption)
        assert option.code == dns.edns.EDECode.BLOCKED
        assert rendered(asked(use_edns=False), refused).edns == -1

    @pytest.mark.parametrize(
        ("packed", "rdtype", "text"), [(b"\x7f\0\0\1", "A", "127.0.0.1"), (bytes(15) + b"\1", "AAAA", "::1")]
    )
    def test_an_address(self, packed: bytes, rdtype: str, text: str) -> None:
        message = rendered(asked(rdtype=rdtype), address_answer(packed, 9), age=2)
        assert str(message.answer[0]) == f"www.example. 7 IN {rdtype} {text}"


class TestWrite:
    def test_what_is_asked_tells_nothing_more(self) -> None:
        wire = write_query(3, question(dnssec=True, unchecked=True))
        query = dns.message.from_wire(wire)
        assert query.id == 3
        assert query.flags == dns.flags.RD | dns.flags.CD
        assert (query.edns, query.ednsflags, query.options) == (0, dns.flags.DO, ())
        plain = dns.message.from_wire(write_query(3, question(), edns=False))
        assert plain.edns == -1


class TestFraming:
    @given(st.lists(st.binary(max_size=300), max_size=5), st.integers(1, 50))
    def test_in_pieces(self, messages: list[bytes], size: int) -> None:
        data, framing, found = b"".join(map(framed, messages)), Framing(), []
        for at in range(0, len(data), size):
            found += framing.receive_data(data[at : at + size])
        assert found == messages

    def test_too_long(self) -> None:
        framing = Framing(100)
        assert framing.receive_data(framed(bytes(100))) == [bytes(100)]
        with pytest.raises(MessageError):
            framing.receive_data(b"\0\x65")


@pytest.mark.parametrize(("wire", "number"), [(b"", None), (b"\1\2\0" + bytes(9), None), (b"\1\2\x80" + bytes(9), 258)])
def test_which_query_it_answers(wire: bytes, number: int | None) -> None:
    assert number_of(wire) == number
