"""How long a page takes to answer by one way: a connection is opened, in TLS where the URL says so, and asked for the head of an answer."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import h11
import trio

from .address import Address
from .errors import OpenError, Reason
from .protocol import http_proxy
from .protocol.http_proxy import StatusError

if TYPE_CHECKING:
    from .opener import OpenStream

# Our choices.
LONGEST_URL = 2048
_CHUNK = 16 * 1024
_PORTS = {"http": 80, "https": 443}
_TARGET = re.compile(r"/[!-~]*")
_STATUS_RANGE = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")


@dataclass(frozen=True, slots=True)
class Url:
    address: Address
    target: str
    secure: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError with a text for people."""
        parts = urlsplit(text[:LONGEST_URL])
        default = _PORTS.get(parts.scheme.lower())
        if default is None or "@" in parts.netloc or len(text) > LONGEST_URL:
            raise ValueError("the URL is no short http:// or https:// URL without a user name")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if not _TARGET.fullmatch(target):
            raise ValueError("the URL has characters that belong in no URL")
        return cls(Address.parse(parts.netloc, default), target, parts.scheme.lower() == "https")

    def request(self) -> h11.Request:
        host = (
            http_proxy.Forward(self.address, b"").host.decode()
            if not self.secure
            else str(self.address).removesuffix(":443")
        )
        return h11.Request(method="HEAD", target=self.target, headers=[("Host", host), ("Connection", "close")])


@dataclass(frozen=True, slots=True)
class Expected:
    """Which statuses of an answer will do; none stand for all."""

    ranges: tuple[tuple[int, int], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """As in `200`, `200-299` and `200/204`; "" and "*" stand for all. Raises ValueError with a text for people."""
        if text in ("", "*"):
            return cls()
        found = [_STATUS_RANGE.fullmatch(part) for part in text.split("/")]
        ranges = tuple((int(each[1]), int(each[2] or each[1])) for each in found if each is not None)
        if len(ranges) != len(found):
            raise ValueError("what is expected is no status and no range of statuses, as 200-299 is")
        return cls(ranges)

    def has(self, status: int) -> bool:
        return not self.ranges or any(first <= status <= last for first, last in self.ranges)


async def measure(open_stream: OpenStream, url: Url, expected: Expected) -> float:
    """Seconds until the head of an answer is there. Whoever calls bounds the time. Raises OpenError."""
    began = trio.current_time()
    stream = await open_stream(url.address)
    try:
        status = await _ask(await _secured(stream, url) if url.secure else stream, url.request())
    except (trio.BrokenResourceError, StatusError) as error:
        cause = error.__cause__
        raise (
            cause if isinstance(cause, OpenError) else OpenError(Reason.FAILED, f"no answer came: {cause or error}")
        ) from None
    finally:
        await trio.aclose_forcefully(stream)
    if not expected.has(status):
        raise OpenError(Reason.FAILED, f"the answer has the status {status}, and another one is expected")
    return trio.current_time() - began


async def _secured(stream: trio.abc.HalfCloseableStream, url: Url) -> trio.abc.Stream:
    context = await trio.to_thread.run_sync(_context)
    return trio.SSLStream(stream, context, server_hostname=url.address.host, https_compatible=True)


@cache
def _context() -> ssl.SSLContext:
    """With the system's roots, whose reading takes a moment."""
    return ssl.create_default_context()


async def _ask(stream: trio.abc.Stream, request: h11.Request) -> int:
    http = http_proxy.Connection(h11.CLIENT)
    await stream.send_all(http.send(request))
    while not isinstance(event := http.next_event(), h11.Response):
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some(_CHUNK)))
        elif isinstance(event, h11.ConnectionClosed):
            raise StatusError(502, "the connection closed")
    return event.status_code
