"""The dashboard's interface of the real program, with clients of other authors; and that nothing leads to it by way of the proxy."""

from __future__ import annotations

import json
import socket
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from websockets.exceptions import InvalidProxyStatus, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from tests.e2e.apps import receive
from tests.e2e.apps.socks_udp import ASSOCIATE, header, wait_for_tunnel
from tests.e2e.machine import ENVIRONMENT, Programs, program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.pairs import Pair

pytestmark = pytest.mark.e2e

#: Datagrams of a call there and back, and their sizes: more than all that is said beside it.
CALL, SAID, HEARD = 100, 4000, 6000


@pytest.fixture(scope="module")
def token(programs: Programs, pair: Pair) -> str:
    """As `ropeway dashboard` hands it to a browser."""
    done = programs.run_ropeway("dashboard", "--print", "--config", pair.local.config)
    assert (done.returncode, done.stderr) == (0, "")
    address, _, token = done.stdout.strip().partition("#token=")
    assert address == f"http://127.0.0.1:{pair.port}/"
    return token


def told_until(watching: ClientConnection, host: str, list_name: str) -> dict[str, Any]:
    """The first entry of this host and this port in such a list."""
    while True:
        told = json.loads(watching.recv(timeout=20))
        for entry in told["connections"][list_name]:
            if f"{entry['host']}:{entry['port']}" == host:
                assert isinstance(entry, dict)
                return entry


