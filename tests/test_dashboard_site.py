"""The dashboard as a whole: what `ropeway run` has to do with it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from proxy.dashboard_site import Dashboard
from proxy.protocol import own_answer
from tests.dashboard_world import dashboard_world

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("log_as_before")

#: What serves it, and nothing else needs.
_LATER = [
    "proxy.api",
    "proxy.live",
    "proxy.live_feed",
    "proxy.web_socket",
    "wsproto",
    "proxy.dashboard_page",
    "proxy.control",
    "proxy.clash_api",
    "proxy.clash_feeds",
    "proxy.clash_views",
    "proxy.ui_folder",
    "proxy.url_delay",
]


def test_what_serves_it_is_imported_when_somebody_asks() -> None:
    code = f"import sys, proxy.local_program; print([each for each in {_LATER} if each in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_it_has_pages_and_an_interface(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world:
        host = f"Host: 127.0.0.1:{world.port}\r\n\r\n"
        assert await world.send(f"GET /dashboard/none.js HTTP/1.1\r\n{host}".encode()) == own_answer.own_page()
        assert (await world.ask("state")).status == 200
        assert (await world.send(f"GET /api/v1/ HTTP/1.1\r\n{host}".encode())).startswith(b"HTTP/1.1 401 ")
        assert await world.send(f"GET /api HTTP/1.1\r\n{host}".encode()) == own_answer.own_page()
    assert Dashboard.__doc__


async def test_dashboards_for_clash_are_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dashboard_world(tmp_path, monkeypatch) as world:
        secret = f"Host: 127.0.0.1:{world.port}\r\nAuthorization: Bearer {world.token}\r\n\r\n"
        for path in ("/version", "/proxies/Ropeway", "/rules/"):
            assert (await world.send(f"GET {path} HTTP/1.1\r\n{secret}".encode())).startswith(b"HTTP/1.1 200 ")
        assert (await world.send(f"POST /restart HTTP/1.1\r\n{secret}".encode())).startswith(b"HTTP/1.1 404 ")
        assert await world.send(f"GET /ui/ HTTP/1.1\r\n{secret}".encode()) == own_answer.own_page()


async def test_a_dashboard_of_others_has_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "index.html").write_text("<!doctype html>")
    async with dashboard_world(tmp_path, monkeypatch, ui=tmp_path / "dist") as world:
        answer = await world.send(f"GET /ui/ HTTP/1.1\r\nHost: 127.0.0.1:{world.port}\r\n\r\n".encode())
        assert answer.endswith(b"\r\n\r\n<!doctype html>")
