"""What goes wrong gives one clear line that says what to do, and never a traceback."""

from __future__ import annotations

import base64
import signal
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.e2e.apps import connect_by_http, connect_by_socks, curl
from tests.e2e.machine import free_port, wait_until
from tests.e2e.middle import Interceptor
from tests.e2e.pairs import folder_for, start_exit, start_local, start_pair

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.machine import Program, Programs
    from tests.e2e.pairs import Local, Pair
    from tests.e2e.servers import Authority, Nginx

pytestmark = pytest.mark.e2e


@pytest.fixture
def interceptor(authority: Authority) -> Iterator[Interceptor]:
    middle = Interceptor(authority.server_context())
    yield middle
    middle.close()


def tunnel_is_down(local: Local) -> None:
    """Apps get a true answer, and the program waits for better times."""
    status, body = connect_by_http(local.port, "127.0.0.1:80")
    assert (status, b"tunnel" in body.lower()) == (503, True)
    reply, connection = connect_by_socks(local.port, "127.0.0.1", 80)
    connection.close()
    assert reply == 1
    assert local.program.alive


def said_once(program: Program, *words: str) -> str:
    """The one line with any of the words."""
    line = program.wait_for(*words)
    assert program.lines(*words) == [line]
    return line.lower()


def test_a_man_in_the_middle_learns_nothing_and_is_reported(programs: Programs, interceptor: Interceptor) -> None:
    there = start_exit(programs, public_port=interceptor.port)
    local = start_local(programs, there.link, wait=False)
    wait_until(lambda: interceptor.handshakes >= 3, "three attempts")
    line = said_once(local.program, "certificate")
    assert "between" in line or "middle" in line or "intercept" in line
    tunnel_is_down(local)
    local.program.stop()
    assert interceptor.heard == b""


def with_other_key(link: str) -> str:
    text = urlsplit(link).username or ""
    both = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    other = both[:-1] + bytes([both[-1] ^ 1])
    return link.replace(text, base64.urlsafe_b64encode(other).decode().rstrip("="))


def test_a_wrong_key(programs: Programs, pair: Pair) -> None:
    local = start_local(programs, with_other_key(pair.exit.link), wait=False)
    local.program.wait_for("key")
    # The exit is a web server to it: by the random bytes of a greeting it refuses that as a request, or waits for the rest of one.
    said = [line.partition("warning")[2] for line in local.program.lines("key")]
    assert all("link" in text for text in said)
    assert len(set(said)) == len(said)
    tunnel_is_down(local)
    local.program.stop()


def test_an_exit_that_is_not_there(programs: Programs) -> None:
    there = start_exit(programs, public_port=free_port())
    local = start_local(programs, there.link, wait=False)
    said_once(local.program, "reach", "refused", "connect")
    tunnel_is_down(local)
    local.program.stop()


def test_an_exit_that_comes_later(programs: Programs, nginx: Nginx, folder: Path) -> None:
    there = start_exit(programs)
    there.program.stop()
    local = start_local(programs, there.link, wait=False)
    local.program.wait_for("reach", "refused", "connect")
    programs.start_ropeway("exit", "exit", "run", "--config", there.config).wait_for("ready")

    def through() -> bool:
        answer = curl("-x", local.url("socks5h"), nginx.url("http", ""), folder=folder)
        return (answer.code, answer.status) == (0, 200)

    wait_until(through, "a page")


def one_line(programs: Programs, *arguments: str | Path) -> str:
    """What a command says that fails at once."""
    done = programs.run_ropeway(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    return line.lower()


def test_a_port_in_use(programs: Programs, pair: Pair) -> None:
    for words in (("run", "--config", pair.local.config), ("exit", "run", "--config", pair.exit.config)):
        line = one_line(programs, *words)
        assert "in use" in line
        assert str(pair.local.port if words[0] == "run" else pair.exit.port) in line
    assert "in use" in one_line(programs, "demo", "--port", str(pair.port))


BROKEN = {
    "no TOML": ("[local\nlisten\n", "line 1"),
    "an unknown setting": ('[local]\nlitsen = "127.0.0.1:1080"\n', "litsen"),
    "a wrong type": ("[local]\nlisten = 5\n", "local.listen"),
    "a broken link": ('[local]\nexit = "ropeway://nothing"\n', "local.exit"),
    "open to all": ('[local]\nlisten = "0.0.0.0:1080"\n', "password"),
    "nothing": ("", "join"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_configuration(programs: Programs, name: str) -> None:
    text, word = BROKEN[name]
    config = folder_for(programs, "broken") / "ropeway.toml"
    config.write_text(text)
    assert word in one_line(programs, "run", "--config", config)


def test_no_configuration(programs: Programs) -> None:
    config = programs.folder / "nowhere.toml"
    assert "join" in one_line(programs, "run", "--config", config)
    assert "init" in one_line(programs, "exit", "run", "--config", config)


@pytest.mark.parametrize("words", [["run", "--nonsense"], ["exit", "init"], ["fly"], ["join"]])
def test_wrong_usage(programs: Programs, words: list[str]) -> None:
    done = programs.run_ropeway(*words)
    assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (2, "", False)
    assert done.stderr


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_clean_end(programs: Programs, sign: signal.Signals) -> None:
    pair = start_pair(programs)
    with socket.create_server(("127.0.0.1", 0)) as server:
        _, connection = connect_by_socks(pair.port, "127.0.0.1", server.getsockname()[1])
        with connection:  # a stream that is open does not hold them up
            assert [program.stop(sign) for program in reversed(pair.programs)] == [0, 0]


def test_no_destination_is_logged(pair: Pair, nginx: Nginx, folder: Path) -> None:
    closed = free_port()
    curl("-x", pair.local.url("socks5h"), nginx.url("http", "1"), folder=folder)
    curl("-x", pair.local.url("http"), f"http://127.0.0.1:{closed}/", folder=folder)
    logs = "".join(program.text() for program in pair.programs)
    assert not any(str(word) in logs for word in ("localhost", nginx.http_port, closed))
