"""The doctor against planted faults, with real sockets on loopback: each is found, and the right mend named."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
import ssl
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
import trustme

from proxy import certificate, clock, doctor, exit_check, exit_name, local_check
from proxy.address import Address
from proxy.address_book import AddressBook
from proxy.api_client import Carrier
from proxy.doctor import has_ipv6, port_of
from proxy.exit import Limits
from proxy.exit_name import Answers
from proxy.finding import Finding, Kind
from proxy.keys import UserKey, new_certificate
from proxy.local_check import Talk
from proxy.port_holder import Holder
from proxy.settings import Config, Listen
from proxy.share import Link
from tests.memory import identity
from tests.planted import (
    LOOPBACK,
    Planted,
    answering,
    exit_on_loopback,
    faults,
    hang,
    reset,
    say,
    the,
    tls_and_page,
    unused_port,
)

if TYPE_CHECKING:
    from tests.memory import Identity

HERE = ipaddress.ip_address(LOOPBACK)
KEY = UserKey.new()


@pytest.fixture
def planted(tmp_path: Path, server: Identity) -> Planted:
    link = Link(LOOPBACK, 1, KEY, server.pin, server_name="exit.example")
    return Planted(tmp_path / "config.toml", link)


def at(planted: Planted, port: int, **changes: object) -> Planted:
    """The link leads to that port."""
    planted.link = replace(planted.link, port=port, **changes)  # type: ignore[arg-type]
    planted.write()
    return planted


async def test_where_nothing_is_wrong_nothing_is_found(planted: Planted, server: Identity) -> None:
    async with exit_on_loopback(server, KEY) as port:
        findings = await at(planted, port).examine()
    assert faults(findings) == []
    kinds = {finding.check: finding.kind for finding in findings}
    for check in ("configuration", "rules", "connection", "certificate", "clock", "key", "round trip"):
        assert kinds[check] is Kind.OK, check
    assert "free" in the(findings, "port").what


async def test_the_session_that_proves_the_key_is_not_left_at_the_exit(planted: Planted, server: Identity) -> None:
    """Or a doctor that is asked often takes all places of the user."""
    async with exit_on_loopback(server, KEY, Limits(max_sessions=1)) as port:
        at(planted, port)
        for _ in range(3):
            assert faults(await planted.examine()) == []


# ---- on this computer


async def test_1_a_configuration_that_cannot_be_read(planted: Planted) -> None:
    planted.path.write_text("[local\n")
    (fault,) = await planted.examine()
    assert (fault.check, fault.kind) == ("configuration", Kind.FAULT)
    assert "line" in fault.what
    assert "editor" in fault.mend


async def test_2_nothing_was_set_up(planted: Planted) -> None:
    (fault,) = await planted.examine()
    assert "ropeway join" in fault.mend
    planted.path.write_text("[log]\n")
    planted.path.chmod(0o600)
    assert "ropeway join" in the(faults(await planted.examine()), "configuration").mend


async def test_3_keys_that_others_can_read(planted: Planted, server: Identity) -> None:
    async with exit_on_loopback(server, KEY) as port:
        at(planted, port)
        planted.path.chmod(0o644)
        findings = await planted.examine()
    assert any("chmod 600" in finding.mend for finding in findings)


async def test_4_a_list_that_is_missing(planted: Planted, server: Identity) -> None:
    async with exit_on_loopback(server, KEY) as port:
        planted.more = '[rules]\nrules = ["direct list:mine.txt"]\n'
        findings = await at(planted, port).examine()
    fault = the(findings, "rules")
    assert (fault.kind, "mine.txt" in fault.what, "path" in fault.mend) == (Kind.FAULT, True, True)


async def test_5_the_port_is_taken_by_another_program(planted: Planted, server: Identity) -> None:
    async with exit_on_loopback(server, KEY) as port, answering(partial(say, b"SSH-2.0-x\r\n")) as taken:
        planted.local = f'listen = "{LOOPBACK}:{taken}"'
        planted.holder = Holder(42, "sshd")
        findings = await at(planted, port).examine()
    fault = the(findings, "port")
    assert (fault.kind, "sshd (process 42)" in fault.what) == (Kind.FAULT, True)
    assert "stop that program" in fault.mend


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"502 Bad Gateway\n\nRopeway: the name does not exist\n", Kind.OK, "connected"),
        (b"503 Service Unavailable\n\nRopeway: the tunnel to the exit is down\n", Kind.FAULT, "not connected"),
    ],
)
async def test_6_it_runs_and_the_tunnel_is_down(
    planted: Planted, server: Identity, body: bytes, kind: Kind, words: str
) -> None:
    answer = b"HTTP/1.1 " + body[:3] + b" X\r\nConnection: close\r\n\r\n" + body
    async with exit_on_loopback(server, KEY) as port, answering(partial(say, answer)) as local:
        planted.local = f'listen = "{LOOPBACK}:{local}"'
        findings = await at(planted, port).examine()
    assert the(findings, "port").kind is Kind.OK
    found = the(findings, "tunnel")
    assert (found.kind, words in found.what) == (kind, True)


async def test_6_the_program_says_what_nobody_can_ask_the_exit(planted: Planted, server: Identity) -> None:
    answer = b"HTTP/1.1 403 X\r\nConnection: close\r\n\r\nRopeway: blocked on this computer\n"
    async with exit_on_loopback(server, KEY) as port, answering(partial(say, answer)) as local:
        planted.local = f'listen = "{LOOPBACK}:{local}"'
        planted.holder, planted.said = Holder(42, "Ropeway"), Carrier(state="up", rtt_ms=12.3)
        findings = await at(planted, port).examine()
    assert the(findings, "tunnel").what.endswith("a round trip to the exit took 12 ms")


async def test_6_a_tunnel_that_the_program_calls_down_is_not_waited_for(
    planted: Planted, server: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_PATIENCE", {"connecting": 0.05})
    async with exit_on_loopback(server, KEY) as port, answering(hang) as local:
        planted.local = f'listen = "{LOOPBACK}:{local}"'
        planted.holder, planted.said = Holder(42, ""), Carrier(state="connecting")
        with trio.fail_after(doctor.PORT_PATIENCE - 1):
            findings = await at(planted, port).examine()
    assert the(findings, "port").kind is Kind.OK
    assert "not connected" in the(findings, "tunnel").what


async def test_6_a_program_that_never_ends_its_answer_is_not_waited_for(
    planted: Planted, server: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "PORT_PATIENCE", 0.1)
    ends = threading.Event()

    def silent(_config: Config) -> None:
        ends.wait(30)

    def look(_config: Config) -> list[Finding]:
        ends.wait(30)
        return []

    async with exit_on_loopback(server, KEY) as port, answering(hang) as local:
        planted.local, planted.holder = f'listen = "{LOOPBACK}:{local}"', Holder(42, "Ropeway")
        around = replace(at(planted, port).around(), ask_program=silent, looks=[look])
        findings: list[Finding] = []
        with trio.fail_after(20):
            await doctor.examine(planted.path, None, findings.append, around)
    ends.set()
    assert "has not answered" in the(findings, "tunnel").what


async def test_6_another_program_is_not_asked_how_our_tunnel_does(planted: Planted, server: Identity) -> None:
    async with exit_on_loopback(server, KEY) as port, answering(partial(say, b"SSH-2.0-x\r\n")) as taken:
        planted.local = f'listen = "{LOOPBACK}:{taken}"'
        planted.holder, planted.said = Holder(42, "sshd"), Carrier(state="up")
        findings = await at(planted, port).examine()
    assert not [finding for finding in findings if finding.check == "tunnel"]


async def test_7_programs_that_look_names_up_themselves(planted: Planted, server: Identity) -> None:
    async with exit_on_loopback(server, KEY) as port:
        local = unused_port()
        planted.local = f'listen = "{LOOPBACK}:{local}"'
        planted.environ = {"ALL_PROXY": f"socks5://{LOOPBACK}:{local}"}
        fault = the(await at(planted, port).examine(), "shell")
        assert (fault.kind, f"export ALL_PROXY=socks5h://{LOOPBACK}:{local}" in fault.mend) == (Kind.FAULT, True)
        planted.environ = {"ALL_PROXY": f"socks5h://{LOOPBACK}:{local}"}
        assert the(await planted.examine(), "shell").kind is Kind.OK


@pytest.mark.parametrize(
    ("apart", "kind", "words"),
    [
        (dt.timedelta(seconds=-20), Kind.OK, "agrees"),
        (dt.timedelta(minutes=-5), Kind.NOTE, "5 minutes slow"),
        (dt.timedelta(hours=7), Kind.FAULT, "7 hours fast"),
        (-dt.timedelta(days=400), Kind.FAULT, "400 days slow"),
    ],
)
async def test_8_a_clock_that_is_wrong(
    planted: Planted, server: Identity, apart: dt.timedelta, kind: Kind, words: str
) -> None:
    planted.now = lambda: dt.datetime.now(dt.UTC) + apart
    async with exit_on_loopback(server, KEY) as port:
        findings = await at(planted, port).examine()
    found = [finding for finding in findings if finding.check == "clock"][-1]
    assert (found.kind, words in found.what) == (kind, True)
    assert kind is Kind.OK or "set the clock" in found.mend


# ---- names


async def test_9_a_name_that_does_not_resolve(planted: Planted, server: Identity) -> None:
    findings = await at(planted, 443, host="exit.example").examine()
    fault = the(findings, "name")
    assert (fault.kind, "cannot be resolved" in fault.what, "IP address" in fault.mend) == (Kind.FAULT, True, True)


@pytest.mark.parametrize(
    "lie",
    [
        Answers("exit.example", [HERE], rivals=[frozenset({HERE}), frozenset({ipaddress.ip_address("127.0.0.2")})]),
        Answers("exit.example", [HERE], nobody=[HERE]),
        Answers("exit.example", [ipaddress.ip_address("10.10.34.35")]),
        Answers("exit.example", [ipaddress.ip_address("203.0.113.1")]),
    ],
    ids=["two answers", "everything resolves to it", "private", "nobody's"],
)
async def test_10_a_lie_about_the_exits_name(planted: Planted, server: Identity, lie: Answers, tmp_path: Path) -> None:
    """The exit was found before, and is found there again; that does not make the lie true."""
    async with exit_on_loopback(server, KEY) as port:
        at(planted, port, host="exit.example")
        planted.names = {"exit.example": lie}
        planted.book = AddressBook(tmp_path / "addresses.json")
        planted.book.remember(server.pin, planted.link.address, [Address("8.8.8.8", port)])
        planted.connect = partial(_only_here, port)
        findings = await planted.examine()
    fault = the(findings, "name")
    assert (fault.kind, "lie" in fault.what) == (Kind.FAULT, True)
    assert "nameserver" in fault.mend
    assert the(findings, "key").kind is Kind.OK


async def _only_here(port: int, ip: object, _port: int) -> trio.SocketStream:
    """The remembered address is the exit's, and nobody answers at the others."""
    if str(ip) != "8.8.8.8":
        raise ConnectionRefusedError(111, "refused")
    return await trio.open_tcp_stream(LOOPBACK, port)


