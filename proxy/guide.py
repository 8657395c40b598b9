"""What people read of an app: the line in the list, all of one app, and the page docs/apps.md (`python -m proxy.guide` prints it)."""

from __future__ import annotations

import sys
import textwrap
from dataclasses import replace
from typing import TYPE_CHECKING

from .presets import Works, load_presets

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .address import Address
    from .presets import Ports, Preset, Verdict

_ROUTES = {"tunnel": "through the tunnel", "direct": "direct, without the tunnel"}
_WORKS = {
    Works.YES: "yes",
    Works.BROWSER: "in a browser",
    Works.DIRECT: "yes, direct",
    Works.NO: "no",
    Works.UNKNOWN: "not known",
    Works.NONE: "none",
}
HEADINGS = ("NAME", "APP", "ROUTE", "MESSAGES", "CALLS")


def row(preset: Preset) -> tuple[str, ...]:
    """As HEADINGS; a question mark stands where nothing was verified."""
    return (preset.name, preset.label, preset.route, _short(preset.messages), _short(preset.calls))


def _short(verdict: Verdict) -> str:
    doubtful = verdict.unverified == "all" and verdict.works is not Works.UNKNOWN
    return verdict.works.value + ("?" if doubtful else "")


def table(presets: Iterable[Preset]) -> str:
    """Lines in columns."""
    rows = [HEADINGS, *map(row, presets)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, each, widths)).rstrip() for each in rows)


def described(preset: Preset, port: Address, *, credentials: bool, width: int = 80) -> str:
    """All that is known of the app, for a local port that stands there, with credentials or without."""
    paragraphs = [
        [f"{preset.label} ({', '.join((preset.name, *preset.aliases))}): {_ROUTES[preset.route]}"],
        [_verdict("Messages", preset.messages), _verdict("Calls", preset.calls)],
        [f"To set, with the local port at {port}:", *_to_set(preset, port, credentials=credentials)],
        ["Connects to:", *_destinations(preset)],
        [f"Protocol: {preset.protocol}{_mark(preset.unverified.get('protocol', ''))}", *_keepalive(preset)],
        [f"Facts of {preset.made}, from:", *(f"  {field}: {text}" for field, text in preset.sources.items())],
    ]
    return "\n\n".join("\n".join(_wrapped(line, width) for line in lines) for lines in paragraphs)


def _wrapped(line: str, width: int) -> str:
    """Later lines are indented; nothing that somebody may copy is broken."""
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _mark(unverified: str) -> str:
    if not unverified:
        return ""
    return " (not verified)" if unverified == "all" else f" (not verified: {unverified.removeprefix('all: ')})"


def _verdict(what: str, verdict: Verdict) -> str:
    return f"{what}: {_WORKS[verdict.works]}. {verdict.how}{_mark(verdict.unverified)}"


def _to_set(preset: Preset, port: Address, *, credentials: bool) -> list[str]:
    lines = []
    if preset.web and preset.route == "tunnel":
        scheme = "an HTTP proxy" if credentials else "SOCKS5, and lets the proxy look names up"
        lines.append(f"  Browser: open {preset.web} in one that uses {port} as {scheme}.")
    lines += [f"  {each.where}: {_filled(each.what, port)}{_mark(each.unverified)}" for each in preset.settings]
    lines += [f"  Link that sets it, to be opened in the app: {_filled(link, port)}" for link in preset.links]
    if not lines:
        return ["  Nothing. What comes to the local port all the same goes direct by the rules of home-direct."]
    if credentials and preset.route == "tunnel":
        lines.append("  The app has to say the user name and the password of your configuration. Chromium, and apps")
        lines[-1] += " made of it, cannot do that with SOCKS: write http:// in place of socks5:// there."
    return lines


#: Of the words for where a setting is: the systems that have it, by sys.platform. What is not here is on each.
_SYSTEMS = {
    "Phone": frozenset[str](),
    "Android": frozenset[str](),
    "Windows": frozenset({"win32"}),
    "Windows app": frozenset({"win32"}),
    "PC app": frozenset({"win32", "darwin"}),
}


