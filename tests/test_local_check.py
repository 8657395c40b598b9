"""What is found on this computer: judged by plain values. `test_doctor.py` reads files and asks ports."""

from __future__ import annotations

import pytest

from proxy.address import Address
from proxy.api_client import Carrier
from proxy.finding import Kind
from proxy.local_check import (
    Talk,
    judge_around,
    judge_dns_port,
    judge_environment,
    judge_port,
    judge_speed,
    judge_tunnel,
)
from proxy.local_port import PortAnswer
from proxy.port_holder import Holder
from proxy.settings import Listen

LISTEN, PORT = Listen("127.0.0.1", 1080), Address("127.0.0.1", 1080)
NOBODY = PortAnswer(0, listens=False)


@pytest.mark.parametrize(
    ("holder", "answer", "kind", "mend"),
    [
        (None, NOBODY, Kind.NOTE, "ropeway run"),
        (None, PortAnswer(502, "no such name"), Kind.OK, ""),
        (Holder(7, "Ropeway"), PortAnswer(503, "the tunnel is down"), Kind.OK, ""),
        (Holder(7, "nginx"), PortAnswer(400), Kind.FAULT, "stop that program"),
        (None, PortAnswer(0), Kind.FAULT, "stop that program"),
        (Holder(), None, Kind.FAULT, "another `listen`"),
        (Holder(7, "Ropeway"), PortAnswer(407, "password"), Kind.FAULT, "with this configuration"),
    ],
)
def test_whose_the_port_is(holder: Holder | None, answer: PortAnswer | None, kind: Kind, mend: str) -> None:
    found = judge_port(LISTEN, holder, answer)
    assert (found.kind, mend in found.mend) == (kind, True)


MBIT = 125_000.0


@pytest.mark.parametrize(
    ("up", "down", "round_trips", "kind", "words"),
    [
        ([], [], [], Kind.OK, "too little"),
        ([1000.0], [2000.0], [80.0], Kind.OK, "too little"),
        ([MBIT, 0.0], [18.4 * MBIT, 0.0], [None, 80.0], Kind.OK, "up to 18.4 Mbit/s came in, and up to 1.0 Mbit/s went out"),
        ([0.0, 0.0], [2 * MBIT, 0.0], [98.0, 84.0], Kind.OK, "took 84 ms, and 98 ms under load"),
        ([0.0, 2 * MBIT], [0.0, 0.0], [84.0, 900.0], Kind.NOTE, "took 84 ms, and 900 ms under load"),
        ([0.0, 2 * MBIT], [0.0, 0.0], [1.0, 50.0], Kind.OK, "50 ms under load"),
    ],
)  # fmt: skip
def test_how_fast_it_has_been(
    up: list[float], down: list[float], round_trips: list[float | None], kind: Kind, words: str
) -> None:
    found = judge_speed(up, down, round_trips)
    assert (found.kind, words in found.what) == (kind, True)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (PortAnswer(502, "the destination's name does not exist"), Kind.OK),
        (PortAnswer(503, "the tunnel to the exit is down"), Kind.FAULT),
        (PortAnswer(403, "blocked on this computer"), Kind.NOTE),
        (PortAnswer(502, "cannot be resolved here, and the rules say direct"), Kind.NOTE),
        (PortAnswer(503, "a limit of the exit was reached"), Kind.NOTE),
    ],
)
def test_whether_there_is_a_tunnel(answer: PortAnswer | None, kind: Kind) -> None:
    assert judge_tunnel(answer, 0.1).kind is kind


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (Carrier(state="up", rtt_ms=84.4), Kind.OK, "took 84 ms"),
        (Carrier(state="up"), Kind.OK, "Ropeway is connected"),
        (Carrier(state="connecting"), Kind.FAULT, "not connected"),
        (Carrier(state="down"), Kind.FAULT, "not connected"),
    ],
)
@pytest.mark.parametrize("reason", ["blocked on this computer", "cannot be resolved here, and the rules say direct"])
def test_what_the_program_says_counts_where_the_rules_let_nobody_ask_the_exit(
    said: Carrier, kind: Kind, words: str, reason: str
) -> None:
    found = judge_tunnel(PortAnswer(502, reason) if "direct" in reason else PortAnswer(403, reason), 0.1, said)
    assert (found.kind, words in found.what) == (kind, True)


def test_a_port_that_does_not_answer_says_nothing_of_the_exit() -> None:
    found = judge_tunnel(None, 8.0)
    assert (found.kind, found.what) == (Kind.FAULT, "Ropeway listens, and has not answered within 8 s")
    assert "max_connections" in found.why


def test_what_an_app_is_told_counts_for_more_than_what_the_program_says() -> None:
    found = judge_tunnel(None, 8.0, Carrier(state="up"))
    assert (found.kind, "has not answered within 8 s" in found.what) == (Kind.FAULT, True)
    assert (
        judge_tunnel(PortAnswer(502, "the destination's name does not exist"), 0.1, Carrier(state="down")).kind
        is Kind.OK
    )


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("socks5h://127.0.0.1:1080", Kind.OK),
        ("http://localhost:1080/", Kind.OK),
        ("127.0.0.1:1080", Kind.OK),
        ("socks5://127.0.0.1:1080", Kind.FAULT),
        ("http://127.0.0.1:8080", Kind.NOTE),
        ("http://anna:secret@proxy.example:3128", Kind.NOTE),
        ("http://127.0.0.1:x", Kind.NOTE),
        ("", Kind.OK),
    ],
)
def test_the_variables_of_a_shell(value: str, kind: Kind) -> None:
    (found,) = judge_environment({"https_proxy": value, "PATH": "/bin"}, PORT)
    assert found.kind is kind
    assert "secret" not in str(found)


def test_the_dns_port() -> None:
    def kinds(listen: Listen | None, *servers: str, answers: bool = True, running: bool = True) -> list[Kind]:
        found = judge_dns_port(listen, answers=answers, nameservers=servers, running=running)
        return [finding.kind for finding in found]

    assert kinds(None) == []
    assert kinds(None, "192.168.1.1") == [Kind.OK]
    assert kinds(LISTEN, "127.0.0.1") == [Kind.OK]
    assert kinds(LISTEN, "192.168.1.1") == [Kind.NOTE]
    assert kinds(LISTEN, "127.0.0.1", answers=False) == [Kind.FAULT]
    assert kinds(LISTEN, "127.0.0.1", answers=False, running=False) == [Kind.OK]


def test_programs_that_go_around_are_named_and_not_where_they_go() -> None:
    talks = [Talk("firefox", Address("9.9.9.9", 443)), Talk("firefox", Address("9.9.9.10", 443))]
    home = Talk("wechat", Address("8.8.8.8", 443))
    (found,) = judge_around([*talks, home], lambda address: address.host == "8.8.8.8")
    assert (found.kind, "around it: firefox" in found.what, "9.9.9" in str(found)) == (Kind.NOTE, True, False)
    assert "wechat" not in found.what
    assert judge_around([home], lambda _: True) == []