# ---- to the exit


async def test_11_the_exit_is_down(planted: Planted) -> None:
    findings = await at(planted, unused_port()).examine()
    (fault,) = faults(findings)
    assert (fault.check, "refuses" in fault.what, "ropeway exit run" in fault.mend) == ("connection", True, True)


async def test_12_the_port_is_blocked(planted: Planted) -> None:
    async def swallowed(_ip: object, _port: int) -> trio.SocketStream:
        await trio.sleep_forever()
        raise AssertionError

    planted.connect, planted.tcp_timeout = swallowed, 0.05
    findings = await at(planted, 443).examine()
    fault = the(findings, "connection")
    assert (fault.kind, "does not answer" in fault.what, "another port or address" in fault.mend) == (
        Kind.FAULT,
        True,
        True,
    )


async def test_no_network(planted: Planted) -> None:
    async def unreachable(_ip: object, _port: int) -> trio.SocketStream:
        await trio.lowlevel.checkpoint()
        raise OSError(101, "Network is unreachable")

    planted.connect = unreachable
    fault = the(await at(planted, 443).examine(), "connection")
    assert "connect to a network" in fault.mend


async def test_13_the_server_name_is_blocked(planted: Planted, server: Identity) -> None:
    """Whoever names it is cut right after the first message."""
    async with exit_on_loopback(server, KEY) as real:

        async def middlebox(stream: trio.SocketStream) -> None:
            hello = await stream.receive_some()
            if b"exit.example" in hello:
                stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                return
            onward = await trio.open_tcp_stream(LOOPBACK, real)
            async with onward, trio.open_nursery() as nursery:
                await onward.send_all(hello)
                nursery.start_soon(_copy, onward, stream)
                await _copy(stream, onward)
                nursery.cancel_scope.cancel()

        async with answering(middlebox) as port:
            findings = await at(planted, port).examine()
    (fault,) = faults(findings)
    assert (fault.check, "when they name exit.example" in fault.what) == ("tls", True)
    assert "another name" in fault.mend


