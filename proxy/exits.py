"""Several exits at the local side: a tunnel for each that is needed, of which the current one takes the new streams.

current --down for PATIENCE--> lost: the next is started, and after as long the one after it --the first that is up--> current

Streams stay on the tunnel that they were opened on, since nothing can take them over; associations too, until their exit is lost and another one is
there: a datagram needs no more than an exit that works. A preferred exit is tried as long as another one is current, and takes over when it is up.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakSet

import trio

from .errors import OpenError, Reason
from .telemetry import logger
from .tunnel_news import CarrierTotals

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Sequence

    from .address import Address
    from .preference import Pattern as ExitName
    from .session_association import SessionAssociation
    from .session_stream import SessionStream
    from .tunnel import Tunnel

log = logger("exits")

# Our choices; seconds.
#: How long the current exit may be down before others are tried: a carrier that broke is made again within that, also on slow links.
PATIENCE = 3.0
#: How long a tunnel that nobody needs is kept: whatever made it come up may happen again at once.
IDLE = 60.0


@dataclass(frozen=True, slots=True)
class Route:
    """An exit that may be used. Routes of the same identity are the same exit; `name` is for people.

    `chosen` is called when it begins to take the new streams.
    """

    identity: Hashable
    name: str
    preferred: bool
    new_tunnel: Callable[[], Tunnel]
    chosen: Callable[[], Awaitable[None]]
    addresses: tuple[Address, ...] = ()  # by which rules name it
    label: str = ""  # what its user calls it


@dataclass(frozen=True, slots=True)
class ExitView:
    """An exit at one moment; the tunnel is None where it is not needed."""

    route: Route
    tunnel: Tunnel | None
    current: bool


class _Running:
    """The tunnel of a route, and since when nobody has needed it."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self.tunnel = route.new_tunnel()
        self.scope = trio.CancelScope()
        self.idle_since = self.down_since = trio.current_time()
        self.waiting = 0  # how many wait for this very exit
        # Those for which any exit will do, as far as they are used.
        self.associations: WeakSet[SessionAssociation] = WeakSet()

    @property
    def up(self) -> bool:
        return self.tunnel.up.is_set()

    def let_go(self) -> None:
        """Associations are to go elsewhere."""
        for association in list(self.associations):
            association.give_up(Reason.TUNNEL_DOWN, "its exit was lost, and another one works")
        self.associations.clear()

    async def open(self, address: Address) -> SessionStream:
        stream = await self.tunnel.open(address)
        stream.exit = self.route.name
        return stream

    def open_soon(self, address: Address) -> SessionStream | None:
        stream = self.tunnel.open_soon(address)
        if stream is not None:
            stream.exit = self.route.name
        return stream

    async def associate(self) -> SessionAssociation:
        association = await self.tunnel.associate()
        association.exit = self.route.name
        return association


