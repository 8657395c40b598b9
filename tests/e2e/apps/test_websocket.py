"""A chat over a WebSocket with TLS, one by way of SOCKS and one by way of CONNECT."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.apps.interruption import NAMES, PLAN
from tests.e2e.apps.websocket import room

if TYPE_CHECKING:
    from tests.e2e.apps.interruption import Way

pytestmark = pytest.mark.e2e


def test_a_websocket(way: Way) -> None:
    with room(way.authority.server_context(), PLAN.beat) as port:
        schemes = ("socks5h", "http")
        way.finish(
            [way.join("websocket", me, port, f"--scheme={scheme}") for me, scheme in zip(NAMES, schemes, strict=True)]
        )
