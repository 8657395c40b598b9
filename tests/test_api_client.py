"""What is asked of a running local side, and what of its answers is understood."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from proxy.address import Address
from proxy.api_client import ApiClient
from proxy.errors import LocalPortError
from tests.interface_standin import TOKEN, Standin, connection, standin

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Iterator[Standin]:
    with standin() as server:
        yield server


@pytest.fixture
def client(server: Standin) -> ApiClient:
    return ApiClient(server.address, lambda: TOKEN)


def test_the_state(client: ApiClient) -> None:
    state = client.state()
    assert (state.version, state.mode, state.listen) == ("0.1.0", "home-direct", ("127.0.0.1:1080",))
    assert state.carrier is not None
    assert state.carrier.last_loss is not None
    assert state.carrier.last_loss.reason == "the connection was reset"
    assert (state.rate.down, state.total.up, state.memory) == (88000.0, 120000, 52000000)


def test_a_state_of_which_little_is_known(server: Standin, client: ApiClient) -> None:
    server.state = {"now": 5.0, "carrier": None, "memory": None}
    state = client.state()
    assert (state.now, state.carrier, state.memory) == (5.0, None, None)


def test_connections(server: Standin, client: ApiClient) -> None:
    server.open = [connection(7, "g.whatsapp.net", app="whatsapp", down=42)]
    found = client.connections(99)
    assert server.asked == ["GET /api/v1/connections?most=99"]
    (one,) = found.open
    assert (found.open_count, one.id, one.host, one.port, one.app, one.down) == (
        1,
        7,
        "g.whatsapp.net",
        443,
        "whatsapp",
        42,
    )


def test_one_is_closed_once(server: Standin, client: ApiClient) -> None:
    server.open = [connection(7, "a.example"), connection(8, "b.example")]
    assert client.close(7)
    assert not client.close(7)
    assert [each["id"] for each in server.open] == [8]


def test_a_wrong_token_is_told(server: Standin) -> None:
    client = ApiClient(server.address, lambda: "wrong")
    with pytest.raises(LocalPortError, match="does not take the token"):
        client.state()
    with pytest.raises(LocalPortError, match="answered 401"):
        client.close(7)
    assert server.asked == []


@pytest.mark.parametrize(
    ("status", "content"),
    [(200, b"<html>"), (200, b"[]"), (200, b'{"now": "noon"}'), (200, b""), (404, b"{}"), (500, b'{"now": 1}')],
)
def test_another_program_is_told(server: Standin, client: ApiClient, status: int, content: bytes) -> None:
    server.status, server.content = status, content
    with pytest.raises(LocalPortError, match="another program"):
        client.state()


def test_nobody_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        client = ApiClient(Address("127.0.0.1", taken.getsockname()[1]), lambda: TOKEN)
        with pytest.raises(LocalPortError, match=r"nothing listens at .*ropeway run"):
            client.state()


def test_what_speaks_something_else_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = ApiClient(Address("127.0.0.1", server.getsockname()[1]), lambda: TOKEN)
        server.settimeout(10)

        def speak() -> None:
            stream, _ = server.accept()
            with stream:
                stream.recv(1000)
                stream.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        thread = threading.Thread(target=speak)
        thread.start()
        with pytest.raises(LocalPortError, match="does not answer"):
            client.state()
        thread.join()
