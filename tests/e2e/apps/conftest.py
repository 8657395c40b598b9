"""One way from apps to servers for all tests of this folder, which may be cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.apps.interruption import Way
from tests.e2e.middle import Road
from tests.e2e.pairs import Pair, start_exit, start_local

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.machine import Programs
    from tests.e2e.servers import Authority


@pytest.fixture(scope="session")
def way(programs: Programs, authority: Authority) -> Iterator[Way]:
    road = Road()
    there = start_exit(programs, public_port=road.port)
    road.lead_to(there.port)
    pair = Pair(there, start_local(programs, there.link))
    yield Way(programs, road, pair, authority)
    for program in pair.programs:
        program.stop()
    road.close()
