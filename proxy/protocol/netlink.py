"""What the Linux kernel tells of links, addresses and routes (netlink, rtnetlink(7)), and which of it means that the network has changed.

Much is told that leads nowhere, and much is told again that has not changed. What is cut short or makes no sense says nothing.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

_T = TypeVar("_T")

# include/uapi/linux/netlink.h and rtnetlink.h; the kernel's interface never changes these.
#: What to listen to: links; addresses and routes of IPv4, of IPv6.
GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
_ERROR, _DONE = 2, 3
_NEW_LINK, _DEL_LINK, _GET_LINK = 16, 17, 18
_NEW_ADDRESS, _DEL_ADDRESS, _GET_ADDRESS = 20, 21, 22
_NEW_ROUTE, _DEL_ROUTE, _GET_ROUTE = 24, 25, 26
_REPLACE = 0x100  # a flag of a message
_REQUEST_DUMP = 0x1 | 0x300  # flags of a request

_HEADER = struct.Struct("=IHHII")  # length, kind, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # length, kind
_ATTRIBUTE_KIND = 0x3FFF  # the rest are flags
_LINK = struct.Struct("=BxHiII")  # family, type, index, flags, change
_ADDRESS = struct.Struct("=BBBBI")  # family, prefix, flags, scope, index
_ROUTE = struct.Struct("=BBBBBBBBI")  # family, to/bits, from/bits, TOS, table, protocol, scope, type, flags

_UNSPEC, _INET, _INET6 = 0, 2, 10  # families, as Linux numbers them
_UP_AND_RUNNING = 0x1 | 0x40
_UNUSABLE_YET_OR_EVER = 0x40 | 0x08  # IFA_F_TENTATIVE, IFA_F_DADFAILED
_SCOPE_LINK = 253  # this scope and higher ones do not lead beyond a link
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_TABLE_LOCAL = 255
_CLONED = 0x200
_LEADING = {1, 6, 7, 8, 9}  # unicast, blackhole, unreachable, prohibit, throw
_LINK_LOCAL = (b"\xfe\x80", b"\xa9\xfe")  # fe80::/16 and 169.254/16
_RTA_TO = 1
#: What makes two routes different, and not what is merely renewed (life times, in 12 and 23) or measured. Destination, source, interface,
#: gateway, priority, preferred source, several paths, table, gateway of another family, preference, next hop.
_ROUTE_IDENTITY = (1, 2, 4, 5, 6, 7, 9, 15, 18, 20, 30)

OwnAddress: TypeAlias = tuple[int, bytes]  # the link's index; family, prefix and address
Route: TypeAlias = tuple[bytes, ...]


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Kind, flags and body of each whole message in a datagram."""
    at = 0
    while len(data) - at >= _HEADER.size:
        length, kind, flags, *_ = _HEADER.unpack_from(data, at)
        if not _HEADER.size <= length <= len(data) - at:
            return
        yield kind, flags, data[at + _HEADER.size : at + length]
        at += _aligned(length)


def attributes(data: bytes) -> dict[int, bytes]:
    """The whole attributes of a message, after its fixed part."""
    found = {}
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if not _ATTRIBUTE.size <= length <= len(data):
            break
        found[kind & _ATTRIBUTE_KIND] = data[_ATTRIBUTE.size : length]
        data = data[_aligned(length) :]
    return found


def _aligned(length: int) -> int:
    return (length + 3) & ~3


def link_of(body: bytes) -> tuple[int, bool] | None:
    """The index of a link, and whether it carries packets. Where bridges tell of their ports it is no link that is told of."""
    if len(body) < _LINK.size:
        return None
    family, _type, index, flags, _change = _LINK.unpack_from(body)
    return (index, flags & _UP_AND_RUNNING == _UP_AND_RUNNING) if family == _UNSPEC else None


def address_of(body: bytes) -> tuple[OwnAddress, bool] | None:
    """An address that may lead beyond its link, and whether it can be used: while IPv6 asks who else has it, it cannot.

    Life times and what follows from them (permanent, deprecated) are left out: a router's advertisement renews them every few minutes.
    """
    if len(body) < _ADDRESS.size:
        return None
    family, prefix, flags, scope, index = _ADDRESS.unpack_from(body)
    found = attributes(body[_ADDRESS.size :])
    own = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)  # of two ends, LOCAL is this one
    if family not in (_INET, _INET6) or scope >= _SCOPE_LINK or not own:
        return None
    return (index, bytes([family, prefix]) + own), not flags & _UNUSABLE_YET_OR_EVER