def steps(preset: Preset, port: Address, *, credentials: bool, system: str) -> list[str]:
    """What has to be set on a computer with that system, with the local port there."""
    here = tuple(each for each in preset.settings if system in _SYSTEMS.get(each.where, {system}))
    lines = [line.strip() for line in _to_set(replace(preset, settings=here, web=""), port, credentials=credentials)]
    if here or preset.links or preset.route == "direct":
        return lines
    return [f"{preset.label} has no app with a setting of its own on this system."]


def _filled(text: str, port: Address) -> str:
    return text.format(proxy=port, host=port.host, port=port.port)


def _destinations(preset: Preset) -> list[str]:
    lines = [
        f"  TCP {ports(preset.tcp_ports)}{_mark(preset.unverified.get('tcp_ports', ''))}",
        f"  {', '.join(preset.domains)}, and all below them",
    ]
    if preset.udp_ports:
        lines.insert(1, f"  UDP {ports(preset.udp_ports)}{_mark(preset.unverified.get('udp_ports', ''))}")
    if preset.networks:
        lines.append(f"  {len(preset.networks)} networks, such as {preset.networks[0]}")
    names = dict.fromkeys([*(address.host for address in preset.hosts), *preset.other_hosts])
    return [*lines, f"  hosts: {', '.join(names)}{_mark(preset.unverified.get('hosts', ''))}"]


def _keepalive(preset: Preset) -> list[str]:
    if not preset.keepalive:
        return []
    return [f"Says something every {preset.keepalive} s or so{_mark(preset.unverified.get('keepalive', ''))}"]


def ports(each: Sequence[Ports]) -> str:
    return ", ".join(map(str, each))


# ---- the page

_PAGE = """\
# Apps

What is known of each app, and how far it works through the local port. `ropeway apps` prints the first table, `ropeway apps show NAME` says what
has to be set and where, with the address of your local port in it, and where each fact comes from; `ropeway apps check NAME` connects to the
app's hosts through the local port and says which answer.

`ropeway apps setup NAME` says what is to be done on this computer, or does it. With `--open` it opens or starts what it prints:

- `chromium`, `chrome`, `edge`, `firefox`: a profile of its own, apart from yours, all of whose pages come through the local port. WebRTC does not go
  around it: calls in that browser work where the service takes them over TCP, and pages do not learn the addresses of this computer.
- `telegram`: the link that sets the proxy. `signal`: the command that starts the desktop app with it.
- every other app: the steps for this system.

A port that wants a user name and a password is spoken to over HTTP by browsers, which ask for both; `--with-password` has them in the link and
in the command.

| name | app | route | messages | calls |
|---|---|---|---|---|
{overview}

**browser**: not in the app but in a browser that uses the local port. **direct**: the app is at home and needs no tunnel. **?**: nobody has
verified it. Browsers take the UDP of calls around every proxy; only an app that takes a SOCKS5 proxy for its calls has them through the tunnel.

## What each needs

{apps}
This page is written from the files in `proxy/presets`: `python -m proxy.guide > docs/apps.md`.
"""


def page() -> str:
    """docs/apps.md."""
    presets = load_presets().values()
    overview = "\n".join(f"| {' | '.join(row(preset))} |" for preset in presets)
    return _PAGE.format(overview=overview, apps="\n".join(map(_section, presets)))


def _section(preset: Preset) -> str:
    lines = [f"### {preset.label}", "", f"- {_verdict('Messages', preset.messages)}"]
    lines.append(f"- {_verdict('Calls', preset.calls)}")
    if preset.web:
        lines.append(f"- Web version: {preset.web}")
    lines += [f"- {each.where}: {_in_words(each.what)}{_mark(each.unverified)}" for each in preset.settings]
    lines += [f"- Link that sets it: `{_in_words(link)}`" for link in preset.links]
    lines.append(f"- TCP {ports(preset.tcp_ports)}{_mark(preset.unverified.get('tcp_ports', ''))}")
    if preset.udp_ports:
        lines[-1] += f"; UDP {ports(preset.udp_ports)}{_mark(preset.unverified.get('udp_ports', ''))}"
    return "\n".join([*lines, f"- Protocol: {preset.protocol}{_mark(preset.unverified.get('protocol', ''))}", ""])


def _in_words(text: str) -> str:
    """For a local port that stands where it does by default."""
    return text.format(proxy="127.0.0.1:1080", host="127.0.0.1", port=1080)


if __name__ == "__main__":
    sys.stdout.write(page())
