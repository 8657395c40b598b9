"""The files of the dashboard: HTML, scripts and styles that a browser gets from the local port."""

from __future__ import annotations

import re
from importlib import resources
from typing import TYPE_CHECKING

import trio

from .forward import answer_and_close
from .own_site import give
from .protocol import http_proxy, own_answer

if TYPE_CHECKING:
    import h11

    from .address import Address

FOLDER = "dashboard"
PREFIX = b"/dashboard/"
_INDEX = "index.html"
#: What a file is called; there are no folders in it.
_NAME = re.compile(rb"[a-z0-9][a-z0-9_-]*\.[a-z]{2,5}")
_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml; charset=utf-8",
    "png": "image/png",
}


async def serve_file(
    request: h11.Request, _place: Address, stream: trio.abc.HalfCloseableStream, _http: http_proxy.Connection
) -> None:
    """ "/" is the page, and what is below "/dashboard/" the files that it is made of."""
    head = request.method == b"HEAD"
    if request.method not in (b"GET", b"HEAD"):
        await answer_and_close(stream, own_answer.answer(405, extra=((b"Allow", b"GET, HEAD"),)))
        return
    path = request.target.partition(b"?")[0]
    name = path.removeprefix(PREFIX) if path != b"/" else _INDEX.encode()
    found = await trio.to_thread.run_sync(_read, name)
    if found is None:
        await answer_and_close(stream, own_answer.own_page(head=head))
        return
    content_type, content = found
    await give(stream, own_answer.answer(200, content_type, content, policy=own_answer.PAGE, head=head))


def _read(name: bytes) -> tuple[str, bytes] | None:
    """What it is, and what is in it; None where there is no such file. They may stand in a zip."""
    if not _NAME.fullmatch(name):
        return None
    text = name.decode("ascii")
    content_type = _TYPES.get(text.rpartition(".")[2])
    if content_type is None:
        return None
    try:
        return content_type, resources.files(__package__).joinpath(FOLDER, text).read_bytes()
    except OSError:
        return None
