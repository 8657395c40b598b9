"""The interface for Clash's dashboards, through the whole port: who may ask, what is answered, and what is changed."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
import pytest
import trio

from proxy import clash_api
from proxy.clash_api import ClashApi
from proxy.clash_feeds import Feeds
from proxy.control import Control
from proxy.dashboard_site import CLASH_PATHS
from proxy.dashboard_token import TokenFile
from proxy.errors import ConfigError, OpenError, Reason
from proxy.own_site import OwnSite
from tests.clash import shown
from tests.test_own_site import USUAL, asked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from proxy.opener import OpenStream
    from proxy.url_delay import Expected, Url
    from tests.clash import Shown
    from tests.memory import Identity


class Noted(Control):
    """Notes what it is told to do."""

    def __init__(self) -> None:
        self.done: list[object] = []
        self.fault = ""

    def close(self, number: int) -> bool:
        self.done.append(number)
        return number == 7

    async def close_all(self) -> None:
        self.done.append("all")

    async def use_exit(self, name: str) -> None:
        if self.fault:
            raise ConfigError("local.only", self.fault)
        self.done.append(name)

    async def set_mode(self, mode: str) -> None:
        self.done.append(mode)

    async def read_again(self) -> None:
        self.done.append("read")


@dataclass
class Answer:
    status: int
    fields: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@dataclass
class Port:
    there: Shown
    control: Noted
    token: str
    site: OwnSite
    fields: list[str] = field(default_factory=list)

    async def raw(self, request: bytes) -> bytes:
        return await asked(self.site, request)

    async def ask(
        self, target: str, *fields: str, method: str = "GET", content: bytes = b"", token: str = ""
    ) -> Answer:
        lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1:1080", *fields]
        lines += [f"Authorization: Bearer {token or self.token}"] if token != "none" else []
        lines += [f"Content-Length: {len(content)}"] if content else []
        answer = await self.raw("\r\n".join([*lines, "", ""]).encode() + content)
        head, _, body = answer.partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        return Answer(int(first.split()[1]), dict(line.split(": ", 1) for line in rest), body)


@asynccontextmanager
async def port(server: Identity, folder: Path) -> AsyncIterator[Port]:
    token = TokenFile(folder / "dashboard.token")
    async with shown(server) as there:
        control = Noted()
        api = ClashApi(there.source, control, token, Feeds(there.source))
        yield Port(there, control, token.read(), OwnSite({}, own=dict.fromkeys(CLASH_PATHS, api.serve)))


# ---- who may ask


async def test_without_the_secret_nothing_is_said(server: Identity, tmp_path: Path) -> None:
    async with port(server, tmp_path) as here:
        for target in ("/version", "/proxies", "/connections", "/restart", "/no/such", f"/version?token={here.token}"):
            for token in ("none", "wrong", here.token + "x"):
                answer = await here.ask(target, token=token)
                if target == "/no/such":
                    assert answer.status == 400  # which is no path of this interface
                else:
                    assert answer.status == 401
                    assert list(answer.json) == ["message"]
        assert (await here.ask("/version")).status == 200


async def test_head_is_answered_as_get_without_the_content(server: Identity, tmp_path: Path) -> None:
    async with port(server, tmp_path) as here:
        for target, token in (("/version", ""), ("/proxies/nowhere", ""), ("/version", "wrong")):
            whole = await here.ask(target, token=token)
            head = await here.ask(target, method="HEAD", token=token)
            assert (head.status, head.fields, head.content) == (whole.status, whole.fields, b"")
            assert head.fields["Content-Length"] == str(len(whole.content))
        feed = await here.ask("/traffic", method="HEAD")  # which would go on
        assert (feed.status, feed.content) == (200, b"")


async def test_no_page_of_others_is_answered(server: Identity, tmp_path: Path) -> None:
    """With the secret or without: it looks as if there were nothing."""
    async with port(server, tmp_path) as here:
        secret = f"Authorization: Bearer {here.token}"
        for fields in (
            ["Host: 127.0.0.1:1080", "Origin: https://board.example", secret],
            ["Host: 127.0.0.1:1080", "Origin: http://127.0.0.1:9090", secret],
            ["Host: 127.0.0.1:1080", "Sec-Fetch-Site: cross-site", secret],
            ["Host: rebound.example:1080", secret],
        ):
            for line in ("GET /version", "OPTIONS /version", "PUT /proxies/Ropeway", f"GET /logs?token={here.token}"):
                request = "\r\n".join([f"{line} HTTP/1.1", *fields, "", ""]).encode()
                assert await here.raw(request) == USUAL
        assert here.control.done == []


async def test_no_other_page_may_read_an_answer(server: Identity, tmp_path: Path) -> None:
    async with port(server, tmp_path) as here:
        answer = await here.ask("/version", "Origin: http://127.0.0.1:1080", "Sec-Fetch-Site: same-origin")
        assert answer.status == 200
        assert not [name for name in answer.fields if name.lower().startswith("access-control-")]
        assert answer.fields["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answer.fields["Cache-Control"] == "no-store"


_UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: " + "A" * 22 + "==",
)


async def test_the_secret_in_the_address_is_for_web_sockets_alone(server: Identity, tmp_path: Path) -> None:
    async with port(server, tmp_path) as here, trio.open_nursery() as nursery:
        target = f"/memory?token={here.token}"
        assert (await here.ask(target, token="none")).status == 401
        assert (await here.ask(target.replace("token=", "token=x"), *_UPGRADE, token="none")).status == 401
        assert (await here.ask(target, *_UPGRADE[:-1], token="none")).status == 400  # it is let in, and has no key

        async def watch() -> None:
            lines = [f"GET {target} HTTP/1.1", "Host: 127.0.0.1:1080", *_UPGRADE, "", ""]
            close = b"\x88\x80" + bytes(4)
            answer = await here.raw("\r\n".join(lines).encode() + close)
            assert answer.startswith(b"HTTP/1.1 101 ")

        nursery.start_soon(watch)


# ---- reading


async def test_what_a_dashboard_begins_with(server: Identity, tmp_path: Path) -> None:
    async with port(server, tmp_path) as here:
        assert (await here.ask("/version")).json == {"version": "ropeway", "meta": True, "premium": True}
        assert (await here.ask("/configs")).json["mode"] == "global"
        proxies = (await here.ask("/proxies")).json["proxies"]
        assert proxies["GLOBAL"]["all"] == ["one", "two"]
        assert (await here.ask("/proxies/one")).json == proxies["one"]
        assert (await here.ask("/group/Ropeway")).json == proxies["Ropeway"]
        assert [each["name"] for each in (await here.ask("/group")).json["proxies"]] == ["GLOBAL", "Ropeway"]
        assert (await here.ask("/providers/proxies")).json == {"providers": {}}
        assert (await here.ask("/providers/rules/")).json == {"providers": {}}
        assert [each["type"] for each in (await here.ask("/rules")).json["rules"]][-1] == "Match"


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/restart"),
        ("POST", "/upgrade"),
        ("POST", "/upgrade/ui"),
        ("POST", "/cache/fakeip/flush"),
        ("GET", "/dns/query?name=example.com"),
        ("GET", "/storage/zashboard"),
        ("GET", "/proxies/none"),
        ("GET", "/group/none/delay"),
        ("PUT", "/providers/proxies/x"),
        ("GET", "/connections/1/2"),
    ],
)
async def test_what_is_not_there(server: Identity, tmp_path: Path, method: str, target: str) -> None:
    async with port(server, tmp_path) as here:
        answer = await here.ask(target, method=method)
        assert answer.status == 404
        assert list(answer.json) == ["message"]


@pytest.mark.parametrize(("method", "target"), [("POST", "/version"), ("DELETE", "/proxies"), ("POST", "/connections")])
async def test_other_methods(server: Identity, tmp_path: Path, method: str, target: str) -> None:
    async with port(server, tmp_path) as here:
        assert (await here.ask(target, method=method)).status == 405


# ---- measuring


@pytest.fixture
def delays(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """What is measured by which exit, in seconds; others do not answer. Whether it is asked right is for the tests of `url_delay`."""
    found: dict[str, float] = {}

    async def measure(open_stream: OpenStream, url: Url, expected: Expected) -> float:
        name = open_stream.__self__.name.host  # type: ignore[attr-defined]
        if name not in found:
            raise OpenError(Reason.TIMED_OUT)
        if not found[name]:
            await trio.sleep_forever()
        return found[name]

    monkeypatch.setattr(clash_api, "measure", measure)
    return found


async def test_a_delay_is_what_was_measured(server: Identity, tmp_path: Path, delays: dict[str, float]) -> None:
    async with port(server, tmp_path) as here:
        delays |= {"one": 0.1204, "two": 0.0001}
        assert (await here.ask("/proxies/one/delay?url=https%3A%2F%2Fsite.example%2F&timeout=5000")).json == {
            "delay": 120
        }
        assert (await here.ask("/proxies/Ropeway/delay")).json == {"delay": 120}
        assert (await here.ask("/group/GLOBAL/delay?expected=204")).json == {"one": 120, "two": 1}
        history = (await here.ask("/proxies/one")).json["history"]
        assert [each["delay"] for each in history] == [120, 120, 120]


async def test_a_delay_that_cannot_be_had(server: Identity, tmp_path: Path, delays: dict[str, float]) -> None:
    async with port(server, tmp_path) as here:
        answer = await here.ask("/proxies/two/delay")
        assert answer.status == 504
        assert "Timeout" in answer.json["message"]
        delays["two"] = 0.0  # it never answers
        assert (await here.ask("/proxies/two/delay?timeout=50")).status == 504
        assert [each["delay"] for each in (await here.ask("/proxies/two")).json["history"]] == [0, 0]
        assert (await here.ask("/proxies/DIRECT/delay")).status == 400


async def test_of_the_exit_in_use_its_round_trip_is_known(
    server: Identity, tmp_path: Path, delays: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with port(server, tmp_path) as here:
        monkeypatch.setattr("proxy.clash_views.round_trip_of", lambda view: 84 if view.current else None)
        assert (await here.ask("/proxies/one/delay")).json == {"delay": 84}
        assert (await here.ask("/group/Ropeway/delay")).json == {"one": 84}
        monkeypatch.setattr("proxy.clash_views.round_trip_of", lambda _: None)
        assert (await here.ask("/proxies/one/delay")).status == 504
        assert (await here.ask("/group/Ropeway/delay")).status == 504


@pytest.mark.parametrize("query", ["url=ftp%3A%2F%2Fx%2F", "url=x", "timeout=x", "timeout=-1", "expected=x"])
async def test_a_wrong_question(server: Identity, tmp_path: Path, delays: dict[str, float], query: str) -> None:
    async with port(server, tmp_path) as here:
        delays["one"] = 1
        assert (await here.ask(f"/proxies/one/delay?{query}")).status == 400


# ---- changing


async def test_another_exit(server: Identity, tmp_path: Path) -> None:
    async with port(server, tmp_path) as here:
        answer = await here.ask("/proxies/Ropeway", method="PUT", content=b'{"name":"one"}')
        assert (answer.status, answer.content) == (204, b"")
        assert here.control.done == ["one"]
        assert (await here.ask("/proxies/GLOBAL", method="PUT", content=b'{"name":"one"}')).status == 204
        for content in (b'{"name":"three"}', b'{"name":"DIRECT"}', b"{}", b"", b"[", b'{"name":1}', b"\xff"):
            assert (await here.ask("/proxies/Ropeway", method="PUT", content=content)).status == 400
        assert (await here.ask("/proxies/one", method="PUT", content=b'{"name":"one"}')).status == 400
        assert (await here.ask("/proxies/none", method="PUT", content=b'{"name":"one"}')).status == 404
        assert here.control.done == ["one", "one"]
        here.control.fault = "it is not allowed"
        answer = await here.ask("/proxies/Ropeway", method="PUT", content=b'{"name":"one"}')
        assert answer.status == 400
        assert "not allowed" in answer.json["message"]


async def test_another_exit_that_does_not_come_up(
    server: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is chosen, and that is what is answered; what is in use says the group."""
    monkeypatch.setattr(clash_api, "_CHANGE_LIMIT", 0.01)
    async with port(server, tmp_path) as here:
        assert (await here.ask("/proxies/Ropeway", method="PUT", content=b'{"name":"two"}')).status == 204
        assert (await here.ask("/proxies/Ropeway")).json["now"] == "one"


