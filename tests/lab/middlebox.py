"""What somebody on the way sees of packets and does to them: which TCP connections pass, resets forged for both ends, rules of a censor."""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

_TCP = 6
_FIN, _SYN, _RST, _ACK = 0x01, 0x02, 0x04, 0x10
_WORD, _HALF_WORD = 0xFFFFFFFF, 0x80000000

#: An address and a port.
End: TypeAlias = tuple[bytes, int]


# ---- packets


class Packet(NamedTuple):
    """An IPv4 packet and what matters of it. What is not TCP has neither ports nor flags."""

    data: bytes
    source: End
    target: End
    flags: int = 0
    acknowledges: int = 0
    begins: int = 0
    #: The sequence number behind it.
    ends: int = 0
    #: The length of its payload.
    carries: int = 0


def parse(data: bytes) -> Packet | None:
    """None for what is not IPv4: this network does not have it."""
    if data[0] >> 4 != 4:
        return None
    if data[9] != _TCP:
        return Packet(data, (data[12:16], 0), (data[16:20], 0))
    head = (data[0] & 15) * 4
    source, target, begins, acknowledges, offset, flags = struct.unpack_from("!HHIIBB", data, head)
    carries = len(data) - head - (offset >> 4) * 4
    ends = (begins + carries + bool(flags & _SYN) + bool(flags & _FIN)) & _WORD
    return Packet(data, (data[12:16], source), (data[16:20], target), flags, acknowledges, begins, ends, carries)


def checksum(data: bytes) -> int:
    """RFC 1071; the length is even here."""
    words: tuple[int, ...] = struct.unpack(f"!{len(data) // 2}H", data)
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def forged_reset(source: End, target: End, sequence: int, acknowledges: int) -> bytes:
    tcp = struct.pack("!HHIIBBHHH", source[1], target[1], sequence, acknowledges, 5 << 4, _RST | _ACK, 0, 0, 0)
    pseudo = source[0] + target[0] + struct.pack("!BBH", 0, _TCP, len(tcp))
    tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0x4000, 64, _TCP, 0, source[0], target[0])
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + tcp


# ---- TCP connections, as somebody on the way sees them


@dataclass(slots=True)
class Half:
    """What one end of a connection has said."""

    tun: int
    #: The sequence number behind all that it has sent, and behind what the link has delivered of it.
    sent: int
    delivered: int
    #: What it expects next of the other end, as it says itself.
    expects: int
    ended: bool = False


def later(one: int, other: int) -> int:
    """Of two sequence numbers the later one; they wrap around."""
    return one if (one - other) & _WORD < _HALF_WORD else other


class Connections:
    """Those that pass, each as two halves: by who speaks, and to whom."""

    def __init__(self) -> None:
        self.made: Counter[int] = Counter()
        self._halves: dict[tuple[End, End], Half] = {}

    def sent(self, packet: Packet, tun: int) -> None:
        """Call for each packet of a host, whatever becomes of it."""
        key = (packet.source, packet.target)
        if packet.flags & _RST:
            self._forget(key)
        elif packet.flags & _SYN:
            self._begin(key, packet, tun)
        elif half := self._halves.get(key):
            half.sent = later(packet.ends, half.sent)
            half.expects = packet.acknowledges
            half.ended |= bool(packet.flags & _FIN)
            other = self._halves.get((packet.target, packet.source))
            if half.ended and other and other.ended:
                self._forget(key)

    def delivered(self, packet: Packet) -> None:
        if half := self._halves.get((packet.source, packet.target)):
            half.delivered = later(packet.ends, half.delivered)

    def resets(self, port: int | None) -> Iterator[tuple[int, bytes]]:
        """Forged packets, each with the host that it is for; the connections are forgotten.

        A host obeys a reset with exactly the number that it expects next (RFC 5961). That is what it has acknowledged, or, while it
        waits before it acknowledges, the end of what came last.
        """
        for (end, peer), half in list(self._halves.items()):
            if port is None or port in (end[1], peer[1]):
                other = self._halves.get((peer, end))
                for number in {half.expects, other.delivered if other else half.expects}:
                    yield half.tun, forged_reset(peer, end, number, half.sent)
        for key in [key for key in self._halves if port is None or port in (key[0][1], key[1][1])]:
            del self._halves[key]

    def count(self, port: int | None) -> int:
        return sum(port is None or port in (end[1], peer[1]) for end, peer in self._halves) // 2

    def _begin(self, key: tuple[End, End], packet: Packet, tun: int) -> None:
        old = self._halves.get(key)
        if old and (old.sent - packet.begins) & _WORD < 1 << 16:
            return  # it was lost, and is sent again
        self._halves[key] = Half(tun, packet.ends, packet.begins, packet.acknowledges)
        if not packet.flags & _ACK:
            self._halves.pop((packet.target, packet.source), None)
            self.made[packet.target[1]] += 1

    def _forget(self, key: tuple[End, End]) -> None:
        self._halves.pop(key, None)
        self._halves.pop(key[::-1], None)


# ---- the censor


@dataclass(frozen=True, slots=True)
class Down:
    until: float

    def stops(self, packet: Packet) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Block:
    until: float
    end: End

    def stops(self, packet: Packet) -> bool:
        return self.end in (packet.source, packet.target)


@dataclass(frozen=True, slots=True)
class Mute:
    until: float
    port: int

    def stops(self, packet: Packet) -> bool:
        return packet.carries > 0 and packet.source[1] == self.port


class Censor:
    def __init__(self) -> None:
        self._rules: list[Down | Block | Mute] = []

    def add(self, rule: Down | Block | Mute) -> None:
        self._rules.append(rule)

    def forget(self) -> None:
        self._rules.clear()

    def stops(self, packet: Packet, now: float) -> bool:
        if not self._rules:
            return False
        self._rules = [rule for rule in self._rules if rule.until > now]
        return any(rule.stops(packet) for rule in self._rules)
