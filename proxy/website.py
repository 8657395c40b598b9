"""What anyone without a key sees at the exit: a page of ours, the files of a folder, or another server byte for byte.

The first two are a plain HTTP/1.1 server. It names no software: a borrowed name would be found out by the order of the fields, and
whoever must look exactly like a certain server puts that server behind the exit.
"""

from __future__ import annotations

import contextlib
import email.utils
import functools
import io
import mimetypes
import re
import time
import urllib.parse
import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

import h11
import trio

from .address import Address
from .dialer import Dialer
from .errors import OpenError
from .relay import relay
from .telemetry import logger

if TYPE_CHECKING:
    from pathlib import Path

#: Serves one visitor from the first byte that it sent, and closes the stream. Raises nothing for what a visitor does.
Website: TypeAlias = Callable[[trio.abc.Stream, bytes], Awaitable[None]]

# Our choices. Times are in seconds, and those of widespread servers where these agree.
IDLE_TIMEOUT = 75.0  # between two requests
HEAD_TIMEOUT = 60.0  # from the first byte of a request to the end of its head
BODY_TIMEOUT = 60.0
WRITE_TIMEOUT = 60.0  # for each chunk
LINGER = 5.0  # for a visitor to close, when the server behind has said its last word
#: Of a request: browsers send 1 to 2 KiB, and 8 KiB when there are many cookies.
HEAD_LIMIT = 32_768
BODY_LIMIT = 1_048_576  # nothing here takes a body: it is read and dropped, so that the connection lives on
CHUNK = 65_536

# What ends a visit without a word; OSError is for a disk that fails in the middle of a file.
_GONE = (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, OSError)
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_ORIGIN = re.compile(r"https?://[^/?#]*", re.IGNORECASE)

_http_date = functools.partial(email.utils.formatdate, usegmt=True)

log = logger("website")


@dataclass(frozen=True, slots=True)
class Representation:
    """What a target stands for (RFC 9110, section 3.2). Whoever holds it closes `content`."""

    content: BinaryIO
    content_type: str
    size: int
    etag: str
    modified: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """A status, its fields, and `length` bytes of `content` from where it stands."""

    status: int
    headers: tuple[tuple[str, str], ...]
    content: BinaryIO = field(default_factory=io.BytesIO)
    length: int = 0


#: Finds what a path stands for, given as `_parts` gives it.
Site: TypeAlias = Callable[[Sequence[str]], Awaitable[Representation | Response]]


# ---- the kinds of website


def page() -> Website:
    """A built-in page, and nothing else."""

    async def find(parts: Sequence[str]) -> Representation | Response:
        await trio.lowlevel.checkpoint()
        if any(parts):
            return _failure(404)
        return Representation(io.BytesIO(_PAGE), "text/html; charset=utf-8", len(_PAGE), f'"{zlib.crc32(_PAGE):x}"')

    return _http(find)


def folder(path: Path) -> Website:
    """The files below `path`. What a symbolic link leads to outside of it, and hidden files, do not exist."""

    async def find(parts: Sequence[str]) -> Representation | Response:
        try:
            return await trio.to_thread.run_sync(_open_file, path, parts)
        except (OSError, RuntimeError):  # RuntimeError: a loop of symbolic links, before Python 3.13
            return _failure(404)

    return _http(find)


def server(host: str, port: int) -> Website:
    """The server at that address: it gets every byte of the visitor, and the visitor every byte of it.

    Where it cannot be reached the visitor's connection is closed. Raises ValueError for what is no address.
    """
    address = Address.make(host, port)
    dialer = Dialer(allow_private=True)
    down = False

    async def serve(stream: trio.abc.Stream, first: bytes) -> None:
        nonlocal down
        with contextlib.suppress(*_GONE):
            async with stream:
                try:
                    behind = await dialer.connect(address)
                except OpenError as exc:
                    if not down:  # once, not for each visitor
                        log.warning("the website's server %s cannot be reached: %s", address, exc)
                    down = True
                else:
                    down = False
                    await relay(_Visitor(stream, first), behind)

    return serve


def _http(site: Site) -> Website:
    async def serve(stream: trio.abc.Stream, first: bytes) -> None:
        visit, idle = _Visit(site, stream, first), HEAD_TIMEOUT
        with contextlib.suppress(*_GONE):
            async with stream:
                while await visit.serve_request(idle):
                    idle = IDLE_TIMEOUT

    return serve


