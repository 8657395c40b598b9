"""What is noted from the start on, so that whoever looks later sees it: the last hour, and the last lines of the log."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio

from . import telemetry
from .history import STEP, History
from .log_memory import LogMemory

if TYPE_CHECKING:
    from .connections import Connections
    from .exits import Exits
    from .protocol.liveness import Measured
    from .usage import Usage


class Observation:
    """`started` is in seconds since 1970. Needs trio to run."""

    def __init__(self, exits: Exits, connections: Connections) -> None:
        self.started = time.time()
        self.history = History(trio.current_time())
        self.log = LogMemory()
        self.usage: Usage | None = None
        self._exits = exits
        self._connections = connections
        self._measured: Measured | None = None  # of the session that was looked at last
        self._seen = 0  # of its round trips

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until it is cancelled."""
        with telemetry.heard_by(self.log):
            task_status.started()
            while True:
                await trio.sleep(STEP)
                total = self._connections.total()
                self.history.note(trio.current_time(), total.bytes_up, total.bytes_down, self._round_trips())

    def _round_trips(self) -> list[float]:
        """What was measured since it was asked for last, on the way to the exit that is in use."""
        tunnel = next((view.tunnel for view in self._exits.views() if view.current), None)
        if tunnel is None:
            return []
        measured = tunnel.measured
        if measured is not self._measured:
            self._measured, self._seen = measured, 0
        found = measured.since(self._seen)
        self._seen = measured.count
        return found
