"""HTTP/2 with an answer that never ends, as LINE pushes: hypercorn and httpx."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.apps.interruption import NAMES, PLAN, beats
from tests.e2e.machine import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.apps.interruption import Way

pytestmark = pytest.mark.e2e


def test_push_over_http_2(way: Way, folder: Path) -> None:
    way.authority.give(folder)
    port = free_port()
    way.start("push", str(port), folder, str(PLAN.beat)).wait_for_port(port)
    people = [
        way.join("push_client", me, port, f"--scheme={scheme}")
        for me, scheme in zip(NAMES, ("socks5h", "http"), strict=True)
    ]
    way.finish(people)
    assert min(map(beats, people)) > 3