async def test_another_mode(server: Identity, tmp_path: Path) -> None:
    async with port(server, tmp_path) as here:
        for mode in ("rule", "Global", "RULE"):
            content = msgspec.json.encode({"mode": mode, "unknown": 1})
            assert (await here.ask("/configs", method="PATCH", content=content)).status == 204
        assert here.control.done == ["home-direct", "all", "home-direct"]
        for content in (b'{"mode":"direct"}', b'{"allow-lan":true}', b'{"mode":1}', b"x"):
            assert (await here.ask("/configs", method="PATCH", content=content)).status == 400
        assert len(here.control.done) == 3


async def test_the_configuration_is_read_again(server: Identity, tmp_path: Path) -> None:
    async with port(server, tmp_path) as here:
        for content in (b"", b"{}", b'{"path":"","payload":""}'):
            assert (await here.ask("/configs?force=true", method="PUT", content=content)).status == 204
        assert (await here.ask("/configs", method="PUT", content=b'{"path":"/etc/other","payload":""}')).status == 400
        assert here.control.done == ["read", "read", "read"]


async def test_connections_are_closed(server: Identity, tmp_path: Path) -> None:
    async with port(server, tmp_path) as here:
        assert (await here.ask("/connections/7", method="DELETE")).status == 204
        assert (await here.ask("/connections/8", method="DELETE")).status == 404
        assert (await here.ask("/connections", method="DELETE")).status == 204
        assert here.control.done == [7, 8, "all"]
        for number in ("x", "-7", "²", "9" * 30, "7.0"):
            assert (await here.ask(f"/connections/{quote(number)}", method="DELETE")).status == 404
        assert len(here.control.done) == 3


async def test_content_has_a_bound(server: Identity, tmp_path: Path) -> None:
    async with port(server, tmp_path) as here:
        content = b'{"name":"one"}'.ljust(70_000)
        assert (await here.ask("/proxies/Ropeway", method="PUT", content=content)).status == 413
        assert here.control.done == []


def test_the_document_has_every_path() -> None:
    text = (Path(__file__).parent.parent / "docs" / "clash-api.md").read_text(encoding="utf-8")
    (served,) = [part for part in text.split("## ") if part.startswith("What is served")]
    feeds = [(name,) for name in ("connections", "traffic", "memory", "logs")]
    names = {"group": "NAME", "proxies": "NAME", "connections": "ID"}
    for path in [*clash_api._ROUTES, *feeds]:
        written = "/" + "/".join(names[path[0]] if part == "*" else part for part in path)
        assert written in served.replace("/proxies/Ropeway", "/proxies/NAME"), written
    (missing,) = [line for line in served.splitlines() if line.startswith("There is no")]
    for root in CLASH_PATHS:
        assert root.decode().rstrip("/") in served
    assert all(f"`/{name}`" in missing for name in ("restart", "upgrade", "cache", "dns", "storage"))
