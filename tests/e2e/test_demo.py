"""The demo: everything on this computer in one command, and what it tells people."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e.apps import curl
from tests.e2e.machine import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.machine import Programs
    from tests.e2e.servers import Nginx

pytestmark = pytest.mark.e2e


def test_the_demo_works_and_says_how(programs: Programs, nginx: Nginx, folder: Path) -> None:
    port = free_port()
    demo = programs.start_ropeway("demo", "demo", "--port", str(port), "--allow-private")
    demo.wait_for("ready")
    said = demo.text().lower()
    assert all(word in said for word in (f"127.0.0.1:{port}", "firefox", "chromium", "telegram", "ctrl-c"))
    for scheme in ("socks5h", "http"):
        answer = curl("-x", f"{scheme}://127.0.0.1:{port}", nginx.url("http", ""), folder=folder)
        assert (answer.code, answer.status) == (0, 200)
    assert demo.stop(signal.SIGINT) == 0


def test_the_demo_keeps_to_the_rules(programs: Programs, nginx: Nginx, folder: Path) -> None:
    port = free_port()
    demo = programs.start_ropeway("demo", "demo", "--port", str(port))
    demo.wait_for("ready")
    answer = curl("-x", f"http://127.0.0.1:{port}", nginx.url("http", ""), folder=folder)
    assert (answer.code, answer.status) == (0, 403)
    assert demo.stop() == 0
