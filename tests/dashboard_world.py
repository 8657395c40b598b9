"""The dashboard of a local side that runs nothing, over a listener of its own: for tests of what is asked and answered."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from proxy.app_names import known_apps
from proxy.config import load
from proxy.config_file import replace_file
from proxy.dashboard_site import Dashboard
from proxy.dashboard_token import TokenFile
from proxy.entry_files import EntryFiles
from proxy.keys import UserKey
from proxy.listener import serve_local
from proxy.local_side import LocalSide
from proxy.observation import Observation
from proxy.own_site import OwnSite
from proxy.share import Link
from proxy.usage import Meter, Usage
from proxy.usage_file import UsageFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

KEY = UserKey(b"\x01" * 8, b"\x02" * 32)
ONE, TWO = (Link(f"{name}.example", 443, KEY, name.encode().ljust(32, b"\0"), name=name) for name in ("one", "two"))


@dataclass
class Answer:
    status: int
    head: bytes
    body: bytes

    @property
    def json(self) -> Any:
        assert b"Content-Type: application/json" in self.head
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return str(self.json["error"])


@dataclass
class DashboardWorld:
    side: LocalSide
    path: Path
    token: str
    port: int
    seen: Observation

    async def send(self, request: bytes) -> bytes:
        """The whole answer."""
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
            await stream.send_all(request)
            return b"".join([bytes(part) async for part in stream])

    async def ask(self, path: str, method: str = "GET", content: bytes = b"", *, token: str | None = None) -> Answer:
        fields = [f"{method} /api/v1/{path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}"]
        fields.append(f"Authorization: Bearer {self.token if token is None else token}")
        fields += [f"Content-Length: {len(content)}"] if content else []
        answer = await self.send("\r\n".join([*fields, "", ""]).encode() + content)
        head, _, body = answer.partition(b"\r\n\r\n")
        return Answer(int(head[9:12]), head, body)


@asynccontextmanager
async def dashboard_world(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, rules: str = "", mode: str = "all", ui: Path | None = None
) -> AsyncIterator[DashboardWorld]:
    monkeypatch.setattr(TokenFile, "of_user", lambda: TokenFile(folder / "dashboard.token"))
    monkeypatch.setattr(EntryFiles, "of_user", lambda: EntryFiles(folder))
    path = folder / "config.toml"
    text = f'[local]\nexits = ["{ONE}", "{TWO}"]\n[rules]\nmode = "{mode}"\nrules = [{rules}]\n'
    replace_file(path, text.encode())
    config = load(path)
    side = LocalSide(config.local, config.rules)
    async with trio.open_nursery() as nursery:
        seen = Observation(side.exits, side.connections)
        usage = seen.usage = Usage(UsageFile(folder / "usage.sqlite"), Meter(side.connections), lambda: known_apps().of)
        usage.keep(config.dashboard.usage)
        side.when_read.append(lambda config: usage.keep(config.dashboard.usage))
        await nursery.start(seen.run)
        dashboard = Dashboard(side, path, seen, ["127.0.0.1:1080"], nursery, ui=ui)
        site = OwnSite({}, own=dashboard.pages, lets_in=dashboard.entrance.knows)
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        side.routing.own_ports = {port}
        serve = partial(serve_local, listeners, side.routing.choose, None, connections=side.connections)
        await nursery.start(partial(serve, own_site=site.serve))
        yield DashboardWorld(side, path, TokenFile.of_user().read(), port, seen)
        nursery.cancel_scope.cancel()
