"""What is found on the way to one exit, in words: its name, TCP by both families, TLS, certificate, clock, key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import trio

from . import clock, greeting
from .certificate import CHECK as CERTIFICATE
from .certificate import Certificate, judge_other
from .exit_name import Answers, judge_name
from .exit_walk import Blocked, ExitWalk, Greeted, Shaken
from .finding import Finding, Text
from .keys import pin_of
from .portal import read_date_field, read_plain

if TYPE_CHECKING:
    import datetime as dt

    from .address import Address, IPAddress

#: Finds out about one name. Raises nothing.
AskName: TypeAlias = Callable[[str], Awaitable[Answers]]

TCP, TLS, KEY, SPEED, IPV6 = "connection", "tls", "key", "round trip", "ipv6"

_SERVER_MEND = Text(
    "at the exit: `systemctl status ropeway-exit` says whether it runs, and `journalctl -u ropeway-exit` why not; start it with `ropeway exit run`"
)
_OTHER_WAY = Text(
    "try another network (a phone's) to see whether it is this one; if so, ask whoever runs the exit for another port or address "
    "(`addresses` in the exit's configuration), and `ropeway join` the new link"
)
#: From here on people notice it in chats; seconds. Our choice.
SLOW = 0.4


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the exit may be, and what came of connecting there."""

    ip: IPAddress
    port: int
    outcome: tuple[trio.SocketStream, float] | Blocked

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if self.ip.version == 6 else f"{self.ip}:{self.port}"