async def _copy(source: trio.SocketStream, sink: trio.SocketStream) -> None:
    while data := await source.receive_some():
        await sink.send_all(data)


async def test_tls_is_cut_whatever_it_names(planted: Planted) -> None:
    async with answering(reset) as port:
        (fault,) = faults(await at(planted, port).examine())
    assert (fault.check, "right after the first message" in fault.what) == ("tls", True)
    assert "another network" in fault.mend


async def test_14_tls_is_swallowed(planted: Planted) -> None:
    planted.patience = 0.2
    async with answering(hang) as port:
        (fault,) = faults(await at(planted, port).examine())
    assert (fault.check, "does not finish" in fault.what) == ("tls", True)
    assert "start the exit again" in fault.mend


PORTAL = b"HTTP/1.1 302 Found\r\nLocation: http://login.hotel.example/?u=1\r\nConnection: close\r\n\r\n"


async def test_15_a_captive_portal(planted: Planted) -> None:
    """It answers whatever comes, on the exit's own port."""
    async with answering(partial(say, PORTAL)) as port:
        (fault,) = faults(await at(planted, port).examine())
    assert "login.hotel.example" in fault.what
    assert "log in" in fault.mend


async def test_a_captive_portal_that_rejects_tls(planted: Planted) -> None:
    """Only web pages without TLS are answered."""
    async with answering(partial(say, PORTAL)) as planted.portal_port:
        (fault,) = faults(await at(planted, unused_port()).examine())
    assert "login page" in fault.what


