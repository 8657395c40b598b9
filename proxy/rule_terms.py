"""What a rule can ask of a destination, as terms: of its name, its address, its port, its network. Nothing here looks anything up.

A name is never resolved to judge it: terms on names do not hold for addresses, and terms on addresses do not hold for names.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from .address import Address, IPAddress, embedded_ipv4
from .rule_expression import Expression

IPNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
#: The country of an address in two capital letters, or "" where it is not known.
CountryOf: TypeAlias = Callable[[IPAddress], str]
#: What reads or builds something large calls it after each part, so that the event loop beside it has its turn.
Pause: TypeAlias = Callable[[], None]

#: RFC 1035, section 2.3.4.
LONGEST_NAME = 255
LONGEST_LABEL = 63

# Names in use have underscores, too; the rest is RFC 1123, section 2.1.
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
# Each in decimal, in octal with a zero in front, or in hexadecimal.
_NUMBERS = re.compile(r"(?:0x[0-9a-f]+|[0-9]+)(?:\.(?:0x[0-9a-f]+|[0-9]+)){0,3}", re.ASCII)
# As nearly all lists write them; zeros in front have no agreed meaning.
_OCTET = r"(0|[1-9][0-9]{0,2})"
_PLAIN_NETWORK = re.compile(rf"{_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET}(?:/{_OCTET})?", re.ASCII)
# Of IPv6 as nearly all lists write it: what is not zero stands in front. So it is no IPv4 address in another form.
_PLAIN_NETWORK6 = re.compile(rf"([1-9a-fA-F][0-9a-fA-F]{{0,3}}(?::[0-9a-fA-F]{{1,4}}){{0,6}})::/{_OCTET}", re.ASCII)
# Of an IPv4 address, the bits that count, by how many there are.
_KEPT = [0xFFFFFFFF << 32 - length & 0xFFFFFFFF for length in range(33)]


def no_pause() -> None:
    """For where nobody waits."""


class Network(enum.Enum):
    """What carries the data."""

    TCP = "tcp"
    UDP = "udp"


class Term(Protocol):
    def holds(self, query: Query) -> bool: ...


@dataclass(frozen=True)
class Query:
    """A destination as the terms see it: `name` is lower-case without dots at its end and empty for an address; `ip` is never an IPv4 address in
    the form of IPv6. `inner` is the IPv4 address that an address of IPv6 leads to, as by 6to4 or NAT64: what holds for it holds for both.
    """

    name: str
    ip: IPAddress | None
    port: int
    network: Network
    inner: ipaddress.IPv4Address | None = None

    @classmethod
    def of(cls, address: Address, network: Network) -> Query:
        ip, name = address.ip, address.host
        if ip is None:
            name = name.rstrip(".")
            ip = ip_of(name) or _number_of(name)
        if ip is None:
            return cls(name, None, address.port, network)
        inner = embedded_ipv4(ip)
        if ip.version == 6 and ip.ipv4_mapped is not None:
            ip, inner = ip.ipv4_mapped, None
        return cls("", ip, address.port, network, inner)

    @property
    def ips(self) -> tuple[IPAddress, ...]:
        """All by which it is judged."""
        if self.ip is None:
            return ()
        return (self.ip,) if self.inner is None else (self.ip, self.inner)


def ip_of(name: str) -> IPAddress | None:
    """The address that it is in writing, if it is one."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _number_of(name: str) -> IPAddress | None:
    """What system resolvers take for an IPv4 address without asking anybody (inet_aton): one to four numbers, of which the last one fills what is
    left. Where the rules took it for a name it would get around those for addresses.
    """
    if not _NUMBERS.fullmatch(name):
        return None
    try:
        *octets, rest = map(_number, name.split("."))
    except ValueError:
        return None  # an octal number with a 9
    left = 8 * (4 - len(octets))
    if rest >> left or any(octet > 255 for octet in octets):
        return None
    return ipaddress.IPv4Address(int.from_bytes(bytes(octets)) << left | rest)


def _number(text: str) -> int:
    if text.startswith("0x"):
        return int(text, 16)
    return int(text, 8 if text.startswith("0") else 10)


@dataclass(frozen=True, slots=True)
class Exact:
    """This name."""

    name: str

    def holds(self, query: Query) -> bool:
        return query.name == self.name


@dataclass(frozen=True, slots=True)
class Suffix:
    """This name and all below it."""

    name: str

    def holds(self, query: Query) -> bool:
        return query.name.endswith(self.name) and (
            len(query.name) == len(self.name) or query.name[-len(self.name) - 1] == "."
        )


@dataclass(frozen=True, slots=True)
class Keyword:
    """Names that have this in them."""

    word: str

    def holds(self, query: Query) -> bool:
        return self.word in query.name


@dataclass(frozen=True, slots=True)
class Pattern:
    """Names in which this regular expression is found."""

    expression: Expression

    def holds(self, query: Query) -> bool:
        return 0 < len(query.name) <= LONGEST_NAME and self.expression.is_in(query.name)


@dataclass(frozen=True, slots=True)
class SingleLabel:
    """Names without a dot."""

    def holds(self, query: Query) -> bool:
        return bool(query.name) and "." not in query.name


@dataclass(frozen=True, slots=True)
class Within:
    """Addresses of this network."""

    network: IPNetwork

    def holds(self, query: Query) -> bool:
        return any(ip.version == self.network.version and ip in self.network for ip in query.ips)


@dataclass(frozen=True, slots=True)
class Country:
    """Addresses of this country, in two capital letters, by this database."""

    code: str
    country_of: CountryOf

    def holds(self, query: Query) -> bool:
        return any(self.country_of(ip) == self.code for ip in query.ips)


