"""The pure parts of an HTTP/1.1 proxy: strict messages on h11, targets, header fields (RFC 9110, RFC 9112).

h11 forgives what a proxy must not, because the next server may read it in another way: lines that end with LF alone, folded
lines, Content-Length given twice or beside Transfer-Encoding. So `Connection` judges every head before h11 sees it.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import h11

from proxy.address import Address
from proxy.errors import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What nginx accepts by default (4 buffers of 8 KiB); Node accepts half of it.
HEAD_LIMIT = 32 * 1024

STATUS = {
    Reason.CANCELLED: 502,
    Reason.REFUSED: 502,
    Reason.HOST_UNREACHABLE: 502,
    Reason.NETWORK_UNREACHABLE: 502,
    Reason.TIMED_OUT: 504,
    Reason.NAME_NOT_FOUND: 502,
    Reason.FORBIDDEN: 403,
    Reason.BUSY: 503,
    Reason.TUNNEL_DOWN: 503,
    Reason.FAILED: 502,
}

#: RFC 9110, section 9.3.6: an answer to CONNECT that says yes has no Content-Length and no Transfer-Encoding.
CONNECTED = b"HTTP/1.1 200 Connection established\r\n\r\n"

Event: TypeAlias = h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]
Message: TypeAlias = h11.Request | h11.InformationalResponse | h11.Response
Fields: TypeAlias = list[tuple[bytes, bytes]]


class StatusError(Exception):
    """An exchange that cannot go on; `status` and the text are what the client is to be told."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class NamelessError(StatusError):
    """One of a request for the port itself, as a web page can make it."""


# Messages ---------------------------------------------------------------------------------------------------------

_CRLF, _END_OF_HEAD = b"\r\n", b"\r\n\r\n"
_NOT_CRLF = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")
_FOR_ITSELF = re.compile(rb"[!-~]+ [/*]")  # pages choose methods as well
_FRAMING = (b"content-length", b"transfer-encoding")


