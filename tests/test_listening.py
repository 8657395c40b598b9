"""Listeners: at all places or none, and one clear line where that cannot be."""

from __future__ import annotations

import errno
import socket
import sys

import pytest
import trio

from proxy import listening
from proxy.errors import ConfigError
from proxy.port_holder import Holder
from proxy.settings import Listen


async def test_a_port_in_use_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr("proxy.port_holder.holder_of", lambda _: Holder(42, "sshd"))
        with pytest.raises(ConfigError, match=r"it is in use by sshd \(process 42\); stop that") as caught:
            await listening.listen(Listen("127.0.0.1", port), "local.listen")
    assert str(port) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="every port is everybody's there")
@pytest.mark.parametrize("place", [Listen("192.0.2.1", 1080), Listen("127.0.0.1", 1)])
async def test_what_is_not_a_program_is_not_called_one(place: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object, **__: object) -> None:
        await trio.lowlevel.checkpoint()
        raise (
            PermissionError(errno.EACCES, "Permission denied")
            if place.port == 1
            else OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        )

    monkeypatch.setattr(trio, "open_tcp_listeners", refuse)
    with pytest.raises(ConfigError, match="need root" if place.port == 1 else "Cannot assign"):
        await listening.listen(place, "local.listen")


async def test_an_exit_listens_at_all_of_its_places_or_none() -> None:
    free = Listen("127.0.0.1", 0)
    listeners = await listening.listen_all([free, free], "exit.listen")
    assert len({listener.socket.getsockname() for listener in listeners}) == 2
    taken = Listen("127.0.0.1", listeners[0].socket.getsockname()[1])
    with pytest.raises(ConfigError, match="another setting" if sys.platform == "linux" else "in use"):
        await listening.listen_all(
            [free, taken], "exit.listen"
        )  # what it leaves open would be a warning, and so an error
    for listener in listeners:
        await listener.aclose()


@pytest.mark.skipif(sys.platform != "linux", reason="others have no choice")
async def test_what_is_accepted_within_this_computer_is_not_paced(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[trio.socket.SocketType] = []
    monkeypatch.setattr("proxy.tcp.mind_no_network", told.append)
    places = [Listen("0.0.0.0", 0), Listen("127.0.0.1", 0), Listen("127.0.0.2", 0)]
    everywhere, *here = await listening.listen_all(places, "exit.listen")
    assert told == [listener.socket for listener in here]
    for listener in (everywhere, *here):
        await listener.aclose()