class _Visitor(trio.abc.HalfCloseableStream):
    """A visitor's stream as the server behind would meet it, were nothing in between.

    Without half-close of its own its end is a close: the server that has said its last word would close too. An end of the visitor
    without TLS's close_notify counts as an end: a server that sees one still answers what it was asked.
    """

    def __init__(self, stream: trio.abc.Stream, first: bytes) -> None:
        self._stream = stream
        self._first = first
        self._reading = trio.CancelScope()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._first:
            size = max_bytes or len(self._first)
            data, self._first = self._first[:size], self._first[size:]
            await trio.lowlevel.checkpoint()
            return data
        with trio.CancelScope(deadline=self._reading.deadline) as self._reading, contextlib.suppress(*_GONE):
            return await self._stream.receive_some(max_bytes)
        return b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with trio.move_on_after(4 * WRITE_TIMEOUT) as scope:  # `relay` moves four of our chunks at once
            await self._stream.send_all(data)
        if scope.cancelled_caught:
            raise trio.BrokenResourceError("the visitor has stopped reading")

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        if isinstance(self._stream, trio.abc.HalfCloseableStream):
            self._reading.deadline = trio.current_time() + LINGER
            await self._stream.send_eof()
        else:
            await self._stream.aclose()

    async def aclose(self) -> None:
        await self._stream.aclose()


