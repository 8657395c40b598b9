"""HTTP on the local port, over memory streams: requests passed on, answers brought back, and every way in which that fails."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import h11
import pytest
import trio
from trio.testing import lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from proxy import connections, exchange, forward
from proxy.address import Address
from proxy.connections import Connections
from proxy.errors import OpenError, Reason
from proxy.idleness import IDLE_TEXT
from proxy.opener import Opener, always
from proxy.protocol import fault_answer, http_proxy
from proxy.protocol.budget import Budget
from proxy.protocol.heads import Head, Heads
from proxy.protocol.socks import Credentials
from proxy.relay import abort
from tests.ends import two_ends
from tests.pair import ADDRESS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock


Pair: TypeAlias = Callable[[], tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]]

END = b"\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def get(url: bytes, *fields: bytes, method: bytes = b"GET", version: bytes = b"1.1") -> bytes:
    return b"\r\n".join([b"%s %s HTTP/%s" % (method, url, version), b"Host: x", *fields, b"", b""])


def http() -> http_proxy.Connection:
    return http_proxy.Connection(h11.SERVER)


class Peer:
    """The test's end of a stream, with reads to a mark, so that a test says what it waits for."""

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self.stream = stream
        self._buffer = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def until(self, mark: bytes) -> bytes:
        """What comes in, up to the end of the mark."""
        while mark not in self._buffer:
            data = await self.stream.receive_some()
            assert data, f"the stream ended with {self._buffer!r}, without {mark!r}"
            self._buffer += data
        found, _, self._buffer = self._buffer.partition(mark)
        return found + mark

    async def rest(self) -> bytes:
        """Everything up to the end of the stream."""
        while data := await self.stream.receive_some():
            self._buffer += data
        found, self._buffer = self._buffer, b""
        return found

    async def silent(self) -> bool:
        """Whether nothing comes in, though every task has done what it can. Needs autojump_clock."""
        await wait_all_tasks_blocked()
        assert not self._buffer
        with trio.move_on_after(0.001) as scope:
            self._buffer += await self.stream.receive_some()
        return scope.cancelled_caught


class World:
    """The app's end of a connection, and the sites behind it."""

    def __init__(
        self,
        nursery: trio.Nursery,
        credentials: Credentials | None = None,
        pair: Pair = memory_stream_pair,
        heads: Heads | None = None,
    ) -> None:
        app, self.local = pair()
        self.app = Peer(app)
        self.opened: list[Address] = []
        self.refusal: OpenError | None = None
        self.finished = trio.Event()
        self.connections = Connections()
        self.heads = heads or Heads()
        self.gate = trio.Event()
        self.gate.set()
        self._sites, self._waiting = trio.open_memory_channel[Peer](100)
        nursery.start_soon(self._serve, credentials)

    async def _serve(self, credentials: Credentials | None) -> None:
        opener = Opener(always(self.open), self.connections)
        await forward.serve_http(
            self.local, http(), opener, credentials, deadline=trio.current_time() + 30, heads=self.heads
        )
        self.finished.set()

    async def open(self, address: Address) -> trio.abc.HalfCloseableStream:
        await self.gate.wait()
        if self.refusal is not None:
            raise self.refusal
        ours, theirs = memory_stream_pair()
        self.opened.append(address)
        self._sites.send_nowait(Peer(theirs))
        return ours

    async def site(self) -> Peer:
        """The other end of the stream that was opened next."""
        return await self._waiting.receive()


@pytest.fixture
async def world(nursery: trio.Nursery) -> AsyncIterator[World]:
    world = World(nursery)
    yield world
    nursery.cancel_scope.cancel()


async def test_a_request_and_its_answer(world: World) -> None:
    await world.app.send(get(b"http://a:81/b?c", b"Cookie: d"))
    site = await world.site()
    assert await site.until(END) == b"GET /b?c HTTP/1.1\r\nHost: a:81\r\nCookie: d\r\n\r\n"
    await site.send(OK)
    assert await world.app.until(b"ok") == OK
    assert world.opened == [Address("a", 81)]


async def test_byte_by_byte_in_every_direction(world: World) -> None:
    for byte in get(b"http://a/", b"Content-Length: 3", method=b"PUT") + b"abc":
        await world.app.send(bytes([byte]))
    site = await world.site()
    assert await site.until(b"abc") == b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
    for byte in OK:
        await site.send(bytes([byte]))
    assert await world.app.until(b"ok") == OK


