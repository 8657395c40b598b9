"""Chat servers that nobody here wrote, on loopback."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.machine import Program, Programs, free_port, missing, program, server_program

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.e2e.servers import Authority

#: The accounts are plain files, and what it says goes to the test's log.
_PROSODY = """
run_as_root = true
daemonize = false
pidfile = "{folder}/prosody.pid"
data_path = "{folder}"
plugin_paths = {{}}
modules_enabled = {{ "roster"; "saslauth"; "disco"; "ping"{tls_module} }}
modules_disabled = {{ "s2s"; "http" }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
s2s_ports = {{}}
c2s_require_encryption = {tls}
authentication = "internal_plain"
log = {{ {{ levels = {{ min = "info" }}, to = "console" }} }}
VirtualHost "localhost"
"""
_PROSODY_TLS = 'ssl = {{ key = "{folder}/server.pem", certificate = "{folder}/server.pem" }}\n'

_ROSTER = (
    'return {{ [false] = {{ version = 1 }}; ["{other}@localhost"] = {{ subscription = "both"; groups = {{}} }} }};\n'
)

_NGIRCD = """
[Global]
Name = irc.localhost
Info = a server
Listen = 127.0.0.1
Ports = {port}
[Limits]
# Nobody is slowed down for saying much.
MaxPenaltyTime = 0
PingTimeout = 120
[Options]
DNS = no
Ident = no
PAM = no
"""


#: Where scripts/matrix puts synapse and nio.
MATRIX = Path(__file__).parents[3] / "build" / "matrix" / "bin" / "python"
#: Nobody is slowed down for saying much.
_UNLIMITED = {"per_second": 1e6, "burst_count": 1_000_000}


@dataclass(frozen=True)
class Server:
    program: Program
    port: int


def start_prosody(
    programs: Programs, folder: Path, names: Sequence[str], password: str, authority: Authority | None = None
) -> Server:
    """It lets in only those who encrypt where there is an authority, and else everybody as they are."""
    port, config = free_port(), folder / "prosody.cfg.lua"
    tls = authority is not None
    text = _PROSODY.format(folder=folder, port=port, tls_module='; "tls"' if tls else "", tls=str(tls).lower())
    if authority:
        authority.give(folder)
        text += _PROSODY_TLS.format(folder=folder)
    config.write_text(text)
    for name in names:
        words: list[str | Path] = [
            program("prosodyctl"),
            "--root",
            "--config",
            config,
            "register",
            name,
            "localhost",
            password,
        ]
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    started = programs.start("prosody", [program("prosody"), "--root", "-F", "--config", config])
    started.wait_for_port(port)
    return Server(started, port)


def befriend(folder: Path, *, me: str, other: str) -> None:
    """Before prosody starts: each sees the other's presence, and nobody is asked."""
    (folder / "localhost" / "roster").mkdir(parents=True, exist_ok=True)
    for mine, theirs in ((me, other), (other, me)):
        (folder / "localhost" / "roster" / f"{mine}.dat").write_text(_ROSTER.format(other=theirs))


def start_ngircd(programs: Programs, folder: Path) -> Server:
    port, config = free_port(), folder / "ngircd.conf"
    config.write_text(_NGIRCD.format(port=port))
    started = programs.start("ngircd", [server_program("ngircd"), "--nodaemon", "--config", config])
    started.wait_for_port(port)
    return Server(started, port)


def matrix_python() -> Path:
    """The interpreter that has synapse and nio. Without it a test fails in CI, and elsewhere is skipped."""
    if not MATRIX.exists():
        missing("there is no Matrix server: make it with scripts/matrix")
    return MATRIX


def start_synapse(programs: Programs, folder: Path, authority: Authority) -> Server:
    """With TLS, and for whoever wants an account."""
    python = matrix_python()
    authority.give(folder)
    port, config, certificate = free_port(), folder / "homeserver.yaml", str(folder / "server.pem")
    resources = [{"names": ["client"], "compress": False}]
    listener = {"port": port, "tls": True, "type": "http", "bind_addresses": ["127.0.0.1"], "resources": resources}
    settings = {
        "server_name": "localhost",
        "pid_file": str(folder / "synapse.pid"),
        "listeners": [listener],
        "tls_certificate_path": certificate,
        "tls_private_key_path": certificate,
        "database": {"name": "sqlite3", "args": {"database": str(folder / "synapse.db")}},
        "media_store_path": str(folder / "media"),
        "signing_key_path": str(folder / "signing.key"),
        "macaroon_secret_key": "a secret",
        "report_stats": False,
        "trusted_key_servers": [],
        "enable_registration": True,
        "enable_registration_without_verification": True,
        "rc_message": _UNLIMITED,
        "rc_registration": _UNLIMITED,
        "rc_login": {"address": _UNLIMITED, "account": _UNLIMITED},
    }
    config.write_text(json.dumps(settings))  # which is YAML as well
    words: list[str | Path] = [python, "-m", "synapse.app.homeserver", "--config-path", config]
    done = subprocess.run(
        [*words, "--generate-keys"], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    started = programs.start("synapse", words)
    started.wait_for_port(port)
    return Server(started, port)
