"""sing-box as an app that speaks SOCKS5: what comes to a port of its goes by way of the proxy to one place."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from tests.bench import BENCH
from tests.e2e.machine import free_port, missing

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.machine import Programs

HOST = "127.0.0.1"


def singbox() -> str:
    """Where it is. Without it a test fails in CI, and elsewhere is skipped with the reason."""
    assert BENCH in sys.path  # the measurements know it as well
    import peer

    try:
        return peer.program()
    except peer.MissingError as reason:
        missing(str(reason))


def start_singbox(
    programs: Programs, folder: Path, proxy_port: int, there: dict[str, tuple[str, int]]
) -> dict[str, int]:
    """Where it listens, for each network (`tcp`, `udp`) that has a place to go."""
    ports = {network: free_port() for network in there}
    inbounds = [
        {
            "type": "direct",
            "network": network,
            "listen": HOST,
            "listen_port": ports[network],
            "override_address": host,
            "override_port": port,
        }
        for network, (host, port) in there.items()
    ]
    way = {"type": "socks", "version": "5", "server": HOST, "server_port": proxy_port}
    config = folder / "sing-box.json"
    config.write_text(json.dumps({"log": {"level": "info"}, "inbounds": inbounds, "outbounds": [way]}))
    started = programs.start("sing-box", [singbox(), "run", "-c", config])
    started.wait_for("sing-box started")
    return ports
