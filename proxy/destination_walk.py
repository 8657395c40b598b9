"""`ropeway test`: one destination, step by step, until it is known where it ends. Each step says how long it took."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import trio

from . import local_port, portal
from .certificate import Certificate
from .rule_terms import Network
from .rules import Kind
from .tls import TLSStream

if TYPE_CHECKING:
    from .address import Address
    from .local_port import PortAnswer
    from .protocol.socks import Credentials
    from .ruleset import Ruleset

# Our choices; seconds.
#: Longer than the exit's own limit for a connection (10 s) and than apps wait for a tunnel.
CONNECT_PATIENCE = 30.0
TLS_PATIENCE = 10.0
#: Servers that speak first (SSH, SMTP) do so within a second or two.
FIRST_BYTE_PATIENCE = 3.0
#: Where TLS begins at once: HTTPS, SMTP, IMAP, POP3, XMPP, MQTT, as IANA has given them out, and what is common besides.
TLS_PORTS = frozenset({443, 465, 853, 990, 993, 995, 5223, 5228, 5349, 8443, 8883})
_HTTP_PORT = 80


@dataclass(frozen=True, slots=True)
class Step:
    """`good`: it goes on after it. `seconds` is None where nothing had to be waited for."""

    name: str
    good: bool
    text: str
    seconds: float | None = None
    mend: str = ""

    def plain(self) -> dict[str, object]:
        """For JSON."""
        return {"step": self.name, "good": self.good, "text": self.text, "seconds": self.seconds, "mend": self.mend}


Tell: TypeAlias = Callable[[Step], None]

#: Where it ends, by what the port says; the first words that fit. Each with what to do.
_ENDS = (
    (
        "rules say direct",
        "direct",
        "the rules send it around the tunnel: `ropeway route` says which; a rule `tunnel` changes that",
    ),
    ("blocked on this computer", "rule", "one of your rules blocks it: `ropeway route` says which"),
    ("tunnel", "tunnel", "`ropeway doctor` says why"),
    ("non-public", "exit", "whoever runs the exit can allow private addresses there (`allow_private`)"),
    ("limit", "exit", "wait, or close some connections"),
    ("resolved", "name", "look whether it is spelt right: the exit's resolver does not know it"),
    ("refused", "connect", "nothing listens at that port there: look whether the port is right, and the service up"),
    ("in time", "connect", "the destination is down, or its firewall lets the exit's address not through"),
    ("route", "connect", "the exit's network does not lead there: it may have no IPv6, or the address is nobody's"),
    ("reached", "connect", "the destination is down or has no way from the exit"),
)


@dataclass(frozen=True)
class DestinationWalk:
    """Through the port of a Ropeway that runs, as apps go. `context` is for TLS with the destination."""

    port: Address
    credentials: Credentials | None
    ruleset: Ruleset
    context: Callable[[], ssl.SSLContext] = ssl.create_default_context

    async def run(self, address: Address, tell: Tell) -> bool:
        """Whether the destination answers. `tell` gets each step; raises nothing for what fails on the way."""
        decision = self.ruleset.decide(address, Network.TCP)
        rule = ", ".join(self.ruleset.explain(address, Network.TCP)[:2])
        if decision.route.kind is Kind.BLOCK:
            tell(
                Step(
                    "rule",
                    False,
                    rule,
                    mend="`ropeway route` shows the rule; take it out, or put another one before it",
                )
            )
            return False
        tell(Step("rule", True, rule))
        stream = await self._connect(address, tell)
        if stream is None:
            return False
        try:
            return await self._speak(stream, address, tell)
        finally:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)

    async def _connect(self, address: Address, tell: Tell) -> trio.SocketStream | None:
        began = trio.current_time()
        answer: PortAnswer | None = None
        with trio.move_on_after(CONNECT_PATIENCE):
            answer = await local_port.connect(self.port, self.credentials, address)
        took = trio.current_time() - began
        step = _port_step(answer, self.port, took)
        if step is not None:
            tell(step)
            return None
        assert answer is not None
        tell(Step("port", True, f"Ropeway answers at {self.port}"))
        if answer.stream is None:
            tell(_end_of(answer, took))
        else:
            # Where it connected some minutes ago the port says so at once, and the next step is the proof.
            tell(Step("connect", True, f"connected to {address}", took))
        return answer.stream

    async def _speak(self, stream: trio.SocketStream, address: Address, tell: Tell) -> bool:
        if address.port in TLS_PORTS:
            return await self._shake_hands(stream, address, tell)
        began = trio.current_time()
        data = b""
        try:
            if address.port == _HTTP_PORT:
                await stream.send_all(portal.request(str(address).removesuffix(f":{_HTTP_PORT}")))
            with trio.move_on_after(FIRST_BYTE_PATIENCE if address.port != _HTTP_PORT else TLS_PATIENCE) as waiting:
                data = bytes(await stream.receive_some(256))
        except trio.BrokenResourceError:
            mend = "the destination resets connections: it may block the exit's address, or expect another protocol"
            tell(Step("answer", False, "the connection was reset", trio.current_time() - began, mend))
            return False
        took = trio.current_time() - began
        if waiting.cancelled_caught:
            return self._silent(address, took, tell)
        if not data:
            tell(
                Step(
                    "answer",
                    False,
                    "the destination closed the connection without a word",
                    took,
                    "look at the service there",
                )
            )
            return False
        tell(Step("answer", True, f"the first bytes: {_first_line(data)}", took))
        return True

    def _silent(self, address: Address, took: float, tell: Tell) -> bool:
        if address.port == _HTTP_PORT:
            tell(Step("answer", False, "no answer to a request", took, "the destination takes connections and hangs"))
            return False
        tell(Step("answer", True, "connected, and it waits for the app to begin", took))
        return True

    async def _shake_hands(self, stream: trio.SocketStream, address: Address, tell: Tell) -> bool:
        began = trio.current_time()
        context = self.context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        tls = TLSStream(stream, context, server_side=False, server_name=address.host)
        failure, mend = (
            f"no TLS within {TLS_PATIENCE:.0f} s",
            "the destination takes connections and hangs, or does not speak TLS",
        )
        try:
            with trio.move_on_after(TLS_PATIENCE) as waiting:
                await tls.do_handshake()
            if not waiting.cancelled_caught:
                agreed = tls.alpn
                shown = _described(tls.peer_certificate)
                tell(
                    Step(
                        "tls",
                        True,
                        f"{tls.version}{agreed and ', ' + agreed}, a certificate {shown}",
                        trio.current_time() - began,
                    )
                )
                return True
        except ssl.SSLCertVerificationError as error:
            failure = f"its certificate is not good for this name: {error.verify_message}"
            mend = "look at this computer's clock (`ropeway doctor`); else the site's certificate is wrong, or somebody stands in between"
        except (ssl.SSLError, ValueError):
            failure, mend = "what answers does not speak TLS", "look whether the port is right"
        except trio.BrokenResourceError:
            failure, mend = (
                "the connection was reset",
                "the destination was never reached, or it blocks the exit's address",
            )
        with suppress(trio.BrokenResourceError):
            tell(Step("tls", False, failure, trio.current_time() - began, mend))
        return False


def _port_step(answer: PortAnswer | None, port: Address, took: float) -> Step | None:
    """Where it ends at the port already."""
    if answer is None:
        return Step(
            "tunnel", False, f"no answer within {CONNECT_PATIENCE:.0f} s", took, "`ropeway doctor` and the log say why"
        )
    if not answer.listens:
        return Step(
            "port", False, f"nothing listens at {port}", mend="start Ropeway: `ropeway run`, or `ropeway service start`"
        )
    if answer.status == 407:
        return Step(
            "port",
            False,
            f"{port} wants another user name and password",
            mend="start `ropeway run` with this configuration",
        )
    if not answer.is_ours:
        return Step(
            "port", False, f"what listens at {port} is not Ropeway", mend="`ropeway doctor` says which program it is"
        )
    return None


def _end_of(answer: PortAnswer, took: float) -> Step:
    for words, name, mend in _ENDS:
        if words in answer.text:
            return Step(name, False, answer.text, took, mend)
    return Step("connect", False, answer.text, took, "`ropeway doctor` says more")


def _described(der: bytes) -> str:
    try:
        return Certificate.read(der).described
    except ValueError:
        return "that cannot be read"


def _first_line(data: bytes) -> str:
    """Whatever it is, it fits on a line and harms no terminal."""
    text = data.splitlines()[0][:60].decode("ascii", "replace")
    return "".join(c if c.isprintable() else "." for c in text)
