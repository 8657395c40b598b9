"""Whole answers of the local port to requests for itself, with all that keeps them from other pages. The connection closes after each."""

from __future__ import annotations

import http

#: For what is no page: it loads nothing, and nothing shows it.
NOTHING = b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
#: For pages of ours. They are made of files beside them and of what the port answers, and of nothing else.
PAGE = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    b"frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
JSON = "application/json"

_OWN_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Ropeway</title>
<h1>This is Ropeway's proxy port</h1>
<p>It is not a website. Enter this host and port as the SOCKS5 or HTTP proxy of your browser or chat app.</p>
</html>
"""

_PRIVATE = (
    (b"Cache-Control", b"no-store"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Referrer-Policy", b"no-referrer"),
    (b"Cross-Origin-Opener-Policy", b"same-origin"),
    (b"Cross-Origin-Resource-Policy", b"same-origin"),
    (b"Connection", b"close"),
)


def answer(
    status: int,
    content_type: str = "",
    content: bytes = b"",
    *,
    policy: bytes = NOTHING,
    extra: tuple[tuple[bytes, bytes], ...] = (),
    head: bool = False,
) -> bytes:
    """Without a type there is no content. `head`: to HEAD, so without the content."""
    fields = [(b"Content-Security-Policy", policy), *extra]
    if content_type:
        fields += [(b"Content-Type", content_type.encode()), (b"Content-Length", str(len(content)).encode())]
    return _head(status, fields) + (b"" if head else content)


def without_content(answer: bytes) -> bytes:
    """The same answer to HEAD: its fields say what GET would get (RFC 9110, section 9.3.2)."""
    head, end, _ = answer.partition(b"\r\n\r\n")
    return head + end


def endless(content_type: str) -> bytes:
    """The head of an answer whose content goes on until the connection closes (RFC 9112, section 6.3)."""
    return _head(200, [(b"Content-Security-Policy", NOTHING), (b"Content-Type", content_type.encode())])


def _head(status: int, fields: list[tuple[bytes, bytes]]) -> bytes:
    line = f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\n".encode()
    return line + b"".join(b"%s: %s\r\n" % field for field in (*_PRIVATE, *fields)) + b"\r\n"


def own_page(*, head: bool = False) -> bytes:
    """To the user, who asks for what there is not: it says what is here."""
    return answer(400, "text/html; charset=utf-8", _OWN_PAGE.encode(), head=head)
