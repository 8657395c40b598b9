"""The exit as a service: it stops in peace and starts at once again, and takes what changes in its files without a word to anybody."""

from __future__ import annotations

import signal
import socket
import sys
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest

from tests.e2e.apps import connect_by_socks, receive
from tests.e2e.machine import wait_until
from tests.e2e.pairs import Pair, start_local, start_pair
from tests.e2e.test_visitors import visit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.machine import Program, Programs
    from tests.e2e.pairs import Local

pytestmark = pytest.mark.e2e


@pytest.fixture
def own_pair(programs: Programs) -> Iterator[Pair]:
    pair = start_pair(programs)
    yield pair
    for program in pair.programs:
        program.stop()


class Conversation:
    """An app's connection through the tunnel, and its other end."""

    def __init__(self, local: Local, held: ExitStack) -> None:
        server = held.enter_context(socket.create_server(("127.0.0.1", 0)))
        server.settimeout(30)
        reply, self.app = connect_by_socks(local.port, "127.0.0.1", server.getsockname()[1])
        held.enter_context(self.app)
        assert reply == 0
        self.destination, _ = server.accept()
        held.enter_context(self.destination)
        self.destination.settimeout(30)

    def goes_on(self) -> None:
        for source, sink in ((self.app, self.destination), (self.destination, self.app)):
            source.sendall(b"word")
            assert receive(sink, 4) == b"word"

    def is_reset(self) -> None:
        """At both ends: nobody takes it for complete."""
        for end in (self.app, self.destination):
            with pytest.raises(ConnectionResetError):
                end.recv(1)


def fill(connection: socket.socket) -> None:
    """As much as all buffers on the way take."""
    connection.settimeout(1)
    with suppress(TimeoutError):
        while True:
            connection.sendall(bytes(1 << 20))


def restart(programs: Programs, pair: Pair) -> Program:
    program = programs.start_ropeway("exit", "exit", "run", "--config", pair.exit.config)
    program.wait_for("ready")
    return program


def test_a_stop_is_told_and_the_port_is_free_at_once(programs: Programs, own_pair: Pair) -> None:
    with ExitStack() as held:
        conversation = Conversation(own_pair.local, held)
        visitor = held.enter_context(visit(own_pair.exit.port))
        visitor.sendall(b"GET / HTTP/1.1\r\n")
        assert own_pair.exit.program.stop() == 0
        program = restart(programs, own_pair)
        conversation.is_reset()
        own_pair.local.program.wait_for("the exit was stopped")
        Conversation(own_pair.local, held).goes_on()
    program.stop()


def test_a_local_side_that_does_nothing_does_not_hold_up_a_stop(programs: Programs, own_pair: Pair) -> None:
    """Programs are killed that take longer than twice the 5 s: the bound itself is tested in virtual time."""
    if sys.platform == "win32":  # where no program is halted like that; the type checker reads no further there
        raise NotImplementedError
    with ExitStack() as held:
        conversation = Conversation(own_pair.local, held)
        own_pair.local.program.tell(signal.SIGSTOP)
        fill(conversation.destination)
        code = own_pair.exit.program.stop()
        own_pair.local.program.tell(signal.SIGCONT)
        assert code == 0
        program = restart(programs, own_pair)
        Conversation(own_pair.local, held).goes_on()
    program.stop()


def test_what_changes_in_the_files_is_taken_and_streams_go_on(programs: Programs, own_pair: Pair) -> None:
    if sys.platform == "win32":
        raise NotImplementedError
    there = own_pair.exit
    with ExitStack() as held:
        first = Conversation(own_pair.local, held)
        added = programs.run_ropeway("exit", "user", "add", "bert", "--config", there.config)
        assert "within seconds" in added.stderr
        there.program.wait_for("read again, for 2 users")
        bert = start_local(programs, added.stdout.splitlines()[0])
        second = Conversation(bert, held)

        good = there.config.read_text()
        there.config.write_text(f"{good}\n[exit\n")
        there.program.wait_for("not toml")
        there.program.tell(signal.SIGHUP)
        wait_until(lambda: len(there.program.lines("not toml")) == 2, "an answer to the signal")
        there.config.write_text(good)
        there.program.tell(signal.SIGHUP)
        wait_until(lambda: len(there.program.lines("read again, for 2 users")) >= 2, "an answer to the signal")
        first.goes_on()
        second.goes_on()

        removed = programs.run_ropeway("exit", "user", "remove", "first", "--config", there.config)
        assert "within seconds" in removed.stderr
        first.is_reset()
        own_pair.local.program.wait_for("does not accept this key", "does not know this key")
        second.goes_on()
        Conversation(bert, held).goes_on()
    bert.program.stop()