async def test_many_requests_to_the_same_site_use_one_stream_and_another_site_gets_another(world: World) -> None:
    await world.app.send(get(b"http://a/1"))
    first = await world.site()
    for path in (b"/1", b"/2", b"/3"):
        assert (await first.until(END)).startswith(b"GET " + path)
        await first.send(OK)
        assert await world.app.until(b"ok") == OK
        await world.app.send(get(b"http://a/2" if path == b"/1" else b"http://a/3" if path == b"/2" else b"http://b/"))
    second = await world.site()
    assert await first.rest() == b""
    await second.send(OK)
    await world.app.until(b"ok")
    assert world.opened == [Address("a", 80), Address("b", 80)]


async def test_pipelined_requests_are_answered_one_after_the_other(world: World, autojump_clock: MockClock) -> None:
    await world.app.send(
        get(b"http://a/1") + get(b"http://a/2", b"Content-Length: 1", method=b"POST") + b"x" + get(b"http://b/3")
    )
    await world.app.stream.send_eof()
    site = await world.site()
    assert (await site.until(END)).startswith(b"GET /1 ")
    assert await site.silent()
    await site.send(OK)
    assert (await site.until(b"x")).startswith(b"POST /2 ")
    await site.send(OK)
    other = await world.site()
    assert (await other.until(END)).startswith(b"GET /3 ")
    await other.send(OK)
    assert await world.app.rest() == OK * 3


