"""Answers in plain HTTP: a portal's, a server's own redirect, and what is no HTTP."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.portal import PlainAnswer, read_date_field, read_plain, request


@pytest.mark.parametrize(
    ("data", "portal"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: http://login.hotel.example/?a=b\r\n\r\n", True),
        (b"HTTP/1.0 307 X\r\nlocation:https://10.0.0.1:8080/\r\n\r\n", True),
        (b"HTTP/1.1 511 Network Authentication Required\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\n\r\n<meta http-equiv='refresh' content='0; url=http://x/'>", True),
        (b"HTTP/1.1 301 Moved\r\nLocation: https://exit.example/\r\n\r\n", False),
        (b"HTTP/1.1 301 Moved\r\nLocation: /start\r\n\r\n", False),
        (b"HTTP/1.1 400 Bad Request\r\nLocation: http://x.example/\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", False),
    ],
)
def test_who_stands_in_the_way(data: bytes, portal: bool) -> None:
    answer = read_plain(data)
    assert answer is not None
    assert answer.is_portal("exit.example") is portal


def test_what_is_no_http() -> None:
    for data in (b"", b"SSH-2.0-x", b"\x15\x03\x01\x00\x02\x02\x16", b"HTTP/2 200"):
        assert read_plain(data) is None


def test_what_is_shown_to_people_is_a_host_and_nothing_else() -> None:
    assert read_plain(b"HTTP/1.1 302 F\r\nLocation: http://a\x1b[2J/\r\n\r\n") == PlainAnswer(302)
    assert read_plain(b"HTTP/1.1 302 F\r\nLocation: http://u:p@Login.Example:80/x\r\n\r\n") == PlainAnswer(
        302, "login.example"
    )


def test_the_date() -> None:
    assert read_date_field(b"HTTP/1.1 200 OK\r\nDATE:  now \r\n\r\nDate: never") == "now"
    assert read_date_field(b"HTTP/1.1 200 OK\r\n\r\nDate: never\r\n") == ""


@given(st.binary() | st.builds(b"HTTP/1.1 302 F\r\nLocation: ".__add__, st.binary()))
def test_anything_can_be_read(data: bytes) -> None:
    answer = read_plain(data)
    read_date_field(data)
    assert answer is None or answer.leads_to.isprintable()


def test_the_question_says_where_it_goes_and_nothing_of_who_asks() -> None:
    assert request("exit.example").splitlines()[:2] == [b"GET / HTTP/1.1", b"Host: exit.example"]
    assert b"opeway" not in request("exit.example")
