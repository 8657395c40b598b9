"""Which program is at the other end of a connection over loopback: from the kernel's tables, and of this very process."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import peer_process
from proxy.peer_process import PeerProcesses, program_of, sockets_in

if TYPE_CHECKING:
    from collections.abc import Iterator

linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not say it")

ROW = "   {}: 0100007F:{:04X} 0100007F:{:04X} 01 00000000:00000000 00:00000000 00000000  {}        0 {} 1 0 100 0 0 10 0\n"
TABLE = [
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n",
    ROW.format(0, 1080, 40001, 1000, 1),  # our end of it
    ROW.format(1, 40001, 1080, 1000, 2),
    ROW.format(2, 40002, 1080, 1001, 3),  # another user's
    ROW.format(3, 40003, 1081, 1000, 4),  # to another port
    ROW.format(4, 40004, 1080, 1000, 5),
    "   5: 00000000000000000000000001000000:9C45 00000000000000000000000001000000:0438 01 0:0 00:0 0  1000 0 6 1\n",
    "   6: 0100007F:9C46\n",
]


@pytest.fixture
def _user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_process, "own_user", lambda: 1000)


@pytest.mark.usefixtures("_user")
def test_sockets_of_this_user_to_this_port() -> None:
    wanted = {(port, 1080) for port in range(40001, 40007) if port != 40004}
    assert sockets_in(TABLE, wanted) == {"socket:[2]": (40001, 1080), "socket:[6]": (40005, 1080)}
    assert sockets_in(TABLE, {(40003, 1081)}) == {"socket:[4]": (40003, 1081)}
    assert sockets_in(TABLE, ()) == {}


@pytest.mark.usefixtures("_user")
def test_of_two_connections_with_the_same_ports_neither_is_taken_for_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_process, "_PROCESSES", tmp_path)
    (tmp_path / "net").mkdir()
    closing = ROW.format(9, 40004, 1080, 1000, 0)  # TIME_WAIT: it is of no process
    elsewhere = ROW.format(8, 40001, 1080, 1000, 7).replace("0100007F:0438", "0200007F:0438")
    (tmp_path / "net" / "tcp").write_text("".join([*TABLE, elsewhere, closing]))
    found = PeerProcesses(lambda: None)._sockets({(40001, 1080), (40004, 1080)})
    assert found == {"socket:[5]": (40004, 1080)}


@given(st.lists(st.text("0123456789ABCDEF: \n", max_size=80)))
def test_what_is_no_table_has_none(lines: list[str]) -> None:
    assert sockets_in(lines, {(0xFFFFF, 1)}) == {}


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as app:
        ours, _ = server.accept()
        with ours:
            yield app, ours


def ends_of(app: socket.socket) -> tuple[int, int]:
    return app.getsockname()[1], app.getpeername()[1]


@linux
def test_a_connection_of_this_process(pair: tuple[socket.socket, socket.socket]) -> None:
    parts: list[int] = []
    processes, ends = PeerProcesses(lambda: parts.append(1)), ends_of(pair[0])
    assert processes.find([ends], everywhere=False) == {}  # nobody is known yet
    itself = str(Path(sys.executable).resolve())
    assert processes.find([ends, (1, ends[1])], everywhere=True) == {ends: itself}
    assert processes.find([ends], everywhere=False) == {ends: itself}
    assert program_of(os.getpid()) == itself


@linux
def test_so_many_files_are_looked_at(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_process, "MOST_FILES", 0)
    assert PeerProcesses(lambda: None).find([ends_of(pair[0])], everywhere=True) == {}


@linux
def test_where_nothing_is_told_nothing_is_known(
    pair: tuple[socket.socket, socket.socket], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        monkeypatch.setattr(peer_process, "_PROCESSES", place)
        assert PeerProcesses(lambda: None).find([ends_of(pair[0])], everywhere=True) == {}
        assert program_of(os.getpid()) == ""


def test_a_program_that_was_updated_since_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_process, "_PROCESSES", tmp_path)
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "exe").symlink_to("/usr/bin/browser (deleted)")
    assert program_of(7) == "/usr/bin/browser"
