"""What dashboards for Clash are shown, from what the program has."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

import msgspec
import trio

from . import clash_views as views
from . import heap, telemetry
from .preference import Pattern as ExitName
from .processes import Processes
from .router import MOST_COUNTED

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from .connections import Connections, Total
    from .exits import Exits, ExitView, NamedExit
    from .log_memory import LogMemory
    from .router import Router
    from .ruleset import Ruleset

# Our choices.
#: Connections that are looked at in one go; each takes ten microseconds, and meanwhile nothing else goes on.
SLICE = 128
#: Measurements that are kept for each exit: dashboards show as many.
_MOST_DELAYS = 10


class ClashSource:
    """`port` is where apps connect."""

    def __init__(
        self, exits: Exits, router: Callable[[], Router], connections: Connections, log: LogMemory, port: int
    ) -> None:
        self.log = log
        self.version = ""
        self.processes = Processes()
        self._exits = exits
        self._router = router
        self._connections = connections
        self._port = port
        self._delays: dict[str, deque[views.Delay]] = {}
        self._terms: tuple[Ruleset, dict[str, tuple[str, str]]] | None = None

    # ---- exits

    def leaves(self) -> views.Leaves:
        return views.Leaves.of(self._exits.views())

    def proxies(self) -> dict[str, views.Proxy]:
        return views.proxies_of(self.leaves(), lambda name: list(self._delays.get(name, ())))

    async def way(self, view: ExitView) -> NamedExit:
        """By this exit, once it is connected: that does not count in what is measured over it. Raises OpenError."""
        address = view.route.addresses[0]
        name = ExitName(address.host, address.port)
        await self._exits.running(name)
        return self._exits.by(name)

    def note_delay(self, name: str, milliseconds: int) -> None:
        there = self.leaves().exits
        self._delays = {each: kept for each, kept in self._delays.items() if each in there}
        kept = self._delays.setdefault(name, deque(maxlen=_MOST_DELAYS))
        kept.append(views.Delay(views.iso(time.time()), milliseconds))

    async def used(self, identity: Hashable) -> None:
        """Until new connections go by this exit, or there is none."""
        while True:
            view = next((each for each in self._exits.views() if each.route.identity == identity), None)
            if view is None or view.current:
                return
            if view.tunnel is not None and not view.tunnel.up.is_set():
                await view.tunnel.up.wait()
            else:
                await trio.sleep(0.05)  # what follows from that follows at once

    # ---- the rest

    def configuration(self) -> views.Configuration:
        level = telemetry.level()
        return views.Configuration(self._port, views.MODES[self._router().ruleset.settings.mode], level)

    def rules(self) -> views.Rules:
        """Of a hundred thousand rules those whose hits are counted."""
        router, leaves, terms = self._router(), self.leaves(), self.terms()
        return views.Rules(
            [
                views.rule_of(index, decision, terms[decision.rule_text], router.hits.get(decision.rule_text), leaves)
                for index, decision in enumerate(router.ruleset.decisions(MOST_COUNTED))
            ]
        )

    def terms(self) -> dict[str, tuple[str, str]]:
        """Clash's type and payload for the text of each decision."""
        ruleset = self._router().ruleset
        if self._terms is None or self._terms[0] is not ruleset:
            self._terms = ruleset, views.terms_of(ruleset, MOST_COUNTED)
        return self._terms[1]

    def total(self) -> Total:
        return self._connections.total()

    def memory(self) -> views.Memory:
        """0 where the system does not say how much it is."""
        return views.Memory(heap.resident() or 0)

    async def connections(self) -> bytes:
        """All that are open, as JSON. In slices, as there may be thousands."""
        await self.processes.look(self._connections.all_open())
        leaves, terms, offset = self.leaves(), self.terms(), time.time() - trio.current_time()
        found: list[msgspec.Raw] = []
        for count, connection in enumerate(self._connections.all_open(), 1):
            if connection.route:  # it is decided where it goes
                view = connection.view(trio.current_time())
                shown = views.connection_of(view, view.opened_at + offset, terms, leaves)
                found.append(msgspec.Raw(msgspec.json.encode(shown)))
            if count % SLICE == 0:
                await trio.lowlevel.checkpoint()
        total = self.total()
        return msgspec.json.encode(views.Connections(total.bytes_down, total.bytes_up, self.memory().inuse, found))
