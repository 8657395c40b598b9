"""What a visitor sees: the built-in page, a folder, and another server byte for byte."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import proxy.website
from proxy.errors import OpenError, Reason
from proxy.website import (
    BODY_LIMIT,
    BODY_TIMEOUT,
    HEAD_LIMIT,
    HEAD_TIMEOUT,
    IDLE_TIMEOUT,
    LINGER,
    WRITE_TIMEOUT,
    folder,
    page,
    server,
)

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

    from proxy.address import Address
    from proxy.website import Website

GET = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"


class OneWhole(trio.abc.Stream):
    """A stream that ends as a whole only, as one of TLS does."""

    def __init__(self, inner: trio.abc.HalfCloseableStream) -> None:
        self.inner = inner
        self.truncated = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self.inner.receive_some(max_bytes)
        if not data and self.truncated:
            raise trio.BrokenResourceError("no close_notify")
        return data

    async def aclose(self) -> None:
        await self.inner.aclose()


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def parse(data: bytes, *, head: bool = False) -> list[Answer]:
    """Every answer in `data`, which must hold nothing else."""
    source, answers = io.BytesIO(data), []
    while line := source.readline():
        version, status, _reason = line.decode().split(" ", 2)
        assert version == "HTTP/1.1"
        headers: dict[str, str] = {}
        while (field := source.readline()) != b"\r\n":
            assert field.endswith(b"\r\n")
            name, _, value = field.decode().partition(": ")
            assert name.lower() not in headers
            headers[name.lower()] = value.strip()
        size = 0 if head or status == "304" else int(headers["content-length"])
        body = source.read(size)
        assert len(body) == size
        answers.append(Answer(int(status), headers, body))
    return answers


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    return b"".join([bytes(piece) async for piece in stream])


async def visit(site: Website, request: bytes, *, first: int = 0, step: int = 0) -> bytes:
    """All that comes back for the request, whose end the visitor shows; the first bytes are handed over, the others sent."""
    ours, theirs = trio.testing.memory_stream_pair()
    answers: list[bytes] = []

    async def send() -> None:
        rest = request[first:]
        with contextlib.suppress(trio.BrokenResourceError):
            for start in range(0, len(rest), step or max(len(rest), 1)):
                await ours.send_all(rest[start : start + (step or len(rest))])
                await trio.testing.wait_all_tasks_blocked()
            await ours.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        nursery.start_soon(site, OneWhole(theirs), request[:first])
        answers.append(await read_all(ours))
    return answers[0]


async def ask(site: Website, target: str = "/", *fields: str, method: str = "GET") -> Answer:
    lines = [f"{method} {target} HTTP/1.1", "Host: example.com", *fields]
    (answer,) = parse(await visit(site, "\r\n".join([*lines, "", ""]).encode()), head=method == "HEAD")
    return answer


class TestPage:
    async def test_the_page(self) -> None:
        answer = await ask(page())
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["date"].endswith(" GMT")
        assert answer.body.startswith(b"<!doctype html>")
        assert b"<style>" in answer.body

    @pytest.mark.parametrize("target", ["/", "/nothing"])
    async def test_it_gives_nothing_away(self, target: str) -> None:
        said = (await visit(page(), GET.replace(b"/ ", target.encode() + b" "))).lower()
        for word in (b"ropeway", b"proxy", b"tunnel", b"python", b"h11", b"trio", b"\r\nserver:"):
            assert word not in said

    @pytest.mark.parametrize(
        "target", ["/favicon.ico", "/index.html", "/a/", "//a", "/%20", "/?a/../b", "/../", "/a/..%2f.."]
    )
    async def test_other_paths(self, target: str) -> None:
        answer = await ask(page(), target)
        assert answer.status == {"/?a/../b": 200, "/../": 400, "/a/..%2f..": 400}.get(target, 404)

    @pytest.mark.parametrize("target", ["*", "a", "example.com:443", "/%00", "/%ff", "ftp://example.com/"])
    async def test_targets_that_are_no_paths(self, target: str) -> None:
        assert (await ask(page(), target)).status == 400

    @pytest.mark.parametrize("target", ["http://example.com/", "HTTPS://example.com", "http://example.com?x"])
    async def test_absolute_form(self, target: str) -> None:
        assert (await ask(page(), target)).status == 200

    async def test_head(self) -> None:
        got, head = await ask(page()), await ask(page(), method="HEAD")
        assert head.headers | {"date": ""} == got.headers | {"date": ""}
        assert int(head.headers["content-length"]) == len(got.body)
        assert (await ask(page(), "/nothing", method="HEAD")).status == 404

    async def test_not_modified(self) -> None:
        tag = (await ask(page())).headers["etag"]
        answer = await ask(page(), "/", f"If-None-Match: {tag}")
        assert (answer.status, answer.body, "content-length" in answer.headers) == (304, b"", False)
        assert answer.headers["etag"] == tag

    @pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS", "DELETE", "CONNECT", "get", "X"])
    async def test_other_methods(self, method: str) -> None:
        answer = await ask(page(), "example.com:443" if method == "CONNECT" else "/", method=method)
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


def without_dates(data: bytes) -> bytes:
    return b"\r\n".join(line for line in data.split(b"\r\n") if not line.startswith(b"Date: "))


class TestConnections:
    @pytest.mark.parametrize(
        "request_",
        [
            GET,
            b"\x16\x03\x01\x00garbage",
            GET + GET.replace(b"/ ", b"/no "),
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" + GET,
        ],
    )
    async def test_however_it_is_cut(self, request_: bytes) -> None:
        whole = without_dates(await visit(page(), request_))
        assert whole
        assert without_dates(await visit(page(), request_, step=1)) == whole
        for first in range(len(request_) + 1):
            assert without_dates(await visit(page(), request_, first=first)) == whole

    async def test_keep_alive_and_pipelining(self) -> None:
        answers = parse(await visit(page(), GET * 3 + GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + GET))
        assert [answer.status for answer in answers] == [200] * 4
        assert [answer.headers.get("connection") for answer in answers] == [None, None, None, "close"]

    async def test_http_1_0_closes(self) -> None:
        (answer,) = parse(await visit(page(), b"GET / HTTP/1.0\r\n\r\n" * 2))
        assert (answer.status, answer.headers["connection"]) == (200, "close")

    @pytest.mark.parametrize(
        "body",
        [
            b"Content-Length: 0\r\n\r\n",
            b"Content-Length: 5\r\n\r\nhello",
            b"Content-Length: %d\r\n\r\n%b" % (BODY_LIMIT, bytes(BODY_LIMIT)),
            b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ],
    )
    async def test_a_body_is_dropped(self, body: bytes) -> None:
        answers = parse(await visit(page(), b"POST / HTTP/1.1\r\nHost: a\r\n" + body + GET))
        assert [answer.status for answer in answers] == [405, 200]

    async def test_a_body_without_end(self) -> None:
        head = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (1 << 40)
        (answer,) = parse(await visit(page(), head + bytes(2 * BODY_LIMIT)))
        assert (answer.status, answer.headers["connection"]) == (413, "close")

    async def test_a_body_that_waits_for_our_word(self) -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        await ours.send_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
        await page()(OneWhole(theirs), b"")
        (answer,) = parse(await read_all(ours))
        assert (answer.status, answer.headers["connection"]) == (405, "close")

    @pytest.mark.parametrize(
        "garbage",
        [
            b"\x00" * 20,
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"\x05\x01\x00",
            b"hello\r\n\r\n",
            b"GET /\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET / HTTP/3.0\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ],
    )
    async def test_garbage(self, garbage: bytes) -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        await ours.send_all(garbage)
        await page()(OneWhole(theirs), b"")
        (answer,) = parse(await read_all(ours))
        assert (answer.status, answer.headers["connection"]) == (400, "close")

    async def test_another_way_to_send_a_body(self) -> None:
        """h11 knows no encoding but chunked, and says so with a status of its own."""
        (answer,) = parse(await visit(page(), b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"))
        assert answer.status == 501

    @pytest.mark.parametrize("first", [0, 1 << 20])
    @pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
    async def test_a_head_that_is_too_large(self, first: int, end: bytes) -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        head = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: " + b"x" * 2 * HEAD_LIMIT + end
        await ours.send_all(head[first:])
        await page()(OneWhole(theirs), head[:first])
        (answer,) = parse(await read_all(ours))
        assert (answer.status, answer.headers["connection"]) == (431, "close")

    async def test_a_large_head_is_fine(self) -> None:
        (answer,) = parse(await visit(page(), GET.replace(b"\r\n\r\n", b"\r\nCookie: " + b"x" * 30_000 + b"\r\n\r\n")))
        assert answer.status == 200

    @pytest.mark.parametrize(
        "request_", [b"", b"GET / HT", b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"]
    )
    @pytest.mark.parametrize("truncated", [False, True])
    async def test_a_visitor_that_goes_in_the_middle(self, request_: bytes, truncated: bool) -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        visitor = OneWhole(theirs)
        visitor.truncated = truncated
        await ours.send_all(request_)
        await ours.send_eof()
        await page()(visitor, b"")
        assert await read_all(ours) == b""

    async def test_a_visitor_that_has_gone_when_it_is_answered(self) -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        await ours.aclose()
        await page()(OneWhole(theirs), GET)
        with pytest.raises(trio.ClosedResourceError):
            await theirs.receive_some()

    async def test_a_bug_comes_out_and_the_stream_is_closed(self) -> None:
        class Wrong(OneWhole):
            async def send_all(self, data: bytes | bytearray | memoryview) -> None:
                raise ZeroDivisionError

        ours, theirs = trio.testing.memory_stream_pair()
        with pytest.raises(ZeroDivisionError):
            await page()(Wrong(theirs), GET)
        assert await read_all(ours) == b""

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    async def test_mutated_requests_are_answered_or_ended(self, data: st.DataObject) -> None:
        request = bytearray(
            GET + b"POST /a?b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + GET
        )
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(request) - 1))
            request[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        first = data.draw(st.integers(0, len(request)))
        answer = await visit(
            page(), bytes(request), first=first, step=data.draw(st.sampled_from([0, 1, 7, 50])) * (len(request) < 200)
        )
        assert answer == b"" or answer.startswith(b"HTTP/1.1 ")


class TestTimes:
    """In virtual time; the page needs no thread, so nothing real goes on meanwhile."""

    async def visit_until_closed(self, *parts: tuple[float, bytes]) -> tuple[float, bytes]:
        """Sends each part after its delay; when the other side closed, and all that it said."""
        ours, theirs = trio.testing.memory_stream_pair()
        begun = trio.current_time()

        async def send() -> None:
            with contextlib.suppress(trio.BrokenResourceError):
                for delay, part in parts:
                    await trio.sleep(delay)
                    await ours.send_all(part)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(page(), OneWhole(theirs), b"")
            nursery.start_soon(send)
            answer = await read_all(ours)
            nursery.cancel_scope.cancel()
        return trio.current_time() - begun, answer

    async def test_silence(self, autojump_clock: MockClock) -> None:
        assert await self.visit_until_closed() == (HEAD_TIMEOUT, b"")

    async def test_a_slow_head(self, autojump_clock: MockClock) -> None:
        drops = [(10.0, GET[number : number + 1]) for number in range(10)]
        took, said = await self.visit_until_closed(*drops)
        (answer,) = parse(said)
        assert (took, answer.status, answer.headers["connection"]) == (10 + HEAD_TIMEOUT, 408, "close")

    async def test_idle(self, autojump_clock: MockClock) -> None:
        took, said = await self.visit_until_closed((5, GET), (70, GET), (70, GET))
        assert took == 145 + IDLE_TIMEOUT
        assert [answer.status for answer in parse(said)] == [200] * 3

    async def test_a_slow_body(self, autojump_clock: MockClock) -> None:
        head = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
        took, said = await self.visit_until_closed((5, head), *[(20, b"x")] * 8)
        (answer,) = parse(said)
        assert (took, answer.status) == (5 + BODY_TIMEOUT, 408)

    async def test_a_visitor_that_does_not_read(self, autojump_clock: MockClock) -> None:
        _ours, theirs = trio.testing.lockstep_stream_pair()
        begun = trio.current_time()
        await page()(OneWhole(theirs), GET)
        assert trio.current_time() - begun == WRITE_TIMEOUT


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret.txt").write_bytes(b"secret")
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "index.html").write_bytes(b"secret")
    site = tmp_path / "site"
    for name, content in {
        "index.html": b"<h1>home</h1>",
        "a.txt": b"0123456789",
        "empty": b"",
        "style.css": b"p {}",
        "b.tar.gz": b"gz",
        "my file.txt": b"space",
        "grüße.txt": b"umlaut",
        "sub/index.html": b"sub",
        "no-index/x": b"x",
        ".hidden": b"secret",
        ".git/config": b"secret",
        ".well-known/security.txt": b"contact",
    }.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(content)
    (site / "inside").symlink_to("a.txt")
    (site / "outside").symlink_to(tmp_path / "secret.txt")
    (site / "up").symlink_to("..")
    (site / "beside").symlink_to(tmp_path / "beside")
    (site / "loop").symlink_to("loop")
    (site / "leak").mkdir()
    (site / "leak" / "index.html").symlink_to(tmp_path / "secret.txt")
    if sys.platform != "win32":
        os.mkfifo(site / "pipe")
    os.utime(site / "a.txt", (1_000_000_000, 1_000_000_000))
    return site


class TestFolder:
    @pytest.mark.parametrize(
        ("target", "kind", "body"),
        [
            ("/", "text/html", b"<h1>home</h1>"),
            ("/index.html", "text/html", b"<h1>home</h1>"),
            ("/a.txt", "text/plain", b"0123456789"),
            ("/a.txt?version=2", "text/plain", b"0123456789"),
            ("//a.txt", "text/plain", b"0123456789"),
            ("/./sub/../a.txt", "text/plain", b"0123456789"),
            ("/empty", "application/octet-stream", b""),
            ("/style.css", "text/css", b"p {}"),
            ("/b.tar.gz", "application/gzip", b"gz"),
            ("/my%20file.txt", "text/plain", b"space"),
            ("/gr%C3%BC%C3%9Fe.txt", "text/plain", b"umlaut"),
            ("/sub/", "text/html", b"sub"),
            ("/sub/.", "text/html", b"sub"),
            ("/sub/..", "text/html", b"<h1>home</h1>"),
            ("/inside", "text/plain", b"0123456789"),
            ("/.well-known/security.txt", "text/plain", b"contact"),
            ("http://other.example/a.txt", "text/plain", b"0123456789"),
        ],
    )
    async def test_files(self, target: str, kind: str, body: bytes, root: Path) -> None:
        answer = await ask(folder(root), target)
        assert (answer.status, answer.body) == (200, body)
        assert answer.headers["content-type"] == kind
        head = await ask(folder(root), target, method="HEAD")
        assert head.headers | {"date": ""} == answer.headers | {"date": ""}

    @pytest.mark.parametrize(
        "target",
        [
            "/nothing",
            "/a.txt/",
            "/a.txt/index.html",
            "/no-index/",
            "/outside",
            "/up/secret.txt",
            "/up/",
            "/up",
            "/beside/",
            "/beside/index.html",
            "/leak/",
            "/leak/index.html",
            "/loop",
            "/pipe",
            "/.hidden",
            "/.git/config",
            "/%2ehidden",
            "/sub/%2e%2e/.git/config",
            "/..%5csecret.txt",
            "/" + "x" * 5000,
            "/C:/secret.txt",
        ],
    )
    async def test_what_is_not_there(self, target: str, root: Path) -> None:
        answer = await ask(folder(root), target)
        assert answer.status == 404
        assert b"secret" not in answer.body

    @pytest.mark.parametrize(
        "target",
        ["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/sub/../../secret.txt", "/%00", "/a.txt%00.html"],
    )
    async def test_ways_out(self, target: str, root: Path) -> None:
        assert (await ask(folder(root), target)).status == 400

    @pytest.mark.parametrize(
        ("target", "location"),
        [("/sub", "/sub/"), ("//sub", "/sub/"), ("/sub/../sub?x", "/sub/"), ("/%2Fsub", "/sub/")],
    )
    async def test_a_directory_without_its_slash(self, target: str, location: str, root: Path) -> None:
        answer = await ask(folder(root), target)
        assert (answer.status, answer.headers["location"]) == (301, location)

    async def test_a_redirect_stays_on_this_host(self, root: Path) -> None:
        (root / "a\r\nX: y").mkdir()
        (root / "evil.example").mkdir()
        assert (await ask(folder(root), "//evil.example")).headers["location"] == "/evil.example/"
        answer = await ask(folder(root), "/a%0d%0aX:%20y")
        assert answer.headers["location"] == "/a%0D%0AX%3A%20y/"

    @pytest.mark.parametrize(
        ("span", "status", "body"),
        [
            ("bytes=0-0", 206, b"0"),
            ("bytes=2-4", 206, b"234"),
            ("bytes=7-", 206, b"789"),
            ("bytes=7-99", 206, b"789"),
            ("bytes=-3", 206, b"789"),
            ("bytes=-99", 206, b"0123456789"),
            ("bytes=10-", 416, None),
            ("bytes=-0", 416, None),
            ("bytes=999999999999999999-", 416, None),
            ("bytes=4-2", 200, b"0123456789"),
            ("bytes=-", 200, b"0123456789"),
            ("bytes=0-1,3-4", 200, b"0123456789"),
            ("bytes=a-b", 200, b"0123456789"),
            ("bytes=" + "9" * 5000 + "-", 200, b"0123456789"),
            ("lines=0-1", 200, b"0123456789"),
        ],
    )
    async def test_ranges(self, span: str, status: int, body: bytes | None, root: Path) -> None:
        answer = await ask(folder(root), "/a.txt", f"Range: {span}")
        assert answer.status == status
        if body is not None:
            assert answer.body == body
        if status == 416:
            assert answer.headers["content-range"] == "bytes */10"
        if status == 206:
            start = b"0123456789".index(answer.body)
            assert answer.headers["content-range"] == f"bytes {start}-{start + len(answer.body) - 1}/10"

    async def test_a_range_of_nothing(self, root: Path) -> None:
        assert (await ask(folder(root), "/empty", "Range: bytes=0-")).status == 416

    async def test_a_range_of_the_file_that_it_was(self, root: Path) -> None:
        site = folder(root)
        known = (await ask(site, "/a.txt")).headers
        for condition, status in [
            (known["etag"], 206),
            (known["last-modified"], 206),
            ('"other"', 200),
            ("Sun, 09 Sep 2001 01:46:41 GMT", 200),
        ]:
            answer = await ask(site, "/a.txt", "Range: bytes=1-2", f"If-Range: {condition}")
            assert answer.status == status

    async def test_a_range_is_for_get(self, root: Path) -> None:
        assert (await ask(folder(root), "/a.txt", "Range: bytes=1-2", method="HEAD")).status == 200

    async def test_not_modified(self, root: Path) -> None:
        site = folder(root)
        known = (await ask(site, "/a.txt")).headers
        assert known["last-modified"] == "Sun, 09 Sep 2001 01:46:40 GMT"
        tag, date = known["etag"], known["last-modified"]
        for fields, status in [
            ([f"If-None-Match: {tag}"], 304),
            ([f'If-None-Match: "x", W/{tag}'], 304),
            (["If-None-Match: *"], 304),
            (['If-None-Match: "x"'], 200),
            ([f"If-Modified-Since: {date}"], 304),
            (["If-Modified-Since: yesterday"], 200),
            (['If-None-Match: "x"', f"If-Modified-Since: {date}"], 200),
        ]:
            answer = await ask(site, "/a.txt", *fields)
            assert answer.status == status, fields
        (root / "a.txt").write_bytes(b"changed")
        assert (await ask(site, "/a.txt", f"If-None-Match: {tag}", f"If-Modified-Since: {date}")).body == b"changed"

    async def test_a_large_file(self, root: Path) -> None:
        content = os.urandom(1_000_003)
        (root / "large").write_bytes(content)
        assert (await ask(folder(root), "/large")).body == content
        assert (await ask(folder(root), "/large", "Range: bytes=70000-900000")).body == content[70000:900001]

    async def test_a_file_that_shrinks_ends_the_connection(self, root: Path) -> None:
        (root / "large").write_bytes(bytes(1_000_000))
        ours, theirs = trio.testing.lockstep_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(folder(root), OneWhole(theirs), GET.replace(b"/ ", b"/large ") + GET)
            said = bytes(await ours.receive_some())
            (root / "large").write_bytes(b"")
            said += await read_all(ours)
        assert b"Content-Length: 1000000" in said
        assert len(said) < 1_000_000

    async def test_no_file_stays_open(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        opened: list[io.IOBase] = []
        real = proxy.website._open_file

        def remembered(*args: object) -> object:
            found = real(*args)  # type: ignore[arg-type]
            opened.append(found.content)  # type: ignore[arg-type]
            return found

        monkeypatch.setattr(proxy.website, "_open_file", remembered)
        site = folder(root)
        tag = (await ask(site, "/a.txt")).headers["etag"]
        for field in (f"If-None-Match: {tag}", "Range: bytes=1-2", "Range: bytes=99-"):
            await ask(site, "/a.txt", field)
        await ask(site, "/a.txt", method="HEAD")
        ours, theirs = trio.testing.memory_stream_pair()
        await ours.aclose()
        await site(OneWhole(theirs), GET.replace(b"/ ", b"/a.txt "))
        assert len(opened) == 6
        assert all(content.closed for content in opened)

    async def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        assert (await ask(folder(tmp_path / "nothing"))).status == 404


class Behind:
    """The server behind, and the dialer that leads to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reachable = True
        self.streams: list[trio.abc.HalfCloseableStream] = []
        monkeypatch.setattr(proxy.website, "Dialer", self.dialer)

    def dialer(self, *, allow_private: bool) -> Behind:
        assert allow_private
        return self

    async def connect(self, address: Address) -> trio.abc.HalfCloseableStream:
        assert str(address) == "127.0.0.1:8080"
        await trio.lowlevel.checkpoint()
        if not self.reachable:
            raise OpenError(Reason.REFUSED)
        ours, theirs = trio.testing.memory_stream_pair()
        self.streams.append(theirs)
        return ours


