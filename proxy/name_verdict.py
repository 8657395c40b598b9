"""Which way a question about a name takes: what the rules say of the name, and what questions about names have of their own.

A question goes directly only where nothing speaks against it: what left in the clear cannot be taken back.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias


class Way(enum.Enum):
    TUNNEL = "tunnel"
    DIRECT = "direct"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`exit` names the exit where the way is the tunnel and it is not the current one's."""

    way: Way
    exit: str = ""


#: What the rules say of a name: lower case, ASCII, no dot at its end.
Decide: TypeAlias = Callable[[str], Verdict]

TUNNEL, DIRECT, BLOCK = Verdict(Way.TUNNEL), Verdict(Way.DIRECT), Verdict(Way.BLOCK)

_REVERSE = (["in-addr", "arpa"], ["ip6", "arpa"])
_LABEL = re.compile(rb"[0-9a-z_-]+")
#: Nobody abroad knows these, and who asks for them at home tells nothing (RFC 6303 and what RFC 6890 calls private, shared or link-local).
_AT_HOME = [
    ipaddress.ip_network(text)
    for text in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16", "100.64.0.0/10"),
        *("fc00::/7", "fe80::/10", "::1/128"),
    )
]


def verdict_of(labels: Sequence[bytes], decide: Decide) -> Verdict:
    """Of a name in lower case, without the root. What no rule can be about goes through the tunnel."""
    if not labels or not all(_LABEL.fullmatch(label) for label in labels):
        return TUNNEL
    texts = [label.decode("ascii") for label in labels]
    verdict = decide(".".join(texts))
    if texts[-2:] in _REVERSE:
        return _reverse_verdict(texts, verdict)
    host = texts[_host_at(texts) :]
    if verdict.way is Way.DIRECT and host and len(host) < len(texts):
        return decide(".".join(host))
    return verdict


def _host_at(texts: Sequence[str]) -> int:
    """Where the name begins that labels with an underscore say something about (RFC 8552): `_8443._https.example.com` is about example.com."""
    return max((at + 1 for at, text in enumerate(texts) if text.startswith("_")), default=0)


def _reverse_verdict(texts: Sequence[str], verdict: Verdict) -> Verdict:
    """Who asks for the name of an address talks to it: such questions go directly for private addresses only."""
    network = _network(texts)
    at_home = network is not None and any(
        network.version == home.version and network.subnet_of(home)  # type: ignore[arg-type]
        for home in _AT_HOME
    )
    if verdict.way is Way.BLOCK:
        return verdict
    if at_home:
        return DIRECT
    return TUNNEL if verdict.way is Way.DIRECT else verdict


def _network(texts: Sequence[str]) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """Of all addresses that the name may be about; what stands before the numbers says something about them (RFC 6763, section 11)."""
    if texts[-2] == "in-addr":
        octets = _leading(texts, r"[0-9]{1,3}", 4)
        address = ".".join([*octets, *["0"] * (4 - len(octets))])
        bits = 8 * len(octets)
    else:
        digits = "".join(_leading(texts, r"[0-9a-f]", 32))
        address = str(ipaddress.IPv6Address(int(digits.ljust(32, "0"), 16)))
        bits = 4 * len(digits)
    try:
        return ipaddress.ip_network(f"{address}/{bits}")
    except ValueError:
        return None


def _leading(texts: Sequence[str], form: str, most: int) -> list[str]:
    """The parts of the address, from its beginning, which stands last in the name."""
    found: list[str] = []
    for text in reversed(texts[:-2]):
        if len(found) == most or not re.fullmatch(form, text):
            break
        found.append(text)
    return found
