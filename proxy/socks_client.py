"""Connections through a SOCKS5 server, which is the local port: what a program of ours sees through it is what apps see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from .errors import REASON_TEXT, SILENT, LocalPortError, OpenError, Reason, RemoteProtocolError
from .protocol.socks_client import DeniedError, Handshake, Reply

if TYPE_CHECKING:
    from .address import Address
    from .protocol.socks import Credentials

#: Our choice, in seconds, for what a server says of itself: it is on this computer, and no destination is asked for that.
_FIRST_WORD = 5.0
#: What the local port means by each. It has fewer replies than there are reasons.
_REASONS = {
    Reply.NOT_ALLOWED: (Reason.FORBIDDEN, "a rule on this computer or the exit's policy forbids it"),
    Reply.NETWORK_UNREACHABLE: (Reason.NETWORK_UNREACHABLE, REASON_TEXT[Reason.NETWORK_UNREACHABLE]),
    Reply.HOST_UNREACHABLE: (
        Reason.HOST_UNREACHABLE,
        "it did not answer in time, cannot be reached, or its name cannot be resolved",
    ),
    Reply.REFUSED: (Reason.REFUSED, REASON_TEXT[Reason.REFUSED]),
}
_OTHERWISE = (Reason.FAILED, "the tunnel is down, or a limit was reached; `ropeway run` says more")


async def connect_through(server: Address, credentials: Credentials | None, address: Address) -> trio.SocketStream:
    """A stream to the address by way of the server, which looks names up.

    Raises OpenError with what the server replied, and LocalPortError where there is no SOCKS5 server or it wants other credentials.
    """
    try:
        stream = await trio.open_tcp_stream(server.host, server.port)
    except OSError:
        raise LocalPortError(f"nothing listens at {server}; start `ropeway run`") from None
    try:
        reply = await _shake_hands(stream, Handshake(address, credentials))
        if reply != Reply.SUCCEEDED:
            raise OpenError(*_REASONS.get(reply, _OTHERWISE))
    except DeniedError:
        await trio.aclose_forcefully(stream)
        text = "wants another user name and password than this configuration has; start `ropeway run` with this one"
        raise LocalPortError(f"the program at {server} {text}") from None
    except TimeoutError:
        await trio.aclose_forcefully(stream)
        raise LocalPortError(f"the program at {server} {SILENT}") from None
    except (RemoteProtocolError, trio.BrokenResourceError) as exc:
        await trio.aclose_forcefully(stream)
        raise LocalPortError(f"the program at {server} does not speak SOCKS5, or ended; is it `ropeway run`?") from exc
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream


async def _shake_hands(stream: trio.abc.Stream, handshake: Handshake) -> Reply:
    """Raises DeniedError, RemoteProtocolError, trio.BrokenResourceError, and TimeoutError where it says nothing at all."""
    with trio.move_on_after(_FIRST_WORD) as waiting:
        await stream.send_all(handshake.data_to_send())
        handshake.receive_data(bytes(await stream.receive_some(handshake.wants)))
    if waiting.cancelled_caught:
        raise TimeoutError
    while handshake.reply is None:
        if data := handshake.data_to_send():
            await stream.send_all(data)
        handshake.receive_data(bytes(await stream.receive_some(handshake.wants)))
    return handshake.reply
