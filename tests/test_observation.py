"""What is noted from the start on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from proxy import telemetry
from proxy.address import Address
from proxy.connections import AppProtocol, Connections
from proxy.history import STEP
from proxy.observation import Observation
from proxy.protocol.liveness import Measured

if TYPE_CHECKING:
    from trio.testing import MockClock


class Tunnel:
    def __init__(self) -> None:
        self.measured = Measured()


class View:
    current = True

    def __init__(self, tunnel: Tunnel | None) -> None:
        self.tunnel = tunnel


class Exits:
    """Of which the observation asks no more than this."""

    def __init__(self) -> None:
        self.tunnel: Tunnel | None = Tunnel()

    def views(self) -> list[View]:
        return [View(self.tunnel)]


async def test_what_goes_is_noted_in_steps(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    exits, connections = Exits(), Connections()
    seen = Observation(exits, connections)  # type: ignore[arg-type]
    await nursery.start(seen.run)
    telemetry.logger("test").warning("heard")
    assert [line.text for line in seen.log.last(9)] == ["heard"]
    connection = connections.opened(AppProtocol.SOCKS5, Address("example.com", 443), trio.current_time())
    connection.traffic.up(50, trio.current_time())
    assert exits.tunnel is not None
    for round_trip in (0.3, 0.1, 0.2):
        exits.tunnel.measured.add(round_trip)
    await trio.sleep(STEP)
    await wait_all_tasks_blocked()
    await trio.sleep(STEP)
    await wait_all_tasks_blocked()
    exits.tunnel = Tunnel()  # the session began anew
    exits.tunnel.measured.add(0.5)
    connection.traffic.down(500, trio.current_time())
    await trio.sleep(STEP)
    await wait_all_tasks_blocked()
    exits.tunnel = None
    await trio.sleep(STEP)
    await wait_all_tasks_blocked()
    plot = seen.history.plot()
    assert plot.up == pytest.approx((10.0, 0.0, 0.0, 0.0))
    assert plot.down == pytest.approx((0.0, 0.0, 100.0, 0.0))
    assert plot.round_trips == pytest.approx((0.2, math.nan, 0.5, math.nan), nan_ok=True)
