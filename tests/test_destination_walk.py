"""One destination, step by step: where it ends, for each place where it can."""

from __future__ import annotations

import ssl
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
import trustme

from proxy.address import Address
from proxy.destination_walk import DestinationWalk, Step
from proxy.errors import REASON_TEXT, Reason
from proxy.protocol import fault_answer, http_proxy
from proxy.rules import RuleSettings
from proxy.ruleset import Ruleset
from tests.planted import LOOPBACK, answering, say, unused_port

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.rule_terms import Term
    from proxy.rules import ListFile

SITE = Address("site.example", 443)


def no_lists(_: ListFile) -> Term:
    raise AssertionError


def rules(*lines: str) -> Ruleset:
    settings = RuleSettings.parse(lines, "all", "CN", "tunnel", folder=Path())
    return Ruleset(settings, presets={}, read_list=no_lists)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(organization_name="Example CA")


async def walk(
    port: int, address: Address = SITE, *lines: str, authority: trustme.CA | None = None
) -> tuple[bool, Sequence[Step]]:
    def context() -> ssl.SSLContext:
        made = ssl.create_default_context()
        if authority is not None:
            authority.configure_trust(made)
        return made

    steps: list[Step] = []
    made = DestinationWalk(Address(LOOPBACK, port), None, rules(*lines), context)
    with trio.fail_after(30):
        good = await made.run(address, steps.append)
    assert good is steps[-1].good
    assert all(step.good for step in steps[:-1])
    assert good or steps[-1].mend
    return good, steps


async def test_a_rule_that_blocks_it() -> None:
    good, steps = await walk(unused_port(), SITE, "block suffix:site.example")
    assert (good, [step.name for step in steps], "rule 1" in steps[0].text) == (False, ["rule"], True)


async def test_nothing_runs() -> None:
    _, steps = await walk(unused_port())
    assert (steps[-1].name, "ropeway run" in steps[-1].mend) == ("port", True)


@pytest.mark.parametrize("said", [b"SSH-2.0-x\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\nnginx"])
async def test_another_program_has_the_port(said: bytes) -> None:
    async with answering(partial(say, said)) as port:
        _, steps = await walk(port)
    assert (steps[-1].name, "not Ropeway" in steps[-1].text) == ("port", True)


async def test_it_wants_a_password() -> None:
    async with answering(partial(say, fault_answer.error_answer(407, "x"))) as port:
        _, steps = await walk(port)
    assert (steps[-1].name, "password" in steps[-1].text) == ("port", True)


@pytest.mark.parametrize(
    ("reason", "text", "ends"),
    [
        (Reason.TUNNEL_DOWN, "", "tunnel"),
        (Reason.FORBIDDEN, "", "exit"),
        (Reason.BUSY, "", "exit"),
        (Reason.NAME_NOT_FOUND, "", "name"),
        (Reason.REFUSED, "", "connect"),
        (Reason.TIMED_OUT, "", "connect"),
        (Reason.HOST_UNREACHABLE, "", "connect"),
        (Reason.NETWORK_UNREACHABLE, "", "connect"),
        (Reason.FAILED, "", "connect"),
        (Reason.FORBIDDEN, "rule 3: block x: blocked on this computer", "rule"),
        (Reason.NAME_NOT_FOUND, "cannot be resolved here, and the rules say direct", "direct"),
    ],
)
async def test_where_it_ends(reason: Reason, text: str, ends: str) -> None:
    text = text or REASON_TEXT[reason]
    answer = fault_answer.error_answer(http_proxy.STATUS[reason], text)
    async with answering(partial(say, answer)) as port:
        _, steps = await walk(port)
    assert [step.name for step in steps] == ["rule", "port", ends]
    assert steps[-1].text == text


async def _connected_to(context: ssl.SSLContext, stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await stream.send_all(http_proxy.CONNECTED)
    secure = trio.SSLStream(stream, context, server_side=True)
    await secure.do_handshake()
    await secure.receive_some()


async def test_tls_with_the_destination(authority: trustme.CA) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2"])
    authority.issue_cert("site.example").configure_cert(context)
    async with answering(partial(_connected_to, context)) as port:
        good, steps = await walk(port, authority=authority)
        assert (good, [step.name for step in steps]) == (True, ["rule", "port", "connect", "tls"])
        assert "TLSv1.3, h2" in steps[-1].text
        assert "site.example, signed by Example CA" in steps[-1].text
        assert all(step.seconds is not None for step in steps[2:])
    async with answering(partial(_connected_to, context)) as port:
        good, steps = await walk(port)
        assert (good, steps[-1].name, "certificate is not good" in steps[-1].text) == (False, "tls", True)


@pytest.mark.parametrize(
    ("port", "said", "good", "text"),
    [
        (22, b"SSH-2.0-OpenSSH_9.6\r\nmore", True, "SSH-2.0-OpenSSH_9.6"),
        (80, b"HTTP/1.1 200 OK\r\n\r\n", True, "HTTP/1.1 200 OK"),
        (22, b"\x1b[2Jx", True, ".[2Jx"),
        (22, b"", False, "without a word"),
        (443, b"SSH-2.0-OpenSSH_9.6\r\n", False, "does not speak TLS"),
    ],
)
async def test_the_first_bytes(port: int, said: bytes, good: bool, text: str) -> None:
    async with answering(partial(say, http_proxy.CONNECTED + said)) as local:
        found, steps = await walk(local, Address("site.example", port))
    assert (found, text in steps[-1].text) == (good, True)


@pytest.mark.parametrize(("port", "good", "name"), [(5222, True, "answer"), (80, False, "answer"), (443, False, "tls")])
async def test_a_destination_that_says_nothing(
    port: int, good: bool, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.destination_walk.FIRST_BYTE_PATIENCE", 0.05)
    monkeypatch.setattr("proxy.destination_walk.TLS_PATIENCE", 0.05)

    async def silent(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(http_proxy.CONNECTED)
        while await stream.receive_some():
            pass

    async with answering(silent) as local:
        found, steps = await walk(local, Address("site.example", port))
    assert (found, steps[-1].name) == (good, name)


async def test_a_tunnel_that_is_waited_for_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.destination_walk.CONNECT_PATIENCE", 0.05)

    async def waits(stream: trio.SocketStream) -> None:
        while await stream.receive_some():
            pass

    async with answering(waits) as local:
        _, steps = await walk(local)
    assert (steps[-1].name, "ropeway doctor" in steps[-1].mend) == ("tunnel", True)


def test_as_programs_read_it() -> None:
    assert Step("tls", True, "x", 0.5).plain() == {"step": "tls", "good": True, "text": "x", "seconds": 0.5, "mend": ""}
