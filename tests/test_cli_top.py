"""`ropeway top` as a user has it: once, and in a terminal."""

from __future__ import annotations

import os
import select
import socket
import struct
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from proxy import cli
from tests.command_line import Done
from tests.interface_standin import TOKEN, Standin, connection, standin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such terminals")

LEAVE = "\x1b[?1049l"


@pytest.fixture
def server() -> Iterator[Standin]:
    with standin() as server:
        server.open = [connection(number, f"host{number}.example") for number in (1, 2, 3)]
        yield server


@pytest.fixture
def config(server: Standin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With that server's port; and its token is where the user's is."""
    state = tmp_path / "ropeway"
    state.mkdir(mode=0o700)
    token = state / "dashboard.token"
    token.touch(mode=0o600)
    token.write_text(TOKEN)
    config = tmp_path / "config.toml"
    config.touch(mode=0o600)
    config.write_text(f'[local]\nlisten = "{server.address}"\n')
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("platformdirs.user_state_path", lambda *_arguments, **_options: state)
    return config


@pytest.fixture
def top(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], log_as_before: None
) -> Callable[[], Done]:
    """Runs it without a terminal."""

    def run() -> Done:
        monkeypatch.setattr("sys.argv", ["ropeway", "top", "--config", str(config)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        assert isinstance(caught.value.code, int)
        return Done(caught.value.code, *capsys.readouterr())

    return run


def test_without_a_terminal_there_is_one_snapshot(top: Callable[[], Done]) -> None:
    done = top()
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].startswith("Ropeway 0.1.0   127.0.0.1:1080")
    assert [line.split()[0] for line in lines[5:]] == [f"host{number}.example:443" for number in (3, 2, 1)]
    assert "\x1b" not in done.out


def test_a_local_side_that_does_not_run_is_one_line(top: Callable[[], Done], config: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        config.write_text(f'[local]\nlisten = "127.0.0.1:{taken.getsockname()[1]}"\n')
        assert top().failure.startswith("ropeway: nothing listens at ")


def test_another_token_is_one_line(top: Callable[[], Done], tmp_path: Path) -> None:
    (tmp_path / "ropeway" / "dashboard.token").write_text("u" * 43)
    assert "no Ropeway of yours" in top().failure


if sys.platform != "win32":
    import fcntl
    import termios

    class Terminal:
        """One that a program has for its own, as far as these tests look."""

        def __init__(self, master: int, slave: int) -> None:
            self._master, self._slave = master, slave
            self.text = ""

        @property
        def attributes(self) -> list[object]:
            return termios.tcgetattr(self._slave)

        def resize(self, width: int, height: int) -> None:
            fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

        def type(self, keys: bytes) -> None:
            os.write(self._master, keys)

        def wait_for(self, words: str) -> None:
            """Shown since it was waited for the last time."""
            while words not in self.text:
                assert select.select([self._master], [], [], 60)[0], f"{words!r} did not come: {self.text!r}"
                self.text += os.read(self._master, 65536).decode()
            self.text = self.text.partition(words)[2]

    @contextmanager
    def running(argv: list[str]) -> Iterator[tuple[Terminal, subprocess.Popen[bytes]]]:
        master, slave = os.openpty()
        terminal = Terminal(master, slave)
        terminal.resize(100, 12)
        with subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True) as process:
            try:
                yield terminal, process
            finally:
                process.kill()
        os.close(master)
        os.close(slave)

    def test_in_a_terminal_it_goes_on_until_q(config: Path, server: Standin) -> None:
        script = "import proxy.cli, proxy.cli_top; proxy.cli_top.EVERY = 0.05; proxy.cli.main()"
        with running([sys.executable, "-c", script, "top", "--config", str(config)]) as (terminal, process):
            before = terminal.attributes
            terminal.wait_for("host1.example:443")
            terminal.type(b"\x1b[B\x1b[B")
            terminal.wait_for("\x1b[7m           host2.example")
            terminal.type(b"c")
            terminal.wait_for("it is closed")
            assert [each["id"] for each in server.open] == [1, 3]
            server.status, server.content = 200, b"something else"
            terminal.wait_for("has no dashboard")
            server.open.append(connection(9, "new.example"))
            server.status = 0
            terminal.wait_for("new.example")
            terminal.resize(40, 8)
            terminal.wait_for("\x1b[8;1H")
            terminal.type(b"s")
            terminal.wait_for("sorted by bytes")
            terminal.type(b"q")
            terminal.wait_for(LEAVE)
            assert process.wait(30) == 0
            assert terminal.attributes == before
