"""Chat programs that people use, with a carrier that is reset again and again: no message is lost or repeated."""

from __future__ import annotations

import json
import random
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.e2e.apps.servers import start_prosody
from tests.e2e.machine import ENVIRONMENT, free_port, program, wait_until
from tests.e2e.servers import Authority, Mosquitto, start_mosquitto
from tests.lab.addresses import EXIT_PORT
from tests.lab.hosts import LONG, start_pair
from tests.lab.load import Worker
from tests.lab.runs import side_by_side
from tests.lab.xmpp import NAMES, PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.machine import Program
    from tests.e2e.pairs import Pair
    from tests.lab.conftest import Measured
    from tests.lab.hosts import Lab

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

MESSAGES, EVERY = (1000, 0.2) if LONG else (40, 0.2)
#: Seconds between two resets: so that messages pass in between, and many fall into a pause.
BETWEEN_RESETS = (0.7, 1.5)
#: The last message is on its way for a carrier's making at most.
LAST_SECONDS = 30.0


@contextmanager
def resets(lab: Lab) -> Iterator[None]:
    """All the time."""

    def once() -> None:
        time.sleep(random.uniform(*BETWEEN_RESETS))
        lab.link.say(f"reset {EXIT_PORT}")

    worker = Worker(once)
    try:
        yield
    finally:
        worker.stop()


# ---- MQTT


class Mqtt:
    """mosquitto's clients, each with one connection for all its messages."""

    def __init__(self, lab: Lab, pair: Pair, broker: Mosquitto, authority: Authority) -> None:
        self._lab = lab
        self._words: list[str | Path] = ["--proxy", pair.local.url("socks5h"), "-h", "localhost"]
        self._words += ["-p", str(broker.port), "--cafile", authority.path, "-q", "1", "-k", "600"]

    def listen(self, name: str) -> Program:
        # Into a file it would write in blocks, and say nothing for long.
        argv = [program("stdbuf"), "--output=L", program("mosquitto_sub"), *self._words, "-i", f"sub-{name}", "-d"]
        listening = self._lab.home.start(f"sub-{name}", [*argv, "-t", f"chat/{name}", "-F", "heard %p"])
        listening.wait_for("suback")
        return listening

    def speak(self, to: str) -> int:
        """Numbered messages, one by one; the client's exit code."""
        argv = [
            *self._lab.home.prefix,
            program("mosquitto_pub"),
            *self._words,
            "-i",
            f"pub-{to}",
            "-t",
            f"chat/{to}",
            "-l",
        ]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, env=ENVIRONMENT, text=True) as speaking:
            assert speaking.stdin is not None
            for number in range(MESSAGES):
                print(number, file=speaking.stdin, flush=True)
                time.sleep(EVERY)
        return speaking.returncode


def heard(listening: Program) -> list[int]:
    return [int(line.split()[1]) for line in listening.text().splitlines() if line.startswith("heard ")]


def test_mqtt(lab: Lab, authority: Authority, measured: Measured) -> None:
    pair = start_pair(lab)
    folder = lab.folder / "mosquitto"
    folder.mkdir()
    mqtt = Mqtt(lab, pair, start_mosquitto(lab.abroad, folder, authority), authority)
    listening = [mqtt.listen(name) for name in NAMES]
    with resets(lab):
        with side_by_side(mqtt.speak, NAMES) as speaking:
            for name in NAMES:
                assert speaking[name] == 0
        wait_until(lambda: all(len(heard(each)) >= MESSAGES for each in listening), "all", seconds=LAST_SECONDS)
    measured(
        "resets all the time while mosquitto's clients talk",
        "nothing: no message is lost or repeated, and nobody connects again",
        f"{MESSAGES} messages each way over {lab.link.carriers()} carriers",
    )
    assert [heard(each) for each in listening] == [list(range(MESSAGES))] * 2
    # Nobody had to connect again.
    assert [len(each.lines("connack")) for each in listening] == [1, 1]


# ---- XMPP


def start_server(lab: Lab) -> int:
    """Its port, abroad."""
    folder = lab.folder / "prosody"
    folder.mkdir()
    return start_prosody(lab.abroad, folder, NAMES, PASSWORD).port


def test_xmpp(lab: Lab, measured: Measured) -> None:
    pair, there, here = start_pair(lab), start_server(lab), free_port()
    lab.home.start_module("relay", str(here), str(pair.port), str(there)).wait_for_port(here)
    report = lab.folder / "xmpp.json"
    people = lab.home.start_module("xmpp", str(here), str(MESSAGES), str(EVERY), report)
    people.wait_for("talking")
    with resets(lab):
        wait_until(lambda: not people.alive, "the end of the talk", seconds=MESSAGES * EVERY + 2 * LAST_SECONDS)
    seen = json.loads(report.read_text())
    measured(
        "resets all the time during XMPP, slixmpp with prosody",
        "nothing: no message is lost or repeated, and nobody connects again",
        f"{MESSAGES} messages each way over {lab.link.carriers()} carriers",
    )
    expected = {"received": [str(number) for number in range(MESSAGES)], "connections": 1}
    assert seen == [expected, expected]