async def test_chunked_bodies_both_ways(world: World) -> None:
    await world.app.send(get(b"http://a/", b"Transfer-Encoding: chunked", method=b"POST") + b"2;x=y\r\nab\r\n")
    site = await world.site()
    assert (await site.until(b"2\r\nab\r\n")).startswith(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    await world.app.send(b"1\r\nc\r\n0\r\nTrailing: x\r\n\r\n")
    assert await site.until(b"0" + END) == b"1\r\nc\r\n0\r\n\r\n"
    await site.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n")
    assert await world.app.until(b"de\r\n") == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n"
    await site.send(b"0\r\n\r\n")
    assert await world.app.until(END) == b"0\r\n\r\n"


async def test_100_continue_reaches_the_client_before_it_sends_the_body(world: World) -> None:
    await world.app.send(get(b"http://a/", b"Expect: 100-continue", b"Content-Length: 4", method=b"POST"))
    site = await world.site()
    assert b"Expect: 100-continue" in await site.until(END)
    await site.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert await world.app.until(END) == b"HTTP/1.1 100 Continue\r\n\r\n"
    await world.app.send(b"body")
    assert await site.until(b"body") == b"body"
    await site.send(OK)
    assert await world.app.until(b"ok") == OK
    await world.app.send(get(b"http://a/"))
    assert await site.until(END)


async def test_an_early_final_answer_is_not_held_up_by_the_request(world: World) -> None:
    await world.app.send(get(b"http://a/", b"Content-Length: 1000000", method=b"POST") + b"some")
    site = await world.site()
    await site.until(b"some")
    await site.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
    assert await world.app.until(b"no") == b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
    await world.app.send(b"more of it")  # is read and dropped: a reset must not overtake the answer
    await world.app.stream.aclose()
    await world.finished.wait()
    assert await site.rest() == b""


async def test_an_answer_is_passed_on_while_the_request_goes_on(world: World) -> None:
    await world.app.send(get(b"http://a/", b"Content-Length: 4", method=b"POST") + b"ab")
    site = await world.site()
    await site.until(b"ab")
    await site.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nAB")
    await world.app.until(b"AB")
    await world.app.send(b"cd")
    await site.until(b"cd")
    await site.send(b"CD")
    assert await world.app.rest() == b"CD"


async def test_a_site_that_stops_reading_the_request_may_still_answer(world: World) -> None:
    await world.app.send(get(b"http://a/", b"Content-Length: 1000000", method=b"POST"))
    site = await world.site()
    await site.until(END)
    assert isinstance(site.stream, trio.StapledStream)
    await site.stream.receive_stream.aclose()
    await world.app.send(b"more")
    await wait_all_tasks_blocked()
    await site.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
    assert (await world.app.until(b"no")).startswith(b"HTTP/1.1 413 Too Large")


async def test_interim_answers_are_passed_on_but_not_to_http_1_0(world: World) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"
    await world.app.send(get(b"http://a/"))
    site = await world.site()
    await site.send(hints + hints + OK)
    assert await world.app.until(b"ok") == hints + hints + OK
    await world.app.send(get(b"http://a/", version=b"1.0"))
    await site.send(hints + OK)
    answer = await world.app.rest()
    assert answer == OK.replace(END, b"\r\nConnection: close\r\n\r\n")


UPGRADE = (b"Connection: Upgrade", b"Upgrade: websocket")


async def test_switching_protocols_relays_what_both_sides_have_sent_ahead(world: World) -> None:
    await world.app.send(get(b"http://a/", *UPGRADE) + b"\x81\n\nahead")
    site = await world.site()
    assert (await site.until(END)).endswith(b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    switching = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    await site.send(switching + b"\x82\n\nahead")
    assert await world.app.until(b"\x82\n\nahead") == switching + b"\x82\n\nahead"
    assert await site.until(b"ahead") == b"\x81\n\nahead"
    await world.app.send(b"ping")
    assert await site.until(b"ping") == b"ping"
    await world.app.stream.send_eof()
    assert await site.rest() == b""
    await site.send(b"last")
    await site.stream.aclose()
    assert await world.app.rest() == b"last"
    await world.finished.wait()


async def test_a_site_may_decline_to_switch(world: World) -> None:
    await world.app.send(get(b"http://a/", *UPGRADE))
    site = await world.site()
    await site.send(OK)
    assert await world.app.until(b"ok") == OK
    await world.app.send(get(b"http://a/2"))
    assert b"GET /2" in await site.until(b"GET /2")


async def test_switching_within_a_request_is_an_error(world: World) -> None:
    await world.app.send(get(b"http://a/", *UPGRADE, b"Content-Length: 5", method=b"POST"))
    site = await world.site()
    await site.until(END)
    await site.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
    assert (await world.app.until(END)).startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize(
    ("method", "head"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n"),
    ],
)
async def test_answers_without_a_body(world: World, method: bytes, head: bytes) -> None:
    await world.app.send(get(b"http://a/", method=method))
    site = await world.site()
    await site.send(head)
    assert await world.app.until(END) == head
    await world.app.send(get(b"http://a/2"))
    await site.until(b"GET /2")
    await site.send(OK)
    assert await world.app.until(b"ok") == OK


async def test_a_server_of_http_1_0_ends_the_body_with_the_connection(world: World) -> None:
    await world.app.send(get(b"http://a/"))
    site = await world.site()
    await site.send(b"HTTP/1.0 200 OK\r\n\r\nbody")
    await world.app.until(b"body\r\n")
    await site.stream.aclose()
    assert await world.app.until(END) == b"0\r\n\r\n"
    await world.app.send(get(b"http://a/2"))  # on the same connection, though the site's has ended
    assert (await (await world.site()).until(END)).startswith(b"GET /2 ")


async def test_a_client_of_http_1_0_gets_the_end_of_the_connection(world: World) -> None:
    await world.app.send(get(b"http://a/", b"Proxy-Connection: keep-alive", version=b"1.0"))
    site = await world.site()
    assert await site.until(END) == b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    await site.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n")
    assert await world.app.rest() == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbody"


HEADS = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
    "within a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\npart",
    "not a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\nnonsense\r\n",
}


@pytest.mark.parametrize("data", HEADS.values(), ids=HEADS.keys())
async def test_half_an_answer_does_not_look_like_a_whole_one(world: World, data: bytes) -> None:
    await world.app.send(get(b"http://a/"))
    site = await world.site()
    await site.send(data)
    await site.stream.aclose()
    answer = await world.app.rest()
    assert b"502" not in answer
    assert not answer.endswith(b"0\r\n\r\n")


async def test_a_body_that_ends_with_a_reset_does_not_look_like_a_whole_one() -> None:
    """Over sockets, since only they have resets: a client of HTTP/1.0 knows the end of a body by a clean close alone."""
    site_listener, app_listener = [(await trio.open_tcp_listeners(0, host="127.0.0.1"))[0] for _ in range(2)]

    async def open_stream(_: Address) -> trio.SocketStream:
        return await trio.testing.open_stream_to_socket_listener(site_listener)

    async def serve() -> None:
        stream = await app_listener.accept()
        await forward.serve_http(
            stream,
            http(),
            Opener(always(open_stream), Connections()),
            None,
            deadline=trio.current_time() + 30,
            heads=Heads(),
        )

    async with trio.open_nursery() as nursery, site_listener, app_listener:
        nursery.start_soon(serve)
        app = Peer(await trio.testing.open_stream_to_socket_listener(app_listener))
        await app.send(get(b"http://a/", version=b"1.0"))
        site = Peer(await site_listener.accept())
        await site.until(END)
        await site.send(b"HTTP/1.1 200 OK\r\n\r\npart")
        await app.until(b"part")
        await abort(site.stream)
        with pytest.raises(trio.BrokenResourceError):
            await app.rest()
        await app.stream.aclose()


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 O", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\nX: y\n\n"])
async def test_no_answer_or_a_bad_one_is_502(world: World, data: bytes) -> None:
    await world.app.send(get(b"http://a/"))
    site = await world.site()
    await site.until(END)
    await site.send(data)
    await site.stream.aclose()
    answer = await world.app.rest()
    assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert b"the site" in answer


