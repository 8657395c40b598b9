"""The local port, asked in the way of a browser: HTTP CONNECT is answered with the reason where it says no, and SOCKS has a number only."""

from __future__ import annotations

import base64
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from .address import Address
    from .protocol.socks import Credentials

_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3})[ \r]")
_LONGEST = 16_384  # bytes of an answer; ours has some hundreds
_OURS = "Ropeway: "


@dataclass(frozen=True, slots=True)
class PortAnswer:
    """`status` is 0 where nothing listens or what does speaks no HTTP; `text` is our own reason. `stream` is open where it said yes."""

    status: int
    text: str = ""
    stream: trio.SocketStream | None = None
    listens: bool = True

    @property
    def is_ours(self) -> bool:
        """Whether it speaks as ours does, and to us: not where it wants other credentials."""
        return self.stream is not None or (bool(self.text) and self.status != 407)


async def connect(port: Address, credentials: Credentials | None, address: Address) -> PortAnswer:
    """A connection to the address, or the reason why there is none. Waits as long as the port does: who asks sets the time limit."""
    try:
        stream = await trio.open_tcp_stream(port.host, port.port)
    except OSError:
        return PortAnswer(0, listens=False)
    try:
        await stream.send_all(_request(address, credentials))
        head = await _read_head(stream)
        status = _STATUS.match(head)
        if status is not None and status[1] == b"200":
            return PortAnswer(200, stream=stream)
        body = head.partition(b"\r\n\r\n")[2] + (await _read_rest(stream) if status is not None else b"")
        await trio.aclose_forcefully(stream)
        return PortAnswer(int(status[1]) if status is not None else 0, _reason(body))
    except trio.BrokenResourceError:
        await trio.aclose_forcefully(stream)
        return PortAnswer(0)
    except BaseException:
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(stream)
        raise


def _request(address: Address, credentials: Credentials | None) -> bytes:
    lines = [f"CONNECT {address} HTTP/1.1", f"Host: {address}"]
    if credentials is not None:
        token = base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {token}")
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


async def _read_head(stream: trio.SocketStream) -> bytes:
    """Not a byte more than the head where the answer is yes: what follows is the destination's."""
    data = b""
    while b"\r\n\r\n" not in data and len(data) < _LONGEST:
        more = await stream.receive_some(1 if data.startswith(b"HTTP/1.1 200") else 12)
        if not more:
            break
        data += more
    return data


async def _read_rest(stream: trio.SocketStream) -> bytes:
    data = b""
    with suppress(trio.BrokenResourceError):
        while len(data) < _LONGEST and (more := await stream.receive_some()):
            data += more
    return data


def _reason(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    _, found, reason = text.partition(_OURS)
    return "".join(c for c in reason.partition("\n")[0] if c.isprintable()) if found else ""
