"""The DNS server of a host, over UDP and TCP: it says what it is asked, and knows the names that it was told. Others do not exist.

python -m tests.lab.resolver [NAME=ADDRESS ...]
"""

from __future__ import annotations

import socket
import struct
import sys
import threading
from contextlib import suppress

PORT = 53
_A = 1
_ANSWER, _NO_SUCH_NAME = 0x8180, 0x8183  # an answer, recursion is available; RFC 1035, section 4.1.1
_NAME_ABOVE = 0xC00C  # the name of the question
_SECONDS = 60


def asked(query: bytes) -> tuple[str, int, bytes]:
    """The name, the type, and the question as it stands."""
    labels, position = [], 12
    while length := query[position]:
        labels.append(query[position + 1 : position + 1 + length].decode())
        position += 1 + length
    end = position + 5
    return ".".join(labels).lower(), int.from_bytes(query[position + 1 : position + 3], "big"), query[12:end]


def answer(query: bytes, names: dict[str, str]) -> bytes:
    name, kind, question = asked(query)
    print(f"asked {name}", flush=True)
    records = b""
    if name in names and kind == _A:
        records = struct.pack("!HHHIH4s", _NAME_ABOVE, _A, 1, _SECONDS, 4, socket.inet_aton(names[name]))
    flags = _ANSWER if name in names else _NO_SUCH_NAME
    return query[:2] + struct.pack("!HHHHH", flags, 1, bool(records), 0, 0) + question + records


def serve_tcp(server: socket.socket, names: dict[str, str]) -> None:
    """Each connection for as long as it has questions, with their lengths before them (RFC 1035, section 4.2.2)."""
    while True:
        connection, _ = server.accept()
        threading.Thread(target=answer_all, args=(connection, names), daemon=True).start()


def answer_all(connection: socket.socket, names: dict[str, str]) -> None:
    with suppress(ConnectionResetError), connection, connection.makefile("rb") as questions:
        while len(head := questions.read(2)) == 2:
            answered = answer(questions.read(int.from_bytes(head, "big")), names)
            connection.sendall(len(answered).to_bytes(2, "big") + answered)


def main() -> None:
    names = dict(word.split("=") for word in sys.argv[1:])
    with socket.create_server(("127.0.0.1", PORT)) as listener, socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", PORT))
        threading.Thread(target=serve_tcp, args=(listener, names), daemon=True).start()
        print("ready", flush=True)
        while True:
            query, peer = server.recvfrom(4096)
            server.sendto(answer(query, names), peer)


if __name__ == "__main__":
    main()
