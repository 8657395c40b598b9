"""IRC, the oldest long connection of all: ngircd, and weechat with its own setting for the proxy."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.e2e.apps.interruption import NAMES, PLAN, Listener, check
from tests.e2e.apps.servers import start_ngircd
from tests.e2e.apps.weechat import Weechat

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.apps.interruption import Way

pytestmark = pytest.mark.e2e


def test_weechat(way: Way, folder: Path) -> None:
    server = start_ngircd(way.programs, folder)
    schemes = ("socks5", "http")
    people: list[Weechat] = []
    for me, scheme in zip(NAMES, schemes, strict=True):
        people.append(Weechat(way, me, server.port, scheme, folder / me))
        for person in people:
            person.wait_for(me)
    listeners = [
        Listener(person.program, partial(person.heard, other))
        for person, other in zip(people, reversed(NAMES), strict=True)
    ]
    with ThreadPoolExecutor(len(people)) as threads:
        speaking = [threads.submit(person.say_all, map(str, PLAN.moments())) for person in people]
        way.interrupt(listeners)
        for each in speaking:
            each.result()
    assert [person.program.stop() for person in people] == [0, 0]
    check(listeners)
    assert [person.connections() for person in people] == [1, 1]
