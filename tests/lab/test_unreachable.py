"""The exit cannot be reached: whoever connects now gets a true error soon, and what was open goes on when the exit is back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.machine import wait_until
from tests.lab.hosts import TOLERANCE, start_pair
from tests.lab.load import Chats, start_echo, start_web
from tests.lab.runs import side_by_side

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.apps import Answer
    from tests.e2e.servers import Authority
    from tests.lab.conftest import Measured
    from tests.lab.hosts import Lab

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

#: Whoever connects waits so long for the tunnel (local.connect_wait), and the program takes its time besides.
ERROR_WITHIN = 5.5
#: How long the local side may need to see that the carrier is dead.
SEEN_DEAD = 6.0
#: Nothing comes through for as long as both errors take on a machine that is slow.
SILENCE = 60.0
CHATS, EVERY = 5, 0.5
#: curl's exit codes: a proxy refused, by SOCKS; the response has an error's status.
PROXY_REFUSED, STATUS_OF_ERROR = 97, 22


def test_who_connects_gets_an_error(lab: Lab, authority: Authority, folder: Path, measured: Measured) -> None:
    pair, echo, nginx = start_pair(lab), start_echo(lab), start_web(lab, authority)
    chats = Chats(lab, pair, echo, number=CHATS, every=EVERY)
    lab.link.say(f"down {SILENCE}")
    began = time.monotonic()
    wait_until(
        lambda: pair.local.program.lines("the connection to the exit is gone"), "a loss", seconds=SEEN_DEAD * TOLERANCE
    )

    def ask(scheme: str) -> tuple[Answer, float]:
        """What curl says, and after how many seconds."""
        (folder / scheme).mkdir()
        start = time.monotonic()
        answer = lab.curl("--fail", "-x", pair.local.url(scheme), nginx.url("http", ""), folder=folder / scheme)
        return answer, time.monotonic() - start

    with side_by_side(ask, ("socks5h", "http")) as asked:
        (by_socks, socks_seconds), (by_http, http_seconds) = asked["socks5h"], asked["http"]
    lab.link.say("up")
    back = time.monotonic()
    talk = chats.finish()
    flows = min(at for at in talk.arrivals if at > back) - back
    slowest = max(socks_seconds, http_seconds)
    measured(
        "the exit cannot be reached",
        "who connects waits and gets an error of the proxy (SOCKS: general failure; HTTP: 503); what is open waits and goes on when it is back",
        f"the error comes after {slowest:.1f} s; {back - began:.0f} s after the beginning the exit is back, and data flows after {flows:.1f} s",
    )
    assert by_socks.code == PROXY_REFUSED
    assert (by_http.code, by_http.status) == (STATUS_OF_ERROR, 503)
    assert slowest <= ERROR_WITHIN * TOLERANCE
    assert talk.faults == []
