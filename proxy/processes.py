"""The programs that have the connections in the table: looked for where somebody sees them, and not where they are made."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import trio

from .connections import State
from .peer_process import PeerProcesses

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .connections import Connection
    from .peer_process import Ends

# Our choices.
#: Between two looks at the files of all processes of the user, seconds; between those only programs are known that were found before.
EVERYWHERE_EVERY = 5.0
#: Connections that are asked for at once; the others are for the next time.
MOST_ASKED = 1024
#: The thread sleeps so long after each part, or the event loop would wait 5 ms for each of its turns.
_PAUSE = 0.0005


class Processes:
    """One for all who watch."""

    def __init__(self, programs: PeerProcesses | None = None) -> None:
        self._programs = programs or PeerProcesses(lambda: time.sleep(_PAUSE))
        self._looking = False
        self._everywhere_at = -EVERYWHERE_EVERY

    async def look(self, connections: Iterable[Connection]) -> None:
        """Notes in each the program that has it. Where somebody else looks at this moment it is left to them."""
        if sys.platform != "linux" or self._looking:
            return
        asked = _ends_of(connections)
        if not asked:
            return
        self._looking = True
        try:
            await self._find(asked)
        finally:
            self._looking = False

    async def _find(self, asked: dict[Ends, list[Connection]]) -> None:
        now = trio.current_time()
        everywhere = now >= self._everywhere_at + EVERYWHERE_EVERY
        if everywhere:
            self._everywhere_at = now
        find = self._programs.find
        found = await trio.to_thread.run_sync(lambda: find(asked, everywhere=everywhere))
        for ends, those in asked.items():
            if everywhere or ends in found:
                for connection in those:
                    connection.process = found.get(ends, "")


def _ends_of(connections: Iterable[Connection]) -> dict[Ends, list[Connection]]:
    """Of those of which it is not known yet. An app may go to many sites over one connection to the port."""
    asked: dict[Ends, list[Connection]] = {}
    for connection in connections:
        if connection.process is None and connection.state is not State.CLOSED:
            ends = _ends(connection.app)
            if ends is None:
                connection.process = ""
            else:
                asked.setdefault(ends, []).append(connection)
            if len(asked) >= MOST_ASKED:
                break
    return asked


def _ends(app: object) -> Ends | None:
    if not isinstance(app, trio.SocketStream):
        return None
    try:
        return app.socket.getpeername()[1], app.socket.getsockname()[1]
    except (OSError, IndexError):  # it is gone, or no TCP
        return None
