"""Where a connection goes: a name or an IP address, and a port."""

from __future__ import annotations

import functools
import ipaddress
import re
import struct
from dataclasses import dataclass
from typing import Self, TypeAlias

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

# RFC 1928, section 5.
KIND_IPV4, KIND_NAME, KIND_IPV6 = 1, 3, 4

#: What may stand in a name: visible ASCII without the characters that end a host in a URL. Resolvers decide the rest.
_NAME = re.compile(r"[!-~]{1,255}")
_NOT_IN_NAME = re.compile(r"[\[\]/?#@\\:%]")

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")  # RFC 8215
_IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")  # RFC 4291, deprecated
_SITE_LOCAL = ipaddress.IPv6Network("fec0::/10")  # RFC 3879, deprecated
#: Special by the registries of IANA, whatever the version of Python knows of them. Nobody's service stands in one of these.
_SPECIAL_IPV4 = ipaddress.IPv4Network("192.0.0.0/24")  # RFC 6890
_SPECIAL_IPV6 = [ipaddress.IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16")]
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # RFC 4291: all that IANA has given out


@dataclass(frozen=True, slots=True)
class Address:
    """A destination. `host` is a canonical IP literal (IPv6 without brackets) or a lower-case ASCII name."""

    host: str
    port: int

    @classmethod
    def make(cls, host: str, port: int) -> Self:
        """From a host as people and protocols write it. A name that is an IP literal becomes that address.

        Raises ValueError with a text for people.
        """
        _check_port(port)
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        try:
            if "%" in bare:  # a zone means something on one machine only, and may hold any character
                raise ValueError
            return cls(str(ipaddress.ip_address(bare)), port)
        except ValueError:
            if not _NAME.fullmatch(host) or _NOT_IN_NAME.search(host):
                raise ValueError(_no_host(host)) from None
        return cls(host.lower(), port)

    @classmethod
    def parse(cls, text: str, default_port: int | None = None) -> Self:
        """`host:port`, `[2001:db8::1]:port`, or the host alone where there is a default port.

        Raises ValueError with a text for people.
        """
        host, colon, port = text.rpartition(":")
        if not colon or text.endswith("]"):
            if default_port is None:
                raise ValueError("there is no port")
            return cls.make(text, default_port)
        if ":" in host and not (host.startswith("[") and host.endswith("]")):
            raise ValueError("an IPv6 address needs brackets, as in [2001:db8::1]:443")
        if not (port.isascii() and port.isdigit() and len(port) <= 5):
            raise ValueError("the port is not a number")
        return cls.make(host, int(port))

    @property
    def ip(self) -> IPAddress | None:
        """The IP address, or None where the host is a name."""
        return _ip(self.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def encode(self) -> bytes:
        """The form of SOCKS5 and of OPEN: kind, address, port (RFC 1928, section 5)."""
        ip, port = self.ip, struct.pack("!H", self.port)
        if ip is not None:
            return bytes([KIND_IPV4 if ip.version == 4 else KIND_IPV6]) + ip.packed + port
        name = self.host.encode("ascii")
        return bytes([KIND_NAME, len(name)]) + name + port

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The reverse of `encode`, for exactly these bytes. Raises ValueError."""
        size = encoded_size(data)
        if size is None or size != len(data):
            raise ValueError("the address has the wrong length")
        (port,) = struct.unpack("!H", data[-2:])
        if data[0] == KIND_NAME:
            return cls.make(data[2:-2].decode("ascii", "replace"), port)
        _check_port(port)
        return cls(str(ipaddress.ip_address(data[1:-2])), port)


def _no_host(text: str) -> str:
    """What people may have typed in its place."""
    if not text:
        return "the host is empty"
    if "/" in text:
        return "the host stands alone, with no https:// before it and no path behind it"
    if text.count(":") == 1:
        return "the host stands alone here, with no port behind it"
    return "the host is longer than 255 characters, or has characters that no host has"


def _check_port(port: int) -> None:
    if not 0 < port < 65536:
        raise ValueError(f"port {port} is not between 1 and 65535")


@functools.lru_cache(maxsize=4096)  # the same hosts are asked for again and again
def _ip(host: str) -> IPAddress | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def encoded_size(data: bytes) -> int | None:
    """How long the encoded address is that `data` begins with; None where more bytes are needed to tell.

    Raises ValueError for an unknown kind.
    """
    if not data:
        return None
    if data[0] == KIND_IPV4:
        return 7
    if data[0] == KIND_IPV6:
        return 19
    if data[0] != KIND_NAME:
        raise ValueError(f"address kind {data[0]} is unknown")
    return None if len(data) < 2 else 4 + data[1]


def embedded_ipv4(ip: IPAddress) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an address of IPv6 leads to: mapped (RFC 4291), 6to4 (RFC 3056) or behind a NAT64 with the well-known prefix (RFC 6052)."""
    if isinstance(ip, ipaddress.IPv4Address):
        return None
    return ip.ipv4_mapped or ip.sixtofour or (ipaddress.IPv4Address(ip.packed[-4:]) if ip in _NAT64 else None)


def is_public(ip: IPAddress) -> bool:
    """Whether an exit may connect to it: globally reachable unicast, also inside every form that embeds an IPv4 address.

    Stricter than `is_global`: transition addresses (6to4, NAT64, mapped) are judged by the IPv4 address that they lead to.
    """
    if isinstance(ip, ipaddress.IPv4Address):
        return ip.is_global and not ip.is_multicast and not ip.is_reserved and ip not in _SPECIAL_IPV4
    if (inner := embedded_ipv4(ip)) is not None:
        return is_public(inner)
    if ip in _NAT64_LOCAL or ip in _SITE_LOCAL or ip in _IPV4_COMPATIBLE or ip not in _GLOBAL_UNICAST:
        return False
    return ip.is_global and not any(ip in network for network in _SPECIAL_IPV6)