class Connection:
    """`h11.Connection` behind a strict gate, for a whole connection of many messages.

    The bytes of a head stay here until it is complete and judged; only then h11 gets them. Each request and its answer
    have an h11 connection of their own, because h11 would read the next head unjudged from what came in behind a body.
    """

    def __init__(self, our_role: type[h11.CLIENT | h11.SERVER], data: bytes = b"") -> None:
        self.closed = False
        self.complete = False  # the peer's message has been read to its end
        self._our_role = our_role
        self._for_itself = False  # what is being read asks the port for something, and no site
        self._buffer = bytearray(data)
        self._searched = 0
        self._h11 = h11.Connection(our_role)

    def __repr__(self) -> str:
        return f"<http_proxy.Connection {self._h11.states}>"

    @property
    def trailing_data(self) -> bytes:
        """What came in behind the last message: the next one, or another protocol."""
        return self._h11.trailing_data[0] + bytes(self._buffer)

    @property
    def in_body(self) -> bool:
        """Whether what comes in next is content, which is passed on as it comes."""
        return not self._at_head and not self.complete

    @property
    def held(self) -> int:
        """How many bytes wait here for the rest of a head, or for the end of the message before."""
        return 0 if self.in_body else len(self._buffer) + len(self._h11.trailing_data[0])

    def drop(self) -> None:
        """Nothing that came in is of use any more."""
        self._buffer.clear()
        self._h11 = h11.Connection(self._our_role)

    def receive_data(self, data: bytes) -> None:
        """b"" says that the peer sends nothing more."""
        self.closed = self.closed or not data
        if self._at_head:
            self._buffer += data
        else:
            self._h11.receive_data(data)

    def next_event(self) -> Event:
        """As `h11.Connection.next_event`. Raises StatusError: 400, 431 or 505 for a bad request, 502 for a bad answer."""
        if self._at_head and not self._release_head():
            return h11.ConnectionClosed() if self.closed else h11.NEED_DATA
        try:
            event: Event = self._h11.next_event()
        except h11.RemoteProtocolError:
            # Its text quotes what came in, which our answer must not.
            raise self._fault("ends too early" if self.closed else "is not valid HTTP/1.1") from None
        if isinstance(event, h11.Request | h11.Response):
            self._release_body()
        self.complete = self.complete or isinstance(event, h11.EndOfMessage)
        return event

    def send(self, event: h11.Event) -> bytes:
        return self._h11.send(event) or b""

    def start_next_cycle(self) -> bool:
        """Get ready for the next request, if both messages are complete and nobody asked to close; returns whether so."""
        if self._h11.states != {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
            return False
        self._buffer[:] = self.trailing_data
        self._searched = 0
        self._h11 = h11.Connection(self._our_role)
        self.complete = False
        return True

    @property
    def _at_head(self) -> bool:
        return self._h11.their_state in (h11.IDLE, h11.SEND_RESPONSE)

    def _release_head(self) -> bool:
        """Pass a complete head to h11. Returns whether there was one."""
        buffer, server = self._buffer, self._our_role is h11.SERVER
        while server and buffer.startswith(_CRLF):  # RFC 9112, section 2.2: some clients send it behind a body
            del buffer[:2]
        self._for_itself = server and _FOR_ITSELF.match(buffer) is not None
        start = max(0, self._searched - len(_END_OF_HEAD) + 1)
        end = buffer.find(_END_OF_HEAD, start)
        self._searched = len(buffer) if end < 0 else end
        if self._searched > HEAD_LIMIT:
            raise self._fault(f"has a header section of more than {HEAD_LIMIT // 1024} KiB", 431)
        if _NOT_CRLF.search(buffer, start, self._searched):
            raise self._fault("has a line that does not end with CR LF")
        if buffer and not 0x20 < buffer[0] < 0x7F:
            raise self._fault("is not HTTP")  # no need to wait for the end of something in TLS, for example
        if end < 0:
            if self.closed and buffer:
                raise self._fault("ends too early")
            return False
        head = bytes(buffer[: end + len(_END_OF_HEAD)])
        self._judge(head)
        self._h11.receive_data(head)
        del buffer[: len(head)]
        self._searched = 0
        return True

    def _judge(self, head: bytes) -> None:
        """What h11 accepts and RFC 9112 does not, or lets a proxy refuse: sections 2.3, 5.2, 6.1 and 6.3."""
        first, *lines = head[: -len(_END_OF_HEAD)].split(_CRLF)
        version = first[-8:] if self._our_role is h11.SERVER else first[:8]
        if version not in (b"HTTP/1.1", b"HTTP/1.0"):
            raise self._fault("is not HTTP/1.1", 505 if version.startswith(b"HTTP/") else 400)
        framing = []
        for line in lines:
            if line.startswith((b" ", b"\t")):
                raise self._fault("has a folded header line")
            name, _, value = line.partition(b":")
            if name.lower() in _FRAMING:
                framing.append((name.lower(), value.strip(b" \t")))
        if len(framing) > 1:
            raise self._fault("has more than one Content-Length or Transfer-Encoding")
        for name, value in framing:
            if name == b"content-length" and not value.isdigit():
                raise self._fault("has a Content-Length that is not a number")
            if name == b"transfer-encoding" and (value.lower() != b"chunked" or version != b"HTTP/1.1"):
                raise self._fault("has a Transfer-Encoding other than chunked")

    def _release_body(self) -> None:
        if self._buffer:
            self._h11.receive_data(bytes(self._buffer))
            self._buffer.clear()
        if self.closed:
            self._h11.receive_data(b"")

    def _fault(self, text: str, status: int = 400) -> StatusError:
        if self._our_role is h11.SERVER:
            return self.refusal(status, f"the request {text}")
        return StatusError(502, f"the site's answer {text}")

    def refusal(self, status: int, text: str) -> StatusError:
        """To who sends the request that is being read."""
        return (NamelessError if self._for_itself else StatusError)(status, text)


# Requests ---------------------------------------------------------------------------------------------------------

_HTTP_URL = re.compile(rb"(?i:http)://([^/?#]*)([^#]*)")
_SCHEME = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*)://")


@dataclass(frozen=True, slots=True)
class Connect:
    """A request for a tunnel to `address`."""

    address: Address


@dataclass(frozen=True, slots=True)
class Forward:
    """A request to be passed on to `address`, with `target` as the origin server expects it (RFC 9112, section 3.2.1)."""

    address: Address
    target: bytes

    @property
    def host(self) -> bytes:
        """For the Host field."""
        text = str(self.address)
        return (text.removesuffix(":80") if self.address.port == 80 else text).encode("ascii")


def parse_target(request: h11.Request) -> Connect | Forward | None:
    """What a request asks for; None: it is meant for the port itself. Raises StatusError (400)."""
    target = request.target
    if request.method == b"CONNECT":
        if _has_content(request):
            raise StatusError(400, "a CONNECT request has no content")
        return Connect(_parse_authority(target, None))
    if target.startswith(b"/") or target == b"*":
        return None
    url = _HTTP_URL.fullmatch(target)
    if url is None:
        raise StatusError(400, _what_is_wrong(target))
    authority, rest = url.groups()
    if b"@" in authority:
        raise StatusError(400, "a URL with a user name or password in it is not passed on")
    if not rest and request.method == b"OPTIONS":
        rest = b"*"  # RFC 9112, section 3.2.4
    elif not rest.startswith(b"/"):
        rest = b"/" + rest
    return Forward(_parse_authority(authority, 80), rest)


