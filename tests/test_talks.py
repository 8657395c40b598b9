"""The kernel's tables of connections, written by hand and real ones."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import pytest

from proxy.address import Address
from proxy.local_check import Talk
from proxy.talks import read_talks

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these tables")

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def row(remote: str, state: str, inode: int) -> str:
    return f"   0: 0100007F:A000 {remote} {state} 00000000:00000000 00:00000000 00000000  1000        0 {inode} 1 x\n"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "net").mkdir()
    rows = [
        row("08080808:01BB", "01", 1),  # 8.8.8.8:443
        row("08080808:01BB", "06", 2),  # it waits for its end
        row("0100000A:01BB", "01", 3),  # 10.0.0.1
        row("08080808:0016", "01", 4),  # SSH
        row("09090909:01BB", "01", 5),  # Ropeway's
        row("08080404:01BB", "01", 6),  # another user's: nobody of ours holds it
    ]
    (tmp_path / "net" / "tcp").write_text(HEAD + "".join(rows))
    mapped = row("0000000000000000FFFF000001010101:01BB", "01", 7)
    (tmp_path / "net" / "tcp6").write_text(HEAD + mapped)
    for pid, name, words, inodes in (
        (10, "firefox", "/usr/bin/firefox", (1, 2, 3, 4, 7)),
        (11, "python", "/usr/bin/python\0-m\0proxy\0run", (5,)),
    ):
        folder = tmp_path / str(pid) / "fd"
        folder.mkdir(parents=True)
        (folder.parent / "comm").write_text(f"{name}\n")
        (folder.parent / "cmdline").write_text(f"{words}\0")
        for inode in inodes:
            (folder / str(inode)).symlink_to(f"socket:[{inode}]")
        (folder / "0").symlink_to("/dev/null")
    (tmp_path / "12").mkdir()  # it has just ended
    return tmp_path


@pytest.mark.skipif(sys.byteorder != "little", reason="the tables above are of such a machine")
def test_who_talks_to_whom(proc: Path) -> None:
    assert set(read_talks(proc)) == {
        Talk("firefox", Address("8.8.8.8", 443)),
        Talk("firefox", Address("1.1.1.1", 443)),
    }


def test_without_tables_nothing_is_known(tmp_path: Path) -> None:
    assert read_talks(tmp_path) == []


def test_the_real_tables_can_be_read_and_tell_nothing_of_loopback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        assert all(talk.remote.host != "127.0.0.1" for talk in read_talks())