@pytest.fixture
def behind(monkeypatch: pytest.MonkeyPatch) -> Behind:
    return Behind(monkeypatch)


class Visit:
    """A visitor of `server`, on a stream that closes as a whole unless `half` is set."""

    def __init__(self, nursery: trio.Nursery, first: bytes = b"", *, half: bool = False) -> None:
        self.ours, self.theirs = trio.testing.memory_stream_pair()
        self.stream = OneWhole(self.theirs)
        self.done = trio.Event()
        nursery.start_soon(self._run, self.theirs if half else self.stream, first)

    async def _run(self, stream: trio.abc.Stream, first: bytes) -> None:
        await server("127.0.0.1", 8080)(stream, first)
        self.done.set()


class TestServer:
    async def test_byte_for_byte(self, behind: Behind, nursery: trio.Nursery) -> None:
        everything = bytes(range(256)) * 5000
        visit = Visit(nursery, everything[:1000])
        nursery.start_soon(visit.ours.send_all, everything[1000:])
        await trio.testing.wait_all_tasks_blocked()
        (site,) = behind.streams
        received = b""
        while len(received) < len(everything):
            received += await site.receive_some()
        assert received == everything
        nursery.start_soon(site.send_all, everything)
        received = b""
        while len(received) < len(everything):
            received += await visit.ours.receive_some()
        assert received == everything

    async def test_its_last_word_closes(self, behind: Behind, nursery: trio.Nursery) -> None:
        """A visitor that waits for the end of an answer gets it, though it says no end itself."""
        visit = Visit(nursery, b"GET / HTTP/1.0\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked()
        await behind.streams[0].send_all(b"answer")
        await behind.streams[0].send_eof()
        assert await read_all(visit.ours) == b"answer"
        assert await read_all(behind.streams[0]) == b"GET / HTTP/1.0\r\n\r\n"
        await visit.done.wait()

    @pytest.mark.parametrize("truncated", [False, True])
    async def test_a_visitor_that_has_ended_is_answered(
        self, truncated: bool, behind: Behind, nursery: trio.Nursery
    ) -> None:
        visit = Visit(nursery)
        visit.stream.truncated = truncated
        await visit.ours.send_all(b"request")
        await visit.ours.send_eof()
        await trio.testing.wait_all_tasks_blocked()
        assert await read_all(behind.streams[0]) == b"request"
        await behind.streams[0].send_all(b"answer")
        await behind.streams[0].send_eof()
        assert await read_all(visit.ours) == b"answer"
        await visit.done.wait()

    async def test_half_close_where_there_is_one(
        self, behind: Behind, nursery: trio.Nursery, autojump_clock: MockClock
    ) -> None:
        visit = Visit(nursery, half=True)
        await trio.testing.wait_all_tasks_blocked()
        await behind.streams[0].send_eof()
        assert await read_all(visit.ours) == b""
        await visit.ours.send_all(b"the rest of an upload")  # is not answered with a reset
        assert await behind.streams[0].receive_some() == b"the rest of an upload"
        begun = trio.current_time()
        await visit.done.wait()
        assert trio.current_time() - begun == LINGER

    async def test_a_visitor_that_does_not_read(self, behind: Behind, autojump_clock: MockClock) -> None:
        _ours, theirs = trio.testing.lockstep_stream_pair()
        begun = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server("127.0.0.1", 8080), OneWhole(theirs), b"request")
            await trio.testing.wait_all_tasks_blocked()
            await behind.streams[0].send_all(b"answer")
        assert trio.current_time() - begun == 4 * WRITE_TIMEOUT

    async def test_it_cannot_be_reached(self, behind: Behind, caplog: pytest.LogCaptureFixture) -> None:
        site = server("127.0.0.1", 8080)
        for reachable in (False, False, True, False):
            behind.reachable = reachable
            ours, theirs = trio.testing.memory_stream_pair()
            await ours.send_eof()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(site, OneWhole(theirs), b"GET")
                await trio.testing.wait_all_tasks_blocked()
                for stream in behind.streams:
                    await stream.aclose()
                assert await read_all(ours) == b""
        assert [record.levelname for record in caplog.records] == ["WARNING"] * 2  # for each time that it goes down

    async def test_cancelled_while_it_is_dialled(
        self, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
    ) -> None:
        class Slow(Behind):
            async def connect(self, _address: Address) -> trio.abc.HalfCloseableStream:
                await trio.sleep_forever()
                raise AssertionError

        Slow(monkeypatch)
        ours, theirs = trio.testing.memory_stream_pair()
        with trio.move_on_after(3) as scope:
            await server("127.0.0.1", 8080)(OneWhole(theirs), b"")
        assert scope.cancelled_caught
        assert await read_all(ours) == b""

    def test_what_is_no_address(self) -> None:
        with pytest.raises(ValueError, match="port"):
            server("127.0.0.1", 0)

    async def test_a_real_one(self) -> None:
        """Sockets on loopback: the answer comes whole and the visitor is closed behind it."""

        async def handle(stream: trio.SocketStream) -> None:
            async with stream:
                assert await stream.receive_some() == b"GET / HTTP/1.0\r\n\r\n"
                await stream.send_all(b"x" * 300_000)

        async with trio.open_nursery() as nursery:
            serve = partial(trio.serve_tcp, handle, 0, host="127.0.0.1")
            (listener,) = await nursery.start(serve)
            port = listener.socket.getsockname()[1]
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(server("127.0.0.1", port), OneWhole(theirs), b"GET / HTTP/1.0\r\n\r\n")
            assert await read_all(ours) == b"x" * 300_000
            nursery.cancel_scope.cancel()
