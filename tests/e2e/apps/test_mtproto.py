"""A connection like Telegram's: no TLS, no name, only an address and bytes that say nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.apps.interruption import NAMES, beats
from tests.e2e.machine import free_port

if TYPE_CHECKING:
    from tests.e2e.apps.interruption import Way

pytestmark = pytest.mark.e2e


def test_a_talk(way: Way) -> None:
    port = free_port()
    way.start("mtproto_server", str(port)).wait_for_port(port)
    people = [way.join("mtproto_client", me, port) for me in NAMES]
    way.finish(people)
    assert min(map(beats, people)) > 3