def _parse_authority(authority: bytes, default_port: int | None) -> Address:
    try:
        return Address.parse(authority.decode("ascii"), default_port)
    except ValueError as exc:
        raise StatusError(400, f"the address in the request cannot be used: {exc}") from None


def _what_is_wrong(target: bytes) -> str:
    scheme = _SCHEME.match(target)
    if scheme is None:
        return "the request needs a whole URL, as in GET http://example.com/ HTTP/1.1"
    if scheme[1].lower() == b"https":
        return "an https:// address cannot be passed on in the open: use CONNECT for it"
    return "only http:// URLs, without a fragment, can be passed on"


def _has_content(request: h11.Request) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and int(value)) for name, value in request.headers
    )


def basic_credentials(request: h11.Request) -> tuple[bytes, bytes] | None:
    """User name and password of Proxy-Authorization (RFC 7617); None where it is missing, given twice or malformed."""
    given = [value for name, value in request.headers if name == b"proxy-authorization"]
    scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
    try:
        username, colon, password = base64.b64decode(token.strip(b" "), validate=True).partition(b":")
    except binascii.Error:
        return None
    return (username, password) if scheme.lower() == b"basic" and colon else None


# What is passed on ------------------------------------------------------------------------------------------------

# Via is left out on purpose, though RFC 9110, section 7.6.3, asks for it: it would tell every site that there is a proxy.

#: Fields for one connection only (RFC 9110, section 7.6.1); so is everything that begins with "Proxy-".
_HOP_BY_HOP = {b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
#: Connection cannot name these away: they say where a message goes and where it ends.
_NOT_AN_OPTION = {b"host", b"content-length"}


def _options(message: Message) -> set[bytes]:
    """The lower-case options of every Connection field."""
    return {
        option.strip().lower()
        for name, value in message.headers
        if name == b"connection"
        for option in value.split(b",")
    } - _NOT_AN_OPTION


def _end_to_end(message: Message, dropped: Iterable[bytes] = ()) -> Fields:
    """Without the fields for one connection and those in `dropped`; names as they were written."""
    gone = _HOP_BY_HOP | _options(message) | set(dropped)
    return [
        (raw_name, value)
        for raw_name, value in message.headers.raw_items()
        if (name := raw_name.lower()) not in gone and not name.startswith(b"proxy-")
    ]


def _upgrade(message: Message) -> Fields:
    return [
        (b"Connection", b"Upgrade"),
        *((b"Upgrade", value) for name, value in message.headers if name == b"upgrade"),
    ]


def wants_upgrade(request: h11.Request) -> bool:
    """RFC 9110, section 7.8: both fields are needed, and HTTP/1.0 has no upgrade."""
    named = any(name == b"upgrade" for name, _ in request.headers)
    return named and b"upgrade" in _options(request) and request.http_version == b"1.1"


def forwarded_request(request: h11.Request, target: Forward) -> h11.Request:
    """The request as the origin server is to see it; Host comes from the target (RFC 9112, section 3.2.2)."""
    old = request.http_version != b"1.1"
    dropped = [b"host", b"expect"] if old else [b"host"]  # RFC 9110, section 10.1.1: no Expect in HTTP/1.0
    headers = [(b"Host", target.host), *_end_to_end(request, dropped)]
    if any(name == b"transfer-encoding" for name, _ in request.headers):
        headers.append((b"Transfer-Encoding", b"chunked"))
    if wants_upgrade(request):
        headers += _upgrade(request)
    elif old or b"close" in _options(request):
        headers.append((b"Connection", b"close"))
    return h11.Request(method=request.method, target=target.target, headers=headers)


def forwarded_information(response: h11.InformationalResponse) -> h11.InformationalResponse:
    headers = _end_to_end(response, [b"content-length"])
    if response.status_code == 101:
        headers += _upgrade(response)
    return h11.InformationalResponse(status_code=response.status_code, reason=response.reason, headers=headers)


def forwarded_response(response: h11.Response, *, close: bool) -> h11.Response:
    """`close`: the client is told that this connection ends with the answer."""
    # RFC 9110, section 8.6: 204 has no Content-Length.
    headers = _end_to_end(response, [b"content-length"] if response.status_code == 204 else ())
    if close:
        headers.append((b"Connection", b"close"))
    return h11.Response(status_code=response.status_code, reason=response.reason, headers=headers)
