"""XMPP, as WhatsApp speaks underneath: prosody with TLS, slixmpp, and finch as people have it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.e2e.apps.finch import Finch
from tests.e2e.apps.interruption import NAMES, PLAN, Listener, check
from tests.e2e.apps.servers import Server, befriend, start_prosody
from tests.e2e.apps.xmpp import PASSWORD
from tests.e2e.machine import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.apps.interruption import Way

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def prosody(way: Way, tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder = tmp_path_factory.mktemp("prosody")
    befriend(folder, me="carol", other="dave")
    return start_prosody(way.programs, folder, (*NAMES, "carol", "dave"), PASSWORD, way.authority)


def test_slixmpp(way: Way, prosody: Server) -> None:
    people = [
        way.join("xmpp", me, prosody.port, f"--scheme={scheme}")
        for me, scheme in zip(NAMES, ("socks5", "http"), strict=True)
    ]
    way.finish(people)
    for me, other, person in zip(NAMES, reversed(NAMES), people, strict=True):
        assert person.program.lines(f"{me} sees {other}")
        assert person.program.lines(f"{me} sees that {other} is away")


def test_finch(way: Way, prosody: Server, folder: Path) -> None:
    finch = Finch(way, "carol", "dave", prosody.port, PASSWORD, folder)
    dave = way.join_as("xmpp", "dave", "carol", prosody.port, "--scheme=socks5")
    people = [Listener(finch.program, finch.heard), dave]
    dave.program.wait_for("dave sees carol")
    wait_until(finch.heard, "the first message")
    finch.turn_to_window()
    with ThreadPoolExecutor(1) as threads:
        typing = threads.submit(finch.say_all, map(str, PLAN.moments()))
        way.interrupt(people)
        typing.result()
    wait_until(lambda: not dave.program.alive, "the end of the program")
    assert dave.program.stop() == 0, dave.program.text()
    finch.stop()
    check(people)
    for name in ("carol", "dave"):
        assert len(prosody.program.lines(f"authenticated as {name}@")) == 1
