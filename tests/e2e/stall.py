"""An app that stops reading for a minute, and what others see meanwhile."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.e2e.apps import body_size, connect_by_socks, receive, receive_head, request

if TYPE_CHECKING:
    from tests.e2e.pairs import Pair
    from tests.e2e.servers import Nginx

STALL_SECONDS = 60
BIG, SMALL = 200_000_000, 64 * 1024


def fetch(pair: Pair, nginx: Nginx, size: int) -> bytes:
    reply, connection = connect_by_socks(pair.port, "127.0.0.1", nginx.http_port)
    with connection:
        assert reply == 0
        connection.sendall(request(f"/{size}"))
        return receive(connection, body_size(receive_head(connection)))


@dataclass
class Stall:
    """What was seen while one app did not read."""

    waits: list[float] = field(default_factory=list)
    growth: list[int] = field(default_factory=list)
    digest: str = ""
    lasted: float = 0.0
    failure: str = ""


def stall(pair: Pair, nginx: Nginx, seen: Stall) -> None:
    """For a thread: what goes wrong is kept for the test that collects."""
    try:
        watch(pair, nginx, seen)
    except (OSError, EOFError, AssertionError) as exc:
        seen.failure = repr(exc)


def watch(pair: Pair, nginx: Nginx, seen: Stall) -> None:
    fetch(pair, nginx, BIG)  # the windows, the allocator and the code are warm now
    before = [program.resident() for program in pair.programs]
    reply, stalled = connect_by_socks(pair.port, "127.0.0.1", nginx.http_port)
    with stalled:
        assert reply == 0
        stalled.sendall(request(f"/{BIG}"))
        size = body_size(receive_head(stalled))
        began = time.monotonic()
        while (now := time.monotonic()) < began + STALL_SECONDS:
            fetch(pair, nginx, SMALL)
            seen.waits.append(time.monotonic() - now)
            time.sleep(0.5)
        seen.growth = [program.resident() - old for program, old in zip(pair.programs, before, strict=True)]
        seen.lasted = time.monotonic() - began
        seen.digest = hashlib.sha256(receive(stalled, size)).hexdigest()
