"""The DNS port of a local side in the mode home-direct: what is tunnelled is asked abroad, and nobody at home hears of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.machine import free_port, wait_until
from tests.lab.addresses import ABROAD, EXIT_PORT
from tests.lab.hosts import start_pair

if TYPE_CHECKING:
    from tests.e2e.machine import Program
    from tests.lab.hosts import Host, Lab

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

#: Of an app abroad, of nobody, of an app at home, and domestic by its ending. A word of each is what a capture looks for.
TUNNELLED = ("edge-whispered.facebook.com", "whispered.example")
DIRECT = ("www-spoken.weibo.com", "spoken.example.cn")
#: What the resolver of each host says of all four, so that the answer shows who was asked.
AT_HOME, FAR_AWAY = "192.0.2.1", "203.0.113.1"


def start_resolver(host: Host, address: str) -> Program:
    started = host.start_module("resolver", *(f"{name}={address}" for name in TUNNELLED + DIRECT))
    started.wait_for("ready")
    return started


def ask(lab: Lab, port: int, *names: str) -> list[str]:
    """Each name over UDP and TCP, by dnspython."""
    asking = lab.home.start_module("ask", str(port), *names)
    wait_until(lambda: not asking.alive, "the end of the questions")
    assert asking.lines("asked all"), asking.text()
    return [line for line in asking.text().splitlines() if " by " in line]


def test_what_is_asked_at_the_dns_port_goes_the_way_of_the_name(lab: Lab) -> None:
    lab.home.replace("/etc/resolv.conf", "nameserver 127.0.0.1\n")
    near, far = start_resolver(lab.home, AT_HOME), start_resolver(lab.abroad, FAR_AWAY)
    wire = lab.home.start_module("wire", "whispered", "spoken")
    wire.wait_for("ready")
    port = free_port()
    listen = f'\n[dns]\nlisten = "127.0.0.1:{port}"\nresolvers = ["127.0.0.1:53"]\n'  # as seen from the exit
    start_pair(lab, mode="home-direct", others=listen)

    answers = {name: address for names, address in ((TUNNELLED, FAR_AWAY), (DIRECT, AT_HOME)) for name in names}
    expected = [f"{name} by {word}: {address}" for name, address in answers.items() for word in ("udp", "tcp")]
    assert ask(lab, port, *answers) == expected
    assert set(far.lines("asked")) == {f"asked {name}" for name in TUNNELLED}
    assert set(near.lines("asked")) == {f"asked {name}" for name in DIRECT}

    outside = [line for line in wire.text().splitlines() if not line.startswith(("lo ", "ready"))]
    assert outside == [f"{outside[0].split()[0]} tcp {ABROAD}:{EXIT_PORT}"]
    assert "lo shows whispered" in wire.text()  # else a capture that sees nothing would do


def test_a_tunnelled_name_is_not_asked_at_home_while_there_is_no_tunnel(lab: Lab) -> None:
    lab.home.replace("/etc/resolv.conf", "nameserver 127.0.0.1\n")
    near = start_resolver(lab.home, AT_HOME)
    port = free_port()
    listen = f'\n[dns]\nlisten = "127.0.0.1:{port}"\nresolvers = ["127.0.0.1:53"]\n'
    pair = start_pair(lab, mode="home-direct", others=listen)
    pair.exit.program.stop()
    assert ask(lab, port, TUNNELLED[0], DIRECT[0]) == [
        *(f"{TUNNELLED[0]} by {word}: SERVFAIL" for word in ("udp", "tcp")),
        *(f"{DIRECT[0]} by {word}: {AT_HOME}" for word in ("udp", "tcp")),
    ]
    assert set(near.lines("asked")) == {f"asked {DIRECT[0]}"}