async def test_a_kept_stream_that_breaks_under_a_request_closes_the_connection_without_an_answer(world: World) -> None:
    await world.app.send(get(b"http://a/"))
    site = await world.site()
    await site.send(OK)
    await world.app.until(b"ok")
    await world.app.send(get(b"http://a/2"))
    await site.until(b"/2")
    await site.stream.aclose()
    assert await world.app.rest() == b""


async def test_a_site_that_closes_between_requests_is_opened_again(world: World) -> None:
    await world.app.send(get(b"http://a/"))
    site = await world.site()
    await site.send(OK)
    await world.app.until(b"ok")
    await site.stream.aclose()
    await wait_all_tasks_blocked()
    await world.app.send(get(b"http://a/2"))
    assert (await (await world.site()).until(END)).startswith(b"GET /2 ")


@pytest.mark.parametrize("extra", [b"HTTP/1.1 200 OK\r\n\r\n", b"x"])
async def test_an_answer_that_nobody_asked_for_ends_the_stream(world: World, extra: bytes) -> None:
    await world.app.send(get(b"http://a/"))
    site = await world.site()
    await site.send(OK + extra)
    assert await world.app.until(b"ok") == OK
    await world.app.send(get(b"http://a/2"))
    await world.site()
    assert world.opened == [Address("a", 80)] * 2


async def test_a_site_that_asks_to_close_is_not_kept(world: World) -> None:
    await world.app.send(get(b"http://a/"))
    site = await world.site()
    await site.send(OK.replace(END, b"\r\nConnection: close\r\n\r\n"))
    assert await world.app.until(b"ok") == OK
    await site.until(END)
    assert await site.rest() == b""
    await world.app.send(get(b"http://a/2"))
    await world.site()


STATUS = {Reason.TIMED_OUT: 504, Reason.FORBIDDEN: 403, Reason.BUSY: 503, Reason.TUNNEL_DOWN: 503}


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("request_", [get(b"http://a/"), get(b"a:443", method=b"CONNECT")], ids=["GET", "CONNECT"])
async def test_open_errors_become_statuses_with_a_body_that_says_why(
    world: World, reason: Reason, request_: bytes
) -> None:
    world.refusal = OpenError(reason, "because of that")
    await world.app.send(request_)
    answer = await world.app.rest()
    assert answer.startswith(b"HTTP/1.1 %d " % STATUS.get(reason, 502))
    assert b"because of that" in answer


async def test_a_browser_is_shown_a_page(world: World) -> None:
    world.refusal = OpenError(Reason.TUNNEL_DOWN, "because of <that>")
    await world.app.send(get(b"http://a/", b"Accept: text/html,*/*;q=0.8"))
    answer = await world.app.rest()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Content-Security-Policy: default-src 'none'" in answer
    assert b"Because of &lt;that&gt;." in answer
    assert b"ropeway doctor" in answer


