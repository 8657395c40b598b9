"""What is found on this computer, in words: the configuration, the port, what apps of this shell are told, the DNS port, and who goes around Ropeway."""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .config import check as check_config
from .config_file import read_text
from .errors import ConfigError
from .finding import Finding, Text
from .local_side import check_exits
from .presets import load_presets
from .rule_files import RuleFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from .address import Address
    from .api_client import Carrier
    from .local_port import PortAnswer
    from .port_holder import Holder
    from .ruleset import Ruleset
    from .settings import Config, Listen

CONFIGURATION, RULES, PORT, TUNNEL, SPEED, SHELL, DNS, AROUND, SERVICE, SYSTEM = (
    "configuration",
    "rules",
    "port",
    "tunnel",
    "speed",
    "shell",
    "dns",
    "around",
    "service",
    "system proxy",
)

# Our choices.
#: Bits a second; below, nobody was waiting for the network.
_LITTLE = 250_000
#: Of the best step: from here on it is called load.
_LOAD = 0.5
#: Round trips under load beside those without, in times and in milliseconds, from which on people notice it in chats.
_LONGER, _MUCH_LONGER = 3, 300


# ---- the configuration


@dataclass(frozen=True, slots=True)
class Loaded:
    """`config` and `ruleset` are None where they cannot be used; then a finding says why."""

    findings: tuple[Finding, ...]
    config: Config | None = None
    ruleset: Ruleset | None = None


def check_configuration(path: Path) -> Loaded:
    """Reads the file and the lists of its rules."""
    try:
        text = read_text(path)
        config = None if text is None else check_config(text, path)
    except ConfigError as error:
        mend = Text("mend that line in an editor; config.example.toml shows how each setting is written")
        return Loaded((Finding.fault(CONFIGURATION, _said(error), Text("Ropeway cannot start with it"), mend),))
    join = Text("`ropeway join LINK`, with the link that the exit printed")
    if config is None:
        what = Text("there is none at {path}", path=path)
        return Loaded((Finding.fault(CONFIGURATION, what, Text("nothing was set up yet"), join),))
    findings = [*_permissions(config, path)]
    try:
        check_exits(config)
    except ConfigError as error:
        rule = Text("correct the rule, or `ropeway join --add` the exit that it names")
        mend = rule if config.local.exits else join
        fault = Finding.fault(CONFIGURATION, _said(error), _NO_START, mend)
        return Loaded((*findings, fault), config)
    names = ", ".join(str(each.addresses[0]) for each in config.local.exits)
    what = Text("{path}: mode {mode}, by way of {exits}", path=path, mode=config.rules.mode.value, exits=names)
    findings.insert(0, Finding.ok(CONFIGURATION, what))
    try:
        ruleset = RuleFiles(config.rules, load_presets()).read()
    except ConfigError as error:
        mend = Text("correct the path or the list; lists are files on this computer (docs/rules.md)")
        return Loaded((*findings, Finding.fault(RULES, _said(error), _NO_START, mend)), config)
    return Loaded((*findings, Finding.ok(RULES, Text("all can be used"))), config, ruleset)


_NO_START = Text("Ropeway does not start so")


def _said(error: ConfigError) -> Text:
    """What a setting is wrong with has thousands of forms, which are in English alone."""
    return Text("{error}", error=error)


def _permissions(config: Config, path: Path) -> list[Finding]:
    secret = config.local.exits or config.local.password or config.exit.users
    if not secret or sys.platform == "win32" or not path.stat().st_mode & 0o077:
        return []
    what = Text("other users of this computer can read the keys in {path}", path=path)
    why = Text("who has the key can use the exit in your name")
    return [Finding.note(CONFIGURATION, what, why, Text("chmod 600 {path}", path=path))]


# ---- the port and the tunnel


def judge_port(listen: Listen, holder: Holder | None, answer: PortAnswer | None) -> Finding:
    """`answer`: what was said to a browser's question there; None where it was not asked."""
    if answer is not None and answer.is_ours:
        return Finding.ok(PORT, Text("Ropeway listens on {place}", place=listen))
    if answer is not None and answer.status == 407:
        what = Text("what listens on {place} wants another user name and password", place=listen)
        why = Text("it was started with another configuration")
        return Finding.fault(PORT, what, why, Text("start `ropeway run` again with this configuration"))
    if holder is None and (answer is None or not answer.listens):
        what = Text("{place} is free: Ropeway does not run", place=listen)
        why = Text("apps that are set to it do not connect to anything")
        return Finding.note(
            PORT, what, why, Text("`ropeway run` starts it, `ropeway service install` does so at each log-in")
        )
    what = Text("{place} is used by {program}", place=listen, program=_shown(holder))
    why = Text("Ropeway cannot listen there, and apps talk to that program in its place")
    mend = Text("stop that program, or set another `listen` in the configuration and in the apps")
    return Finding.fault(PORT, what, why, mend)


