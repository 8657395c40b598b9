"""A request to the dashboard's interface, parsed at the door."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeVar
from urllib.parse import parse_qsl, unquote

import h11
import trio

from .protocol.http_proxy import StatusError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .protocol.http_proxy import Connection

NO_CONNECTION = "there is no such connection; it may have closed"

# Our choices.
MOST_CONTENT = 65_536  # bytes
READ_LIMIT = 10.0  # seconds until the content has to be there; it comes from this computer
_MOST_FIELDS = 16  # of a query
_CHUNK = 65_536
_MOST_DIGITS = 19
_BEARER = re.compile(rb"(?i:bearer) +([!-~]+)")


_Handler = TypeVar("_Handler")


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """`path` has what stands between the slashes, decoded. `token` is empty where there is none, or more than one. HEAD is told as GET: it asks for
    the same answer, without the content.
    """

    method: str
    path: tuple[str, ...]
    query: dict[str, str]
    token: str

    @classmethod
    def of(cls, request: h11.Request) -> Self:
        """Raises StatusError (400)."""
        path, _, query = request.target.decode("ascii", "replace").partition("?")
        given = [value for name, value in request.headers if name == b"authorization"]
        bearer = _BEARER.fullmatch(given[0]) if len(given) == 1 else None
        try:
            fields = dict(parse_qsl(query, max_num_fields=_MOST_FIELDS))
        except ValueError:
            raise StatusError(400, "the query has too many fields") from None
        return cls(
            "GET" if request.method == b"HEAD" else request.method.decode("ascii"),
            tuple(map(unquote, path.strip("/").split("/"))),
            fields,
            bearer[1].decode("ascii") if bearer else "",
        )

    def number(self, name: str, default: int, most: int) -> int:
        """A field of the query. Raises StatusError (400)."""
        text = self.query.get(name, str(default))
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise StatusError(400, f"{name} is a number")
        return min(int(text), most)


def find(
    routes: Mapping[tuple[str, ...], Mapping[str, _Handler]], path: tuple[str, ...], method: str
) -> tuple[_Handler, list[str]]:
    """What handles the method at this path, where "*" stands for a name in a route, and the names. Raises LookupError, or StatusError (405)."""
    for pattern, methods in routes.items():
        if len(pattern) == len(path) and all(part in ("*", given) for part, given in zip(pattern, path, strict=True)):
            if method not in methods:
                raise StatusError(405, f"this can be asked with {' and '.join(methods)}")
            return methods[method], [given for part, given in zip(pattern, path, strict=True) if part == "*"]
    raise LookupError("there is nothing at this path; docs/api.md and docs/clash-api.md have those that there are")


def id_of(text: str) -> int:
    """Of a connection. Raises LookupError where that is none."""
    if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS:
        return int(text)
    raise LookupError(NO_CONNECTION)


async def read_content(stream: trio.abc.ReceiveStream, http: Connection) -> bytes:
    """All of the request's content. Raises StatusError (400, 408 or 413), and BrokenResourceError where the client went away."""
    content = bytearray()
    with trio.move_on_after(READ_LIMIT):
        while not isinstance(event := http.next_event(), h11.EndOfMessage | h11.ConnectionClosed):
            if event is h11.NEED_DATA:
                http.receive_data(bytes(await stream.receive_some(_CHUNK)))
            elif isinstance(event, h11.Data):
                content += event.data
                if len(content) > MOST_CONTENT:
                    raise StatusError(413, f"a request has at most {MOST_CONTENT // 1024} KB of content")
        return bytes(content)
    raise StatusError(408, "the content did not come in time")