@pytest.mark.parametrize("reason", [Reason.REFUSED, Reason.TIMED_OUT, Reason.FORBIDDEN])
async def test_a_reason_that_comes_after_the_stream_was_opened_is_told_too(
    world: World, reason: Reason, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tunnel does not wait for a destination that has connected lately."""

    class Refused(exchange.Site):
        async def send_all(self, data: bytes) -> None:
            await trio.lowlevel.checkpoint()
            error = trio.BrokenResourceError("reset")
            error.__cause__ = OpenError(reason, "because of that")
            raise self._fault(error)

    monkeypatch.setattr(forward, "Site", Refused)
    await world.app.send(get(b"http://a/"))
    answer = await world.app.rest()
    assert answer.startswith(b"HTTP/1.1 %d " % STATUS.get(reason, 502))
    assert b"because of that" in answer


async def test_connect_passes_early_bytes_and_half_closes(world: World) -> None:
    await world.app.send(get(b"a:443", b"Content-Length: 0", method=b"CONNECT") + b"\x16\x03early\n\n")
    site = await world.site()
    assert await world.app.until(END) == http_proxy.CONNECTED
    assert await site.until(b"early\n\n") == b"\x16\x03early\n\n"
    await world.app.stream.send_eof()
    assert await site.rest() == b""
    await site.send(b"late")
    await site.stream.send_eof()
    assert await world.app.rest() == b"late"
    assert world.opened == [Address("a", 443)]
    await world.finished.wait()


async def test_connect_after_another_request(world: World) -> None:
    await world.app.send(get(b"http://a/"))
    first = await world.site()
    await first.send(OK)
    await world.app.until(b"ok")
    await world.app.send(get(b"b:443", method=b"CONNECT"))
    await world.site()
    assert await world.app.until(END) == http_proxy.CONNECTED


BAD = {
    "bare LF": (b"GET http://a/ HTTP/1.1\nHost: a\n\n", 400),
    "two lengths": (get(b"http://a/", b"Content-Length: 1", b"Content-Length: 1"), 400),
    "length and chunks": (get(b"http://a/", b"Content-Length: 1", b"Transfer-Encoding: chunked"), 400),
    "64 KiB": (get(b"http://a/", b"X: " + b"x" * 65536), 431),
    "no port": (get(b"a", method=b"CONNECT"), 400),
    "https": (get(b"https://a/"), 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "the port itself": (get(b"/"), 400),
    "bad chunk": (get(b"http://a/", b"Transfer-Encoding: chunked", method=b"POST") + b"x\r\n", 400),
}


@pytest.mark.parametrize(("data", "status"), BAD.values(), ids=BAD.keys())
async def test_bad_requests_get_an_answer_and_the_end(world: World, data: bytes, status: int) -> None:
    await world.app.send(data)
    await world.app.stream.send_eof()
    answer = await world.app.rest()
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"Connection: close\r\n" in answer
    await world.finished.wait()


async def test_a_bad_request_behind_a_good_one(world: World) -> None:
    await world.app.send(get(b"http://a/") + b"GET http://a/ HTTP/1.1\n\n")
    site = await world.site()
    await site.send(OK)
    assert (await world.app.rest()).startswith(OK + b"HTTP/1.1 400 ")


def basic(username: str, password: str) -> bytes:
    return b"Proxy-Authorization: Basic " + base64.b64encode(f"{username}:{password}".encode())


@pytest.mark.parametrize("url", [b"http://a/", b"a:443"])
@pytest.mark.parametrize("given", [None, ("alice", ""), ("", "secret"), ("alice", "x"), ("alice", "s" * 255)])
async def test_without_the_right_credentials_nothing_is_opened(
    nursery: trio.Nursery, url: bytes, given: tuple[str, str] | None
) -> None:
    world = World(nursery, Credentials("alice", "secret"))
    method = b"GET" if url.startswith(b"http") else b"CONNECT"
    await world.app.send(get(url, *([basic(*given)] if given else []), method=method))
    await world.app.stream.send_eof()
    answer = await world.app.rest()
    assert answer.startswith(b"HTTP/1.1 407 ")
    assert b"Proxy-Authenticate: Basic " in answer
    assert not world.opened


async def test_credentials_open_the_way_and_stay_behind(nursery: trio.Nursery) -> None:
    world = World(nursery, Credentials("alice", "s" * 255))
    await world.app.send(get(b"http://a/", basic("alice", "s" * 255)))
    assert await (await world.site()).until(END) == b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    nursery.cancel_scope.cancel()


async def test_the_first_head_has_until_the_deadline(world: World, autojump_clock: MockClock) -> None:
    start = trio.current_time()
    await world.app.send(get(b"http://a/")[:-2])
    assert await world.app.rest() == b""
    assert trio.current_time() - start == pytest.approx(30)


async def test_a_kept_connection_may_be_idle_for_two_minutes(world: World, autojump_clock: MockClock) -> None:
    await world.app.send(get(b"http://a/"))
    site = await world.site()
    await site.until(END)
    await site.send(OK)
    await world.app.until(b"ok")
    start = trio.current_time()
    assert await world.app.rest() == b""
    assert await site.rest() == b""
    assert trio.current_time() - start == pytest.approx(forward.IDLE_LIMIT)


async def test_a_client_that_resets_its_idle_connection_ends_the_site_too(world: World) -> None:
    async def broken() -> None:
        await trio.lowlevel.checkpoint()
        raise trio.BrokenResourceError

    await world.app.send(get(b"http://a/"))
    site = await world.site()
    await site.until(END)
    await wait_all_tasks_blocked()
    assert isinstance(world.local, trio.StapledStream)
    world.local.receive_stream.receive_some_hook = broken  # for the next wait, not the one that is under way
    await site.send(OK)
    assert await world.app.until(b"ok") == OK
    assert await site.rest() == b""
    await world.finished.wait()


async def test_a_request_that_breaks_off_does_not_look_whole_to_the_site(world: World) -> None:
    await world.app.send(get(b"http://a/", b"Transfer-Encoding: chunked", method=b"POST") + b"2\r\nab\r\n")
    site = await world.site()
    await site.until(b"ab\r\n")
    await world.app.stream.aclose()
    assert await site.rest() == b""


async def test_a_client_that_has_gone_is_given_up_while_the_site_is_silent(
    world: World, autojump_clock: MockClock
) -> None:
    await world.app.send(get(b"http://a/"))
    site = await world.site()
    await site.until(END)
    await world.app.stream.aclose()
    start = trio.current_time()
    assert await site.rest() == b""
    assert trio.current_time() - start == pytest.approx(exchange.HALF_CLOSED_LIMIT)


async def test_a_client_that_has_only_shut_down_its_side_gets_all_of_a_slow_answer(
    world: World, autojump_clock: MockClock
) -> None:
    await world.app.send(get(b"http://a/"))
    await world.app.stream.send_eof()
    site = await world.site()
    await site.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    for byte in b"hello":
        await trio.sleep(exchange.HALF_CLOSED_LIMIT * 0.75)
        await site.send(bytes([byte]))
    assert (await world.app.rest()).endswith(b"hello")


async def test_a_client_that_breaks_under_the_answer_ends_the_site_too(world: World) -> None:
    await world.app.send(get(b"http://a/"))
    site = await world.site()
    await site.until(END)
    await world.app.stream.aclose()
    await site.send(OK)
    assert await site.rest() == b""
    await world.finished.wait()


async def test_a_client_cannot_send_ahead_without_bound(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, pair=lockstep_stream_pair)  # what is sent has been read
    await world.app.send(get(b"http://a/"))
    site = await world.site()
    await site.until(END)
    await world.app.send(b"x" * exchange.READ_AHEAD)
    with trio.move_on_after(1) as limit:
        await world.app.send(b"x")
    assert limit.cancelled_caught
    nursery.cancel_scope.cancel()


async def test_an_answer_waits_for_the_app_a_while_and_no_longer(autojump_clock: MockClock) -> None:
    app, local = memory_stream_pair()
    start = trio.current_time()
    await forward.answer_and_close(local, b"answer")
    assert trio.current_time() - start == pytest.approx(forward.LINGER)
    assert await Peer(app).rest() == b"answer"


# ---- what the table of connections says


def states(world: World) -> list[tuple[str, str, str]]:
    return [(each.address.host, each.protocol, each.state) for each in world.connections.snapshot(0).open]


async def test_each_site_has_its_entry_while_there_is_a_stream_to_it(world: World) -> None:
    await world.app.send(get(b"http://a/"))
    site = await world.site()
    request = await site.until(END)
    assert states(world) == [("a", "http", "open")]
    await site.send(OK)
    await world.app.until(b"ok")
    await world.app.send(get(b"http://a/"))  # over the same connection
    assert await site.until(END) == request
    await site.send(OK)
    await world.app.until(b"ok")
    await world.app.send(get(b"http://b/"))
    await world.site()
    assert states(world) == [("b", "http", "open")]
    (first,) = world.connections.snapshot(0).closed
    assert (first.bytes_up, first.bytes_down, first.reason) == (2 * len(request), 2 * len(OK), "")


async def test_a_site_that_keeps_the_app_waiting_shows(world: World, autojump_clock: MockClock) -> None:
    await world.app.send(get(b"http://a/"))
    site = await world.site()
    await site.until(END)
    asked = trio.current_time()
    await trio.sleep(50)
    (entry,) = world.connections.snapshot(trio.current_time()).open
    assert (entry.waiting_since, entry.last_up, entry.last_down) == (asked, asked, None)
    await site.send(OK)
    await world.app.until(b"ok")
    (entry,) = world.connections.snapshot(trio.current_time()).open
    assert (entry.waiting_since, entry.last_down) == (None, asked + 50)


async def test_a_connect_has_its_entry_until_both_have_ended(world: World) -> None:
    await world.app.send(get(b"a:443", method=b"CONNECT") + b"early")
    site = await world.site()
    await world.app.until(END)
    assert await site.until(b"early") == b"early"
    assert states(world) == [("a", "connect", "open")]
    await world.app.stream.send_eof()
    await site.rest()
    await wait_all_tasks_blocked()
    assert states(world) == [("a", "connect", "half-closed")]
    await site.send(b"late")
    await site.stream.send_eof()
    await world.app.rest()
    await world.finished.wait()
    (entry,) = world.connections.snapshot(0).closed
    assert (entry.state, entry.reason, entry.bytes_up, entry.bytes_down) == ("closed", "", 5, 4)


async def test_what_switches_protocols_keeps_its_entry(world: World) -> None:
    await world.app.send(get(b"http://a/", b"Connection: Upgrade", b"Upgrade: websocket"))
    site = await world.site()
    await site.until(END)
    await site.send(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    await world.app.until(END)
    await world.app.send(b"frame")
    await site.until(b"frame")
    assert states(world) == [("a", "http", "open")]
    (entry,) = world.connections.snapshot(0).open
    world.connections.close(entry.id)
    assert await site.rest() == b""
    await world.finished.wait()
    assert [each.reason for each in world.connections.snapshot(0).closed] == [connections.BY_HAND]


async def test_what_cannot_be_opened_is_closed_with_the_reason(world: World) -> None:
    world.refusal = OpenError(Reason.REFUSED, "nobody is there")
    await world.app.send(get(b"http://a/"))
    await world.app.rest()
    (entry,) = world.connections.snapshot(0).closed
    assert (entry.reason, entry.protocol) == ("nobody is there", "http")


@pytest.mark.parametrize("began", [False, True], ids=["before its answer", "within its answer"])
async def test_a_request_that_is_ended_by_hand(world: World, began: bool, autojump_clock: MockClock) -> None:
    await world.app.send(get(b"http://a/"))
    site = await world.site()
    await site.until(END)
    if began:
        await site.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart")
        await world.app.until(b"part")
    (entry,) = world.connections.snapshot(0).open
    assert world.connections.close(entry.id)
    answer = await world.app.rest()
    assert (answer.startswith(b"HTTP/1.1 502 ") and connections.BY_HAND.encode() in answer) is not began
    assert await site.rest() == b""
    await world.finished.wait()
    assert [each.reason for each in world.connections.snapshot(0).closed] == [connections.BY_HAND]


async def test_a_kept_site_that_is_ended_by_hand_costs_the_app_nothing(world: World) -> None:
    await world.app.send(get(b"http://a/"))
    site = await world.site()
    await site.until(END)
    await site.send(OK)
    await world.app.until(b"ok")
    await wait_all_tasks_blocked()
    (entry,) = world.connections.snapshot(0).open
    world.connections.close(entry.id)
    assert await site.rest() == b""
    await world.app.send(get(b"http://a/"))
    again = await world.site()
    await again.until(END)
    await again.send(OK)
    assert await world.app.until(b"ok") == OK


async def test_an_app_reads_why_the_exit_has_reset_the_stream_to_its_site(autojump_clock: MockClock) -> None:
    async with two_ends() as ends:
        app, local = memory_stream_pair()

        async def open_stream(_: Address) -> trio.abc.HalfCloseableStream:
            stream = ends.local.open(ADDRESS)
            await stream.wait_accepted()
            return stream

        async def serve() -> None:
            opener = Opener(always(open_stream), Connections())
            await forward.serve_http(local, http(), opener, None, deadline=trio.current_time() + 30, heads=Heads())

        ends.nursery.start_soon(serve)
        await app.send_all(get(b"http://a/"))
        await wait_all_tasks_blocked()
        (site,) = ends.opened
        site.accept()
        await wait_all_tasks_blocked()
        ends.exit.end_idle(trio.current_time(), IDLE_TEXT)
        answer = await Peer(app).rest()
        assert answer.startswith(b"HTTP/1.1 502 ")
        assert IDLE_TEXT.encode() in answer


# ---- many that hold much, and are not passed on


@pytest.fixture
async def crowded(nursery: trio.Nursery) -> AsyncIterator[World]:
    """All heads together may have 10,000 bytes."""
    world = World(nursery, heads=Heads(Budget(160_000)))
    yield world
    nursery.cancel_scope.cancel()


PADDING = b"X: " + b"x" * 9_990


async def test_a_head_that_is_too_much_is_told_to_come_later(crowded: World) -> None:
    await crowded.app.send(get(b"http://a/", b"Accept: text/html")[:-2] + PADDING)
    answer = await crowded.app.rest()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"try again in a moment" in answer
    assert (crowded.opened, crowded.heads.held) == ([], 0)


async def test_a_request_that_is_too_much_only_as_a_whole_is_told_to_come_later(
    crowded: World, autojump_clock: MockClock
) -> None:
    fields = [b"X: y"] * 60  # their weight, which is known at the end, is many times their size
    await crowded.app.send(get(b"http://a/", *fields))
    with trio.fail_after(60):
        answer = await crowded.app.rest()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert crowded.heads.held == 0


async def test_a_page_that_asks_for_too_much_does_not_learn_what_is_here(crowded: World) -> None:
    await crowded.app.send(b"GET / HTTP/1.1\r\nHost: evil.example\r\n" + PADDING)
    assert await crowded.app.rest() == fault_answer.nameless_answer(503)


async def test_what_is_passed_on_is_held_no_more(crowded: World) -> None:
    padding = b"X: " + b"x" * 6000
    await crowded.app.send(get(b"http://a/", padding))
    site = await crowded.site()
    await site.until(END)
    assert crowded.heads.held == 0
    await site.send(OK)
    await crowded.app.until(b"ok")
    await crowded.app.send(get(b"http://a/", padding, b"Content-Length: 3", method=b"PUT"))
    await site.until(END)
    await crowded.app.send(b"abc")
    await site.until(b"abc")
    assert crowded.heads.held == 0
    await site.send(OK)
    await crowded.app.until(b"ok")
    await crowded.app.send(get(b"a:443", padding, method=b"CONNECT"))
    assert await crowded.app.until(END) == http_proxy.CONNECTED
    assert crowded.heads.held == 0


async def test_a_request_that_waits_for_its_site_is_held(nursery: trio.Nursery) -> None:
    world = World(nursery, heads=Heads(Budget(160_000)))
    world.gate = trio.Event()
    await world.app.send(get(b"http://a/", b"X: " + b"x" * 6000))
    await wait_all_tasks_blocked()
    assert 6000 < world.heads.held < 7000
    Head(world.heads).count(5000, trio.current_time() + 1)
    assert (await world.app.rest()).startswith(b"HTTP/1.1 503 ")
    assert world.connections.open_count == 0
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("answered", [False, True])
async def test_who_sends_much_ahead_of_the_answer_goes(answered: bool, crowded: World) -> None:
    await crowded.app.send(get(b"http://a/"))
    site = await crowded.site()
    await site.until(END)
    if answered:
        await site.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
        await crowded.app.until(b"part")
    await crowded.app.send(b"x" * 6000)
    await wait_all_tasks_blocked()
    assert crowded.heads.held == 6000
    Head(crowded.heads).count(5000, trio.current_time() + 1)
    if answered:
        assert await crowded.app.rest() == b""
    else:
        assert (await crowded.app.rest()).startswith(b"HTTP/1.1 503 ")
        await crowded.app.stream.aclose()
    await crowded.finished.wait()
    assert crowded.heads.held == 5000


async def test_short_requests_go_on_beside_those_that_hold_much(crowded: World) -> None:
    crowd = [Head(crowded.heads) for _ in range(20)]
    for number, head in enumerate(crowd):
        head.count(2000, trio.current_time() - 10)
        assert crowded.heads.held <= 10_000
        await crowded.app.send(get(b"http://a/%d" % number))
        if not number:
            site = await crowded.site()
        await site.until(END)
        await site.send(OK)
        assert await crowded.app.until(b"ok") == OK
    assert any(head.crowded_out for head in crowd)
