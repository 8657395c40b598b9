"""The program put together, on loopback with real sockets: the demo, and what stops it before it starts."""

from __future__ import annotations

import functools
import socket
from typing import TYPE_CHECKING

import pytest
import trio

from proxy import app
from proxy.config import Listen, parse
from proxy.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


async def echo(stream: trio.SocketStream) -> None:
    async for data in stream:
        await stream.send_all(data)


async def socks_echo(port: int, target: int) -> bytes:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01" + target.to_bytes(2, "big") + b"hello")
        got = b""
        while len(got) < 2 + 10 + 5:
            got += bytes(await stream.receive_some())
    return got


async def test_the_demo_carries_bytes(
    tmp_path: Path, nursery: trio.Nursery, capsys: pytest.CaptureFixture[str]
) -> None:
    serve = functools.partial(trio.serve_tcp, echo, 0, host="127.0.0.1")
    (target,) = await nursery.start(serve)
    settings = parse({}, tmp_path / "config.toml").local
    with trio.fail_after(20):
        (local,) = await nursery.start(app._serve_demo, settings, tmp_path, 0, True)
        port = local.socket.getsockname()[1]
        got = await socks_echo(port, target.socket.getsockname()[1])
    assert str(port) in capsys.readouterr().out
    assert got == b"\x05\x00" + b"\x05\x00\x00\x01" + bytes(6) + b"hello"


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
