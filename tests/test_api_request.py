"""Requests to the dashboard's interface, as they come in."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import h11
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from proxy.api_request import MOST_CONTENT, READ_LIMIT, ApiRequest, find, id_of, read_content
from proxy.protocol.http_proxy import Connection, StatusError

if TYPE_CHECKING:
    from trio.testing import MockClock


def asked(target: bytes, *fields: tuple[bytes, bytes], method: bytes = b"GET") -> ApiRequest:
    return ApiRequest.of(h11.Request(method=method, target=target, headers=[(b"Host", b"x"), *fields]))


def test_paths_and_queries() -> None:
    request = asked(b"/api/v1/exits/%5B2001:db8::1%5D:443/use?most=5&x=%20", method=b"POST")
    assert request.method == "POST"
    assert request.path == ("api", "v1", "exits", "[2001:db8::1]:443", "use")
    assert request.query == {"most": "5", "x": " "}
    assert request.number("most", 1, 100) == 5
    assert request.number("most", 1, 3) == 3
    assert request.number("other", 7, 100) == 7
    assert asked(b"/api/v1/exits/a%2Fb/use").path[3] == "a/b"
    with pytest.raises(StatusError, match="x is a number"):
        request.number("x", 1, 1)


ROUTES = {("rules",): {"GET": 1}, ("exits", "*"): {"GET": 2, "PUT": 3}, ("exits", "*", "use"): {"POST": 4}}


def test_routes() -> None:
    assert find(ROUTES, ("rules",), "GET") == (1, [])
    assert find(ROUTES, ("exits", "a/b"), "PUT") == (3, ["a/b"])
    assert find(ROUTES, ("exits", "*", "use"), "POST") == (4, ["*"])
    with pytest.raises(StatusError, match="GET and PUT") as caught:
        find(ROUTES, ("exits", "a"), "DELETE")
    assert caught.value.status == 405


@given(st.lists(st.sampled_from(["rules", "exits", "use", "*", ""]), max_size=4).map(tuple))
def test_any_path_has_a_route_or_none(path: tuple[str, ...]) -> None:
    try:
        number, names = find(ROUTES, path, "GET")
    except (LookupError, StatusError):
        return
    assert (number, len(names)) in ((1, 0), (2, 1))


def test_ids_of_connections() -> None:
    assert id_of("7") == 7
    for text in ("", "x", "-7", "7.0", "²", "٣", "9" * 20):
        with pytest.raises(LookupError, match="no such connection"):
            id_of(text)


@pytest.mark.parametrize(
    ("values", "token"),
    [
        ([b"Bearer abc"], "abc"),
        ([b"bearer  abc"], "abc"),
        ([b"Bearer"], ""),
        ([b"Bearer a b"], ""),
        ([b"Basic abc"], ""),
        ([], ""),
        ([b"Bearer abc", b"Bearer abc"], ""),
    ],
)
def test_the_token(values: list[bytes], token: str) -> None:
    assert asked(b"/", *((b"Authorization", value) for value in values)).token == token


@given(st.text(alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=80))
def test_any_target_is_parsed_or_refused(text: str) -> None:
    with suppress(StatusError):  # too many fields of a query
        assert asked(b"/" + text.encode()).path


class Pieces(trio.abc.ReceiveStream):
    """Gives one after the other, and then nothing."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if not self._pieces:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        return self._pieces.pop(0)

    async def aclose(self) -> None:
        raise AssertionError("it is not to be closed")


async def content_of(head: bytes, *pieces: bytes) -> bytes:
    http = Connection(h11.SERVER, head)
    assert isinstance(http.next_event(), h11.Request)
    return await read_content(Pieces(*pieces), http)


HEAD = b"PUT / HTTP/1.1\r\nHost: x\r\n"


async def test_content_is_read_whole_and_byte_by_byte() -> None:
    length, chunked = HEAD + b"Content-Length: 5\r\n\r\n", HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    assert await content_of(length + b"hello") == b"hello"
    assert await content_of(length, *(b"%c" % byte for byte in b"hello")) == b"hello"
    assert await content_of(chunked, *(b"%c" % byte for byte in b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")) == b"hello"
    assert await content_of(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == b""


async def test_content_has_a_bound() -> None:
    most = HEAD + b"Content-Length: %d\r\n\r\n"
    assert len(await content_of(most % MOST_CONTENT, bytes(MOST_CONTENT))) == MOST_CONTENT
    with pytest.raises(StatusError, match="64 KB") as caught:
        await content_of(most % (MOST_CONTENT + 1), bytes(MOST_CONTENT + 1))
    assert caught.value.status == 413


async def test_content_has_a_time_limit(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    with pytest.raises(StatusError) as caught:
        await content_of(HEAD + b"Content-Length: 5\r\n\r\n", b"hell")
    assert caught.value.status == 408
    assert trio.current_time() - began == pytest.approx(READ_LIMIT)


async def test_content_that_cannot_be_read() -> None:
    with pytest.raises(StatusError) as caught:
        await content_of(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"x\r\n")
    assert caught.value.status == 400
