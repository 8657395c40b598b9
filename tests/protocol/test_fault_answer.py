"""Answers that say what went wrong, read by a client of another author."""

from __future__ import annotations

import h11
import pytest

from proxy.protocol import fault_answer


def read(answer: bytes) -> tuple[h11.Response, bytes]:
    """With all that there is."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=b"GET", target=b"/", headers=[(b"Host", b"a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(answer)
    client.receive_data(b"")
    response, content = client.next_event(), b""
    assert isinstance(response, h11.Response)
    while isinstance(event := client.next_event(), h11.Data):
        content += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    return response, content


@pytest.mark.parametrize("status", [400, 403, 407, 431, 502, 503, 504, 505])
def test_error_answers_are_whole_and_say_why(status: int) -> None:
    response, content = read(fault_answer.error_answer(status, "the reason <b>"))
    assert response.status_code == status
    assert b"the reason <b>" in content
    fields = dict(response.headers)
    assert fields[b"content-type"].startswith(b"text/plain")
    assert fields[b"connection"] == b"close"
    assert (b"proxy-authenticate" in fields) == (status == 407)


def test_answers_to_head_have_no_body() -> None:
    answer = fault_answer.error_answer(502, "x", head=True)
    assert answer.endswith(b"\r\n\r\n")
    assert b"Content-Length: 0" not in answer


def test_what_others_get_says_nothing_of_us() -> None:
    for status, words in ((400, b"400 Bad Request"), (431, b"431 Request Header Fields Too Large")):
        response, content = read(fault_answer.nameless_answer(status))
        assert (response.status_code, content) == (status, words)
        assert b"opeway" not in fault_answer.nameless_answer(status)


def test_a_browser_gets_a_page_that_nothing_can_be_put_into() -> None:
    response, content = read(fault_answer.error_answer(502, "the reason <b>", page=True))
    fields = dict(response.headers)
    assert fields[b"content-type"] == b"text/html; charset=utf-8"
    assert b"default-src 'none'" in fields[b"content-security-policy"]
    assert (fields[b"cache-control"], fields[b"x-content-type-options"]) == (b"no-store", b"nosniff")
    assert b"The reason &lt;b&gt;." in content


@pytest.mark.parametrize(("method", "page"), [(b"GET", True), (b"POST", True), (b"CONNECT", False)])
def test_a_tunnel_that_fails_shows_no_page(method: bytes, page: bool) -> None:
    target = b"a:443" if method == b"CONNECT" else b"http://a/"
    fields = [(b"Host", b"a"), (b"Accept", b"text/html")]
    assert fault_answer.accepts_page(h11.Request(method=method, target=target, headers=fields)) is page
    assert not fault_answer.accepts_page(h11.Request(method=method, target=target, headers=fields[:1]))
