"""The exit is killed and started again: what was open ends at once with a reset, and what is new works."""

from __future__ import annotations

import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.machine import wait_until
from tests.lab.hosts import run_exit, start_pair
from tests.lab.load import Chats, start_echo, start_web

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.pairs import Pair
    from tests.e2e.servers import Authority, Nginx
    from tests.lab.hosts import Lab

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

#: New streams work so soon after the exit is ready again.
NEW_WORK = 3.0
#: The new exit does not know the old session, and says so in its first welcome; what was open ends then.
OLD_END = NEW_WORK
#: Some talk, and some have nothing to say for longer than the test lasts: they have to hear of it as well.
BUSY, IDLE, EVERY, NEVER = 20, 20, 0.2, 1000.0


def page(lab: Lab, pair: Pair, nginx: Nginx, folder: Path) -> bool:
    answer = lab.curl("-x", pair.local.url("socks5h"), nginx.url("http", ""), folder=folder)
    return (answer.code, answer.status) == (0, 200)


def test_the_exit_is_killed(lab: Lab, authority: Authority, folder: Path) -> None:
    if sys.platform != "linux":  # where there is no lab; the type checker reads no further there
        raise NotImplementedError
    pair, port, nginx = start_pair(lab), start_echo(lab), start_web(lab, authority)
    programs = [Chats(lab, pair, port, number=BUSY, every=EVERY), Chats(lab, pair, port, number=IDLE, every=NEVER)]
    assert page(lab, pair, nginx, folder)
    pair.exit.program.stop(signal.SIGKILL)
    run_exit(lab, pair.exit.config)
    ready = time.monotonic()
    wait_until(lambda: page(lab, pair, nginx, folder), "a page", seconds=60)
    took = time.monotonic() - ready
    chats = [chat for program in programs for chat in program.wait(60).chats]
    ended = max(chat["ended_at"] for chat in chats) - ready
    print(f"new streams work {took:.2f} s after the exit is ready, the last old one ended after {ended:.2f} s")
    assert {chat["ended"] for chat in chats} == {"reset"}
    assert [chat["faults"] for chat in chats] == [[]] * (BUSY + IDLE)
    assert took <= NEW_WORK
    assert ended <= OLD_END