def _shown(holder: Holder | None) -> Text:
    if holder is None or not holder.pid:
        return Text("another program")
    return Text("{name} (process {pid})", name=holder.name or Text("a program"), pid=holder.pid)


def judge_tunnel(answer: PortAnswer | None, seconds: float, said: Carrier | None = None) -> Finding:
    """`answer`: to a connection to a name that nobody has; None where there was none in time. `said`: by the program that runs, where it could be asked."""
    if answer is None:
        return _silent(seconds, said)
    if "tunnel" in answer.text:
        return _not_connected()
    if answer.status == 502 and "rules say direct" not in answer.text:
        what = Text("Ropeway is connected: an answer from the exit took {n} ms", n=f"{seconds * 1000:.0f}")
        return Finding.ok(TUNNEL, what)
    if said is None:
        text = answer.text or Text("status {n}", n=answer.status)
        return Finding.note(TUNNEL, Text("the port answers, which says nothing of the tunnel: {answer}", answer=text))
    if said.state != "up":
        return _not_connected()
    if said.rtt_ms is None:
        return Finding.ok(TUNNEL, Text("Ropeway is connected"))
    return Finding.ok(
        TUNNEL, Text("Ropeway is connected: a round trip to the exit took {n} ms", n=f"{said.rtt_ms:.0f}")
    )


def _silent(seconds: float, said: Carrier | None) -> Finding:
    if said is None:
        what = Text("Ropeway listens, and has not answered within {n} s", n=f"{seconds:.0f}")
        why = Text("as many connections are open as may be (`max_connections`), or it waits for its exit for longer")
        mend = Text("its log says which; programs that hold many connections let go of them when they end")
        return Finding.fault(TUNNEL, what, why, mend)
    if said.state != "up":
        return _not_connected()
    what = Text("Ropeway is connected, and the exit has not answered within {n} s", n=f"{seconds:.0f}")
    why = Text("its resolver takes long, or the connection has just gone silent")
    mend = Text("try it again in a moment; `ropeway test HOST` shows where a destination ends")
    return Finding.fault(TUNNEL, what, why, mend)


def _not_connected() -> Finding:
    what, why = Text("Ropeway runs, and is not connected to the exit"), Text("apps wait and then give up")
    mend = Text(
        "what `ropeway doctor` finds about the exit is why; where that is nothing, start Ropeway again and look at its log"
    )
    return Finding.fault(TUNNEL, what, why, mend)


def judge_speed(up: Sequence[float], down: Sequence[float], round_trips: Sequence[float | None]) -> Finding:
    """By what went through in the last hour, in steps of some seconds: bytes a second, and milliseconds where they are known."""
    most_up, most_down = (8 * max(rates, default=0.0) for rates in (up, down))
    most = max(most_up, most_down)
    if most < _LITTLE:
        return Finding.ok(SPEED, Text("too little went through in the last hour to tell"))
    text = Text(
        "in the last hour up to {down} Mbit/s came in, and up to {up} Mbit/s went out",
        down=f"{most_down / 1e6:.1f}",
        up=f"{most_up / 1e6:.1f}",
    )
    loaded: list[float] = []
    quiet: list[float] = []
    for ours, theirs, took in zip(up, down, round_trips, strict=True):
        if took is not None:
            (loaded if 8 * max(ours, theirs) >= _LOAD * most else quiet).append(took)
    if not loaded or not quiet:
        return Finding.ok(SPEED, text)
    under, without = statistics.median(loaded), statistics.median(quiet)
    text = Text(
        "{rates}; round trips took {quiet} ms, and {loaded} ms under load",
        rates=text,
        quiet=f"{without:.0f}",
        loaded=f"{under:.0f}",
    )
    if under > max(_LONGER * without, without + _MUCH_LONGER):
        why = Text(
            "chats wait while something large is transferred: this network is full, or the exit's, also with what others do there"
        )
        mend = Text("see who else uses this network and the exit, or try another network")
        return Finding.note(SPEED, text, why, mend)
    return Finding.ok(SPEED, text)