class Exits:
    """`routes` has at least one, in the order in which they are tried, the preferred ones first. `open` may be called while it runs."""

    def __init__(self, routes: Sequence[Route], *, connect_wait: float) -> None:
        self._routes = tuple(routes)
        self._connect_wait = connect_wait
        self._running: dict[Hashable, _Running] = {}
        self._current: _Running | None = None
        self._lost = False  # whether the current one was down for too long: whichever is up takes its place
        self._up, self._down = trio.Event(), trio.Event()  # of the current one; each is another event next time
        self._down.set()
        self._nursery: trio.Nursery | None = None
        self._chosen: Hashable = None  # the exit that was told so last
        self._ended = CarrierTotals()  # of tunnels that were ended

    def __repr__(self) -> str:
        current = self._current.route.name if self._current else "nothing"
        return f"<Exits on {current}, {len(self._running)} of {len(self._routes)} running>"

    async def open(self, address: Address) -> SessionStream:
        """A stream to the address by way of the current exit; as `Tunnel.open`."""
        return await (await self._ready()).open(address)

    def open_soon(self, address: Address) -> SessionStream | None:
        """As `Tunnel.open_soon`."""
        return None if self._current is None else self._current.open_soon(address)

    async def associate(self) -> SessionAssociation:
        """An association by way of the current exit; as `Tunnel.associate`. It is reset where that one is lost and another takes its place."""
        current = await self._ready()
        association = await current.associate()
        current.associations.add(association)
        return association

    def by(self, name: ExitName) -> NamedExit:
        """The way by this exit, whichever is the current one."""
        return NamedExit(self, name)

    async def running(self, name: ExitName) -> _Running:
        """The tunnel of this exit, which is started where it does not run and kept while it is in use. Raises OpenError."""
        route = next((route for route in self._routes if any(map(name.matches, route.addresses))), None)
        if route is None:
            raise OpenError(Reason.FAILED, f"a rule goes by way of the exit {name}, and there is no such exit")
        if self._nursery is None:
            raise OpenError(Reason.TUNNEL_DOWN)
        running = self._running.get(route.identity) or self._start(route)
        running.idle_since = trio.current_time()
        if running.up:
            return running
        running.waiting += 1
        try:
            with running.tunnel.wanted(), trio.move_on_after(self._connect_wait):
                await running.tunnel.up.wait()
                return running
        finally:
            running.waiting -= 1
        raise OpenError(Reason.TUNNEL_DOWN)

    async def _ready(self) -> _Running:
        """The current one, as soon as it is up. Raises OpenError."""
        if self._current is not None and self._current.up:
            return self._current
        with ExitStack() as stack, trio.move_on_after(self._connect_wait):
            for each in self._running.values():
                stack.enter_context(each.tunnel.wanted())
            while (current := self._current) is None or not current.up:
                await self._up.wait()
            return current
        raise OpenError(Reason.TUNNEL_DOWN)

    def network_changed(self, why: str) -> None:
        """Every tunnel looks at its carrier at once, or tries at once to make one."""
        log.debug("%s", why)
        for tunnel in self.tunnels:
            tunnel.network_changed()

    @property
    def tunnels(self) -> list[Tunnel]:
        """Those that run."""
        return [each.tunnel for each in self._running.values()]

    def views(self) -> list[ExitView]:
        """In the order in which they are tried."""
        return [
            ExitView(route, running.tunnel if running else None, running is not None and running is self._current)
            for route in self._routes
            for running in [self._running.get(route.identity)]
        ]

    def carriers(self) -> CarrierTotals:
        """Of all tunnels since the start."""
        totals = CarrierTotals()
        totals.add(self._ended)
        for tunnel in self.tunnels:
            totals.add(tunnel.news)
        return totals

    # ---- its life

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keeps one exit up until it is cancelled; then each exit is told, as by `Tunnel.run`."""
        async with trio.open_nursery() as self._nursery:
            self._current = self._start(self._routes[0])
            self._nursery.start_soon(self._fail_over)
            self._nursery.start_soon(self._retire)
            task_status.started()

    def change(self, routes: Sequence[Route], *, connect_wait: float) -> None:
        """These are the exits from now on. Exits that stay keep their tunnel and streams; those of exits that go are reset."""
        self._routes = tuple(routes)
        self._connect_wait = connect_wait
        now = {route.identity: route for route in routes}
        for running in list(self._running.values()):
            route = now.get(running.route.identity)
            if route is None:
                self._end(running)
            else:
                running.route = route
        if self._current is None:  # it does not run yet
            return
        if self._current.route.identity not in self._running:
            self._current = self._running.get(routes[0].identity) or self._start(routes[0])
            self._lost = True  # there is nothing to be patient with
            self._set_down()
        for route in routes:
            if route.preferred and not self._current.route.preferred and route.identity not in self._running:
                self._start(route)
        for running in self._in_order():
            if running.up:
                self._came_up(running)

    def _in_order(self) -> list[_Running]:
        return [self._running[route.identity] for route in self._routes if route.identity in self._running]

    # ---- tunnels

    def _start(self, route: Route) -> _Running:
        assert self._nursery is not None
        running = self._running[route.identity] = _Running(route)
        self._nursery.start_soon(self._run_one, running)
        return running

    async def _run_one(self, running: _Running) -> None:
        with running.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(running.tunnel.run)
                while True:
                    await running.tunnel.up.wait()
                    self._came_up(running)
                    await running.tunnel.down.wait()
                    running.down_since = trio.current_time()
                    if running is self._current:
                        self._set_down()
                    with trio.move_on_after(PATIENCE):
                        await running.tunnel.up.wait()
                        continue
                    self._let_associations_go()

    def _let_associations_go(self) -> None:
        """Those of exits that are lost, where there is one that works."""
        if self._current is None or not self._current.up:
            return
        for each in self._running.values():
            if not each.up and trio.current_time() - each.down_since >= PATIENCE:
                each.let_go()

    def _end(self, running: _Running) -> None:
        log.debug("the tunnel to %s is ended", running.route.name)
        del self._running[running.route.identity]
        self._ended.add(running.tunnel.news)
        running.scope.cancel()

    def _came_up(self, running: _Running) -> None:
        """It is the current one now, if it should be."""
        assert self._nursery is not None
        if self._running.get(running.route.identity) is not running:
            return  # it came up just as it was ended
        if running is self._current and self._up.is_set():
            return
        if running is not self._current and not self._lost and not self._is_better(running):
            return
        self._current = running
        self._lost = False
        self._up.set()
        if self._down.is_set():
            self._down = trio.Event()
        self._let_associations_go()
        if self._chosen != running.route.identity:
            self._chosen = running.route.identity
            self._nursery.start_soon(running.route.chosen)
            if len(self._routes) > 1:
                log.info("new connections go by way of %s", running.route.name)

    def _set_down(self) -> None:
        if self._up.is_set():
            self._up = trio.Event()
        self._down.set()

    # ---- which one is current

    async def _fail_over(self) -> None:
        """While the current one is lost, starts one exit after the other."""
        while True:
            await self._down.wait()
            with trio.move_on_after(PATIENCE):
                await self._up.wait()
                continue
            self._lost = True
            standby = [each for each in self._in_order() if each.up]
            if standby:
                self._came_up(standby[0])
            else:
                self._start_next()

    def _start_next(self) -> None:
        for route in self._routes:
            if route.identity not in self._running:
                log.debug("trying %s as well", route.name)
                self._start(route)
                return

    async def _retire(self) -> None:
        """Ends tunnels that nobody has needed for long."""
        while True:
            await trio.sleep(IDLE / 4)
            for running in list(self._running.values()):
                if self._needs(running):
                    running.idle_since = trio.current_time()
                elif trio.current_time() - running.idle_since >= IDLE:
                    self._end(running)

    def _needs(self, running: _Running) -> bool:
        return (
            running is self._current
            or running.tunnel.streams > 0
            or running.waiting > 0
            or self._lost
            or self._is_better(running)
        )

    def _is_better(self, running: _Running) -> bool:
        assert self._current is not None
        return running.route.preferred and not self._current.route.preferred


@dataclass(frozen=True, slots=True)
class NamedExit:
    """The way by the exit that a rule names; as that by the current one."""

    exits: Exits
    name: ExitName

    async def open(self, address: Address) -> SessionStream:
        return await (await self.exits.running(self.name)).open(address)

    def open_soon(self, address: Address) -> None:
        """Its tunnel may have to be started."""

    async def associate(self) -> SessionAssociation:
        return await (await self.exits.running(self.name)).associate()
