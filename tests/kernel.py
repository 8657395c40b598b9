"""What a Linux kernel would say of links, addresses and routes (proxy/protocol/netlink.py)."""

from __future__ import annotations

import ipaddress
import struct

NEW_LINK, DEL_LINK, NEW_ADDRESS, DEL_ADDRESS, NEW_ROUTE, DEL_ROUTE, NEW_NEIGHBOUR = 16, 17, 20, 21, 24, 25, 28
ERROR, DONE = 2, 3
REPLACE = 0x100

V4, V6, GATEWAY, OTHER_GATEWAY = "192.0.2.1", "2001:db8::1", "192.0.2.254", "192.0.2.253"


def message(kind: int, body: bytes = b"", flags: int = 0) -> bytes:
    return (struct.pack("=IHHII", 16 + len(body), kind, flags, 0, 0) + body).ljust(16 + (len(body) + 3) // 4 * 4, b"\0")


def attribute(kind: int, value: bytes) -> bytes:
    return (struct.pack("=HH", 4 + len(value), kind) + value).ljust(4 + (len(value) + 3) // 4 * 4, b"\0")


def link(index: int, kind: int = NEW_LINK, *, family: int = 0, running: bool = True) -> bytes:
    return message(kind, struct.pack("=BxHiII", family, 1, index, 0x41 if running else 0x1, 0))


def address(text: str, kind: int = NEW_ADDRESS, *, index: int = 2, scope: int = 0, flags: int = 0x80) -> bytes:
    ip = ipaddress.ip_address(text)
    fixed = struct.pack("=BBBBI", 2 if ip.version == 4 else 10, ip.max_prefixlen, flags, scope, index)
    return message(kind, fixed + attribute(1, ip.packed))


def route(
    via: str,
    kind: int = NEW_ROUTE,
    *,
    flags: int = 0,
    table: int = 254,
    leads: int = 1,
    cloned: bool = False,
    expires: int = 0,
) -> bytes:
    ip = ipaddress.ip_address(via)
    fixed = struct.pack("=8BI", 2 if ip.version == 4 else 10, 0, 0, 0, table, 9, 0, leads, 0x200 if cloned else 0)
    body = fixed + attribute(5, ip.packed) + attribute(12, struct.pack("=8I", *[expires] * 8))
    return message(kind, body, flags)