# ---- what apps are told


_VARIABLES = ("all_proxy", "https_proxy", "http_proxy")
#: Schemes by which the app looks names up itself: in curl's words, which most follow.
_LOOKS_UP = ("socks5", "socks4", "socks")


def judge_environment(environ: Mapping[str, str], port: Address) -> list[Finding]:
    """The variables that programs of a terminal follow."""
    found = {name: value for name, value in environ.items() if name.lower() in _VARIABLES and value}
    if not found:
        text = Text(
            "no proxy is set in this shell: programs that are started here follow the system's settings or none"
        )
        return [Finding.ok(SHELL, text)]
    findings = [finding for name, value in sorted(found.items()) for finding in _judge_variable(name, value, port)]
    return findings or [Finding.ok(SHELL, Text("{names} lead to Ropeway", names=", ".join(sorted(found))))]


def _judge_variable(name: str, value: str, port: Address) -> list[Finding]:
    try:
        url = urlsplit(value if "://" in value else f"http://{value}")
        host, number = url.hostname or "", url.port
    except ValueError:
        what, why = Text("{name} is no URL of a proxy", name=name), Text("programs do not agree what it means")
        return [Finding.note(SHELL, what, why, Text("unset {name}", name=name))]
    scheme = "socks5h" if url.scheme.startswith("socks") else "http"
    right = Text("export {name}={url}", name=name, url=f"{scheme}://{port}")
    if number != port.port or host not in (port.host, "localhost", "127.0.0.1", "::1"):
        what = Text("{name} leads to {place}, which is not Ropeway's port", name=name, place=f"{host}:{number}")
        why = Text("programs that are started in this shell go to another proxy, or to none where it is gone")
        return [Finding.note(SHELL, what, why, right)]
    if url.scheme in _LOOKS_UP:
        what = Text("{name} lets programs resolve names outside of the tunnel", name=name)
        why = Text("with socks5:// they look names up themselves: in the clear, and with the answers of this network")
        return [Finding.fault(SHELL, what, why, right)]
    return []


def judge_dns_port(listen: Listen | None, *, answers: bool, nameservers: Sequence[str], running: bool) -> list[Finding]:
    """`nameservers`: those of this system, for programs that ask them."""
    if listen is None:
        if not nameservers:
            return []
        text = Text(
            "programs that do not use the proxy ask {servers} for names, in the clear; what goes through Ropeway's port is resolved at the exit",
            servers=", ".join(nameservers),
        )
        return [Finding.ok(DNS, text)]
    if running and not answers:
        why = Text("it could not be opened, or the tunnel is down")
        mend = Text(
            "`ropeway service logs` says why; another program may have the port, then choose another `dns.listen`"
        )
        return [Finding.fault(DNS, Text("the DNS port {place} does not answer", place=listen), why, mend)]
    if str(listen) not in nameservers and listen.host not in nameservers:
        text = Text(
            "the DNS port is on, and the system asks {servers} and not {place}",
            servers=", ".join(nameservers) or Text("nobody"),
            place=listen,
        )
        why = Text("so their names leave in the clear, also those that the rules send through the tunnel")
        return [Finding.note(DNS, text, why, Text("set it as this system's nameserver (docs/usage.md, Names)"))]
    return [Finding.ok(DNS, Text("names are asked for at {place}", place=listen))]


# ---- who goes around it


@dataclass(frozen=True, slots=True)
class Talk:
    """A connection of a program of this user that leads out of this computer."""

    program: str
    remote: Address


def judge_around(talks: Sequence[Talk], goes_direct: Callable[[Address], bool]) -> list[Finding]:
    """Names programs, and no destinations."""
    programs = sorted({talk.program for talk in talks if not goes_direct(talk.remote)})
    if not programs:
        return []
    what = Text(
        "connections that the rules send through the tunnel go around it: {programs}", programs=", ".join(programs)
    )
    why = Text("they do not follow this computer's settings for a proxy, or were started before those were made")
    mend = Text(
        "set the proxy in the program itself and start it again (`ropeway apps show NAME` says how), unless that is meant so"
    )
    return [Finding.note(AROUND, what, why, mend)]
