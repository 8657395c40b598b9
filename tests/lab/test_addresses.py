"""The computer moves to another network, or the exit's address is blocked for good: streams go on over another way."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.lab.addresses import ABROAD, ABROAD_TOO, EXIT_PORT
from tests.lab.hosts import ROUND_TRIP, TOLERANCE, open_lab, start_pair
from tests.lab.load import Load, pause_after
from tests.lab.runs import side_by_side

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.servers import Authority
    from tests.lab.conftest import Measured
    from tests.lab.runs import Runs

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

#: What the link is told, and lines for the exit's configuration.
CHANGES = {
    "this computer gets another address": ("readdress", ""),
    "the address of the exit is blocked for good": (
        f"block {ABROAD} {EXIT_PORT} inf",
        f'addresses = ["{ABROAD_TOO}:{EXIT_PORT}"]\n',
    ),
}
#: Streams go on so soon.
GOES_ON = 8.0
#: The cases run side by side on few cores; what is looked for is time and not speed.
SIZE, LIMIT, CHATS, EVERY = 400_000, "200K", 10, 0.2
#: What does not go on at all is a failure of its own.
LOST_SECONDS = 60.0
#: curl is slowed down, and may have had a whole body in buffers before it.
IN_BUFFERS = SIZE / 200_000


@pytest.fixture(scope="module")
def changes(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Runs[str, float]]:
    """Seconds until the streams went on."""

    def run(name: str) -> float:
        line, settings = CHANGES[name]
        with open_lab(tmp_path_factory.mktemp(name.replace(" ", "-"))) as lab:
            load = Load.start(
                lab,
                start_pair(lab, exit_settings=settings),
                authority,
                size=SIZE,
                chats=CHATS,
                every=EVERY,
                limit=LIMIT,
            )
            time.sleep(2)  # so that round trips are measured
            began = time.monotonic()
            lab.link.say(line)
            load.flows_after(began + IN_BUFFERS, LOST_SECONDS)
            talk = load.finish()
            # Those of the chats, which no buffer holds up.
            return pause_after(began, talk.arrivals, ROUND_TRIP)

    with side_by_side(run, CHANGES) as runs:
        yield runs


@pytest.mark.parametrize("name", CHANGES)
def test_streams_go_on(changes: Runs[str, float], name: str, measured: Measured) -> None:
    measured(
        name, "a short pause; downloads, uploads and chats go on over the other way", f"after {changes[name]:.1f} s"
    )
    assert changes[name] <= GOES_ON * TOLERANCE
