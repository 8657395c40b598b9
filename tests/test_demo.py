"""The demo: an exit and a local side that work at once."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import trio

from proxy import demo
from proxy.config import parse
from tests.socks_words import SOCKS_ANSWER, echo, received, socks_request

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


async def test_the_demo_carries_bytes(
    tmp_path: Path, nursery: trio.Nursery, capsys: pytest.CaptureFixture[str]
) -> None:
    serve = functools.partial(trio.serve_tcp, echo, 0, host="127.0.0.1")
    (target,) = await nursery.start(serve)
    settings = parse({}, tmp_path / "config.toml").local
    with trio.fail_after(20):
        (local,) = await nursery.start(demo.serve_demo, settings, tmp_path, 0, True)
        port = local.socket.getsockname()[1]
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(socks_request(target.socket.getsockname()[1]) + b"hello")
            assert await received(stream, SOCKS_ANSWER + b"hello")
    assert str(port) in capsys.readouterr().out
