"""A capture on every device of a host: where its packets go, and whether words can be read in them, or in those that come.

python -m tests.lab.wire [WORD ...]

It says `DEVICE PROTOCOL ADDRESS:PORT` for each place once, and `DEVICE shows WORD`. What stays on the host is of the device lo.
"""

from __future__ import annotations

import ipaddress
import socket
import sys

assert sys.platform == "linux"  # the type checker reads no further elsewhere

_EVERYTHING = 0x0003  # ETH_P_ALL, linux/if_ether.h
_PROTOCOLS = {6: "tcp", 17: "udp"}
_V4, _V6 = 4, 6
_V6_HEAD = 40


def place(packet: bytes) -> str | None:
    """Where it goes; None for what is neither TCP nor UDP. Extensions of IPv6 are not looked through: nobody here has them."""
    if not packet:
        return None
    if packet[0] >> 4 == _V4:
        protocol, address, head = packet[9], packet[16:20], (packet[0] & 15) * 4
    elif packet[0] >> 4 == _V6:
        protocol, address, head = packet[6], packet[24:40], _V6_HEAD
    else:
        return None
    if protocol not in _PROTOCOLS:
        return None
    port = int.from_bytes(packet[head + 2 : head + 4], "big")
    return f"{_PROTOCOLS[protocol]} {ipaddress.ip_address(address)}:{port}"


def main() -> None:
    words = sys.argv[1:]
    told: set[str] = set()
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_EVERYTHING)) as capture:
        print("ready", flush=True)
        while True:
            packet, (device, _, kind, *_) = capture.recvfrom(1 << 16)
            lines = {f"{device} shows {word}" for word in words if word.encode() in packet}
            if kind == socket.PACKET_OUTGOING and (there := place(packet)):
                lines.add(f"{device} {there}")
            for line in lines - told:
                print(line, flush=True)
            told |= lines


if __name__ == "__main__":
    main()
