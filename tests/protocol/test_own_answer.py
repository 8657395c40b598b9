"""Answers of the local port to requests for itself."""

from __future__ import annotations

import h11
import pytest

from proxy.protocol import own_answer
from tests.protocol.test_http_proxy import events, waiting_for_an_answer


@pytest.mark.parametrize("status", [200, 204, 400, 401, 404, 405, 408, 409, 413, 426, 503])
def test_answers_are_whole_and_for_nobody_else(status: int) -> None:
    content_type, content = ("", b"") if status == 204 else (own_answer.JSON, b"{}")
    response, *rest = events(waiting_for_an_answer(), [own_answer.answer(status, content_type, content)])
    assert isinstance(response, h11.Response)
    assert response.status_code == status
    assert b"".join(bytes(event.data) for event in rest if isinstance(event, h11.Data)) == content
    fields = dict(response.headers)
    assert fields[b"cache-control"] == b"no-store"
    assert fields[b"x-content-type-options"] == b"nosniff"
    assert fields[b"referrer-policy"] == b"no-referrer"
    assert fields[b"cross-origin-opener-policy"] == b"same-origin"
    assert fields[b"cross-origin-resource-policy"] == b"same-origin"
    assert fields[b"content-security-policy"].startswith(b"default-src 'none'")
    assert b"frame-ancestors 'none'" in fields[b"content-security-policy"]
    assert not any(name.startswith(b"access-control") for name in fields)
    assert (b"content-length" in fields) == (status != 204)


def test_a_page_loads_nothing_from_elsewhere() -> None:
    answer = own_answer.answer(200, "text/html", b"x", policy=own_answer.PAGE, extra=((b"Allow", b"GET"),))
    policy = (
        b"Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        b"connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'\r\n"
    )
    assert policy in answer
    assert b"Allow: GET\r\n" in answer
    assert own_answer.answer(200, "text/html", b"x", head=True).endswith(b"Content-Length: 1\r\n\r\n")


def test_the_page_that_says_what_is_here() -> None:
    response, body, _ = events(waiting_for_an_answer(), [own_answer.own_page()])
    assert isinstance(response, h11.Response)
    assert isinstance(body, h11.Data)
    assert response.status_code == 400
    assert b"This is Ropeway's proxy port" in body.data
    assert own_answer.own_page(head=True).endswith(b"\r\n\r\n")


def test_an_answer_that_goes_on_ends_with_the_connection() -> None:
    answer = own_answer.endless(own_answer.JSON) + b"{}\n"
    response, *rest = events(waiting_for_an_answer(), [answer, b'{"a":1}\n', b""])
    assert isinstance(response, h11.Response)
    assert b"".join(bytes(event.data) for event in rest if isinstance(event, h11.Data)) == b'{}\n{"a":1}\n'
    assert isinstance(rest[-1], h11.EndOfMessage)
    assert not {b"content-length", b"transfer-encoding"} & set(dict(response.headers))


@pytest.mark.parametrize("content", [b"", b"{}", b"x\r\n\r\ny" * 1000])
def test_an_answer_to_head_is_the_same_without_the_content(content: bytes) -> None:
    whole = own_answer.answer(200, own_answer.JSON, content)
    head = own_answer.without_content(whole)
    assert whole == head + content
    response, end = events(waiting_for_an_answer(b"HEAD"), [head])
    assert isinstance(response, h11.Response)
    assert dict(response.headers)[b"content-length"] == b"%d" % len(content)
    assert isinstance(end, h11.EndOfMessage)
    nothing = own_answer.answer(204)
    assert own_answer.without_content(nothing) == nothing
