"""WebSockets against wsproto's client over memory streams: what is said whole, byte by byte and wrongly, who is silent, and how it ends."""

from __future__ import annotations

import base64
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import h11
import pytest
import trio
import wsproto
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import memory_stream_pair, wait_all_tasks_blocked
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Ping,
    Pong,
    Request,
    TextMessage,
)

from proxy.protocol import http_proxy
from proxy.web_socket import CLOSE_LIMIT, MESSAGE_LIMIT, PATIENCE, HandshakeError, WebSocket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.ends import Transport

FIELDS = {
    b"Host": b"127.0.0.1:1080",
    b"Connection": b"keep-alive, Upgrade",
    b"Upgrade": b"websocket",
    b"Sec-WebSocket-Version": b"13",
    b"Sec-WebSocket-Key": base64.b64encode(bytes(16)),
}


def head(fields: dict[bytes, bytes], line: bytes = b"GET /live HTTP/1.1") -> bytes:
    return b"\r\n".join([line, *(b"%s: %s" % item for item in fields.items()), b"", b""])


def read(data: bytes) -> tuple[h11.Request, http_proxy.Connection]:
    http = http_proxy.Connection(h11.SERVER, data)
    request = http.next_event()
    assert isinstance(request, h11.Request)
    return request, http


class Client:
    """The other side: wsproto's."""

    def __init__(self, stream: Transport) -> None:
        self.stream = stream
        self.protocol = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        self.opening = self.protocol.send(Request(host="127.0.0.1:1080", target="/live"))

    async def send(self, event: Event) -> None:
        await self.stream.send_all(bytes(self.protocol.send(event)))

    async def next(self) -> Event | None:
        """None at the end of the stream."""
        while True:
            for event in self.protocol.events():
                return event
            try:
                data = bytes(await self.stream.receive_some())
            except trio.BrokenResourceError:
                return None
            if not data:
                return None
            self.protocol.receive_data(data)


@asynccontextmanager
async def connected(first: bytes = b"") -> AsyncIterator[tuple[WebSocket, Client]]:
    ours, theirs = memory_stream_pair()
    client = Client(theirs)
    with trio.fail_after(600):
        socket = await WebSocket.accept(*_with(ours, client.opening + first))
        assert isinstance(await client.next(), AcceptConnection)
        yield socket, client
        await theirs.aclose()
        await socket.aclose()


def _with(stream: Transport, opening: bytes) -> tuple[h11.Request, trio.abc.HalfCloseableStream, http_proxy.Connection]:
    request, http = read(opening)
    return request, stream, http


async def test_messages_both_ways() -> None:
    async with connected() as (socket, client):
        for text in ("hello", "", "你好 \N{WAVING HAND SIGN}", "x" * MESSAGE_LIMIT):
            await client.send(TextMessage(data=text))
            assert await socket.receive() == text
            await socket.send(text)
            got = ""
            while not (isinstance(event := await client.next(), TextMessage) and event.message_finished):
                assert isinstance(event, TextMessage)
                got += event.data
            assert got + event.data == text


async def test_byte_by_byte_and_in_fragments_with_a_ping_between() -> None:
    async with connected() as (socket, client):
        data = bytes(
            client.protocol.send(TextMessage(data="one ", message_finished=False))
            + client.protocol.send(Ping(payload=b"there?"))
            + client.protocol.send(TextMessage(data="", message_finished=False))
            + client.protocol.send(TextMessage(data="übrigens"))
            + client.protocol.send(TextMessage(data="two"))
        )

        async def dribble() -> None:
            for byte in data:
                await client.stream.send_all(bytes([byte]))
                await wait_all_tasks_blocked()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(dribble)
            assert await socket.receive() == "one übrigens"
            assert await socket.receive() == "two"
        assert await client.next() == Pong(payload=b"there?")


async def test_what_the_client_sent_ahead() -> None:
    ahead = wsproto.connection.Connection(wsproto.ConnectionType.CLIENT)
    async with connected(bytes(ahead.send(TextMessage(data="ahead")))) as (socket, _):
        assert await socket.receive() == "ahead"


