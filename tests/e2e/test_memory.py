"""Memory of both programs stays under the setting, with apps and destinations that do not read, and a side that stands still."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from proxy.config_file import replace_file, with_settings
from tests.e2e.apps import connect_by_socks, request
from tests.e2e.pairs import start_pair
from tests.e2e.stall import BIG, SMALL, fetch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.machine import Program, Programs
    from tests.e2e.pairs import Pair
    from tests.e2e.servers import Nginx

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform != "linux", reason="the most that was resident stands in /proc"),
]

#: MB; the least that may be set. Windows of those that do not read come to twice what it leaves for buffers.
MEMORY = 128
STALLED = 300
STOPPED = 2.0  # seconds
MB = 1_000_000


def tell(program: Program, name: str) -> None:
    """By a signal that other systems do not have."""
    os.kill(program.pid, signal.Signals[f"SIG{name}"])


def most_resident(program: Program) -> int:
    """Bytes, since it was started."""
    (line,) = [line for line in Path(f"/proc/{program.pid}/status").read_text().splitlines() if "VmHWM" in line]
    return int(line.split()[1]) * 1024


@pytest.fixture
def small_pair(programs: Programs) -> Iterator[Pair]:
    """Told its bound while it runs."""
    pair = start_pair(programs)
    for table, side in (("exit", pair.exit), ("local", pair.local)):
        text = with_settings(side.config.read_text(), table, {"memory": MEMORY})
        replace_file(side.config, text.encode())
        tell(side.program, "HUP")
        side.program.wait_for("read again")
    yield pair
    for program in pair.programs:
        program.stop()


def send_what_it_takes(connection: socket.socket) -> None:
    connection.setblocking(False)
    # Where memory is short, who is not read for long is reset.
    with contextlib.suppress(BlockingIOError, ConnectionResetError):
        while True:
            connection.send(bytes(65536))


@pytest.mark.usefixtures("bodies")
def test_nobody_reads_and_a_side_stands_still(small_pair: Pair, nginx: Nginx) -> None:
    pair = small_pair
    with contextlib.ExitStack() as held:
        deaf = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=STALLED))
        for port in [nginx.http_port, deaf.getsockname()[1]] * STALLED:
            reply, connection = connect_by_socks(pair.port, "127.0.0.1", port)
            held.enter_context(connection)
            assert reply == 0
            if port == nginx.http_port:
                connection.sendall(request(f"/{BIG}"))
            else:
                send_what_it_takes(connection)
        for program in pair.programs:
            tell(program, "STOP")
            time.sleep(STOPPED)
            tell(program, "CONT")
        assert len(fetch(pair, nginx, SMALL)) == SMALL  # who reads gets on
        most = [most_resident(program) for program in pair.programs]
    print(f"most resident: {[round(each / MB) for each in most]} MB")
    assert max(most) < MEMORY * MB
