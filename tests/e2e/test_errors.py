"""The exit's connect errors arrive as what SOCKS and HTTP have for them, with a body that says why."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from subprocess import run
from typing import TYPE_CHECKING

import pytest

from tests.e2e.apps import connect_by_http, connect_by_socks, curl
from tests.e2e.machine import free_port, program, wait_until
from tests.e2e.pairs import Pair, start_exit, start_local, start_pair

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.e2e.machine import Programs

pytestmark = pytest.mark.e2e

REFUSED, FORBIDDEN, NETWORK_UNREACHABLE, HOST_UNREACHABLE = 5, 2, 3, 4  # RFC 1928, section 6

#: Documentation addresses (RFC 5737): the network that the test makes knows nothing of one, and forbids the other.
NO_ROUTE, NO_HOST = "198.51.100.7", "203.0.113.7"
#: Ways to say loopback, a private network, and the place where clouds keep their secrets.
PRIVATE = ["127.0.0.1", "localhost", "::1", "0.0.0.0", "::ffff:127.0.0.1", "2130706433", "10.0.0.1", "169.254.169.254"]


def socks_reply(port: int, host: str, to: int) -> int:
    reply, connection = connect_by_socks(port, host, to)
    with connection:
        assert connection.recv(1) == b""
    return reply


def test_refused(pair: Pair, folder: Path) -> None:
    closed = free_port()
    assert socks_reply(pair.port, "127.0.0.1", closed) == REFUSED
    status, body = connect_by_http(pair.port, f"127.0.0.1:{closed}")
    assert (status, b"refused" in body) == (502, True)
    page = folder / "page"
    answer = curl("-x", pair.local.url("http"), "-o", page, f"http://127.0.0.1:{closed}/", folder=folder)
    assert (answer.code, answer.status, "refused" in page.read_text()) == (0, 502, True)


@pytest.fixture(scope="module")
def careful_pair(programs: Programs) -> Pair:
    """As it is when nobody asks for anything: no private addresses."""
    return start_pair(programs, allow_private=False)


@pytest.mark.parametrize("host", PRIVATE)
def test_forbidden(careful_pair: Pair, host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert socks_reply(careful_pair.port, host, port) == FORBIDDEN
        status, body = connect_by_http(careful_pair.port, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        assert (status, b"private" in body) == (403, True)


def test_a_destination_that_does_not_answer(pair: Pair) -> None:
    """A queue that is full drops what knocks: the exit waits for as long as it ever does."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        address = server.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        try:
            for client in waiting:
                client.setblocking(False)
                client.connect_ex(address)
            status, body = connect_by_http(pair.port, f"127.0.0.1:{address[1]}")
            assert (status, b"in time" in body) == (504, True)
        finally:
            for client in waiting:
                client.close()


@dataclass(frozen=True)
class Elsewhere:
    """A pair in a network of its own, where `prefix` runs a command."""

    pair: Pair
    prefix: Sequence[str]


@pytest.fixture(scope="module")
def elsewhere(programs: Programs) -> Iterator[Elsewhere]:
    if not can_make_networks():
        pytest.skip("only root can make a network namespace")
    commands = f"ip link set lo up && ip route add unreachable {NO_HOST} && exec sleep 1000"
    network = programs.start("network", [program("unshare"), "--net", "sh", "-c", commands])
    prefix = [program("nsenter"), "--net", f"--target={network.pid}"]
    wait_until(lambda: NO_HOST in routes(prefix), "the network")
    there = start_exit(programs, prefix=prefix)
    local = start_local(programs, there.link, prefix=prefix)
    yield Elsewhere(Pair(there, local), prefix)
    for started in (local.program, there.program, network):
        started.stop()


def can_make_networks() -> bool:
    return run([program("unshare"), "--net", "true"], capture_output=True, check=False).returncode == 0


def routes(prefix: Sequence[str]) -> str:
    return run([*prefix, program("ip"), "route", "show"], capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize(("host", "reply"), [(NO_ROUTE, NETWORK_UNREACHABLE), (NO_HOST, HOST_UNREACHABLE)])
def test_unreachable(elsewhere: Elsewhere, folder: Path, host: str, reply: int) -> None:
    port = elsewhere.pair.port
    url = f"http://{host}/"
    answer = curl("--socks5", f"127.0.0.1:{port}", url, folder=folder, prefix=elsewhere.prefix)
    assert (answer.code, f"({reply})" in answer.complaint) == (97, True), answer.complaint
    page = folder / "page"
    answer = curl("-x", f"http://127.0.0.1:{port}", "-o", page, url, folder=folder, prefix=elsewhere.prefix)
    assert (answer.code, answer.status) == (0, 502)
    assert "reach" in page.read_text() or "route" in page.read_text()
