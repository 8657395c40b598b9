"""Nothing comes through for a while: all streams go on after it, and the silence is noticed in time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import pytest

from tests.lab.addresses import EXIT_PORT
from tests.lab.hosts import LONG, TOLERANCE, open_lab, start_pair
from tests.lab.load import Load, watching
from tests.lab.runs import side_by_side

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.servers import Authority
    from tests.lab.conftest import Measured
    from tests.lab.runs import Runs

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

Case: TypeAlias = tuple[str, int]

SECONDS = (1, 10, 60, 300) if LONG else (1, 10)
#: Every packet is dropped; or only what the exit says, while its kernel still acknowledges: a black hole behind the handshake.
CASES = [(kind, seconds) for kind in ("down", "mute") for seconds in SECONDS]
FAULTS = {
    "down": "every packet is lost for {seconds} s",
    "mute": "nothing that the exit says comes through for {seconds} s, while its kernel acknowledges",
}
#: Data flows so soon after the end, and the carrier is seen as dead so soon after the beginning.
FLOWS, SEEN_DEAD = 2.0, 6.0
#: The cases run side by side on few cores; what is looked for is time and not speed.
SIZE, LIMIT, CHATS, EVERY = 400_000, "200K", 10, 0.2
#: curl is slowed down, and may have had a whole body in buffers before it.
IN_BUFFERS = SIZE / 200_000
#: What does not come at all is a failure of its own: longer than any pause between two attempts.
LOST_SECONDS = 90.0


@dataclass(frozen=True)
class Silence:
    """`flows`: seconds from its end; `seen_dead`: seconds from its beginning, negative where it was not."""

    flows: float
    seen_dead: float

    def __str__(self) -> str:
        dead = f"; seen as dead after {self.seen_dead:.1f} s" if self.seen_dead >= 0 else ""
        return f"data flows {self.flows:.2f} s after its end{dead}"


@pytest.fixture(scope="module")
def silences(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Runs[Case, Silence]]:
    def run(case: Case) -> Silence:
        kind, seconds = case
        with open_lab(tmp_path_factory.mktemp(f"{kind}-{seconds}")) as lab:
            pair = start_pair(lab)
            load = Load.start(lab, pair, authority, size=SIZE, chats=CHATS, every=EVERY, limit=LIMIT)
            time.sleep(2)  # so that round trips are measured
            with watching(pair.local.program, "the connection to the exit is gone") as gone:
                began = time.monotonic()
                lab.link.say(f"down {seconds}" if kind == "down" else f"mute {EXIT_PORT} {seconds}")
                time.sleep(seconds)
                load.flows_after(began + seconds + IN_BUFFERS, LOST_SECONDS)
            talk = load.finish()
            # The answers of the chats, which no buffer holds up.
            flows = min(at for at in talk.arrivals if at > began + seconds) - began - seconds
            return Silence(flows, gone.at - began if gone.at else -1.0)

    with side_by_side(run, CASES) as runs:
        yield runs


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def test_all_streams_go_on(silences: Runs[Case, Silence], case: Case, measured: Measured) -> None:
    kind, seconds = case
    seen = silences[case]  # raises where one of them did not
    measured(
        FAULTS[kind].format(seconds=seconds),
        "a pause as long as the silence; downloads, uploads and chats go on",
        str(seen),
    )
    assert seen.flows <= FLOWS * TOLERANCE


@pytest.mark.parametrize("case", [case for case in CASES if case[1] >= 10], ids=lambda case: f"{case[0]}-{case[1]}")
def test_the_carrier_is_seen_as_dead(silences: Runs[Case, Silence], case: Case) -> None:
    assert 0 < silences[case].seen_dead <= SEEN_DEAD * TOLERANCE
