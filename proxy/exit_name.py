"""What the answers mean that this network gives for an exit's name: right, wrong on purpose, or none."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from .address import is_public
from .finding import Finding, Text

if TYPE_CHECKING:
    from collections.abc import Sequence

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

CHECK = "name"

#: A name that no zone has, and that resolvers answer themselves (RFC 6761, section 6.4): asking for it tells nobody anything.
NOBODY = "ropeway-doctor.invalid"

_MEND = Text(
    "the exit is found without its name if its link has its IP address too: ask whoever runs the exit for such a link "
    "(`addresses` in the exit's configuration); or use another nameserver (1.1.1.1, 9.9.9.9) or network"
)


@dataclass(frozen=True, slots=True)
class Answers:
    """What was found out about one name. `failure` says for people why there is nothing. `rivals` are the different answers that the
    nameserver's address sent to one question; `nobody` are the addresses given for a name that does not exist.
    """

    name: str
    found: Sequence[IPAddress] = ()
    failure: str = ""
    rivals: Sequence[frozenset[IPAddress]] = ()
    nobody: Sequence[IPAddress] = ()


def judge_name(answers: Answers, remembered: Sequence[IPAddress]) -> Finding:
    """`remembered`: where the exit was found under this name before, and proved to be the exit."""
    name = answers.name
    if not answers.found:
        return _unresolved(answers, is_remembered=bool(remembered))
    shown = ", ".join(map(str, answers.found))
    lie = _lie(answers, remembered)
    if lie:
        what = Text(
            "{name} resolves to {found}, which is a lie of this network: {why}", name=name, found=shown, why=lie
        )
        return Finding.fault(CHECK, what, _LIES, _MEND)
    if remembered and not set(remembered) & set(answers.found):
        old = ", ".join(map(str, remembered))
        return Finding.note(
            CHECK,
            Text("{name} resolves to {found}, and was found at {old} before", name=name, found=shown, old=old),
            Text("the exit has moved, or this network lies about its name; the certificate tells which"),
            Text("nothing if the exit is reached; otherwise {mend}", mend=_MEND),
        )
    if answers.nobody:
        return Finding.note(
            CHECK,
            Text(
                "{name} resolves to {found}; names that do not exist resolve too, to {nobody}",
                name=name,
                found=shown,
                nobody=answers.nobody[0],
            ),
            Text(
                "this network's nameserver makes up answers: a login page is waiting, or the provider shows advertisements"
            ),
            Text(
                "open any http:// page in a browser and log in if the network asks for it, or use another nameserver (1.1.1.1, 9.9.9.9)"
            ),
        )
    return Finding.ok(CHECK, Text("{name} resolves to {found}", name=name, found=shown))


def _unresolved(answers: Answers, *, is_remembered: bool) -> Finding:
    what = Text(
        "{name} cannot be resolved: {failure}",
        name=answers.name,
        failure=answers.failure or Text("there is no address"),
    )
    why = Text("this computer is on no network, its nameserver does not answer, or the name is blocked here")
    if is_remembered:
        why = Text("{why}; it is still found at the address that was remembered", why=why)
    return Finding.fault(CHECK, what, why, Text("look whether any web page opens; if so, {mend}", mend=_MEND))


_LIES = Text(
    "whoever stands between this computer and its nameserver answers in its place, so that the exit is not found"
)


def _lie(answers: Answers, remembered: Sequence[IPAddress]) -> Text | None:
    """Why the answer cannot be true, if it cannot."""
    if len(set(answers.rivals)) > 1:
        return Text("one question got different answers, of which the first was quicker than the nameserver")
    if set(answers.nobody) & set(answers.found):
        return Text("names that do not exist get the same address")
    if any(map(is_public, remembered)) and not any(map(is_public, answers.found)):
        return Text("no such address is public, and the exit was found at a public one before")
    if any(_is_nowhere(ip) for ip in answers.found):
        return Text("nobody can have such an address")
    return None


def _is_nowhere(ip: IPAddress) -> bool:
    """No server's: unspecified, multicast, reserved, or set aside for documentation (RFC 5737, RFC 3849), as filters like to answer."""
    return ip.is_unspecified or ip.is_multicast or ip.is_reserved or any(ip in network for network in _NOWHERE)


_NOWHERE = [
    ipaddress.ip_network(text) for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
]
