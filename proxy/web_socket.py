"""The server's side of a WebSocket (RFC 6455) over a stream on which its request has been read: text both ways, each message whole."""

from __future__ import annotations

import base64
import binascii
from contextlib import suppress
from typing import TYPE_CHECKING

import h11
import trio
import wsproto
from wsproto.connection import ConnectionState
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, RejectConnection, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from .protocol.http_proxy import StatusError

if TYPE_CHECKING:
    from wsproto.events import Event

    from .protocol import http_proxy

#: Of a message that comes in: what pages ask for is short.
MESSAGE_LIMIT = 64 * 1024
#: How long the peer may be silent before it is pinged, after that before it counts as gone, and how long it may leave unread what it is sent.
PATIENCE = 20.0
#: What the end may take: a round trip on loopback, and a page that is busy.
CLOSE_LIMIT = 5.0
_CHUNK = 16 * 1024
_UPGRADE = [(b"Upgrade", b"websocket"), (b"Sec-WebSocket-Version", b"13")]


class HandshakeError(StatusError):
    """The request begins no WebSocket. Besides its status, the answer has `fields` (RFC 9110, section 15.5.22)."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status, text)
        self.fields: http_proxy.Fields = list(_UPGRADE) if status == 426 else []


class WebSocket:
    """Somebody has to be in `receive` all the time: that answers pings, and notices a peer that is gone. Other tasks may `send` meanwhile, and end it."""

    def __init__(
        self, protocol: wsproto.WSConnection, stream: trio.abc.HalfCloseableStream, message_limit: int = MESSAGE_LIMIT
    ) -> None:
        self.message_limit = message_limit  # bytes that a message may have which comes in
        self._protocol = protocol
        self._stream = stream
        self._turn = trio.StrictFIFOLock()  # a frame is written whole before the next begins
        self._cut = False  # a frame was not: nothing that follows would be understood
        self._receiving = False
        self._over = trio.Event()  # nothing is read any more
        self._pinged = False
        self._parts: list[str] = []
        self._size = 0

    @classmethod
    async def accept(
        cls,
        request: h11.Request,
        stream: trio.abc.HalfCloseableStream,
        http: http_proxy.Connection,
        *,
        message_limit: int = MESSAGE_LIMIT,
    ) -> WebSocket:
        """Raises HandshakeError; the stream is as before then. Raises trio.BrokenResourceError where the client is gone."""
        protocol = _handshake(request)
        while not http.complete:
            if http.next_event() in (h11.NEED_DATA, h11.PAUSED):
                raise HandshakeError(400, "a request for a WebSocket has no content")
        socket = cls(protocol, stream, message_limit)
        await socket._write(AcceptConnection())
        if early := http.trailing_data:
            protocol.receive_data(early)
        return socket

    async def send(self, text: str) -> None:
        """Raises trio.BrokenResourceError where the WebSocket is closed, the peer is gone, or it does not read."""
        await self._write(TextMessage(data=text))

    async def receive(self) -> str | None:
        """The next message; None where there will be none, as either side closed it or the peer is gone. The stream is closed then."""
        if self._receiving:
            raise trio.BusyResourceError("another task receives from this WebSocket")
        self._receiving = True
        try:
            return await self._next()
        finally:
            self._receiving = False

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Closes both, and before that the peer is told and has a moment to agree. Does nothing where it is closed already."""
        try:
            with trio.move_on_after(CLOSE_LIMIT), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._say_goodbye(code, reason)
                if self._receiving:
                    await self._over.wait()
                else:
                    while await self.receive() is not None:
                        pass
        finally:
            self._over.set()
            await self._stream.aclose()

    async def _next(self) -> str | None:
        while not self._over.is_set():
            for event in self._protocol.events():
                if isinstance(event, TextMessage | BytesMessage):
                    if (text := await self._take(event)) is not None:
                        return text
                elif isinstance(event, Ping):
                    await self._answer(event.response())
                elif isinstance(event, CloseConnection):
                    await self._finish(event)
                    return None
            await self._read()
        return None

    async def _read(self) -> None:
        """What is left of the peer is a matter of bytes: any of them show that it is there."""
        data = b""
        with trio.move_on_after(PATIENCE) as limit, suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            data = bytes(await self._stream.receive_some(_CHUNK))
        if limit.cancelled_caught and not self._pinged:
            self._pinged = True
            await self._answer(Ping())
        elif not data:
            self._over.set()
            await self._stream.aclose()
        else:
            self._pinged = False
            self._protocol.receive_data(data)

    async def _take(self, event: TextMessage | BytesMessage) -> str | None:
        """A part of a message; returns what is whole."""
        if self._protocol.state is not ConnectionState.OPEN:
            return None
        if isinstance(event, BytesMessage):
            await self._fail(CloseReason.UNSUPPORTED_DATA, "only text is understood here")
            return None
        text = str(event.data)
        self._size += len(text.encode())
        if self._size > self.message_limit:
            await self._fail(CloseReason.MESSAGE_TOO_BIG, f"a message may have {self.message_limit // 1024} KB")
            return None
        if text:
            self._parts.append(text)
        if not event.message_finished:
            return None
        whole = "".join(self._parts)
        self._parts.clear()
        self._size = 0
        return whole

    async def _finish(self, event: CloseConnection) -> None:
        """The peer closes, agrees, or has said what nobody understands."""
        state = self._protocol.state
        if state is ConnectionState.REMOTE_CLOSING:
            await self._answer(event.response())
        if state is ConnectionState.OPEN:
            await self._fail(event.code, "the frames cannot be read")
        else:
            self._over.set()
            await self._stream.aclose()

    async def _fail(self, code: int, reason: str) -> None:
        """RFC 6455, section 7.1.7. What the peer still sends is read, or a reset would overtake what it is told."""
        self._over.set()
        try:
            with trio.move_on_after(CLOSE_LIMIT), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._say_goodbye(code, reason)
                await self._stream.send_eof()
                while await self._stream.receive_some(_CHUNK):
                    pass
        finally:
            await self._stream.aclose()

    async def _say_goodbye(self, code: int, reason: str) -> None:
        if self._protocol.state is ConnectionState.OPEN:
            await self._write(CloseConnection(code=code, reason=reason))

    async def _answer(self, event: Event) -> None:
        """Where it cannot be sent, reading tells soon enough."""
        with suppress(trio.BrokenResourceError):
            await self._write(event)

    async def _write(self, event: Event) -> None:
        async with self._turn:
            if self._cut:
                raise trio.BrokenResourceError("the WebSocket is closed")
            try:
                data = self._protocol.send(event)
            except LocalProtocolError:  # what its state does not allow
                raise trio.BrokenResourceError("the WebSocket is closed") from None
            self._cut = True
            try:
                with trio.fail_after(PATIENCE):
                    await self._stream.send_all(data)
            except trio.TooSlowError:
                await trio.aclose_forcefully(self._stream)
                raise trio.BrokenResourceError("the peer does not read") from None
            except trio.ClosedResourceError:
                raise trio.BrokenResourceError("the WebSocket is closed") from None
            self._cut = False


def _handshake(request: h11.Request) -> wsproto.WSConnection:
    """RFC 6455, section 4.2.1."""
    protocol = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    if not any(name == b"upgrade" for name, _ in request.headers):
        raise HandshakeError(426, "this is a WebSocket, and has to be asked for as one")
    if request.method != b"GET" or request.http_version != b"1.1":
        raise HandshakeError(400, "a WebSocket begins with GET of HTTP/1.1")
    keys = [value for name, value in request.headers if name == b"sec-websocket-key"]
    if len(keys) != 1 or not _is_key(keys[0]):
        raise HandshakeError(400, "a WebSocket needs one Sec-WebSocket-Key of 16 bytes")
    try:
        protocol.initiate_upgrade_connection(list(request.headers), request.target)
    except RemoteProtocolError as exc:
        refused = exc.event_hint
        status = refused.status_code if isinstance(refused, RejectConnection) else 400
        raise HandshakeError(status, "the request does not ask for a WebSocket of version 13") from None
    except UnicodeError:
        raise HandshakeError(400, "the request's Host cannot be read") from None
    return protocol


def _is_key(value: bytes) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == 16
    except binascii.Error:
        return False