async def test_something_else_listens_there(planted: Planted) -> None:
    async with answering(partial(say, b"SSH-2.0-OpenSSH_9.6\r\n")) as port:
        (fault,) = faults(await at(planted, port).examine())
    assert "does not speak TLS" in fault.what


async def test_16_somebody_opens_tls_and_shows_certificates_of_his_own(planted: Planted) -> None:
    authority = trustme.CA(organization_name="Example Antivirus")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("exit.example").configure_cert(context)
    async with answering(partial(tls_and_page, context)) as port:
        (fault,) = faults(await at(planted, port).examine())
    assert (fault.check, "Example Antivirus" in fault.why) == ("certificate", True)
    assert "inspection of HTTPS" in fault.mend


async def test_17_the_exit_was_set_up_again(planted: Planted, tmp_path: Path) -> None:
    other = identity(tmp_path, *new_certificate("exit.example"))
    async with exit_on_loopback(other, KEY) as port:
        (fault,) = faults(await at(planted, port).examine())
    assert (fault.check, "set up again" in fault.why) == ("certificate", True)
    assert "new link" in fault.mend


async def test_another_device_with_a_certificate_of_its_own(planted: Planted, tmp_path: Path) -> None:
    other = identity(tmp_path, *new_certificate("router.example"))
    async with answering(partial(tls_and_page, other.context)) as port:
        (fault,) = faults(await at(planted, port).examine())
    assert (fault.check, "router.example" in fault.what) == ("certificate", True)
    assert "log in" in fault.mend


