"""Whole answers that say what went wrong, after which the connection closes: to apps, to browsers, and to who is not to learn who answers."""

from __future__ import annotations

import http
from typing import TYPE_CHECKING

from .error_page import POLICY, error_page, wants_page
from .http_proxy import NamelessError, StatusError

if TYPE_CHECKING:
    import h11

    from .http_proxy import Fields


def _answer(status: int, content_type: str, content: str, extra: Fields, *, head: bool) -> bytes:
    body = content.encode()
    fields: Fields = [
        (b"Content-Type", f"{content_type}; charset=utf-8".encode()),
        (b"Content-Length", str(len(body)).encode()),
        (b"X-Content-Type-Options", b"nosniff"),
        (b"Connection", b"close"),
        *extra,
    ]
    line = f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\n".encode()
    return line + b"".join(b"%s: %s\r\n" % item for item in fields) + b"\r\n" + (b"" if head else body)


def error_answer(status: int, text: str, *, head: bool = False, page: bool = False) -> bytes:
    """A whole answer that says why, after which the connection closes. `head`: to HEAD, so without the body. `page`: to a browser that wants a
    page; for all others it is plain text.
    """
    extra: Fields = [(b"Proxy-Authenticate", b'Basic realm="Ropeway", charset="UTF-8"')] if status == 407 else []
    extra.append((b"Cache-Control", b"no-store"))  # it is not the site's, and may be over in a moment
    if page:
        extra += [(b"Content-Security-Policy", POLICY), (b"Referrer-Policy", b"no-referrer")]
        return _answer(status, "text/html", error_page(status, text), extra, head=head)
    content = f"{status} {http.HTTPStatus(status).phrase}\n\nRopeway: {text}\n"
    return _answer(status, "text/plain", content, extra, head=head)


def fault_answer(fault: StatusError, *, head: bool, page: bool) -> bytes:
    """What the client is told of the fault; as `error_answer`."""
    if isinstance(fault, NamelessError):
        return nameless_answer(fault.status)
    return error_answer(fault.status, str(fault), head=head, page=page)


def nameless_answer(status: int = 400) -> bytes:
    """To who asks the port for something and is not to learn what it is: byte for byte what any server says that is written in Go (net/http), as
    many a proxy is. A web page may read it, by a name that its author makes lead here.
    """
    words = f"{status} {http.HTTPStatus(status).phrase}"
    return f"HTTP/1.1 {words}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n{words}".encode()


def accepts_page(request: h11.Request) -> bool:
    """Whether it comes from a browser that wants to show what it is answered: no CONNECT, whose answers are shown nowhere."""
    return request.method != b"CONNECT" and any(
        wants_page(value) for name, value in request.headers if name == b"accept"
    )
