"""Matrix, which is HTTPS with a long poll: synapse and nio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.apps.interruption import LONG, NAMES, by_its_words
from tests.e2e.apps.servers import matrix_python, start_synapse

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.apps.interruption import Way

pytestmark = pytest.mark.e2e

#: One that logs in and polls, and one that sends beside it; which is made again when nothing was sent for long.
CONNECTIONS = 3 if LONG else 2


def test_nio(way: Way, folder: Path) -> None:
    server = start_synapse(way.programs, folder, way.authority)
    schemes = ("socks5", "http")
    people = [
        by_its_words(
            way.start_apart(matrix_python(), "matrix", *way.words(me, other, server.port), f"--scheme={scheme}")
        )
        for me, other, scheme in zip(NAMES, reversed(NAMES), schemes, strict=True)
    ]
    way.finish(people, connections=CONNECTIONS)
