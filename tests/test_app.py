"""The program put together, on loopback with real sockets: the demo, and what stops it before it starts."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
import trio

from proxy import app
from proxy.config import parse
from proxy.errors import ConfigError
from tests.told import Told

if TYPE_CHECKING:
    from pathlib import Path


def test_a_local_side_without_an_exit(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ropeway join"):
        app.run_local(parse({}, tmp_path / "config.toml"), tmp_path / "config.toml")


def test_an_exit_without_a_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="exit init"):
        app.run_exit(tmp_path / "none.toml")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_first_signal_ends_it_in_peace_and_the_second_at_once(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    then: list[object] = []

    async def serve() -> None:
        signal.raise_signal(number)
        try:
            await trio.sleep_forever()
        finally:  # a goodbye, during which the kernel decides about signals
            then.extend(signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM))

    told = Told()
    with trio.fail_after(10):
        await app._until_signal(serve, (), told)
    assert told.news == ["STOPPING=1"]
    assert then == [signal.SIG_DFL, signal.SIG_DFL]
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
