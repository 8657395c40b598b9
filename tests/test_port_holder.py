"""Who has a port: asked of the kernel on Linux, and of other systems' programs by their words."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from proxy import port_holder
from proxy.port_holder import Holder, holder_in_lsof, holder_of, pid_in_netstat
from proxy.settings import Listen
from tests.standins import Standins, needs_a_shell

if TYPE_CHECKING:
    from pathlib import Path

linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


def port_of(server: socket.socket) -> int:
    port = server.getsockname()[1]
    assert isinstance(port, int)
    return port


@linux
@pytest.mark.parametrize("place", ["127.0.0.1", "", "0.0.0.0"])
def test_the_holder_is_named(place: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        holder = holder_of(Listen(place, port_of(server)))
        assert holder is not None
        assert holder.pid == os.getpid()
        assert f"(process {os.getpid()})" in str(holder)
    assert holder_of(Listen(place, port_of_closed())) is None


def port_of_closed() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return port_of(server)


@linux
def test_ipv6_and_another_address_is_another_place() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = port_of(server)
        holder = holder_of(Listen("::1", port))
        assert holder is not None
        assert holder.pid == os.getpid()
        assert holder_of(Listen("127.0.0.2", port)) is None


@linux
def test_another_process_and_another_ropeway(tmp_path: Path) -> None:
    code = "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); sys.stdin.read()"
    (tmp_path / "ropeway.pyz").write_text(code)
    (tmp_path / "proxy.py").write_text(code)
    ours = (["-m", "proxy", "run"], [tmp_path / "ropeway.pyz", "run"])
    for words in (["-c", code], ["-c", code, "proxy"], *ours):
        argv = [sys.executable, *words]
        with subprocess.Popen(argv, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            holder = holder_of(Listen("127.0.0.1", int(process.stdout.readline())))
            process.communicate()
        assert holder is not None
        assert holder.pid == process.pid
        assert (holder.name == "Ropeway") == (words in ours)


def test_a_port_that_the_system_chooses_and_one_that_needs_a_right_are_nobodys() -> None:
    assert holder_of(Listen("127.0.0.1", 0)) is None
    assert holder_of(Listen("192.0.2.1", 1080)) is None  # not an address of ours


def test_what_lingers_of_a_connection_is_in_nobodys_way() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = port_of(server)
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        accepted.close()  # first, so that TIME_WAIT is on the server's side
        client.close()
    assert holder_of(Listen("127.0.0.1", port)) is None


def test_the_answers_of_other_systems() -> None:
    assert holder_in_lsof("p4711\ncnginx\nf6\n") == Holder(4711, "nginx")
    assert holder_in_lsof("") is None
    text = (
        "\nAktive Verbindungen\n\n  Proto  Lokale Adresse         Remoteadresse          Status           PID\n"
        "  TCP    0.0.0.0:135            0.0.0.0:0              ABHÖREN         900\n"
        "  TCP    127.0.0.1:1080         127.0.0.1:50000        HERGESTELLT     1\n"
        "  TCP    127.0.0.1:1080         0.0.0.0:0              ABHÖREN         4711\n"
    )
    assert pid_in_netstat(text, 1080) == 4711
    assert pid_in_netstat(text, 80) is None


@needs_a_shell
def test_other_systems_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    standins = Standins(tmp_path, monkeypatch)
    standins.answer("lsof", out="p12\ncsshd\n")
    standins.answer("netstat", out="  TCP  127.0.0.1:1080  0.0.0.0:0  LISTENING  34\n")
    standins.answer("tasklist", out='"other.exe","34","Console","1","9,000 K"\n')
    assert port_holder._by_lsof(1080) == Holder(12, "sshd")
    assert port_holder._by_netstat(1080) == Holder(34, "other.exe")
    assert str(Holder(34, "other.exe")) == "other.exe (process 34)"
    assert port_holder._by_netstat(81) is None
    assert standins.calls()[0] == "lsof -nP -iTCP:1080 -sTCP:LISTEN -Fpc"


@needs_a_shell
def test_where_the_system_says_nothing_the_port_is_taken_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_holder, "_ASK", {})
    monkeypatch.setenv("PATH", "/nowhere")
    with socket.create_server(("127.0.0.1", 0)) as server:
        holder = holder_of(Listen("127.0.0.1", port_of(server)))
    assert str(holder) == "another program"
