"""The dashboard's interface, asked over a socket: what it shows, what it changes, what it refuses."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

import pytest
import trio

from proxy import telemetry
from proxy.address import Address
from proxy.api import _ROUTES, ROOT
from proxy.config import load
from proxy.config_file import replace_file
from proxy.connections import AppProtocol
from proxy.conversation import Conversation
from proxy.dashboard_token import TokenFile
from proxy.finding import Finding, Text
from proxy.peer_process import program_of
from proxy.protocol import fault_answer
from proxy.rule_terms import Network
from proxy.share import Link
from tests.dashboard_world import ONE, dashboard_world

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.connections import Connection
    from tests.dashboard_world import DashboardWorld

pytestmark = pytest.mark.usefixtures("log_as_before")


def opened(world: DashboardWorld, host: str, port: int = 443) -> Connection:
    made = world.side.connections.opened(AppProtocol.SOCKS5, Address(host, port), trio.current_time())
    made.chosen("tunnel", "default")
    made.reached()
    return made


# ---- who may ask


ALL = [(method, "/".join(path).replace("*", "x")) for path, methods in _ROUTES.items() for method in methods]


@pytest.mark.parametrize("token", ["", "wrong", "x" * 43])
async def test_nothing_is_said_without_the_token(token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world:
        before = world.path.read_bytes()
        connection = opened(world, "example.com")
        for method, path in [*ALL, ("GET", "nowhere"), ("PATCH", "state")]:
            answer = await world.ask(path, method, b"x" * 10 if method == "PUT" else b"", token=token)
            assert answer.status == 401
            assert b"WWW-Authenticate: Bearer\r\n" in answer.head
            assert answer.error.startswith("the token is missing or wrong")
        assert world.path.read_bytes() == before
        assert connection.ending == ""


async def test_head_is_answered_as_get_without_the_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world:
        for path, token in (
            ("rules", None),
            ("usage", None),
            ("nowhere", None),
            ("exits/x/use", None),
            ("rules", "wrong"),
        ):
            whole = await world.ask(path, token=token)
            head = await world.ask(path, "HEAD", token=token)
            assert (head.head, head.body) == (whole.head, b"")
            assert b"Content-Length: %d" % len(whole.body) in head.head
        live = await world.ask("live", "HEAD")
        assert (live.status, live.body) == (426, b"")


async def test_the_token_is_judged_before_the_content_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world:
        request = "PUT /api/v1/mode HTTP/1.1\r\nHost: localhost:1\r\nContent-Length: 1000000\r\n\r\n"
        async with await trio.open_tcp_stream("127.0.0.1", world.port) as stream:
            await stream.send_all(request.encode())
            with trio.fail_after(5):
                assert bytes(await stream.receive_some()).startswith(b"HTTP/1.1 401 ")


async def test_an_old_token_is_worth_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world:
        assert (await world.ask("state")).status == 200
        new = TokenFile.of_user().renew()
        assert (await world.ask("state")).status == 401
        assert (await world.ask("state", token=new)).status == 200


@pytest.mark.parametrize(
    "fields",
    ["Origin: https://evil.example", "Sec-Fetch-Site: cross-site", "Referer: http://127.0.0.1:1/", "Origin: null"],
)
async def test_a_page_of_others_gets_nothing_even_with_the_token(
    fields: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world:
        for method, path in [("OPTIONS", "state"), *ALL]:
            head = f"{method} /api/v1/{path} HTTP/1.1\r\nHost: 127.0.0.1:{world.port}\r\n{fields}\r\n"
            request = f"{head}Authorization: Bearer {world.token}\r\n\r\n"
            assert await world.send(request.encode()) == fault_answer.nameless_answer()
        head = f"GET /api/v1/state HTTP/1.1\r\nHost: evil.example:{world.port}\r\n"
        request = f"{head}Authorization: Bearer {world.token}\r\n\r\n"
        assert await world.send(request.encode()) == fault_answer.nameless_answer()


# ---- reading


async def test_the_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world:
        connection = opened(world, "example.com")
        connection.traffic.up(100, trio.current_time())
        answer = await world.ask("state")
        state = answer.json
        assert answer.status == 200
        assert b"Cache-Control: no-store" in answer.head
        assert b"ccess-" not in answer.head  # of CORS
        assert (state["mode"], state["listen"], state["carrier"]) == ("all", ["127.0.0.1:1080"], None)
        assert state["exits"][0] == {
            "name": "one.example:443",
            "label": "one",
            "addresses": ["one.example:443"],
            "state": "idle",
            "preferred": False,
            "current": False,
        }
        assert state["total"] == {"up": 100, "down": 0}
        assert (state["open"], state["connections"]) == (1, 1)
        assert 0 <= state["now"] - state["started"] < 60


async def test_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world:
        for number in range(300):  # more than are looked at in one go
            opened(world, f"host{number}.example")
        chat = opened(world, "g.whatsapp.net")
        chat.traffic.up(8, trio.current_time())
        opened(world, "gone.example").close(trio.current_time(), "it broke")
        found = (await world.ask("connections")).json
        assert (found["open_count"], len(found["open"]), len(found["closed"])) == (301, 301, 1)
        first = found["open"][0]
        assert (first["host"], first["app"], first["state"], first["rule"]) == (
            "g.whatsapp.net",
            "whatsapp",
            "open",
            "default",
        )
        assert first["up"] == 8
        assert first["waiting_since"] == first["last_up"] >= first["opened"]
        assert (first["closed"], first["last_down"], first["long"]) == (None, None, False)
        assert (found["closed"][0]["reason"], found["closed"][0]["state"]) == ("it broke", "closed")
        assert found["closed"][0]["closed"] >= found["closed"][0]["opened"]
        found = (await world.ask("connections?most=2")).json
        assert [each["host"] for each in found["open"]] == ["g.whatsapp.net", "host299.example"]
        assert found["open_count"] == 301
        assert (await world.ask("connections?most=x")).status == 400


async def test_a_call_is_of_the_app_whose_servers_it_has_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world:
        choice = world.side.routing.router.choose(Address("g.whatsapp.net", 3478))
        assert choice is not None
        call = Conversation(world.side.connections, trio.CancelScope())
        entry = call.entry(Address("g.whatsapp.net", 3478), choice)
        entry.sent(Address("192.0.2.7", 50_000), choice, 1000, trio.current_time())
        (found,) = (await world.ask("connections")).json["open"]
        assert (found["app"], found["protocol"], found["host"], found["port"]) == (
            "whatsapp",
            "udp",
            "192.0.2.7",
            50_000,
        )
        assert (found["up"], found["route"], found["waiting_since"]) == (1000, "tunnel", None)


async def test_rules_and_their_hits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = '"direct suffix:a.example", "block suffix:ads.example"'
    async with dashboard_world(tmp_path, monkeypatch, rules=rules, mode="home-direct") as world:
        router = world.side.routing.router
        for name in ("ads.example", "x.ads.example", "example.com"):
            router.choose_stream(Address(name, 443))
        found = (await world.ask("rules")).json
        assert (found["mode"], found["count"]) == ("home-direct", 2)
        assert found["rules"][0] == {
            "source": "rule 1", "text": "direct suffix:a.example", "route": "direct", "hits": 0, "last": None
        }  # fmt: skip
        assert (found["rules"][1]["text"], found["rules"][1]["hits"]) == ("block suffix:ads.example", 2)
        assert found["rules"][1]["last"] > 1e9
        assert {"source": "mode home-direct", "text": "suffix:cn", "route": "direct", "hits": 0, "last": None} in found[
            "rules"
        ]
        assert (found["default"]["route"], found["default"]["hits"]) == ("tunnel", 1)


async def test_the_log_and_the_last_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    telemetry.configure("info")
    async with dashboard_world(tmp_path, monkeypatch) as world:
        for number in range(3):
            telemetry.logger("test").info("line %d", number)
        lines = (await world.ask("log?most=2")).json["lines"]
        assert [(line["level"], line["text"]) for line in lines] == [("info", "line 1"), ("info", "line 2")]
        found = (await world.ask("history")).json
        assert (found["step"], found["up"], found["down"], found["rtt_ms"]) == (5.0, [], [], [])


async def test_the_link_of_an_exit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world:
        found = (await world.ask("exits/one.example:443/link")).json
        assert Link.parse(found["link"]) == ONE
        assert found["svg"].startswith("<svg ")
        answer = await world.ask("exits/three.example/link")
        assert answer.status == 404
        assert answer.error.startswith("no exit is 'three.example'")


async def test_usage_by_day_and_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world:
        opened(world, "g.whatsapp.net").traffic.up(8, trio.current_time())
        opened(world, "www.example.com").close(trio.current_time())
        assert world.seen.usage is not None
        await world.seen.usage.write()
        usage = (await world.ask("usage")).json
        (day,) = usage["days"]
        assert usage["kept"] is True
        assert day["apps"] == [
            {"app": "whatsapp", "up": 8, "down": 0, "connections": 1},
            {"app": "", "up": 0, "down": 0, "connections": 1},
        ]
        assert (await world.ask("usage", "DELETE")).status == 204
        assert (await world.ask("usage")).json == {"kept": True, "days": []}


async def test_the_counting_of_usage_ends_and_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world:
        opened(world, "g.whatsapp.net").traffic.up(8, trio.current_time())
        before = (await world.ask("usage")).json
        assert world.seen.usage is not None
        await world.seen.usage.write()
        assert (await world.ask("usage", "PUT", b'{"kept": false}')).status == 204
        assert load(world.path).dashboard.usage is False
        opened(world, "g.whatsapp.net").traffic.up(8, trio.current_time())
        assert (await world.ask("usage")).json == before | {"kept": False}
        assert (await world.ask("usage", "PUT", b'{"kept": true}')).status == 204
        assert load(world.path).dashboard.usage is True
        opened(world, "g.whatsapp.net").traffic.up(8, trio.current_time())
        usage = (await world.ask("usage")).json
        assert usage["kept"] is True
        assert usage["days"][0]["apps"] == [{"app": "whatsapp", "up": 16, "down": 0, "connections": 2}]


async def test_usage_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world:
        (tmp_path / "usage.sqlite").mkdir()
        for method in ("GET", "DELETE"):
            answer = await world.ask("usage", method)
            assert (answer.status, "usage.sqlite cannot be used" in answer.error) == (503, True)


async def test_a_program_that_keeps_no_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world:
        world.seen.usage = None
        assert (await world.ask("usage")).json == {"kept": False, "days": []}
        assert (await world.ask("usage", "DELETE")).status == 204


# ---- changing


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not say it")
async def test_whose_connections_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        dashboard_world(tmp_path, monkeypatch) as world,
        await trio.open_tcp_stream("127.0.0.1", world.port) as over_socks,
        await trio.open_tcp_stream("127.0.0.1", world.port) as over_http,
    ):
        await over_socks.send_all(b"\x05\x01\x00\x05\x01\x00\x01\xc0\x00\x02\x01\x01\xbb")
        await over_http.send_all(b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n")
        while world.side.connections.open_count < 2:  # noqa: ASYNC110
            await trio.sleep(0.001)
        opened(world, "of-nobody.example")
        found = (await world.ask("connections")).json["open"]
        itself = program_of(os.getpid()).rpartition("/")[2]
        processes = {each["host"]: each["process"] for each in found}
        assert processes == {"192.0.2.1": itself, "a.example": itself, "of-nobody.example": ""}


async def test_connections_are_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world:
        connections = [opened(world, "example.com") for _ in range(200)]
        assert (await world.ask(f"connections/{connections[0].id}", "DELETE")).status == 204
        assert [bool(each.ending) for each in connections[:2]] == [True, False]
        for wrong in ("999999", "x", "-1", "9" * 30, "%31"):
            answer = await world.ask(f"connections/{wrong}", "DELETE")
            assert answer.status == (404 if wrong != "%31" else 204)
        answer = await world.ask("connections", "DELETE")
        assert (answer.status, answer.body) == (204, b"")
        assert all(each.ending for each in connections)


async def test_an_exit_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world:
        assert (await world.ask("exits/two/use", "POST")).status == 204
        assert [each.link.name for each in load(world.path).local.exits if each.preferred] == ["two"]
        exits = (await world.ask("state")).json["exits"]
        assert [(each["label"], each["preferred"]) for each in exits] == [("two", True), ("one", False)]
        assert (await world.ask("exits/three/use", "POST")).status == 404
        text = (
            world.path.read_text()
            .replace("[rules]", 'only = ["one.example"]\n[rules]')
            .replace("prefer =", "# prefer =")
        )
        replace_file(world.path, text.encode())
        answer = await world.ask("exits/two/use", "POST")
        assert answer.status == 409
        assert answer.error.startswith("local.only: it does not allow two.example:443")


async def test_the_mode_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world:
        assert (await world.ask("mode", "PUT", b'{"mode": "home-direct"}')).status == 204
        assert load(world.path).rules.mode.value == "home-direct"
        decided = world.side.routing.router.ruleset.decide(Address("baidu.cn", 443), Network.TCP)
        assert decided.route.kind.value == "direct"
        assert (await world.ask("state")).json["mode"] == "home-direct"


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[]", b'{"mode": 1}', b'{"mode": "other"}', b"\xff\xfe"])
async def test_what_cannot_be_set_is_refused(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world:
        before = world.path.read_bytes()
        for path in ("mode", "usage"):
            answer = await world.ask(path, "PUT", content)
            assert answer.status == 400
            assert answer.error
        assert world.path.read_bytes() == before


async def test_a_broken_configuration_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world:
        world.path.write_text("[local")
        for path, method in (("mode", "PUT"), ("usage", "PUT"), ("exits/one/use", "POST"), ("exits/one/link", "GET")):
            answer = await world.ask(path, method, b'{"mode": "all", "kept": true}' if method == "PUT" else b"")
            assert answer.status == 409
            assert "is not TOML" in answer.error


async def test_the_doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def examine(path: Path, book: object, tell: object, around: object) -> None:
        tell(Finding.ok("port", Text("it listens at {place}", place="there")))  # type: ignore[operator]

    monkeypatch.setattr("proxy.doctor.examine", examine)
    async with dashboard_world(tmp_path, monkeypatch) as world:
        found = (await world.ask("doctor", "POST")).json
        words = {
            "what": {"pattern": "it listens at {place}", "values": {"place": "there"}},
            "why": "",
            "mend": "",
        }
        finding = {"check": "port", "kind": "ok", "what": "it listens at there", "why": "", "mend": "", "words": words}
        assert found == {"findings": [finding]}


# ---- how a browser gets the token


async def test_a_browser_is_let_in_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world:
        entry = (await world.ask("entries", "POST")).json
        path, token = entry["path"], entry["token"]
        assert token not in path
        host = f"Host: 127.0.0.1:{world.port}\r\n"
        from_page = f"GET {path} HTTP/1.1\r\n{host}Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n\r\n"
        assert await world.send(from_page.encode()) == fault_answer.nameless_answer()
        request = f"GET {path} HTTP/1.1\r\n{host}Sec-Fetch-Site: none\r\n\r\n".encode()
        answer = await world.send(request)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert f'content="0; url=/#token={token}">'.encode() in answer
        assert world.token.encode() not in answer
        for again in (request, request.replace(b"/enter/", b"/enter/x")):
            answer = await world.send(again)
            assert b"Location: /\r\n" in answer
            assert token.encode() not in answer
        assert (await world.ask("state", token=token)).status == 200


async def test_a_file_of_the_user_leads_there_and_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world:
        good = (await world.ask("entries", "POST")).json["path"]
        fields = f"Host: 127.0.0.1:{world.port}\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n\r\n"
        for path in ("/", "/dashboard/main.js", "/dashboard/enter/", f"{good}x", f"/api/v1/state?{good}", "/proxy.pac"):
            assert await world.send(f"GET {path} HTTP/1.1\r\n{fields}".encode()) == fault_answer.nameless_answer()
        for host in ("evil.example", "192.0.2.1"):
            request = f"GET {good} HTTP/1.1\r\n{fields.replace('127.0.0.1', host)}"
            assert await world.send(request.encode()) == fault_answer.nameless_answer()
        request = f"GET {good} HTTP/1.1\r\n{fields}"
        assert b"/#token=" in await world.send(request.encode())
        assert await world.send(request.encode()) == fault_answer.nameless_answer()


async def test_another_user_of_the_computer_cannot_be_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world:
        path = (await world.ask("entries", "POST")).json["path"]
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{world.port}\r\n\r\n".encode()
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr("proxy.entrance.is_of_another_user", lambda _socket: True)
            assert b"Location: /\r\n" in await world.send(request)
        assert b"/#token=" in await world.send(request)


async def test_the_token_is_proved_without_being_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world:
        answer = await world.ask("proof?nonce=abc", token="")
        assert answer.json == {"proof": TokenFile.of_user().proof(world.port, "abc")}
        assert (await world.ask("proof?nonce=abc", "POST", token="")).status == 401


# ---- what cannot be


async def test_paths_and_methods_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world:
        for path in ("", "nowhere", "state/x", "connections/1/2", "exits/one", "exits/one/drop"):
            assert (await world.ask(path)).status == 404
        for parts, methods in _ROUTES.items():
            answer = await world.ask("/".join(parts).replace("*", "x"), "PATCH")
            assert answer.status == 405
            assert all(method in answer.error for method in methods)
    assert ROOT == ("api", "v1")


async def test_content_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world:
        assert (await world.ask("mode", "PUT", b"x" * 65_537)).status == 413


async def test_nothing_of_it_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "ropeway")
    async with dashboard_world(tmp_path, monkeypatch) as world:
        opened(world, "secret.example")
        for path in ("state", "connections", "exits/one/link"):
            assert (await world.ask(path)).status == 200
        assert world.token not in caplog.text
        assert "secret.example" not in caplog.text
        assert "ropeway://" not in caplog.text
