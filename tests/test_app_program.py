"""Programs of others: found, shown as commands, started."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from proxy import app_program
from proxy.app_program import AppProgram, Computer, open_link, start
from proxy.errors import ConfigError


def computer(system: str = "linux", *there: str, **environ: str) -> Computer:
    return Computer(system, Path("/state"), environ, lambda path: path if path in there else None)


def test_the_first_that_is_there_is_found() -> None:
    assert computer("linux", "b", "c").locate(["a", "b", "c"]) == AppProgram("b")


def test_variables_in_a_path_are_filled_in() -> None:
    found = computer("darwin", "/home/alice/App", HOME="/home/alice").locate(["/App", "{HOME}/App"])
    assert found == AppProgram("/home/alice/App")
    paths = [r"{PROGRAMFILES(X86)}\b.exe", r"{PROGRAMFILES}\b.exe"]
    assert (
        computer("win32", r"C:\Programs\b.exe", PROGRAMFILES=r"C:\Programs").locate(paths).path == r"C:\Programs\b.exe"
    )


@pytest.mark.parametrize("name", ["b", "/places/b", r"{PROGRAMFILES}\places\b"])
def test_what_is_not_there_has_its_name(name: str) -> None:
    assert computer().locate([name, "c"]) == AppProgram("b", found=False)


def test_the_choice_of_the_user_holds() -> None:
    assert computer("linux", "a", "/mine").locate(["a"], Path("/mine")) == AppProgram("/mine")
    with pytest.raises(ConfigError, match="other is no program"):
        computer("linux", "a").locate(["a"], Path("other"))


@pytest.mark.parametrize(
    ("script", "name"),
    [
        (b'#!/bin/sh\nexec /snap/bin/firefox "$@"\n', "firefox"),
        (b'#!/bin/sh\nexec "/snap/bin/chromium" "$@"\n', "chromium"),
        (b"#!/bin/sh\nexec /usr/lib/firefox\n", ""),
        (b"#!/bin/sh\nexec /snap/bin/", ""),
        (b"\x7fELF /snap/bin/firefox", ""),
    ],
)
def test_a_snap_keeps_it_in_its_own_folder(tmp_path: Path, script: bytes, name: str) -> None:
    path = tmp_path / "browser"
    path.write_bytes(script)
    folder = computer(HOME="/home/alice").folder_for(AppProgram(str(path)), "firefox")
    assert folder == (Path(f"/home/alice/snap/{name}/common/ropeway/firefox") if name else Path("/state/apps/firefox"))


def test_a_program_of_snap_itself_and_none() -> None:
    alice = computer(HOME="/home/alice")
    assert alice.folder_for(AppProgram("/snap/bin/chromium"), "x") == Path("/home/alice/snap/chromium/common/ropeway/x")
    assert alice.folder_for(AppProgram("firefox", found=False), "x") == Path("/state/apps/x")
    assert computer().folder_for(AppProgram("/snap/bin/chromium"), "x") == Path("/state/apps/x")


def test_a_command_is_what_the_shell_takes() -> None:
    argv, variables = ["/a b/c", "it's"], {"WORD": "a'b"}
    line = computer().command(argv, variables)
    assert shlex.split(line) == ["WORD=a'b", "/a b/c", "it's"]
    assert computer("win32").command(argv, variables) == "$env:WORD = 'a''b'; & '/a b/c' 'it''s'"


@pytest.mark.skipif(sys.platform == "win32", reason="the command is for sh")
def test_a_shell_starts_it() -> None:
    script = "import os, sys; print(os.environ['WORD'], *sys.argv[1:])"
    line = computer().command([sys.executable, "-c", script, "$HOME", "a  'b'"], {"WORD": "`x`"})
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout == "`x` $HOME a  'b'\n"


def test_what_is_started_has_the_variables_and_nobody_waits() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        script = "import os, socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
        script += "s.sendall(f\"{os.environ['WORD']} {'PATH' in os.environ}\".encode())"
        start([sys.executable, "-c", script, str(server.getsockname()[1])], {"WORD": "hello"})
        stream, _ = server.accept()
        with stream, stream.makefile() as told:
            assert told.read() == "hello True"


def test_what_cannot_be_started_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing cannot be started: "):
        start([str(tmp_path / "nothing")])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows opens links itself")
def test_a_link_goes_to_the_systems_opener(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(app_program, "start", asked.append)
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    open_link("tg://socks")
    assert asked == [[f"/bin/{'open' if sys.platform == 'darwin' else 'xdg-open'}", "tg://socks"]]
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(ConfigError, match="by hand"):
        open_link("tg://socks")


def test_this_computer() -> None:
    here = Computer.of_user()
    assert (here.system, here.environ) == (sys.platform, os.environ)
    assert here.locate([sys.executable]).found
