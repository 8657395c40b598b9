"""The lab is what it says, or the other tests would show nothing."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.apps import curl_command
from tests.e2e.machine import ENVIRONMENT, ESTABLISHED, tcp_table, wait_until
from tests.lab.addresses import ABROAD, ABROAD_TOO, EXIT_PORT
from tests.lab.hosts import ROUND_TRIP, open_lab, start_exit, start_pair

if TYPE_CHECKING:
    from tests.e2e.machine import Program
    from tests.lab.hosts import Lab

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

#: What the machine may add to a round trip while it is busy.
BUSY_SECONDS = 0.1


def handshake_seconds(lab: Lab, address: str) -> float:
    """Of TCP, from home to the exit, without a proxy: one round trip."""
    words = curl_command("-k", "-o", "/dev/null", "-w", "%{time_connect}", f"https://{address}:{EXIT_PORT}/")
    argv = [*lab.home.prefix, *words]
    return float(subprocess.run(argv, env=ENVIRONMENT, check=True, capture_output=True, text=True).stdout)


def established(program: Program) -> int:
    return sum(state == ESTABLISHED for _, state in tcp_table(program.pid))


def test_a_round_trip_takes_its_time(lab: Lab) -> None:
    start_exit(lab)
    for address in (ABROAD, ABROAD_TOO):
        assert ROUND_TRIP <= handshake_seconds(lab, address) < ROUND_TRIP + BUSY_SECONDS
    lab.link.say("readdress")
    lab.link.say("delay 10")
    assert 0.02 <= handshake_seconds(lab, ABROAD) < 0.02 + BUSY_SECONDS


def test_a_reset_ends_both_ends_at_once(lab: Lab) -> None:
    pair = start_pair(lab)
    wait_until(lambda: [established(program) for program in pair.programs] == [1, 1], "one carrier")
    assert lab.link.say(f"reset {EXIT_PORT + 1}") == "0"
    assert lab.link.say(f"reset {EXIT_PORT}") == "1"
    # Another carrier takes a round trip to come.
    assert [established(program) for program in pair.programs] == [0, 0]
    wait_until(lambda: lab.link.carriers() == 2, "another carrier")


def test_a_silence_lasts_as_long_as_it_was_told_to(lab: Lab) -> None:
    start_exit(lab)
    began = time.monotonic()
    lab.link.say("down 0.5")
    # The first try was lost, and TCP tries again after a second (RFC 6298).
    assert handshake_seconds(lab, ABROAD) >= 1.0
    assert time.monotonic() - began >= 1.0
    assert lab.link.stats()["up"]["censored"] == 1


def test_nothing_is_left(folder: Path) -> None:
    names: list[str] = []
    with pytest.raises(ZeroDivisionError):
        fail_in_a_lab(folder, names)
    assert names[0] not in networks()
    assert not Path(f"/proc/{names[1]}").exists()


def fail_in_a_lab(folder: Path, names: list[str]) -> None:
    """Puts the name of a host there, and the id of a process that runs in it."""
    with open_lab(folder) as lab:
        name = lab.home.prefix[-1]
        assert name in networks()
        names += [name, str(lab.home.start("left", ["sleep", "1000"]).pid)]
        raise ZeroDivisionError


def networks() -> str:
    return subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout
