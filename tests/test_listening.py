"""Listeners: at all places or none, and one clear line where that cannot be."""

from __future__ import annotations

import socket

import pytest

from proxy import listening
from proxy.errors import ConfigError
from proxy.settings import Listen


async def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match="in use") as caught:
            await listening.listen(Listen("127.0.0.1", port), "local.listen")
    assert str(port) in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_an_exit_listens_at_all_of_its_places_or_none() -> None:
    free = Listen("127.0.0.1", 0)
    listeners = await listening.listen_all([free, free], "exit.listen")
    assert len({listener.socket.getsockname() for listener in listeners}) == 2
    taken = Listen("127.0.0.1", listeners[0].socket.getsockname()[1])
    with pytest.raises(ConfigError, match="in use"):
        await listening.listen_all(
            [free, taken], "exit.listen"
        )  # what it leaves open would be a warning, and so an error
    for listener in listeners:
        await listener.aclose()
