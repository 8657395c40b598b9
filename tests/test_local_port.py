"""What the local port says to CONNECT: ours, another program's, nobody's."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from proxy.address import Address
from proxy.local_port import connect
from proxy.protocol import fault_answer, http_proxy
from proxy.protocol.socks import Credentials
from tests.planted import LOOPBACK, answering, say, unused_port

THERE = Address("example.com", 443)


async def ask(port: int, credentials: Credentials | None = None) -> tuple[int, str, bool]:
    answer = await connect(Address(LOOPBACK, port), credentials, THERE)
    if answer.stream is not None:
        await trio.aclose_forcefully(answer.stream)
    return answer.status, answer.text, answer.is_ours


@pytest.mark.parametrize(
    ("said", "status", "text", "ours"),
    [
        (fault_answer.error_answer(503, "the tunnel is down"), 503, "the tunnel is down", True),
        (fault_answer.error_answer(407, "wants a password"), 407, "wants a password", False),
        (b"HTTP/1.1 403 Forbidden\r\n\r\nno", 403, "", False),
        (b"SSH-2.0-OpenSSH\r\n", 0, "", False),
        (b"", 0, "", False),
    ],
)
async def test_who_says_no(said: bytes, status: int, text: str, ours: bool) -> None:
    async with answering(partial(say, said)) as port:
        assert await ask(port) == (status, text, ours)


async def test_not_a_byte_of_the_destinations_is_taken() -> None:
    async with answering(partial(say, http_proxy.CONNECTED + b"220 hello")) as port:
        answer = await connect(Address(LOOPBACK, port), None, THERE)
        assert answer.stream is not None
        async with answer.stream as stream:
            assert answer.is_ours
            assert await stream.receive_some() == b"220 hello"


async def test_nobody_listens() -> None:
    answer = await connect(Address(LOOPBACK, unused_port()), None, THERE)
    assert (answer.status, answer.listens, answer.is_ours) == (0, False, False)


async def test_credentials_are_said() -> None:
    heard: list[bytes] = []

    async def listen(stream: trio.SocketStream) -> None:
        heard.append(bytes(await stream.receive_some()))

    async with answering(listen) as port:
        await ask(port, Credentials("anna", "secret"))
    assert b"CONNECT example.com:443 HTTP/1.1\r\n" in heard[0]
    assert b"Proxy-Authorization: Basic YW5uYTpzZWNyZXQ=\r\n" in heard[0]
