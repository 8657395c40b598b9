"""Sockets that somebody else listens on already: taken as they are, or refused in one line."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest
import trio

from proxy import activation
from proxy.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FREE = 200  # descriptors from here on are ours to place

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows passes no descriptors")


def place(sockets: Sequence[socket.socket]) -> dict[str, str]:
    """Copies from FREE on, as systemd passes them, and the environment that says so."""
    for number, each in enumerate(sockets):
        os.dup2(each.fileno(), FREE + number, inheritable=True)
    return {
        "LISTEN_FDS": str(len(sockets)),
        "LISTEN_PID": "42",
        "LISTEN_FDNAMES": "ropeway.socket",
        "LISTEN_PIDFDID": "1",
    }


def closed(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return True
    return False


@pytest.fixture
def held() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


async def test_they_are_taken_in_their_order_and_accept(held: ExitStack) -> None:
    servers = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
    environ = place(servers) | {"HOME": "/"}
    taken = activation.inherited(environ, 42, first=FREE)
    assert environ == {"HOME": "/"}
    assert [each.getsockname() for each in taken] == [each.getsockname() for each in servers]
    assert not any(each.get_inheritable() for each in taken)
    for listener, server in zip(activation.listeners(taken), servers, strict=True):
        with trio.fail_after(5):
            client = await trio.open_tcp_stream(*server.getsockname())
            async with listener, client, await listener.accept() as accepted:
                await client.send_all(b"hello")
                assert await accepted.receive_some() == b"hello"


@pytest.mark.skipif(sys.platform != "linux", reason="others have no choice")
async def test_what_is_accepted_within_this_computer_is_not_paced(
    held: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[trio.socket.SocketType] = []
    monkeypatch.setattr("proxy.tcp.mind_no_network", told.append)
    servers = [held.enter_context(socket.create_server((host, 0))) for host in ("0.0.0.0", "127.0.0.1")]
    everywhere, here = activation.listeners(servers)
    assert told == [here.socket]
    for listener in (everywhere, here):
        await listener.aclose()


@pytest.mark.parametrize(
    "environ",
    [{}, {"LISTEN_FDS": "1"}, {"LISTEN_FDS": "1", "LISTEN_PID": "41"}, {"LISTEN_FDS": "one", "LISTEN_PID": "42"}],
)
def test_what_is_not_for_this_process_is_left_alone(environ: dict[str, str]) -> None:
    assert activation.inherited(environ, 42, first=FREE) == []
    assert environ == {}


def not_listening() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock


def unix() -> socket.socket:
    if sys.platform == "win32":  # for the type checker, which reads no further there
        raise NotImplementedError
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)


@pytest.mark.parametrize(
    "make",
    [
        not_listening,
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        unix,
        lambda: os.fdopen(os.open(os.devnull, os.O_RDONLY), "rb"),
    ],
    ids=["not listening", "datagrams", "unix", "a file"],
)
def test_what_is_of_no_use_is_one_clear_line(held: ExitStack, make: object) -> None:
    assert callable(make)
    good, bad = held.enter_context(socket.create_server(("127.0.0.1", 0))), held.enter_context(closing(make()))
    environ = place([good, bad])
    with pytest.raises(ConfigError, match=r"systemd passed|socket unit") as caught:
        activation.inherited(environ, 42, first=FREE)
    assert "\n" not in str(caught.value)
    assert closed(FREE)
    if not closed(FREE + 1):  # not a socket: it is not ours to close
        os.close(FREE + 1)


def test_too_many_are_refused() -> None:
    with pytest.raises(ConfigError, match="the most"):
        activation.inherited({"LISTEN_FDS": "65", "LISTEN_PID": "42"}, 42, first=FREE)


def test_a_real_process_takes_them_from_descriptor_3() -> None:
    code = "from proxy.activation import inherited; print(inherited()[0].getsockname()[1])"
    script = f'LISTEN_PID=$$ LISTEN_FDS=1 exec "{sys.executable}" -c "{code}"'
    with socket.create_server(("127.0.0.1", 0)) as server:
        shell = f"exec 3<&{server.fileno()}; {script}"
        done = subprocess.run(["bash", "-c", shell], pass_fds=[server.fileno()], capture_output=True, text=True)
        assert (done.stdout, done.stderr) == (f"{server.getsockname()[1]}\n", "")