async def test_18_a_key_that_the_exit_does_not_know(
    planted: Planted, server: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same is seen of an exit that speaks another version of the protocol: both mends are named."""
    monkeypatch.setattr("proxy.greeting.WELCOME_TIMEOUT", 0.3)
    monkeypatch.setattr("proxy.greeting.WELCOME_ROUND_TRIPS", 0.0)
    async with exit_on_loopback(server, UserKey.new()) as port:
        findings = await at(planted, port).examine()
    (fault,) = faults(findings)
    assert (fault.check, the(findings, "certificate").kind) == ("key", Kind.OK)
    assert "new link" in fault.mend
    assert "ropeway --version" in fault.mend


async def test_19_a_certificate_that_the_roots_do_not_vouch_for(planted: Planted, server: Identity) -> None:
    async with exit_on_loopback(server, KEY) as port:
        fault = faults(await at(planted, port, roots=True).examine())[0]
        assert (fault.check, "not vouched for" in fault.what) == ("certificate", True)
        assert "renew the certificate" in fault.mend
        planted.now = lambda: dt.datetime.now(dt.UTC) + dt.timedelta(days=1000)
        fault = faults(await planted.examine())[0]
    assert (fault.check, "has expired" in fault.what, "set the clock" in fault.mend) == ("clock", True, True)


async def test_20_ipv6_leads_nowhere(planted: Planted, server: Identity) -> None:
    async with exit_on_loopback(server, KEY) as port:

        async def connect(ip: ipaddress.IPv4Address | ipaddress.IPv6Address, _port: int) -> trio.SocketStream:
            if ip.version == 6:
                raise OSError(113, "No route to host")
            return await trio.open_tcp_stream(LOOPBACK, port)

        planted.connect, planted.ipv6 = connect, True
        planted.names = {"exit.example": Answers("exit.example", [HERE, ipaddress.ip_address("2606:4700::1")])}
        findings = await at(planted, port, host="exit.example").examine()
        note = the(findings, "ipv6")
        assert (note.kind, "turn IPv6 off" in note.mend) == (Kind.NOTE, True)
        assert faults(findings) == []
        planted.ipv6 = False
        assert the(await planted.examine(), "ipv6").kind is Kind.OK


async def test_21_too_many_devices(planted: Planted, server: Identity) -> None:
    async with exit_on_loopback(server, KEY, Limits(max_sessions=0)) as port:
        fault = the(await at(planted, port).examine(), "key")
    assert (fault.kind, "link of its own" in fault.mend) == (Kind.FAULT, True)


async def test_22_the_dns_port_is_on_and_nobody_asks_it(planted: Planted, server: Identity) -> None:
    async with exit_on_loopback(server, KEY) as port:
        planted.more = f'[dns]\nlisten = "{LOOPBACK}:{unused_port()}"\n'
        planted.nameservers = [Address("192.168.1.1", 53)]
        note = the(await at(planted, port).examine(), "dns")
    assert (note.kind, "192.168.1.1" in note.what, "in the clear" in note.why) == (Kind.NOTE, True, True)


async def test_of_several_exits_each_is_named(planted: Planted, server: Identity, tmp_path: Path) -> None:
    async with exit_on_loopback(server, KEY) as port:
        at(planted, port)
        other = replace(planted.link, port=unused_port(), pin=bytes(32))
        planted.more = f'exits = ["{other}"]\n'
        planted.write()
        findings = await planted.examine()
    (fault,) = faults(findings)
    assert str(other.address) in fault.what


def test_where_apps_connect(planted: Planted) -> None:
    from proxy.config import parse

    local = parse({}, planted.path).local
    assert port_of(local) == (Address(LOOPBACK, 1080), None)
    assert port_of(replace(local, listen=Listen("::", 1081))) == (Address("::1", 1081), None)
    assert port_of(replace(local, listen=Listen(LOOPBACK, 0))) is None
    assert isinstance(has_ipv6(), bool)
    assert Talk("x", Address(LOOPBACK, 1)) == Talk("x", Address(LOOPBACK, 1))


def test_the_document_names_every_check() -> None:
    text = (Path(__file__).parent.parent / "docs" / "doctor.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| ([a-z0-9, ]+) \| ", text, re.MULTILINE)
    named = {name for cell in cells for name in cell.split(", ")} - {"check"}
    modules = (certificate, clock, exit_check, exit_name, local_check)
    constants = [
        value
        for module in modules
        for name, value in vars(module).items()
        if name.isupper() and name[0] != "_" and name != "NOBODY"
    ]
    assert named == {value for value in constants if isinstance(value, str)}
    for span, words in ((clock.NOTED, "a minute"), (clock.WRONG, "ten minutes")):
        assert (span.total_seconds() / 60, words in text) in ((1, True), (10, True))
    assert f"{exit_check.SLOW * 1000:.0f} ms" in text
