"""The program put together, on loopback with real sockets: the demo, and what stops it before it starts."""

from __future__ import annotations

import functools
import logging
import os
import signal
import socket
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from proxy import app
from proxy.address_book import AddressBook
from proxy.config import Listen, load, parse
from proxy.config_file import replace_file
from proxy.dialer import Dialer
from proxy.errors import ConfigError
from proxy.exit import Exit, Limits
from proxy.keys import UserKey, new_certificate
from proxy.local_side import LocalSide
from proxy.share import Link
from proxy.website import page
from tests.memory import identity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


async def echo(stream: trio.SocketStream) -> None:
    async for data in stream:
        await stream.send_all(data)


SOCKS_ANSWER = b"\x05\x00" + b"\x05\x00\x00\x01" + bytes(6)


def socks_request(port: int) -> bytes:
    return b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01" + port.to_bytes(2, "big")


async def received(stream: trio.SocketStream, expected: bytes) -> bool:
    got = b""
    while len(got) < len(expected):
        got += bytes(await stream.receive_some())
    return got == expected


async def test_the_demo_carries_bytes(
    tmp_path: Path, nursery: trio.Nursery, capsys: pytest.CaptureFixture[str]
) -> None:
    serve = functools.partial(trio.serve_tcp, echo, 0, host="127.0.0.1")
    (target,) = await nursery.start(serve)
    settings = parse({}, tmp_path / "config.toml").local
    with trio.fail_after(20):
        (local,) = await nursery.start(app._serve_demo, settings, tmp_path, 0, True)
        port = local.socket.getsockname()[1]
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(socks_request(target.socket.getsockname()[1]) + b"hello")
            assert await received(stream, SOCKS_ANSWER + b"hello")
    assert str(port) in capsys.readouterr().out


@pytest.fixture
def _log_as_before() -> Iterator[None]:
    root = logging.getLogger("ropeway")
    handlers, level, raising = root.handlers, root.level, logging.raiseExceptions
    yield
    root.handlers, logging.raiseExceptions = handlers, raising
    root.setLevel(level)


@asynccontextmanager
async def local_exit(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Link]:
    """An exit on loopback, and the link to it."""
    certificate, key = new_certificate("localhost")
    there, user = identity(tmp_path, certificate, key), UserKey.new()
    serving = Exit(
        {user.key_id: user.secret},
        there.binding,
        website=page(),
        connect=Dialer(allow_private=True).connect,
        limits=Limits(),
    )
    listeners = await app._listen(Listen("127.0.0.1", 0), "exit.listen")
    await nursery.start(serving.serve, listeners, there.context)
    yield Link("127.0.0.1", listeners[0].socket.getsockname()[1], user, there.pin, server_name="localhost")


@pytest.mark.usefixtures("_log_as_before")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
async def test_the_local_side_reads_its_file_again_and_streams_stay(
    tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if sys.platform == "win32":  # for the type checker, which reads no further there
        return
    caplog.set_level(logging.DEBUG, "ropeway")
    monkeypatch.setattr(app, "_state_folder", lambda: tmp_path)
    read, reload = trio.Event(), LocalSide.reload
    monkeypatch.setattr(LocalSide, "reload", lambda side, path: (reload(side, path), read.set()))
    path = tmp_path / "config.toml"
    (target,) = await nursery.start(functools.partial(trio.serve_tcp, echo, 0, host="127.0.0.1"))
    async with local_exit(tmp_path, nursery) as link:
        written = f'[local]\nlisten = "127.0.0.1:0"\nexit = "{link}"\n'
        replace_file(path, written.encode())
        with trio.fail_after(20):
            (local,) = await nursery.start(app._serve_local, load(path).local, path)
            port, to = local.socket.getsockname()[1], target.socket.getsockname()[1]
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(socks_request(to) + b"hello")
                assert await received(stream, SOCKS_ANSWER + b"hello")
                other = replace(link, pin=b"\x01" * 32)
                replace_file(path, (written + f'exits = ["{other}"]\n').encode())
                os.kill(os.getpid(), signal.SIGHUP)
                await read.wait()
                await stream.send_all(b"still here")
                assert await received(stream, b"still here")
    assert "the configuration was read again" in caplog.text
    assert AddressBook(tmp_path / "addresses.json").of(link.pin) == {link.address: (link.address,)}


async def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match="in use") as caught:
            await app._listen(Listen("127.0.0.1", port), "local.listen")
    assert str(port) in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_an_exit_listens_at_all_of_its_places_or_none() -> None:
    free = Listen("127.0.0.1", 0)
    listeners = await app._listen_all([free, free], "exit.listen")
    assert len({listener.socket.getsockname() for listener in listeners}) == 2
    taken = Listen("127.0.0.1", listeners[0].socket.getsockname()[1])
    with pytest.raises(ConfigError, match="in use"):
        await app._listen_all([free, taken], "exit.listen")  # what it leaves open would be a warning, and so an error
    for listener in listeners:
        await listener.aclose()


def test_a_local_side_without_an_exit(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ropeway join"):
        app.run_local(parse({}, tmp_path / "config.toml"), tmp_path / "config.toml")


async def test_an_exit_without_users(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="user add"):
        await app._serve_exit(parse({}, tmp_path / "config.toml").exit)
