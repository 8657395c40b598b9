"""What apps do at the local port: curl, and SOCKS by hand where a test must hold the connection."""

from __future__ import annotations

import hashlib
import socket
import struct
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.e2e.machine import ENVIRONMENT, program

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Answer:
    """What curl got: its own exit code and complaint, the status, and the body's length and SHA-256."""

    code: int
    complaint: str
    status: int
    size: int
    digest: str


def curl_command(*arguments: str | Path) -> list[str | Path]:
    return [program("curl"), "--silent", "--show-error", "--max-time", "100", *arguments]


def curl(*arguments: str | Path, folder: Path, prefix: Sequence[str] = ()) -> Answer:
    """Run curl and hash the body on its way. `folder` is for what it writes besides."""
    head, complaint = folder / "head", folder / "complaint"
    head.write_bytes(b"")
    with complaint.open("wb") as errors:
        argv = [*prefix, *curl_command("--dump-header", head, *arguments)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=errors, env=ENVIRONMENT) as process:
            assert process.stdout is not None
            digest, size = hashlib.sha256(), 0
            while chunk := process.stdout.read(1 << 20):
                digest.update(chunk)
                size += len(chunk)
    lines = [line for line in head.read_text(errors="replace").splitlines() if line.startswith("HTTP/")]
    status = int(lines[-1].split()[1]) if lines else 0
    return Answer(process.returncode, complaint.read_text(errors="replace").strip(), status, size, digest.hexdigest())


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def receive(connection: socket.socket, size: int) -> bytes:
    """Exactly that many bytes. Raises EOFError."""
    data = bytearray()
    while len(data) < size:
        chunk = connection.recv(min(size - len(data), 1 << 20))
        if not chunk:
            raise EOFError(f"the end after {len(data)} of {size} bytes")
        data += chunk
    return bytes(data)


def receive_until_end(connection: socket.socket) -> bytes:
    """All bytes up to the end, orderly or not."""
    data = bytearray()
    try:
        while chunk := connection.recv(1 << 16):
            data += chunk
    except ConnectionError:
        pass
    return bytes(data)


def connect_by_socks(
    proxy_port: int, host: str, port: int, *, by_address: bool = False, seconds: float = 30
) -> tuple[int, socket.socket]:
    """The SOCKS5 reply and the connection (RFC 1928), which the caller closes. `by_address`: the host is IPv4, and said to be."""
    connection = socket.create_connection(("127.0.0.1", proxy_port), timeout=seconds)
    name = host.encode()
    there = b"\1" + socket.inet_aton(host) if by_address else b"\3" + bytes([len(name)]) + name
    connection.sendall(b"\5\1\0" + b"\5\1\0" + there + struct.pack("!H", port))
    assert receive(connection, 2) == b"\5\0"
    _, reply, _, kind = receive(connection, 4)
    receive(connection, {1: 4, 4: 16}[kind] + 2)
    return reply, connection


def request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def receive_head(connection: socket.socket) -> bytes:
    """An HTTP response's head, read byte by byte so that the body stays where it is."""
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        head += receive(connection, 1)
    return bytes(head)


def body_size(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    raise AssertionError(f"no length in {head!r}")


def connect_by_http(proxy_port: int, authority: str, *, seconds: float = 30) -> tuple[int, bytes]:
    """The status of a CONNECT that is not to succeed, and the answer's body."""
    with socket.create_connection(("127.0.0.1", proxy_port), timeout=seconds) as connection:
        connection.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        head = receive_head(connection)
        return int(head.split()[1]), receive(connection, body_size(head))