REFUSED = {
    "no upgrade": (426, {b"Upgrade": None, b"Connection": b"close"}, b"GET / HTTP/1.1"),
    "another upgrade": (400, {b"Upgrade": b"h2c"}, b"GET / HTTP/1.1"),
    "no connection": (400, {b"Connection": b"close"}, b"GET / HTTP/1.1"),
    "an older version": (426, {b"Sec-WebSocket-Version": b"8"}, b"GET / HTTP/1.1"),
    "no version": (400, {b"Sec-WebSocket-Version": None}, b"GET / HTTP/1.1"),
    "no key": (400, {b"Sec-WebSocket-Key": None}, b"GET / HTTP/1.1"),
    "a short key": (400, {b"Sec-WebSocket-Key": base64.b64encode(b"short")}, b"GET / HTTP/1.1"),
    "a key that is none": (400, {b"Sec-WebSocket-Key": b"?" * 24}, b"GET / HTTP/1.1"),
    "two keys": (400, {b"SEC-WEBSOCKET-KEY": base64.b64encode(bytes(16))}, b"GET / HTTP/1.1"),
    "another method": (400, {}, b"POST / HTTP/1.1"),
    "an old HTTP": (400, {}, b"GET / HTTP/1.0"),
    "content": (400, {b"Content-Length": b"4"}, b"GET / HTTP/1.1"),
    "a host of no letters": (400, {b"Host": b"\xff"}, b"GET / HTTP/1.1"),
}


