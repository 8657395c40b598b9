"""What the dashboard's interface shows of a tunnel, and how times become those of everybody."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import pytest
import trio

from proxy import api_views as views
from proxy.address import Address
from proxy.exits import ExitView, Route
from proxy.history import Plot
from proxy.log_memory import Line
from proxy.tunnel import Tunnel
from proxy.tunnel_news import CarrierTotals
from tests.memory import ECHO, exchange, world

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.memory import Identity


async def unused() -> None:
    raise AssertionError


def view_of(tunnel: Tunnel | None, *, current: bool = True) -> ExitView:
    def new_tunnel() -> Tunnel:
        raise AssertionError

    route = Route(1, "a.example:443", True, new_tunnel, unused, (Address("a.example", 443), Address("::1", 1)), "home")
    return ExitView(route, tunnel, current)


def carrier(tunnel: Tunnel, clock: views.Clock) -> views.Carrier:
    totals = CarrierTotals()
    totals.add(tunnel.news)
    found = views.carrier_of([view_of(None, current=False), view_of(tunnel)], totals, clock)
    assert found is not None
    return found


async def test_how_the_tunnel_does(server: Identity, autojump_clock: MockClock) -> None:
    clock = views.Clock(1_000_000.0)
    async with world(server) as around:
        around.reachable = False
        tunnel = Tunnel(around.open_carrier, around.key, connect_wait=5)
        assert views.exit_of(view_of(tunnel)).state == "connecting"
        assert carrier(tunnel, clock).state == "down"
        async with trio.open_nursery() as nursery:
            began = trio.current_time()
            nursery.start_soon(tunnel.run)
            await trio.sleep(1)
            found = carrier(tunnel, clock)
            assert (found.exit, found.since) == ("a.example:443", clock.time(began))
            assert (found.rtt_ms, found.carriers, found.last_loss) == (None, 0, None)
            around.reachable = True
            await exchange(await tunnel.open(ECHO))
            found = carrier(tunnel, clock)
            assert (found.state, found.carriers) == ("up", 1)
            assert began < found.since - 1_000_000 <= trio.current_time() + 0.001  # as it is rounded
            assert found.rtt_ms is not None
            around.reachable = False
            around.cut()
            await trio.sleep(1)
            found = carrier(tunnel, clock)
            assert found.state in ("down", "connecting")
            assert found.last_loss is not None
            assert found.last_loss.at == found.since
            assert found.last_loss.reason
            nursery.cancel_scope.cancel()


def test_an_exit() -> None:
    assert views.exit_of(view_of(None)) == views.Exit(
        "a.example:443", "home", ["a.example:443", "[::1]:1"], "idle", preferred=True, current=True
    )
    assert views.carrier_of([view_of(None)], CarrierTotals(), views.Clock(0.0)) is None


def test_what_is_not_known_is_null() -> None:
    found = views.history_of(Plot(10.0, (1.26,), (2.0,), (math.nan,)), 5.0, views.Clock(100.0))
    assert msgspec.json.encode(found) == b'{"end":110.0,"step":5.0,"up":[1.3],"down":[2.0],"rtt_ms":[null]}'
    assert views.Clock(1.0).maybe(None) is None
    assert views.Clock(1.0).maybe(2.0) == 3.0
    assert views.line_of(Line(1.5, "info", "<b>")) == views.LogLine(1.5, "info", "<b>")


async def test_the_clock() -> None:
    import time

    assert views.Clock.now().time(trio.current_time()) == pytest.approx(time.time(), abs=60)
