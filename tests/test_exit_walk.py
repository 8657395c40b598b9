"""The steps to an exit, at one address: what each brings back, and that nothing stays open."""

from __future__ import annotations

import errno
import ipaddress
from functools import partial
from typing import TYPE_CHECKING

import pytest

from proxy.exit_walk import Blocked, ExitWalk
from proxy.keys import UserKey
from proxy.share import Link
from tests.planted import LOOPBACK, answering, exit_on_loopback, hang, say, unused_port

if TYPE_CHECKING:
    import trio

    from tests.memory import Identity

HERE = ipaddress.ip_address(LOOPBACK)
KEY = UserKey.new()


@pytest.fixture
def walk(server: Identity) -> ExitWalk:
    return ExitWalk(Link("exit.example", 443, KEY, server.pin), patience=2.0)


async def opened(walk: ExitWalk, port: int) -> trio.SocketStream:
    found = await walk.open(HERE, port)
    assert not isinstance(found, Blocked)
    return found[0]


async def test_all_the_way(walk: ExitWalk, server: Identity) -> None:
    async with exit_on_loopback(server, KEY) as port:
        shaken = await walk.shake_hands(await opened(walk, port), "exit.example", roots=False)
        assert shaken.stream is not None
        assert (shaken.version, shaken.certificate) == ("TLSv1.3", server.der)
        greeted = await walk.greet(shaken.stream, 0.0)
        assert greeted.complaint == ""
        again = await walk.shake_hands(await opened(walk, port), "exit.example", roots=False)
        assert again.stream is not None
        assert b"\r\nDate: " in await walk.visit(again.stream)


async def test_where_nothing_listens(walk: ExitWalk) -> None:
    found = await walk.open(HERE, unused_port())
    assert isinstance(found, Blocked)
    assert (found.refused, found.silent) == (True, False)
    assert Blocked().silent
    assert Blocked(errno.ETIMEDOUT).silent


async def test_what_is_no_tls_is_kept_to_be_looked_at(walk: ExitWalk) -> None:
    async with answering(partial(say, b"SSH-2.0-x\r\n")) as port:
        shaken = await walk.shake_hands(await opened(walk, port), "exit.example", roots=False)
    assert (shaken.stream, shaken.first) == (None, b"SSH-2.0-x\r\n")


async def test_another_exits_certificate_is_brought_back_and_the_stream_closed(server: Identity) -> None:
    other = ExitWalk(Link("exit.example", 443, KEY, bytes(32)))
    async with exit_on_loopback(server, KEY) as port:
        shaken = await other.shake_hands(await opened(other, port), "exit.example", roots=False)
    assert (shaken.stream, shaken.certificate) == (None, server.der)


async def test_one_that_the_roots_do_not_know(walk: ExitWalk, server: Identity) -> None:
    async with exit_on_loopback(server, KEY) as port:
        shaken = await walk.shake_hands(await opened(walk, port), "exit.example", roots=True)
    assert shaken.stream is None
    assert shaken.complaint


async def test_plain_http_has_an_answer_or_none(walk: ExitWalk) -> None:
    async with answering(partial(say, b"HTTP/1.1 511 X\r\n\r\n")) as port:
        answer = await walk.ask_plainly(HERE, port)
        assert answer is not None
        assert answer.is_portal("exit.example")
    assert await walk.ask_plainly(HERE, unused_port()) is None


async def test_silence_has_an_end(server: Identity) -> None:
    impatient = ExitWalk(Link("exit.example", 443, KEY, server.pin), patience=0.05)
    async with answering(hang) as port:
        shaken = await impatient.shake_hands(await opened(impatient, port), "exit.example", roots=False)
        assert (shaken.stream, shaken.silent) == (None, True)
        assert await impatient.ask_plainly(HERE, port) is None