def _open_file(root: Path, parts: Sequence[str]) -> Representation | Response:
    """Raises OSError or RuntimeError where there is none that may be seen."""
    if any(part.startswith(".") and part != ".well-known" for part in parts):  # RFC 8615
        raise FileNotFoundError
    root = root.resolve(strict=True)
    path = root.joinpath(*parts).resolve(strict=True)
    if path.is_relative_to(root) and path.is_dir():
        if parts[-1]:  # quoted, so that it stays on this host whatever the visitor wrote
            return _failure(301, ("Location", "/" + "".join(urllib.parse.quote(part, safe="") + "/" for part in parts)))
        path = (path / "index.html").resolve(strict=True)
    elif not parts[-1]:
        raise NotADirectoryError
    if not path.is_relative_to(root) or not path.is_file():  # opening a pipe would wait for a writer
        raise FileNotFoundError
    size, modified = path.stat().st_size, path.stat().st_mtime_ns
    kind, encoding = mimetypes.guess_type(path.name)
    if kind is None or encoding is not None:  # it is the compressed file that is asked for, not what is in it
        kind = "application/gzip" if encoding == "gzip" else "application/octet-stream"
    return Representation(path.open("rb"), kind, size, f'"{modified:x}-{size:x}"', _http_date(modified // 10**9))


# ---- HTTP semantics (RFC 9110)


def _failure(status: int, *headers: tuple[str, str]) -> Response:
    """A short page that says no more than the status."""
    line = f"{status} {HTTPStatus(status).phrase}"
    content = f"<!doctype html>\n<title>{line}</title>\n<h1>{line}</h1>\n".encode()
    return Response(status, (*headers, ("Content-Type", "text/html")), io.BytesIO(content), len(content))


def _parts(target: bytes) -> list[str]:
    """The decoded segments of a path, in origin-form or absolute-form; the last one is empty for a directory.

    Raises ValueError where the target is no path, IndexError where it leads out of the site.
    """
    path = _ORIGIN.sub("", target.decode("ascii"), count=1).partition("?")[0] or "/"
    if not path.startswith("/") or "%00" in path:
        raise ValueError("the target is not a path")
    segments = urllib.parse.unquote(path, errors="strict").split("/")
    parts: list[str] = []
    for segment in segments:
        if segment == "..":
            parts.pop()
        elif segment not in ("", "."):
            parts.append(segment)
    return parts if segments[-1] not in ("", ".", "..") else [*parts, ""]


def _select(request: h11.Request, found: Representation) -> Response:
    """Preconditions and ranges (RFC 9110, sections 13 and 14)."""
    fields = {name: value.decode("latin-1") for name, value in request.headers}
    headers = [("ETag", found.etag), *([("Last-Modified", found.modified)] if found.modified else [])]
    if _not_modified(fields, found):
        return Response(304, tuple(headers))
    headers += [("Content-Type", found.content_type), ("Accept-Ranges", "bytes")]
    span = _span(fields, found) if request.method == b"GET" else None
    if span is None:
        return Response(200, tuple(headers), found.content, found.size)
    if not span:
        return _failure(416, ("Content-Range", f"bytes */{found.size}"))
    found.content.seek(span.start)
    headers.append(("Content-Range", f"bytes {span.start}-{span.stop - 1}/{found.size}"))
    return Response(206, tuple(headers), found.content, len(span))


def _not_modified(fields: dict[bytes, str], found: Representation) -> bool:
    """The tag decides where there is one. A date must be the one that we gave: another says nothing about this file's past."""
    tags = fields.get(b"if-none-match")
    if tags is not None:
        return not {"*", found.etag}.isdisjoint(tag.strip().removeprefix("W/") for tag in tags.split(","))
    return bool(found.modified) and fields.get(b"if-modified-since") == found.modified


def _span(fields: dict[bytes, str], found: Representation) -> range | None:
    """What is asked for; empty where there is no such part, None for the whole. Several ranges get the whole (section 14.2)."""
    match = _RANGE.fullmatch(fields.get(b"range", ""))
    if match is None or fields.get(b"if-range", found.etag) not in (found.etag, found.modified):
        return None
    first, last = match.groups()
    if not first:
        return range(max(found.size - int(last), 0), found.size) if last else None
    if last and int(last) < int(first):
        return None
    return range(int(first), min(int(last) + 1, found.size) if last else found.size)


# ---- HTTP connections (RFC 9112)


class _Visit:
    """One connection of a visitor."""

    def __init__(self, site: Site, stream: trio.abc.Stream, first: bytes) -> None:
        self._site = site
        self._stream = stream
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
        if first:  # none would mean the end
            self._http.receive_data(first)

    async def serve_request(self, idle: float) -> bool:
        """Whether the connection goes on. Raises trio's errors of streams, and TooSlowError."""
        request = None
        try:
            request = await self._read_head(idle)
            if request is None:
                return False
            fits = await self._drop_body()
        except h11.RemoteProtocolError as exc:
            if self._http.trailing_data[1]:
                return False  # it has ended: nobody waits for an answer
            response = _failure(exc.error_status_hint)
        else:
            response = await self._answer(request) if fits else _failure(413)
        with response.content:
            await self._send(response, bodyless=request is not None and request.method == b"HEAD")
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            return True
        return False

    async def _read_head(self, idle: float) -> h11.Request | None:
        """None where the visitor has gone, or has not begun. Raises h11.RemoteProtocolError for what cannot be answered otherwise."""
        begun = bool(self._http.trailing_data[0])
        with trio.move_on_after(HEAD_TIMEOUT if begun else idle) as scope:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(bytes(await self._stream.receive_some(CHUNK)))
                if not begun:
                    begun, scope.deadline = True, trio.current_time() + HEAD_TIMEOUT
        if scope.cancelled_caught:
            if begun:
                raise h11.RemoteProtocolError("the head took too long", error_status_hint=408)
            return None
        if not isinstance(event, h11.Request):
            return None
        if event.http_version not in (b"1.0", b"1.1"):  # the preface of HTTP/2 looks like a request
            raise h11.RemoteProtocolError("another version of HTTP")
        if len(event.target) + sum(len(name) + len(value) for name, value in event.headers) > HEAD_LIMIT:
            raise h11.RemoteProtocolError("the head is too large", error_status_hint=431)
        return event

    async def _drop_body(self) -> bool:
        """Whether it is within the limit. A body that waits for our word (`Expect: 100-continue`) stays where it is."""
        size = 0
        with trio.move_on_after(BODY_TIMEOUT):
            while size <= BODY_LIMIT and not self._http.they_are_waiting_for_100_continue:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    self._http.receive_data(bytes(await self._stream.receive_some(CHUNK)))
                elif isinstance(event, h11.Data):
                    size += len(event.data)
                else:
                    return True
            return size <= BODY_LIMIT
        raise h11.RemoteProtocolError("the body took too long", error_status_hint=408)

    async def _answer(self, request: h11.Request) -> Response:
        if request.method not in (b"GET", b"HEAD"):
            return _failure(405, ("Allow", "GET, HEAD"))
        try:
            parts = _parts(request.target)
        except (ValueError, IndexError):
            return _failure(400)
        found = await self._site(parts)
        if isinstance(found, Response):
            return found
        response = _select(request, found)
        if response.content is not found.content:
            found.content.close()
        return response

    async def _send(self, response: Response, *, bodyless: bool) -> None:
        headers = [("Date", _http_date(time.time())), *response.headers]
        if response.status != 304:
            headers.append(("Content-Length", str(response.length)))
        if self._http.their_state is not h11.DONE:  # what comes next cannot be understood, or is not wanted
            headers.append(("Connection", "close"))
        reason = HTTPStatus(response.status).phrase
        data = self._http.send(h11.Response(status_code=response.status, headers=headers, reason=reason)) or b""
        left = 0 if bodyless else response.length
        while left:
            read = functools.partial(response.content.read, min(left, CHUNK))
            chunk = read() if isinstance(response.content, io.BytesIO) else await trio.to_thread.run_sync(read)
            if not chunk:
                return  # the file has shrunk: the connection ends before the announced length
            left -= len(chunk)
            await self._write(data + (self._http.send(h11.Data(data=chunk)) or b""))
            data = b""
        data += self._http.send(h11.EndOfMessage()) or b""
        if data:
            await self._write(data)

    async def _write(self, data: bytes) -> None:
        with trio.fail_after(WRITE_TIMEOUT):
            await self._stream.send_all(data)


_PAGE = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Coming soon</title>
<style>
body { margin: 18vh auto 0; max-width: 34rem; padding: 0 1.5rem; background: #f6f4ef; color: #333; font: 1.1rem/1.6 Georgia, serif }
h1 { font-weight: normal; border-bottom: 1px solid #d8d2c4; padding-bottom: 0.4rem }
</style>
<h1>Coming soon</h1>
<p>These pages are being written. Please look in again in a while.</p>
"""