@pytest.mark.parametrize(("status", "changes", "line"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_request_that_is_none(status: int, changes: dict[bytes, bytes | None], line: bytes) -> None:
    fields = {name: value for name, value in (FIELDS | changes).items() if value is not None}
    ours, theirs = memory_stream_pair()
    with pytest.raises(HandshakeError) as caught:
        await WebSocket.accept(*_with(ours, head(fields, line)))
    assert caught.value.status == status
    assert bool(caught.value.fields) == (status == 426)
    await ours.send_all(b"x")  # it can still be answered, and nothing was
    assert await theirs.receive_some() == b"x"


async def test_a_client_that_closes_is_answered() -> None:
    async with connected() as (socket, client):
        await client.send(TextMessage(data="bye"))
        await client.send(CloseConnection(code=1001, reason="done"))
        assert await socket.receive() == "bye"
        assert await socket.receive() is None
        assert await socket.receive() is None
        assert await client.next() == CloseConnection(code=1001, reason="done")
        assert client.protocol.state is ConnectionState.CLOSED
        assert await client.next() is None
        with pytest.raises(trio.BrokenResourceError):
            await socket.send("too late")


@pytest.mark.parametrize("received", [False, True], ids=["nobody receives", "somebody receives"])
async def test_we_close_and_wait_for_the_client(received: bool) -> None:
    async with connected() as (socket, client), trio.open_nursery() as nursery:
        if received:
            nursery.start_soon(socket.receive)
        await wait_all_tasks_blocked()
        nursery.start_soon(socket.aclose, 4401, "the token is wrong")
        event = await client.next()
        assert isinstance(event, CloseConnection)
        assert (event.code, event.reason) == (4401, "the token is wrong")
        await client.stream.send_all(bytes(client.protocol.send(event.response())))
        assert await client.next() is None


async def test_a_client_that_does_not_agree_to_close(autojump_clock: trio.testing.MockClock) -> None:
    async with connected() as (socket, client):
        begin = trio.current_time()
        await socket.aclose()
        assert trio.current_time() - begin == CLOSE_LIMIT
        assert isinstance(await client.next(), CloseConnection)
        assert await client.next() is None
        await socket.aclose()  # nothing more


async def test_an_end_without_a_word() -> None:
    async with connected() as (socket, client):
        await client.send(TextMessage(data="half", message_finished=False))
        await client.stream.send_eof()
        assert await socket.receive() is None


async def test_a_silent_client_is_pinged_and_stays_if_it_answers(autojump_clock: trio.testing.MockClock) -> None:
    async with connected() as (socket, client), trio.open_nursery() as nursery:
        nursery.start_soon(socket.receive)
        for _ in range(5):
            event = await client.next()
            assert isinstance(event, Ping)
            await client.send(event.response())
        begin = trio.current_time()
        assert isinstance(await client.next(), Ping)
        assert await client.next() is None  # and goes if it does not
        assert trio.current_time() - begin == 2 * PATIENCE


async def test_a_client_that_does_not_read(autojump_clock: trio.testing.MockClock) -> None:
    """What TCP does when its buffers are full."""
    ours, theirs = memory_stream_pair()

    socket = await WebSocket.accept(*_with(ours, Client(theirs).opening))
    ours.send_stream.send_all_hook = trio.sleep_forever
    begin = trio.current_time()
    with pytest.raises(trio.BrokenResourceError, match="does not read"):
        await socket.send("text")
    assert trio.current_time() - begin == PATIENCE
    with pytest.raises(trio.BrokenResourceError, match="closed"):
        await socket.send("more")
    assert await socket.receive() is None
    await socket.aclose()
    assert trio.current_time() - begin == PATIENCE


async def test_a_frame_that_was_given_up_is_the_last(autojump_clock: trio.testing.MockClock) -> None:
    """Nobody could tell where the next one begins."""
    ours, theirs = memory_stream_pair()
    socket = await WebSocket.accept(*_with(ours, Client(theirs).opening))
    ours.send_stream.send_all_hook = trio.sleep_forever
    with trio.move_on_after(1):
        await socket.send("text")
    ours.send_stream.send_all_hook = None
    with pytest.raises(trio.BrokenResourceError):
        await socket.send("more")
    await socket.aclose()


async def test_two_tasks_cannot_receive() -> None:
    async with connected() as (socket, _), trio.open_nursery() as nursery:
        nursery.start_soon(socket.receive)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await socket.receive()
        nursery.cancel_scope.cancel()


def masked(opcode: int, payload: bytes) -> bytes:
    return bytes([opcode, 0x80 | len(payload)]) + bytes(4) + payload


BAD = {
    "binary": (masked(0x82, b"data"), 1003),
    "no UTF-8": (masked(0x81, b"\xff\xfe"), 1007),
    "not masked": (b"\x81\x01x", 1002),
    "an unknown opcode": (masked(0x83, b""), 1002),
    "a reserved bit": (masked(0xC1, b"x"), 1002),
    "a ping in fragments": (masked(0x09, b"x"), 1002),
    "a long ping": (b"\x89\xfe\x00\x80" + bytes(4 + 128), 1002),
    "nothing to continue": (masked(0x80, b"x"), 1002),
    "a close of one byte": (masked(0x88, b"x"), 1002),
    "a close with a code that none has": (masked(0x88, b"\x03\xee"), 1002),
}


@pytest.mark.parametrize(("data", "code"), BAD.values(), ids=BAD.keys())
async def test_what_cannot_be_understood_ends_it(data: bytes, code: int) -> None:
    async with connected() as (socket, client):
        await client.stream.send_all(data + masked(0x81, b"more"))
        await client.stream.send_eof()
        assert await socket.receive() is None
        event = await client.next()
        assert isinstance(event, CloseConnection)
        assert event.code == code
        assert await client.next() is None


@pytest.mark.parametrize("fragments", [1, 10])
async def test_a_message_that_is_too_long(fragments: int) -> None:
    async with connected() as (socket, client), trio.open_nursery() as nursery:

        async def send() -> None:
            piece = "é" * (MESSAGE_LIMIT // 2 // fragments + 1)
            for number in range(fragments):
                await client.send(TextMessage(data=piece, message_finished=number == fragments - 1))
            await client.stream.send_eof()

        nursery.start_soon(send)
        assert await socket.receive() is None
        event = await client.next()
        assert isinstance(event, CloseConnection)
        assert event.code == 1009


async def test_a_flood_of_pings_waits_for_its_answers() -> None:
    """None is answered before the one before it could be sent, so nothing gathers."""
    async with connected() as (socket, client), trio.open_nursery() as nursery:
        nursery.start_soon(socket.receive)
        await client.stream.send_all(masked(0x89, b"x") * 200)
        for _ in range(200):
            assert await client.next() == Pong(payload=b"x")
        nursery.cancel_scope.cancel()


SAMPLE = (
    masked(0x01, b"on") + masked(0x89, b"p") + masked(0x80, b"e") + masked(0x81, b"two") + masked(0x88, b"\x03\xe8")
)


@given(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255), st.integers(1, len(SAMPLE)))
async def test_a_byte_that_is_another(place: int, byte: int, size: int) -> None:
    """Whatever comes, there are messages and an end, and nothing is left open."""
    data = SAMPLE[:place] + bytes([byte]) + SAMPLE[place + 1 :]
    async with connected() as (socket, client):
        for start in range(0, len(data), size):
            await client.stream.send_all(data[start : start + size])
        await client.stream.send_eof()
        count = 0
        while (text := await socket.receive()) is not None:
            assert len(text.encode()) <= len(data)
            count += 1
        assert count <= 3
        with pytest.raises(trio.ClosedResourceError):
            await socket._stream.send_all(b"x")


@given(st.integers(0, len(head(FIELDS)) - 1), st.integers(0, 255))
async def test_a_request_with_another_byte(place: int, byte: int) -> None:
    data = head(FIELDS)
    ours, _theirs = memory_stream_pair()
    try:
        request, http = read(data[:place] + bytes([byte]) + data[place + 1 :])
    except (http_proxy.StatusError, AssertionError):
        return
    with suppress(HandshakeError):
        await WebSocket.accept(request, ours, http)


def test_no_extension_is_agreed_to() -> None:
    """What compresses takes memory for each."""

    async def answer() -> bytes:
        ours, theirs = memory_stream_pair()
        fields = FIELDS | {b"Sec-WebSocket-Extensions": b"permessage-deflate", b"Sec-WebSocket-Protocol": b"chat"}
        await WebSocket.accept(*_with(ours, head(fields)))
        return bytes(await theirs.receive_some())

    said = trio.run(answer).lower()
    assert said.startswith(b"http/1.1 101 ")
    assert b"extensions" not in said
    assert b"protocol:" not in said
