"""The carrier is cut again and again while many transfers run: all of them finish, and nothing is lost or repeated."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.e2e.apps import curl_command, digest_of
from tests.e2e.machine import ENVIRONMENT, wait_until
from tests.e2e.middle import Road
from tests.e2e.pairs import Pair, start_exit, start_local
from tests.e2e.servers import make_body

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.machine import Programs
    from tests.e2e.servers import Nginx

pytestmark = pytest.mark.e2e

TRANSFERS = 20
SIZE = 20_000_000
CUTS = 6
#: So that every cut falls into the transfers: in all they are 400 MB.
BETWEEN_CUTS = 50_000_000


@pytest.fixture
def road() -> Iterator[Road]:
    road = Road()
    yield road
    road.close()


@pytest.fixture
def mended_pair(programs: Programs, road: Road) -> Iterator[Pair]:
    there = start_exit(programs, public_port=road.port)
    road.lead_to(there.port)
    pair = Pair(there, start_local(programs, there.link))
    yield pair
    for program in pair.programs:
        program.stop()


def start_transfers(pair: Pair, nginx: Nginx, source: Path, folder: Path) -> list[subprocess.Popen[bytes]]:
    """Downloads and uploads in turn."""
    running = []
    for number in range(TRANSFERS):
        way = ["-x", pair.local.url("socks5h"), "--fail"]
        if number % 2:
            way += ["-T", str(source), nginx.url("http", f"up/cut-{number}")]
        else:
            way += ["-o", str(folder / f"cut-{number}"), nginx.url("http", source.name)]
        running.append(subprocess.Popen(curl_command(*way), env=ENVIRONMENT, stderr=subprocess.DEVNULL))
    return running


def test_twenty_transfers_outlive_their_carriers(mended_pair: Pair, road: Road, nginx: Nginx, folder: Path) -> None:
    body = make_body(nginx.site / "cut", SIZE)
    running = start_transfers(mended_pair, nginx, body.path, folder)
    for number in range(CUTS):
        goal = (number + 1) * BETWEEN_CUTS
        wait_until(lambda goal=goal: road.carried >= goal, f"{goal} bytes carried, after {road.carriers} carriers")  # type: ignore[misc]
        assert any(transfer.poll() is None for transfer in running)
        road.cut(rudely=number % 2 == 0)
    assert [transfer.wait(60) for transfer in running] == [0] * TRANSFERS
    assert road.carriers > CUTS
    assert all(program.alive for program in mended_pair.programs)
    for number in range(TRANSFERS):
        arrived = (nginx.uploads if number % 2 else folder) / f"cut-{number}"
        assert (number, digest_of(arrived)) == (number, body.digest)
        arrived.unlink()
    body.path.unlink()