@dataclass(frozen=True, slots=True)
class SomeAddresses:
    """Addresses of which nobody has kept which; so it may hold for each."""

    def holds(self, query: Query) -> bool:
        return query.ip is not None


@dataclass(frozen=True, slots=True)
class PortRange:
    """From the first to the last."""

    first: int
    last: int

    def holds(self, query: Query) -> bool:
        return self.first <= query.port <= self.last


@dataclass(frozen=True, slots=True)
class Carried:
    """What goes over this network."""

    network: Network

    def holds(self, query: Query) -> bool:
        return query.network is self.network


@dataclass(frozen=True, slots=True)
class AllOf:
    terms: tuple[Term, ...]

    def holds(self, query: Query) -> bool:
        return all(term.holds(query) for term in self.terms)


@dataclass(frozen=True, slots=True)
class Not:
    term: Term

    def holds(self, query: Query) -> bool:
        return not self.term.holds(query)


@dataclass(slots=True)
class AnyOf:
    """What a list holds. The entries of which there are many stand in columns, as an object for each would cost more than all the rest; it is
    filled while it is read, and not changed afterwards.
    """

    exact: list[str] = field(default_factory=list)
    suffixes: list[str] = field(default_factory=list)
    keywords: list[str] = field(default_factory=list)
    networks: list[IPNetwork] = field(default_factory=list)
    others: list[Term] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.exact) + len(self.suffixes) + len(self.keywords) + len(self.networks) + len(self.others)

    def __bool__(self) -> bool:
        return len(self) > 0

    def add(self, term: Term) -> None:
        match term:
            case Exact(name):
                self.exact.append(name)
            case Suffix(name):
                self.suffixes.append(name)
            case Keyword(word):
                self.keywords.append(word)
            case Within(network):
                self.networks.append(network)
            case _:
                self.others.append(term)

    def holds(self, query: Query) -> bool:
        """One by one: `rule_index` is for those that have many."""
        return (
            query.name in self.exact
            or any(Suffix(name).holds(query) for name in self.suffixes)
            or any(word in query.name for word in self.keywords)
            or any(Within(network).holds(query) for network in self.networks)
            or any(term.holds(query) for term in self.others)
        )


# ---- from text; each raises ValueError with a text for people


def name_of(text: str) -> str:
    """The form in which names are compared: lower-case, without a dot at its end, and in A-labels (RFC 5890)."""
    name = text.rstrip(".")
    if not name.isascii():
        if len(name) > LONGEST_NAME:
            raise ValueError(f"a name has at most {LONGEST_NAME} characters")
        try:
            name = name.encode("idna").decode("ascii")
        except UnicodeError:
            raise ValueError(f"{text!r} is no name") from None
    name = name.lower()
    if len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        raise ValueError(f"{text!r} is no name")
    return name


def keyword_of(text: str) -> str:
    word = text.lower()
    if not word or len(word) > LONGEST_NAME or not word.isascii() or not word.isprintable() or " " in word:
        raise ValueError(f"{text!r} is no part of a name")
    return word


def network_of(text: str) -> IPNetwork:
    """192.0.2.0/24, 2001:db8::/32 or one address. Bits beyond the prefix do not matter; IPv4 in the form of IPv6 becomes IPv4."""
    return _plain_network(text) or _network_of(text)


def _plain_network(text: str) -> IPNetwork | None:
    """What most lists have, in a fifth of the time; None for what is written otherwise, or wrong."""
    if (plain := _PLAIN_NETWORK.fullmatch(text)) is not None:
        a, b, c, d, bits = plain.groups(default="32")
        if max(number := (int(a), int(b), int(c), int(d))) < 256 and (length := int(bits)) <= 32:
            return ipaddress.IPv4Network((int.from_bytes(number) & _KEPT[length], length))
    elif (plain := _PLAIN_NETWORK6.fullmatch(text)) is not None and (length := int(plain[2])) <= 128:
        groups = plain[1].split(":")
        high = 0
        for group in groups:
            high = high << 16 | int(group, 16)
        return ipaddress.IPv6Network((high << 16 * (8 - len(groups)) & -1 << 128 - length, length))
    return None


def _network_of(text: str) -> IPNetwork:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is no network, as 192.0.2.0/24 is one") from None
    mapped = network.network_address.ipv4_mapped if network.version == 6 else None
    if mapped is not None and network.prefixlen >= 96:
        return ipaddress.IPv4Network((int(mapped), network.prefixlen - 96))
    return network


def pattern_of(text: str) -> Pattern:
    return Pattern(Expression.parse(text))


def ports_of(text: str) -> PortRange:
    """443 or 8000-8100."""
    first, dash, last = text.partition("-")
    last = last if dash else first
    if not (text.isascii() and first.isdigit() and last.isdigit() and len(first) <= 5 and len(last) <= 5):
        raise ValueError(f"{text!r} is no port and no range of ports, as 443 and 8000-8100 are")
    ports = PortRange(int(first), int(last))
    if not 0 < ports.first <= ports.last < 65536:
        raise ValueError(f"{text!r} is no range of ports: they go from 1 to 65535")
    return ports


def country_code_of(text: str) -> str:
    """ISO 3166-1, two letters."""
    code = text.upper()
    if len(code) != 2 or not code.isascii() or not code.isalpha():
        raise ValueError(f"{text!r} is no country in two letters")
    return code


_CARRIED = {network.value: Carried(network) for network in Network}


def carried_of(text: str) -> Carried:
    if (found := _CARRIED.get(text.lower())) is None:
        raise ValueError(f"{text!r} is no network; it is tcp or udp")
    return found
