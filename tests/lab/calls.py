"""A call between the lab's hosts: the caller at home behind the proxy, the TURN server and the peer abroad."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tests.e2e.apps.call import EVERY, PATIENCE, Heard, read
from tests.e2e.apps.turn import start_coturn
from tests.e2e.machine import free_port, wait_until

if TYPE_CHECKING:
    from tests.e2e.pairs import Pair
    from tests.lab.hosts import Lab


class Exchange:
    """Where calls go by: started once, for as many calls as there are."""

    def __init__(self, lab: Lab, pair: Pair) -> None:
        folder = lab.folder / "coturn"
        folder.mkdir()
        self._lab = lab
        self._proxy = pair.port
        _, (_, self._turn) = start_coturn(lab.abroad, folder)

    def begin(self, seconds: float) -> Call:
        return Call(self._lab, self._proxy, self._turn, seconds)


class Call:
    """It is on its way."""

    def __init__(self, lab: Lab, proxy: int, turn: int, seconds: float) -> None:
        self.packets, port = round(seconds / EVERY), free_port()
        self._seconds = seconds
        self._reports = [lab.folder / f"call-{port}-{who}.json" for who in ("caller", "peer")]
        start = [sys.executable, "-m", "tests.e2e.apps.call"]
        caller, peer = (["--report", str(path), "--packets", str(self.packets)] for path in self._reports)
        self._programs = [
            lab.abroad.start("peer", [*start, "peer", "--port", str(port), *peer]),
            lab.home.start(
                "caller", [*start, "caller", "--proxy", str(proxy), "--turn", str(turn), "--peer", str(port), *caller]
            ),
        ]

    def finish(self) -> tuple[Heard, Heard]:
        """What the caller and the peer have heard."""
        patience = self._seconds + 2 * PATIENCE
        wait_until(lambda: not any(each.alive for each in self._programs), "the end of a call", seconds=patience)
        for program in self._programs:
            assert program.stop() == 0, program.text()
        caller, peer = map(read, self._reports)
        return caller, peer