@dataclass(frozen=True)
class ExitCheck:
    """`remembered` says at which numeric addresses the exit was found under each address of its link; `has_ipv6`: this computer has a way out by it."""

    walk: ExitWalk
    ask_name: AskName
    now: Callable[[], dt.datetime]
    remembered: Callable[[Address], Sequence[IPAddress]] = lambda _: ()
    has_ipv6: bool = False

    async def run(self) -> list[Finding]:
        """Never longer than some tens of seconds. Nothing stays open."""
        findings: list[Finding] = []
        places: dict[tuple[IPAddress, int], None] = {}
        for address in self.walk.link.addresses:
            places |= dict.fromkeys((ip, address.port) for ip in await self._resolve(address, findings))
        if not places:
            return findings
        reached: list[_Place] = []

        async def connect(ip: IPAddress, port: int) -> None:
            reached.append(_Place(ip, port, await self.walk.open(ip, port)))

        async with trio.open_nursery() as nursery:
            for ip, port in places:
                nursery.start_soon(connect, ip, port)
        try:
            return findings + await self._judge_places(reached)
        finally:
            for place in reached:
                if not isinstance(place.outcome, Blocked):
                    with trio.CancelScope(shield=True):
                        await trio.aclose_forcefully(place.outcome[0])

    async def _resolve(self, address: Address, findings: list[Finding]) -> list[IPAddress]:
        if address.ip is not None:
            return [address.ip]
        remembered = self.remembered(address)
        answers = await self.ask_name(address.host)
        findings.append(judge_name(answers, remembered))
        return [*answers.found, *remembered]

    async def _judge_places(self, places: Sequence[_Place]) -> list[Finding]:
        open_ones = [place for place in places if not isinstance(place.outcome, Blocked)]
        if not open_ones:
            return [await self._judge_blocked(places)]
        findings = [Finding.ok(TCP, Text("{places} answers", places=", ".join(map(str, open_ones))))]
        findings += _judge_ipv6(places, has_ipv6=self.has_ipv6)
        failures: list[Finding] = []
        for place in sorted(open_ones, key=_round_trip):
            found, met = await self._judge_tls(place)
            if met:
                return findings + found
            failures += found
        return findings + failures[:1]

    async def _judge_blocked(self, places: Sequence[_Place]) -> Finding:
        where = ", ".join(map(str, places))
        outcomes = [place.outcome for place in places if isinstance(place.outcome, Blocked)]
        for place in places:
            if portal := await self._portal(place, self.walk.portal_port):
                return portal
        if any(outcome.refused for outcome in outcomes):
            why = Text(
                "that computer is there, and nothing listens at this port: the exit does not run, or a firewall rejects the port"
            )
            return Finding.fault(TCP, Text("{places} refuses connections", places=where), why, _SERVER_MEND)
        if any(outcome.silent for outcome in outcomes):
            why = Text(
                "the exit's computer is off, its firewall drops this port, or the address or port is blocked on the way"
            )
            mend = Text("look whether the exit is on and lets this port through; {mend}", mend=_OTHER_WAY)
            return Finding.fault(TCP, Text("{places} does not answer", places=where), why, mend)
        why = Text(
            "this computer has no way to that address: no network, or a VPN or firewall of this computer in between"
        )
        mend = Text("connect to a network; turn off other VPNs, and try again")
        return Finding.fault(TCP, Text("{places} cannot be reached", places=where), why, mend)

    async def _portal(self, place: _Place, port: int) -> Finding | None:
        """Where a login page stands in the way, known by what plain HTTP is answered."""
        answer = await self.walk.ask_plainly(place.ip, port)
        if answer is None or not answer.is_portal(self.walk.link.host):
            return None
        return _portal_found(answer.leads_to)

    # ---- TLS, and what is inside

    async def _judge_tls(self, place: _Place) -> tuple[list[Finding], bool]:
        """And whether it is the exit."""
        assert not isinstance(place.outcome, Blocked)
        link, (transport, round_trip) = self.walk.link, place.outcome
        server_name = link.sni or (link.host if link.roots else "")
        shaken = await self.walk.shake_hands(transport, server_name, roots=link.roots)
        if shaken.stream is None:
            return [await self._judge_failure(place, shaken, server_name)], False
        certificate = Certificate.read(shaken.certificate)
        what = Text("TLS 1.3 with the certificate of the link ({certificate})", certificate=certificate.described)
        findings = [Finding.ok(CERTIFICATE, what)]
        greeted = await self.walk.greet(shaken.stream, round_trip)
        head = await self._visit(place, server_name)
        date = clock.read_date(read_date_field(head))
        findings.append(clock.judge_clock(self.now(), date))
        findings.append(_judge_key(greeted, website=read_plain(head) is not None))
        if not greeted.complaint:
            findings.append(_judge_speed(round_trip, greeted.round_trip))
        return findings, True

    async def _visit(self, place: _Place, server_name: str) -> bytes:
        """What a visitor is told, over a connection of its own."""
        opened = await self.walk.open(place.ip, place.port)
        if isinstance(opened, Blocked):
            return b""
        shaken = await self.walk.shake_hands(opened[0], server_name, roots=self.walk.link.roots)
        return b"" if shaken.stream is None else await self.walk.visit(shaken.stream)

    async def _judge_failure(self, place: _Place, shaken: Shaken, server_name: str) -> Finding:
        nothing_came = (shaken.cut or shaken.silent) and not shaken.first
        blocked = await self._judge_server_name(place, server_name) if nothing_came and server_name else None
        known = blocked or await self._portal(place, place.port) or await self._portal(place, self.walk.portal_port)
        if known is not None:
            return known
        if shaken.complaint:
            return await self._judge_complaint(place, shaken.complaint, server_name)
        if shaken.certificate:
            return self._judge_certificate(shaken)
        if shaken.first and not shaken.first.startswith((b"\x16\x03", b"\x15\x03")):
            why = Text("another program listens there, or a device on the way answers in the exit's place")
            return Finding.fault(
                TLS, Text("what answers at {place} does not speak TLS", place=place), why, _SERVER_MEND
            )
        return _judge_handshake(place, shaken)

    def _judge_certificate(self, shaken: Shaken) -> Finding:
        try:
            if pin_of(shaken.certificate) == self.walk.link.pin:
                why = Text(
                    "it speaks {version}, and Ropeway takes TLS 1.3 only: something stands before the exit",
                    version=shaken.version,
                )
                return Finding.fault(TLS, Text("the exit speaks an older TLS than 1.3"), why, _SERVER_MEND)
            return judge_other(Certificate.read(shaken.certificate), self.walk.link)
        except ValueError:
            what = Text("what answers shows a certificate that cannot be read")
            why = Text("somebody may stand in between, and nothing was sent to it")
            return Finding.fault(CERTIFICATE, what, why, _OTHER_WAY)

    async def _judge_complaint(self, place: _Place, complaint: str, server_name: str) -> Finding:
        """The system's roots do not vouch for what was shown: why, is seen without asking them."""
        opened = await self.walk.open(place.ip, place.port)
        again = (
            Shaken()
            if isinstance(opened, Blocked)
            else await self.walk.shake_hands(opened[0], server_name, roots=False)
        )
        if again.stream is None:
            return self._judge_certificate(again) if again.certificate else _judge_handshake(place, again)
        await trio.aclose_forcefully(again.stream)
        shown = Certificate.read(again.certificate)
        wrong_time = clock.judge_validity(self.now(), shown.begin, shown.end)
        if wrong_time is not None:
            return wrong_time
        what = Text("the exit's certificate is not vouched for: {complaint}", complaint=complaint)
        why = Text("it is the exit's own, and the link demands besides that this system's roots vouch for it")
        mend = Text("renew the certificate at the exit with its whole chain, or update this computer's certificates")
        return Finding.fault(CERTIFICATE, what, why, mend)

    async def _judge_server_name(self, place: _Place, server_name: str) -> Finding | None:
        """Whether it is the name in the first message that is not let through: without one, somebody answers."""
        opened = await self.walk.open(place.ip, place.port)
        if isinstance(opened, Blocked):
            return None
        again = await self.walk.shake_hands(opened[0], "", roots=False)
        if again.stream is not None:
            await trio.aclose_forcefully(again.stream)
        if not again.first:
            return None
        what = Text(
            "connections to {place} are cut when they name {name}, and go through without a name",
            place=place,
            name=server_name,
        )
        why = Text("somebody on the way reads the name in the first message of TLS and blocks it")
        mend = Text(
            "ask whoever runs the exit for a link with another name (`server_name` in the exit's configuration), and `ropeway join` it"
        )
        return Finding.fault(TLS, what, why, mend)


