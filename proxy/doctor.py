"""`ropeway doctor`: looks at everything in turn, from this computer to the exit, and tells each finding as soon as it has it."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import trio

from . import clock, local_check, local_port
from .address import Address
from .dialer import source_towards
from .exit_check import ExitCheck
from .exit_lookup import ExitLookup
from .exit_name import NOBODY
from .exit_walk import ExitWalk
from .finding import Finding, Text
from .finding import Kind as Severity
from .nameservers import system_nameservers
from .port_holder import holder_of
from .rule_terms import Network
from .rules import Kind
from .talks import read_talks

if TYPE_CHECKING:
    from pathlib import Path

    from .address import IPAddress
    from .address_book import AddressBook
    from .api_client import Carrier
    from .exit_check import AskName
    from .local_check import Loaded, Talk
    from .nameservers import ReadNameservers
    from .port_holder import Holder
    from .protocol.socks import Credentials
    from .ruleset import Ruleset
    from .settings import Config, Listen, LocalSettings
    from .share import Link

_T = TypeVar("_T")
Tell: TypeAlias = Callable[[Finding], None]
#: What else is to be looked at on this system: the service, the system's proxy. Raises nothing.
Look: TypeAlias = Callable[["Config"], Sequence[Finding]]

#: How long a port that is connected takes to say so; our choice, in seconds: the exit's resolver may be slow, and a tunnel that is down makes
#: apps wait for longer.
PORT_PATIENCE = 8.0
#: The same where the program that runs says that it is not connected; our choice, in seconds: a connection to the exit that can be made at all is
#: mostly there by then, and being asked it tries at once.
_PATIENCE = {"down": 2.0, "connecting": 4.0}
#: A name that exists for sure, so that the DNS port has something to find (RFC 2606).
_SOMEBODY = "example.com"

#: An address that is public and never asked: only the way to it is looked up.
_ELSEWHERE = ipaddress.ip_address("2001:4860::1")


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def has_ipv6() -> bool:
    """Whether this computer has a way out by IPv6. Nothing is sent."""
    source = source_towards(_ELSEWHERE)
    return source is not None and not source.is_link_local and not source.is_loopback


async def dns_port_answers(listen: Listen) -> bool:
    """Whether names can be asked for there."""
    import dns.message
    import dns.rdatatype

    query = dns.message.make_query(_SOMEBODY, dns.rdatatype.A)
    family = trio.socket.AF_INET6 if ":" in listen.host else trio.socket.AF_INET
    with trio.socket.socket(family, trio.socket.SOCK_DGRAM) as sock, trio.move_on_after(PORT_PATIENCE):
        try:
            await sock.connect((listen.host, listen.port))
            await sock.send(query.to_wire())
            await sock.recv(4096)
        except OSError:
            return False
        return True
    return False


@dataclass(frozen=True)
class Surroundings:
    """What the doctor sees of the world; tests put theirs in its place."""

    now: Callable[[], dt.datetime] = _now
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    holder: Callable[[Listen], Holder | None] = holder_of
    ask_name: AskName = field(default_factory=ExitLookup)
    new_walk: Callable[[Link], ExitWalk] = ExitWalk
    nameservers: ReadNameservers = system_nameservers
    talks: Callable[[], Sequence[Talk]] = read_talks
    has_ipv6: Callable[[], bool] = has_ipv6
    dns_port_answers: Callable[[Listen], Awaitable[bool]] = dns_port_answers
    #: What a program of ours that runs says of its tunnel; None where none does, or it has no exit yet. Raises nothing.
    ask_program: Callable[[Config], Carrier | None] = lambda _config: None
    looks: Sequence[Look] = ()


async def examine(path: Path, book: AddressBook | None, tell: Tell, around: Surroundings | None = None) -> None:
    """`tell` gets each finding; `book` is where exits were found before. Raises nothing for what is wrong: that is a finding."""
    around = around or Surroundings()
    loaded = await trio.to_thread.run_sync(local_check.check_configuration, path)
    for finding in loaded.findings:
        tell(finding)
    now = around.now()
    if now < clock.WRITTEN:  # whatever comes later: certificates fail by it
        tell(clock.judge_alone(now))
    if loaded.config is None:
        return
    running = await look_at_port(loaded.config, tell, around)
    several = len(loaded.config.local.exits) > 1
    for chosen in loaded.config.local.exits:
        for finding in await _check_exit(chosen.link, book, around):
            tell(_named(finding, str(chosen.link.address)) if several else finding)
    await _check_apps(loaded, around, tell, running=running)


def _named(finding: Finding, exit_name: str) -> Finding:
    if exit_name in finding.what:
        return finding
    return replace(finding, what=Text("{exit}: {what}", exit=exit_name, what=finding.what))


# ---- the port


def port_of(settings: LocalSettings) -> tuple[Address, Credentials | None] | None:
    """Where apps connect on this computer, and what they have to say; None where it is another port each time."""
    here = settings.listen.here
    return (here, settings.credentials) if here is not None else None


async def look_at_port(config: Config, tell: Tell, around: Surroundings | None = None) -> bool:
    """Whether Ropeway runs; and what else there is to be looked at on this system."""
    around = around or Surroundings()
    for look in around.looks:
        for finding in await _in_time(look, config) or ():
            tell(finding)
    return await _check_port(config, around, tell)


def is_connected(findings: Iterable[Finding]) -> bool:
    """By what `look_at_port` told."""
    return any(finding.check == local_check.TUNNEL and finding.kind is Severity.OK for finding in findings)


async def _check_port(config: Config, around: Surroundings, tell: Tell) -> bool:
    settings = config.local
    place = port_of(settings)
    if place is None:
        text = Text("it is another one each time that Ropeway starts, so it was not looked at")
        why, mend = Text("apps cannot be set to it"), Text('set `listen = "127.0.0.1:1080"` in [local]')
        tell(Finding.note(local_check.PORT, text, why, mend))
        return False
    holder = await trio.to_thread.run_sync(around.holder, settings.listen)
    ours = holder is not None and holder.name in ("Ropeway", "")
    said = await _in_time(around.ask_program, config) if ours else None
    patience = _PATIENCE.get(said.state, PORT_PATIENCE) if said is not None else PORT_PATIENCE
    answer, seconds = await ask_tunnel(*place, patience=patience)
    waits = answer is None and (said is not None or (holder is not None and holder.name == "Ropeway"))
    if waits:
        tell(Finding.ok(local_check.PORT, Text("Ropeway listens on {place}", place=settings.listen)))
    else:
        tell(local_check.judge_port(settings.listen, holder, answer))
    if waits or (answer is not None and answer.is_ours):
        tell(local_check.judge_tunnel(answer, seconds, said))
        return True
    return False


async def _in_time(ask: Callable[[Config], _T], config: Config) -> _T | None:
    """What it finds; None where that takes too long, as programs of others may be asked, which need not end."""
    with trio.move_on_after(PORT_PATIENCE):
        return await trio.to_thread.run_sync(ask, config, abandon_on_cancel=True)
    return None


async def ask_tunnel(
    port: Address, credentials: Credentials | None, *, patience: float
) -> tuple[local_port.PortAnswer | None, float]:
    """What the port says to a connection to a name that nobody has, and after how many seconds; None where it says nothing for as long as that.

    The exit says that there is no such name, and so that there is a tunnel. Nobody else is asked.
    """
    began = trio.current_time()
    answer: local_port.PortAnswer | None = None
    with trio.move_on_after(patience):
        answer = await local_port.connect(port, credentials, Address(NOBODY, 443))
    if answer is not None and answer.stream is not None:
        await trio.aclose_forcefully(answer.stream)
    return answer, trio.current_time() - began


# ---- the exit


async def _check_exit(link: Link, book: AddressBook | None, around: Surroundings) -> list[Finding]:
    known = await trio.to_thread.run_sync(book.of, link.pin) if book is not None else {}

    def remembered(way: Address) -> list[IPAddress]:
        return [each.ip for each in known.get(way, ()) if each.ip is not None]

    check = ExitCheck(around.new_walk(link), around.ask_name, around.now, remembered, around.has_ipv6())
    return await check.run()


# ---- apps


async def _check_apps(loaded: Loaded, around: Surroundings, tell: Tell, *, running: bool) -> None:
    assert loaded.config is not None
    place = port_of(loaded.config.local)
    findings = local_check.judge_environment(around.environ, place[0]) if place is not None else []
    listen = loaded.config.dns.listen
    answers = running and listen is not None and await around.dns_port_answers(listen)
    servers = [address.host for address in await around.nameservers()]
    findings += local_check.judge_dns_port(listen, answers=answers, nameservers=servers, running=running)
    if loaded.ruleset is not None and running:
        talks = await trio.to_thread.run_sync(around.talks)
        exits = {address.host for each in loaded.config.local.exits for address in each.addresses}
        findings += local_check.judge_around(talks, partial(_goes_direct, loaded.ruleset, exits))
    for finding in findings:
        tell(finding)


def _goes_direct(ruleset: Ruleset, exits: set[str], remote: Address) -> bool:
    return remote.host in exits or ruleset.decide(remote, Network.TCP).route.kind is Kind.DIRECT
