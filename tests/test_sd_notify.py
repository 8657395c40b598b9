"""What systemd is told, at a real socket; and that a loop which hangs says nothing."""

from __future__ import annotations

import socket
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from proxy import sd_notify
from proxy.sd_notify import Notifier, keep_alive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio.testing import MockClock

needs_unix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no systemd")


class Supervisor:
    address: str
    _socket: socket.socket

    def __init__(self, address: str) -> None:
        if sys.platform == "win32":  # for the type checker, which reads no further there
            raise NotImplementedError
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        messages = []
        while True:
            try:
                messages.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return messages

    def close(self) -> None:
        self._socket.close()


@contextmanager
def listening() -> Iterator[Supervisor]:
    with (
        tempfile.TemporaryDirectory() as folder
    ):  # the path of a socket may have 107 bytes, and pytest's own folders are deep
        supervisor = Supervisor(str(Path(folder) / "notify"))
        yield supervisor
        supervisor.close()


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    with listening() as supervisor:
        yield supervisor


@needs_unix
def test_every_message(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic_ns", lambda: 5_000_999)
    notifier = Notifier(supervisor.address)
    notifier.status("reading")
    notifier.ready("on 127.0.0.1:1080")
    notifier.alive()
    notifier.reloading()
    notifier.ready()
    notifier.stopping()
    assert supervisor.heard() == [
        "STATUS=reading",
        "READY=1\nSTATUS=on 127.0.0.1:1080",
        "WATCHDOG=1",
        "RELOADING=1\nMONOTONIC_USEC=5000",
        "READY=1",
        "STOPPING=1\nSTATUS=stopping",
    ]


@needs_unix
def test_a_status_is_one_line_and_can_say_nothing_else(supervisor: Supervisor) -> None:
    Notifier(supervisor.address).status("two\nREADY=1 \udcff" + "x" * 1000)
    (message,) = supervisor.heard()
    assert message.startswith("STATUS=two READY=1 ?xxx")
    assert len(message) == len("STATUS=") + sd_notify.MAX_STATUS


@pytest.mark.skipif(sys.platform != "linux", reason="abstract addresses are Linux's")
def test_an_abstract_address() -> None:
    supervisor = Supervisor("@ropeway-test-of-notify")
    Notifier(supervisor.address).alive()
    assert supervisor.heard() == ["WATCHDOG=1"]
    supervisor.close()


@needs_unix
def test_the_environment_is_taken_and_not_handed_on(supervisor: Supervisor) -> None:
    environ = {
        "NOTIFY_SOCKET": supervisor.address,
        "WATCHDOG_USEC": "30000000",
        "WATCHDOG_PID": "42",
        "HOME": "/",
    }
    notifier = Notifier.from_environment(environ, pid=42)
    assert notifier.watchdog == 30.0
    assert environ == {"HOME": "/"}
    notifier.ready()
    assert supervisor.heard() == ["READY=1"]


@pytest.mark.parametrize(
    ("environ", "watchdog"),
    [
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "2000000"}, 2.0),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "41"}, 0.0),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "soon", "WATCHDOG_PID": "42"}, 0.0),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "", "WATCHDOG_PID": "42"}, 0.0),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "42"}, 0.0),
        ({"NOTIFY_SOCKET": "vsock:2:1", "WATCHDOG_USEC": "2000000"}, 0.0),
    ],
)
def test_who_watches(environ: dict[str, str], watchdog: float) -> None:
    assert Notifier.from_environment(environ, pid=42).watchdog == watchdog


def test_nobody_to_tell() -> None:
    for notifier in (Notifier(), Notifier("/nobody/is/here")):
        notifier.ready("anything")
        notifier.alive()


@needs_unix
def test_a_supervisor_that_does_not_read_holds_nobody_up(supervisor: Supervisor) -> None:
    notifier = Notifier(supervisor.address)
    for _ in range(2000):  # net.unix.max_dgram_qlen is 10 to 512
        notifier.alive()
    assert 0 < len(supervisor.heard()) < 2000


@needs_unix
async def test_a_sign_of_life_at_half_the_time(supervisor: Supervisor, autojump_clock: MockClock) -> None:
    with trio.move_on_after(100):
        await keep_alive(Notifier(supervisor.address, watchdog=20.0))
    assert supervisor.heard() == ["WATCHDOG=1"] * 10


@needs_unix
async def test_a_loop_that_hangs_gives_none(supervisor: Supervisor, mock_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_alive, Notifier(supervisor.address, watchdog=20.0))
        await trio.testing.wait_all_tasks_blocked()
        assert supervisor.heard() == ["WATCHDOG=1"]
        for _ in range(10):  # this task holds the loop, and time passes
            mock_clock.jump(20.0)
            assert supervisor.heard() == []
        await trio.testing.wait_all_tasks_blocked()
        assert supervisor.heard() == ["WATCHDOG=1"]  # it lives again, and nothing is made up for
        nursery.cancel_scope.cancel()


async def test_where_nobody_looks_there_is_no_task() -> None:
    with trio.fail_after(1):
        await keep_alive(Notifier("/n"))
        await keep_alive(Notifier("", watchdog=20.0))