def _round_trip(place: _Place) -> float:
    return 0.0 if isinstance(place.outcome, Blocked) else place.outcome[1]


def _portal_found(leads_to: str) -> Finding:
    what = Text("a login page of this network answers in the exit's place")
    if leads_to:
        what = Text("{what}, and sends browsers to {host}", what=what, host=leads_to)
    why = Text(
        "networks of hotels, trains and airports let nothing through until somebody has logged in or agreed to their terms"
    )
    mend = Text(
        "open any http:// page in a browser (http://neverssl.com), log in there, and Ropeway connects by itself"
    )
    return Finding.fault(TCP, what, why, mend)


def _judge_handshake(place: _Place, shaken: Shaken) -> Finding:
    if shaken.silent:
        what = Text("what listens at {place} does not finish the TLS handshake", place=place)
        why = Text("TCP connects, and then nothing comes back: somebody on the way swallows TLS, or the exit hangs")
        return Finding.fault(TLS, what, why, Text("{mend}; else start the exit again", mend=_OTHER_WAY))
    if shaken.cut and not shaken.first:
        what = Text("{place} closes connections right after the first message of TLS", place=place)
        why = Text("somebody on the way cuts TLS to this address, or what listens there is no TLS server")
        return Finding.fault(TLS, what, why, Text("{mend}; else look what listens there", mend=_OTHER_WAY))
    why = Text("no Ropeway exit listens there, or somebody cuts the connection")
    return Finding.fault(TLS, Text("the TLS handshake with {place} failed", place=place), why, _SERVER_MEND)


def _judge_ipv6(places: Sequence[_Place], *, has_ipv6: bool) -> list[Finding]:
    blocked = [place for place in places if place.ip.version == 6 and isinstance(place.outcome, Blocked)]
    if not any(place.ip.version == 6 for place in places):
        return []
    if not blocked:
        return [Finding.ok(IPV6, Text("the exit is reached by IPv6"))]
    if not has_ipv6:
        return [Finding.ok(IPV6, Text("this network has no IPv6, and the exit is reached by IPv4"))]
    what = Text("{places} is not reached by IPv6, while IPv4 works", places=", ".join(map(str, blocked)))
    why = Text(
        "this computer believes that it has IPv6, and it leads nowhere; Ropeway takes IPv4, and other programs may wait for seconds"
    )
    mend = Text(
        "start the router again or turn IPv6 off in the network's settings; or the exit's AAAA record or firewall is wrong"
    )
    return [Finding.note(IPV6, what, why, mend)]


def _judge_key(greeted: Greeted, *, website: bool) -> Finding:
    if not greeted.complaint:
        return Finding.ok(KEY, Text("the exit accepts the key, and speaks this version of the protocol"))
    if greeted.complaint == greeting.TOO_MANY:
        what = Text("the exit takes no more sessions of this user")
        why = Text(
            "as many devices use the same link as may: where this computer is connected, no other can be any more"
        )
        mend = Text(
            "give each device a link of its own (`ropeway exit user add` at the exit), or wait ten minutes until old sessions are gone"
        )
        return Finding.fault(KEY, what, why, mend)
    if greeted.complaint in (greeting.UNKNOWN_KEY, greeting.NO_WELCOME) and website:
        why = Text(
            "it shows its website to whoever it does not know: this user was removed, or the exit runs another version that speaks another protocol"
        )
        mend = Text(
            "ask whoever runs the exit for a new link (`ropeway exit user list` and `ropeway exit link` there), and `ropeway join` it; "
            "if the user is in the list, compare `ropeway --version` on both sides and update the older one"
        )
        return Finding.fault(KEY, Text("the exit does not accept this key"), why, mend)
    what, why = Text("the exit does not answer the greeting"), Text("{complaint}", complaint=greeted.complaint)
    return Finding.fault(KEY, what, why, _OTHER_WAY)


def _judge_speed(tcp: float, greeted: float) -> Finding:
    text = Text(
        "{tcp} ms for TCP, {greeted} ms for the exit to answer",
        tcp=f"{tcp * 1000:.0f}",
        greeted=f"{greeted * 1000:.0f}",
    )
    if tcp < SLOW:
        return Finding.ok(SPEED, text)
    why = Text("the exit is far away or the network is bad: chats work, pages take their time")
    return Finding.note(SPEED, text, why, Text("an exit that is nearer, or another network, is faster"))
