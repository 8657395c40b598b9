"""Answers of resolvers, as dnspython writes them, and what comes of them for an app."""

from __future__ import annotations

import struct

import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.protocol.dns_answer import FAILURE_LIFE, LONGEST_LIFE, LONGEST_NEGATIVE, read_answer
from proxy.protocol.dns_message import MessageError, render, write_query
from tests.protocol.test_dns_message import answered, asked, rendered
from tests.resolvers import SOA, question, reply


class TestAnswer:
    @pytest.mark.parametrize(
        ("lines", "authority", "rcode", "life"),
        [
            (["www.example. 60 IN A 1.2.3.4"], "", dns.rcode.NOERROR, 60),
            (["www.example. 0 IN A 1.2.3.4"], "", dns.rcode.NOERROR, 0),
            (["www.example. 999999 IN A 1.2.3.4"], "", dns.rcode.NOERROR, LONGEST_LIFE),
            (["www.example. 60 IN A 1.2.3.4"], "example. 30 IN NS ns.example.", dns.rcode.NOERROR, 30),
            ([], SOA, dns.rcode.NXDOMAIN, 60),
            ([], SOA, dns.rcode.NOERROR, 60),
            ([], "example. 7 IN SOA ns.example. post.example. 1 7200 3600 86400 60", dns.rcode.NOERROR, 7),
            ([], "example. 9000 IN SOA a. b. 1 7200 3600 86400 9000", dns.rcode.NXDOMAIN, LONGEST_NEGATIVE),
            ([], "", dns.rcode.NXDOMAIN, 0),
            ([], "example. 300 IN NS ns.example.", dns.rcode.NOERROR, 0),
            (["www.example. 20 IN CNAME x.example."], SOA, dns.rcode.NOERROR, 20),
            (["www.example. 20 IN CNAME x.example."], "", dns.rcode.NOERROR, 0),
            ([], "", dns.rcode.SERVFAIL, FAILURE_LIFE),
            ([], "", dns.rcode.REFUSED, FAILURE_LIFE),
        ],
    )
    def test_how_long_it_lives(self, lines: list[str], authority: str, rcode: dns.rcode.Rcode, life: int) -> None:
        answer = answered(*lines, authority=authority, rcode=rcode)
        assert (answer.life, answer.rcode) == (life, rcode)
        assert answer.good is (rcode in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN))

    def test_a_negative_answer_lives_no_longer_at_the_app(self) -> None:
        """The zone says 60 seconds, and its SOA lives for 300: RFC 2308, section 5."""
        message = rendered(asked(), answered(authority=SOA, rcode=dns.rcode.NXDOMAIN), age=10)
        assert message.authority[0].ttl == 50

    def test_a_life_without_sense_is_none(self) -> None:
        wire = bytearray(answered_wire := reply_wire("www.example. 60 IN A 1.2.3.4"))
        at = answered_wire.index(struct.pack("!I", 60))
        wire[at] = 0x80
        assert read_answer(bytes(wire), question()).life == 0

    def test_https_records_come_through_as_they_are(self) -> None:
        line = 'www.example. 60 IN HTTPS 1 . alpn="h3,h2" ech="AAj+DQAEAAECAw==" key777="x"'
        message = rendered(asked(rdtype="HTTPS"), answered(line, rdtype="HTTPS"))
        assert message.answer[0] == reply(dns.message.make_query("www.example", "HTTPS"), line).answer[0]

    def test_unknown_types_come_through(self) -> None:
        line = r"www.example. 60 IN TYPE65280 \# 3 010203"
        message = rendered(asked(rdtype="TYPE65280"), answered(line, rdtype="TYPE65280"))
        assert message.answer[0][0].to_generic().data == b"\1\2\3"

    def test_other_failures_are_told_as_one(self) -> None:
        assert answered(rcode=dns.rcode.BADVERS).rcode == dns.rcode.SERVFAIL

    def test_a_failure_may_come_without_the_question(self) -> None:
        assert read_answer(struct.pack("!6H", 7, 0x8181, 0, 0, 0, 0), question()).rcode == dns.rcode.FORMERR

    @pytest.mark.parametrize(
        "wire",
        [
            b"",
            struct.pack("!6H", 7, 0x8180, 0, 0, 0, 0),
            write_query(7, question()),
            reply(dns.message.make_query("other.example", "A", id=7), "other.example. 60 IN A 1.2.3.4").to_wire(),
            reply(dns.message.make_query("www.example", "AAAA", id=7)).to_wire(),
            reply(dns.message.make_query("www.example", "A", "CH", id=7)).to_wire(),
            reply(dns.message.make_query("www.example", "A", id=7)).to_wire()[:-1],
        ],
    )
    def test_what_is_no_answer(self, wire: bytes) -> None:
        with pytest.raises(MessageError):
            read_answer(wire, question())

    @given(st.binary(max_size=40), st.data())
    def test_mutated(self, junk: bytes, data: st.DataObject) -> None:
        wire = reply_wire("www.example. 60 IN CNAME host.example.", "host.example. 20 IN A 1.2.3.4", authority=SOA)
        at = data.draw(st.integers(0, len(wire)))
        until = data.draw(st.integers(at, min(len(wire), at + 40)))
        try:
            answer = read_answer(wire[:at] + junk + wire[until:], question())
        except MessageError:
            return
        # What it says of names and data is for the app to read; ours is that it is whole, and changes nowhere but in its lives.
        again = render(asked(id=1), answer, 3, 65_535)
        assert dns.message.from_wire(again, question_only=True).question[0].to_text() == "www.example. IN A"
        changed = [at for at, (one, other) in enumerate(zip(again[29:], answer.body, strict=False)) if one != other]
        assert all(any(life <= at < life + 4 for life in answer.lives) for at in changed)


def reply_wire(*lines: str, authority: str = "") -> bytes:
    query = dns.message.from_wire(write_query(7, question()))
    return reply(query, *lines, authority=authority).to_wire()