def test_what_goes_on_is_seen_and_ended(pair: Pair, token: str) -> None:
    client = httpx.Client(
        base_url=f"{pair.local.url('http')}/api/v1/", headers={"Authorization": f"Bearer {token}"}, trust_env=False
    )
    origin = Origin(f"http://127.0.0.1:{pair.port}")
    live = connect(f"ws://127.0.0.1:{pair.port}/api/v1/live", proxy=None, origin=origin, max_size=None)
    with client, live as watching, socket.create_server(("127.0.0.1", 0)) as server:
        state = client.get("state").raise_for_status().json()
        assert (state["carrier"]["state"], state["exits"][0]["state"], state["mode"]) == ("up", "up", "all")
        watching.send(json.dumps({"token": token, "watch": ["state", "connections", "log"]}))
        assert json.loads(watching.recv(timeout=20)).keys() == {"state", "connections", "log"}
        host = f"127.0.0.1:{server.getsockname()[1]}"
        with socket.create_connection(("127.0.0.1", pair.port), timeout=20) as app:
            app.sendall(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\nhello".encode())
            peer, _ = server.accept()
            with peer:
                assert app.recv(12) == b"HTTP/1.1 200"
                entry = told_until(watching, host, "open")
                assert (entry["protocol"], entry["route"], entry["closed"]) == ("connect", "tunnel", None)
                assert client.delete(f"connections/{entry['id']}").status_code == 204
                entry = told_until(watching, host, "closed")
                assert (entry["state"], entry["reason"]) == ("closed", "it was closed by hand")


def used(client: httpx.Client) -> tuple[int, int]:
    """Bytes of all apps and days."""
    days = client.get("usage").raise_for_status().json()["days"]
    apps = [app for day in days for app in day["apps"]]
    return sum(app["up"] for app in apps), sum(app["down"] for app in apps)


def test_a_call_is_seen_and_counted_and_ended(pair: Pair, token: str) -> None:
    """Both its datagrams and those that come back are counted once."""
    client = httpx.Client(
        base_url=f"{pair.local.url('http')}/api/v1/", headers={"Authorization": f"Bearer {token}"}, trust_env=False
    )
    wait_for_tunnel(pair)
    with client, datagrams() as app, datagrams() as peer, associated(pair.port) as (control, relay):
        before = used(client)
        there = peer.getsockname()
        for _ in range(CALL):
            app.sendto(header(there) + bytes(SAID), relay)
            data, caller = peer.recvfrom(65_535)
            assert len(data) == SAID
            peer.sendto(bytes(HEARD), caller)
            assert len(app.recv(65_535)) == HEARD + len(header(there))
        found = client.get("connections").raise_for_status().json()["open"]
        (entry,) = [each for each in found if each["protocol"] == "udp"]
        assert (entry["host"], entry["port"], entry["state"], entry["route"]) == (*there, "open", "tunnel")
        assert (entry["up"], entry["down"]) == (CALL * SAID, CALL * HEARD)
        up, down = (now - earlier for now, earlier in zip(used(client), before, strict=True))
        assert CALL * SAID <= up < 1.5 * CALL * SAID  # others say something beside it
        assert CALL * HEARD <= down < 1.5 * CALL * HEARD
        assert client.delete(f"connections/{entry['id']}").status_code == 204
        assert control.recv(1) == b""
        closed = client.get("connections").raise_for_status().json()["closed"]
        (entry,) = [each for each in closed if each["id"] == entry["id"]]
        assert (entry["state"], entry["reason"], entry["up"]) == ("closed", "it was closed by hand", CALL * SAID)


def datagrams() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    made.settimeout(20)
    return made


@contextmanager
def associated(port: int) -> Iterator[tuple[socket.socket, tuple[str, int]]]:
    """The connection of an association, and where its datagrams go."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as control:
        control.sendall(ASSOCIATE)
        answer = receive(control, 12)
        assert answer[:6] == b"\5\0" + b"\5\0\0\1"
        yield control, (socket.inet_ntoa(answer[6:10]), int.from_bytes(answer[10:], "big"))


def test_nobody_else_is_told_anything(pair: Pair) -> None:
    url = f"{pair.local.url('http')}/api/v1/state"
    with httpx.Client(trust_env=False) as client:
        assert client.get(url).status_code == 401
        usual = client.get(f"{pair.local.url('http')}/nowhere", headers={"Origin": "https://evil.example"})
        for fields in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            answer = client.get(url, headers=fields)
            assert (answer.status_code, answer.content, answer.headers) == (400, usual.content, usual.headers)
    with pytest.raises(InvalidStatus, match="400"):
        connect(f"ws://127.0.0.1:{pair.port}/api/v1/live", proxy=None, origin=Origin("https://evil.example"))


HOSTS = ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]", "127.1", "2130706433", "127.0.0.2"]


@pytest.mark.parametrize("host", HOSTS)
def test_nothing_leads_there_by_way_of_the_proxy(pair: Pair, token: str, host: str) -> None:
    """The exit stands on this computer and may connect to it, and the rules send everything to the exit."""
    port = pair.port
    for request in (
        f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n",
        f"GET http://{host}:{port}/api/v1/state HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as app:
            app.sendall(request.encode())
            assert app.recv(100).startswith(b"HTTP/1.1 403 ")
    bare = host.strip("[]").encode()
    with socket.create_connection(("127.0.0.1", port), timeout=20) as app:
        app.sendall(b"\x05\x01\x00" + b"\x05\x01\x00\x03" + bytes([len(bare)]) + bare + port.to_bytes(2, "big"))
        answer = b""
        while data := app.recv(100):
            answer += data
        assert answer[:4] == b"\x05\x00\x05\x02"  # RFC 1928, section 6: not allowed by the rules


@pytest.mark.parametrize("way", ["-x", "--socks4a", "--socks5-hostname", "-px"])
def test_curl_does_not_reach_it_either(pair: Pair, token: str, way: str) -> None:
    words = [way, f"127.0.0.1:{pair.port}", "-H", f"Authorization: Bearer {token}", "-o", "-", "-s"]
    url = f"http://localhost:{pair.port}/api/v1/state"
    done = subprocess.run([program("curl"), *words, url], capture_output=True, env=ENVIRONMENT, timeout=30, check=False)
    assert b"version" not in done.stdout
    assert done.returncode != 0 or b"own port" in done.stdout


def test_a_websocket_does_not_get_there_by_way_of_the_proxy(pair: Pair) -> None:
    with pytest.raises(InvalidProxyStatus, match="403"):
        connect(f"ws://127.0.0.1:{pair.port}/api/v1/live", proxy=f"http://127.0.0.1:{pair.port}")
