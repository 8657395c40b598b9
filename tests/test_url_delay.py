"""How long a URL takes by one way: the URL, what is expected, and everything that an answer may be."""

from __future__ import annotations

import ssl
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trustme
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import memory_stream_pair

from proxy import url_delay
from proxy.errors import OpenError, Reason
from proxy.url_delay import Expected, Url, measure

if TYPE_CHECKING:
    from trio.testing import MockClock

    from proxy.address import Address

ANY = Expected()
PLAIN = Url.parse("http://site.example/generate_204")


@pytest.mark.parametrize(
    ("text", "address", "target", "host"),
    [
        ("http://Site.example", "site.example:80", "/", b"site.example"),
        ("https://site.example/a?b=c#d", "site.example:443", "/a?b=c", b"site.example"),
        ("https://site.example:8443/", "site.example:8443", "/", b"site.example:8443"),
        ("HTTP://[2001:db8::1]:81/x", "[2001:db8::1]:81", "/x", b"[2001:db8::1]:81"),
        ("http://site.example:443/", "site.example:443", "/", b"site.example:443"),
        ("https://site.example:80/", "site.example:80", "/", b"site.example:80"),
    ],
)
def test_a_url(text: str, address: str, target: str, host: bytes) -> None:
    url = Url.parse(text)
    assert (str(url.address), url.target, url.secure) == (address, target, text.startswith("https"))
    request = url.request()
    assert (request.method, request.target, dict(request.headers)[b"host"]) == (b"HEAD", target.encode(), host)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "site.example",
        "ftp://site.example/",
        "file:///etc/passwd",
        "http://",
        "http://user:word@site.example/",
        "http://site.example:0/",
        "http://site.example:port/",
        "http://site.example/a b",
        "http://site.example/é",
        "http://[::1/",
        "http://site.example/" + "x" * 3000,
    ],
)
def test_what_is_no_url(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Url.parse(text)


@given(st.text(alphabet=st.sampled_from("htps:/[]@.?#%\r\n \tax1é"), max_size=30))
def test_any_text_is_a_url_or_none(text: str) -> None:
    try:
        url = Url.parse("http" + text)
    except ValueError:
        return
    assert url.request().target == url.target.encode()  # which h11 would not take with a space or an end of line


def test_what_is_expected() -> None:
    assert Expected.parse("").has(500)
    assert Expected.parse("*").has(404)
    some = Expected.parse("200/204/300-399")
    assert [status for status in (200, 201, 204, 299, 300, 399, 400) if some.has(status)] == [200, 204, 300, 399]
    for wrong in ("x", "200-", "-", "200/", "99", "600", "2000", "200 "):
        with pytest.raises(ValueError, match="expected"):
            Expected.parse(wrong)


class Site:
    """Answers after a second, and keeps what it was asked."""

    def __init__(self, answer: bytes, context: ssl.SSLContext | None = None, size: int = 1000) -> None:
        self.answer = answer
        self.asked = b""
        self.size = size
        self._context = context
        self._nursery: trio.Nursery | None = None

    async def measure(self, url: Url, expected: Expected = ANY) -> float:
        async with trio.open_nursery() as self._nursery:
            seconds = await measure(self.open, url, expected)
            self._nursery.cancel_scope.cancel()
        return seconds

    async def failure(self, url: Url, expected: Expected = ANY) -> str:
        """Why it failed."""
        found = []
        async with trio.open_nursery() as self._nursery:
            try:
                await measure(self.open, url, expected)
            except OpenError as error:
                found.append(str(error))
            self._nursery.cancel_scope.cancel()
        return found[0]

    async def open(self, address: Address) -> trio.abc.HalfCloseableStream:
        assert self._nursery is not None
        ours, theirs = memory_stream_pair()
        stream: trio.abc.Stream = theirs
        if self._context is not None:
            stream = trio.SSLStream(theirs, self._context, server_side=True, https_compatible=True)
        self._nursery.start_soon(self._serve, stream)
        return ours

    async def _serve(self, stream: trio.abc.Stream) -> None:
        try:
            while not self.asked.endswith(b"\r\n\r\n"):
                self.asked += await stream.receive_some()
            await trio.sleep(1)
            for start in range(0, len(self.answer), self.size):
                await stream.send_all(self.answer[start : start + self.size])
            await stream.aclose()
        except trio.BrokenResourceError:
            pass  # it did not like our certificate


@pytest.mark.parametrize("size", [1, 1000])
async def test_the_time_until_the_head_is_there(autojump_clock: MockClock, size: int) -> None:
    site = Site(b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n", size=size)
    assert await site.measure(PLAIN, Expected.parse("204")) == 1
    assert site.asked.startswith(b"HEAD /generate_204 HTTP/1.1\r\nHost: site.example\r\n")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "the connection closed"),
        (b"SSH-2.0-x\r\n\r\n", "no answer came"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "the connection closed"),
        (b"HTTP/1.1 204", "ends too early"),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "has the status 503"),
    ],
)
async def test_what_is_no_answer(autojump_clock: MockClock, answer: bytes, why: str) -> None:
    assert why in await Site(answer).failure(PLAIN, Expected.parse("200-299"))


async def test_a_way_that_does_not_open() -> None:
    async def refused(_address: Address) -> trio.abc.HalfCloseableStream:
        raise OpenError(Reason.REFUSED)

    with pytest.raises(OpenError) as caught:
        await measure(refused, PLAIN, ANY)
    assert caught.value.reason is Reason.REFUSED


async def test_a_stream_whose_exit_never_connected() -> None:
    """It was open at once, and says so only when something is sent."""
    ours, _theirs = memory_stream_pair()

    async def broken() -> None:
        raise trio.BrokenResourceError("reset") from OpenError(Reason.TIMED_OUT)

    ours.send_stream.send_all_hook = broken

    async def opened(_address: Address) -> trio.abc.HalfCloseableStream:
        return ours

    with pytest.raises(OpenError) as caught:
        await measure(opened, PLAIN, ANY)
    assert caught.value.reason is Reason.TIMED_OUT


async def test_over_tls(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    served, known = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("site.example").configure_cert(served)
    site = partial(Site, b"HTTP/1.1 200 OK\r\n\r\n", served)
    assert "verify failed" in await site().failure(Url.parse("https://site.example/"))
    authority.configure_trust(known)
    monkeypatch.setattr(url_delay, "_context", lambda: known)
    assert await site().measure(Url.parse("https://site.example/")) == pytest.approx(1, abs=0.5)
    assert "verify failed" in await site().failure(Url.parse("https://other.example/"))