def route_of(body: bytes) -> Route | None:
    """A route that may lead to the world.

    Not those that come with every address and link (the local table, multicast, link-local), nor what the kernel notes for itself
    about single destinations (cloned).
    """
    if len(body) < _ROUTE.size:
        return None
    family, to_bits, from_bits, tos, table, _protocol, _scope, kind, flags = _ROUTE.unpack_from(body)
    if family not in (_INET, _INET6) or kind not in _LEADING or table == _TABLE_LOCAL or flags & _CLONED:
        return None
    found = attributes(body[_ROUTE.size :])
    if found.get(_RTA_TO, b"").startswith(_LINK_LOCAL):
        return None
    return (bytes([family, to_bits, from_bits, tos, table, kind]), *(found.get(one, b"") for one in _ROUTE_IDENTITY))


def requests() -> list[bytes]:
    """What asks for the listings of links, addresses and routes; the kernel has one listing at a time for a socket."""
    any_family = bytes(4)  # and padding
    length = _HEADER.size + len(any_family)
    kinds = (_GET_LINK, _GET_ADDRESS, _GET_ROUTE)
    return [_HEADER.pack(length, kind, _REQUEST_DUMP, 0, 0) + any_family for kind in kinds]


def ends_listing(data: bytes) -> bool:
    """Whether a listing is complete, or was refused, with this datagram."""
    return any(kind in (_ERROR, _DONE) for kind, _, _ in messages(data))


class Known:
    """What the kernel has told so far."""

    def __init__(self) -> None:
        self._links: set[int] = set()  # those that carry packets
        self._addresses: set[OwnAddress] = set()  # those that can be used
        self._routes: set[Route] = set()

    def __len__(self) -> int:
        return len(self._links) + len(self._addresses) + len(self._routes)

    def hear(self, data: bytes) -> bool:
        """Whether a datagram told of a change."""
        changed = False
        for kind, flags, body in messages(data):
            changed |= self._hear_one(kind, flags, body)
        return changed

    def _hear_one(self, kind: int, flags: int, body: bytes) -> bool:
        if kind in (_NEW_LINK, _DEL_LINK) and (link := link_of(body)) is not None:
            return self._hear_link(link[0], link[1] and kind == _NEW_LINK)
        if kind in (_NEW_ADDRESS, _DEL_ADDRESS) and (address := address_of(body)) is not None:
            return self._hear_address(address[0], address[1] and kind == _NEW_ADDRESS)
        if kind in (_NEW_ROUTE, _DEL_ROUTE) and (route := route_of(body)) is not None:
            return self._hear_route(route, kind == _NEW_ROUTE, bool(flags & _REPLACE))
        return False

    def _hear_link(self, index: int, there: bool) -> bool:
        # A pulled cable leaves IPv4 addresses and routes as they are, so the link is all that tells of it. The links of containers come and
        # go all day without an address of their own.
        if not _note(self._links, index, there) or all(index != owner for owner, _ in self._addresses):
            return False
        self._routes.clear()
        return True

    def _hear_address(self, address: OwnAddress, there: bool) -> bool:
        if not _note(self._addresses, address, there):
            return False
        if not there:
            self._routes.clear()
        return True

    # Nothing is told of the IPv4 routes that go where a link or an address goes, nor of a route that another replaces. So all are forgotten
    # then: one that comes back must count, and one that is told again counts once too often.

    def _hear_route(self, route: Route, there: bool, replaces: bool) -> bool:
        if not there:
            self._routes.discard(route)
            return True
        if route in self._routes:
            return False
        if replaces:
            self._routes.clear()
        self._routes.add(route)
        return True


def _note(known: set[_T], item: _T, there: bool) -> bool:
    """Whether that was not known."""
    if (item in known) == there:
        return False
    if there:
        known.add(item)
    else:
        known.remove(item)
    return True
