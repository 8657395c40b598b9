"""The exit is killed and started again: what was open ends at once with a reset, and what is new works."""

from __future__ import annotations

import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.apps import curl_command
from tests.e2e.machine import wait_until
from tests.e2e.servers import make_body
from tests.lab.hosts import TOLERANCE, run_exit, start_pair
from tests.lab.load import Chats, start_echo, start_web, through

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.machine import Program
    from tests.e2e.pairs import Pair
    from tests.e2e.servers import Authority, Nginx
    from tests.lab.conftest import Measured
    from tests.lab.hosts import Lab

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

#: New streams work so soon after the exit is ready again.
NEW_WORK = 3.0
#: The new exit does not know the old session, and says so in its first welcome; what was open ends then.
OLD_END = NEW_WORK
#: Some talk, and some have nothing to say for longer than the test lasts: they have to hear of it as well.
BUSY, IDLE, EVERY, NEVER = 20, 20, 0.2, 1000.0
#: Of a body, and how fast it goes: bytes each second.
SIZE, SPEED = 20_000_000, "100K"
#: What curl ends with where its connection is reset: while it sends, or receives.
RESET = {55, 56}


def page(lab: Lab, pair: Pair, nginx: Nginx, folder: Path) -> bool:
    answer = lab.curl("-x", pair.local.url("socks5h"), nginx.url("http", ""), folder=folder)
    return (answer.code, answer.status) == (0, 200)


def start_transfers(lab: Lab, pair: Pair, nginx: Nginx) -> list[Program]:
    """A download and an upload that take minutes, under way."""
    body, way = make_body(nginx.site / "body", SIZE).path, through(pair, SPEED)
    down = [*way, "-o", lab.folder / "came", nginx.url("http", "body")]
    up = [*way, "-T", body, nginx.url("http", "up/body")]
    started = [lab.home.start("curl", curl_command(*words)) for words in (down, up)]
    wait_until((lab.folder / "came").exists, "the download's first bytes")
    return started


def test_the_exit_is_killed(lab: Lab, authority: Authority, folder: Path, measured: Measured) -> None:
    if sys.platform != "linux":  # where there is no lab; the type checker reads no further there
        raise NotImplementedError
    pair, port, nginx = start_pair(lab), start_echo(lab), start_web(lab, authority)
    programs = [Chats(lab, pair, port, number=BUSY, every=EVERY), Chats(lab, pair, port, number=IDLE, every=NEVER)]
    transfers = start_transfers(lab, pair, nginx)
    pair.exit.program.stop(signal.SIGKILL)
    run_exit(lab, pair.exit.config)
    ready = time.monotonic()
    wait_until(lambda: page(lab, pair, nginx, folder), "a page", seconds=60)
    took = time.monotonic() - ready
    chats = [chat for program in programs for chat in program.wait(60).chats]
    ended = max(chat["ended_at"] for chat in chats) - ready
    wait_until(lambda: not any(each.alive for each in transfers), "the end of both transfers", seconds=60)
    measured(
        "the program at the exit is killed and started again",
        f"what was open ends with a reset: a download, an upload and {BUSY + IDLE} chats, also those with nothing to say; what is new works",
        f"once the exit is ready, new streams work after {took:.2f} s and the last old one ends after {ended:.2f} s",
    )
    assert {chat["ended"] for chat in chats} == {"reset"}
    assert [chat["faults"] for chat in chats] == [[]] * (BUSY + IDLE)
    assert {each.stop() for each in transfers} <= RESET
    assert took <= NEW_WORK * TOLERANCE
    assert ended <= OLD_END * TOLERANCE
