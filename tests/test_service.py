"""Installed once and again, with something in the way, stopped and taken away: a supervisor in memory, with files on disk."""

from __future__ import annotations

import socket
import stat
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from proxy import service
from proxy.errors import ConfigError, ServiceError
from proxy.port_holder import Holder
from proxy.service_launchd import Launchd
from proxy.service_systemd import Systemd
from proxy.service_windows import TaskScheduler
from proxy.settings import Listen
from proxy.supervisor import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LISTEN = Listen("127.0.0.1", 1080)
PLACES = [("local.listen", LISTEN)]
PID = 42


class Fake:
    """Runs what it is told to, with what was on disk when it was told that files have changed."""

    def __init__(self, folder: Path) -> None:
        self.unit = folder / "units" / "ropeway.service"
        self.files: Mapping[Path, bytes | None] = {self.unit: b"new"}
        self.runs: bytes | None = None
        self.loaded: bytes | None = None
        self.steps: list[str] = []
        self.fails = ""
        self.log = ""

    def state(self) -> State:
        running = self.runs is not None
        return State(self.unit.exists(), running, PID if running else 0, "today" if running else "", self.fails)

    def load(self) -> None:
        self.steps.append("load")
        self.loaded = self.unit.read_bytes()

    def start(self) -> None:
        self.steps.append("start")
        if self.fails:
            raise ServiceError("`systemctl start` failed")
        if self.runs is None:
            self.runs = self.loaded

    def restart(self) -> None:
        self.steps.append("restart")
        self.runs = self.loaded

    def stop(self) -> None:
        self.steps.append("stop")
        self.runs = None

    def forget(self) -> None:
        assert self.unit.exists()
        self.steps.append("forget")
        self.runs = None

    def unload(self) -> None:
        assert not self.unit.exists()
        self.steps.append("unload")

    def last_lines(self, count: int) -> str:
        return self.log

    def follow(self) -> list[str]:
        return ["tail"]

    def remarks(self) -> Iterator[str]:
        yield "a remark"


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path)


@pytest.fixture
def port(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> dict[Listen, Holder]:
    """Who listens where, beside the service, which listens at LISTEN while it runs."""
    held: dict[Listen, Holder] = {}

    def holder_of(listen: Listen) -> Holder | None:
        return held.get(listen) or (Holder(PID) if fake.runs is not None and listen == LISTEN else None)

    monkeypatch.setattr(service, "holder_of", holder_of)
    return held


@pytest.fixture(autouse=True)
def _ports(port: dict[Listen, Holder]) -> None:
    pass


def installed(fake: Fake) -> list[str]:
    fake.steps.clear()
    return list(service.install(fake, PLACES))


def test_it_is_installed_and_started(fake: Fake) -> None:
    assert installed(fake) == [f"Written: {fake.unit}", "Started.", "a remark"]
    assert (fake.steps, fake.runs) == (["load", "start"], b"new")
    assert [each.name for each in fake.unit.parent.iterdir()] == ["ropeway.service"]
    if sys.platform != "win32":
        assert stat.S_IMODE(fake.unit.stat().st_mode) == 0o644


def test_twice_changes_nothing(fake: Fake) -> None:
    installed(fake)
    assert installed(fake) == ["It runs already, and nothing had to change.", "a remark"]
    assert fake.steps == ["start"]


def test_an_older_version_is_replaced_and_started_again(fake: Fake) -> None:
    installed(fake)
    fake.files = {fake.unit: b"newer"}
    assert installed(fake)[:2] == [f"Replaced, as it was another version: {fake.unit}", "Started again."]
    assert (fake.steps, fake.runs) == (["load", "restart"], b"newer")


def test_one_that_was_stopped_is_started(fake: Fake) -> None:
    installed(fake)
    assert (service.stop(fake), service.stop(fake)) == ("Stopped.", "It was not running.")
    assert installed(fake)[0] == "Started."


def test_a_file_that_is_not_wanted_any_more_goes_while_it_is_known(fake: Fake) -> None:
    installed(fake)
    other = fake.unit.with_name("ropeway.socket")
    other.write_text("old")
    fake.files = {fake.unit: b"new", other: None}
    assert installed(fake)[:2] == [f"Removed: {other}", "Started again."]
    assert fake.steps == ["forget", "load", "restart"]
    assert not other.exists()


def test_a_port_of_another_program_is_found_before_anything_changes(fake: Fake, port: dict[Listen, Holder]) -> None:
    port[LISTEN] = Holder(7, "nginx")
    with pytest.raises(ConfigError, match=r"local.listen: 127.0.0.1:1080 is in use by nginx \(process 7\)"):
        installed(fake)
    assert (fake.steps, fake.unit.exists()) == ([], False)


def test_a_port_of_the_supervisor_itself_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "holder_of", lambda listen: Holder(1, "systemd"))
    service.check_ports(PLACES, State(True, listening=True))
    with pytest.raises(ConfigError):
        service.check_ports(PLACES, State(True, True, PID))


@pytest.mark.parametrize(("platform", "ours"), [("linux", False), ("darwin", True), ("win32", True)])
def test_a_holder_that_is_not_known_may_be_ours_where_the_system_says_little(
    platform: str, ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert service._is_ours(Holder(), State(True, True, PID)) is ours
    assert not service._is_ours(Holder(), State(True))
    assert not service._is_ours(Holder(7), State(True, True, PID))
    assert service._is_ours(Holder(PID), State(True, True, PID))


def test_a_port_that_changed_in_the_configuration_takes_a_new_start(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(fake)
    fake.steps.clear()
    monkeypatch.setattr(service, "_listens", lambda service, places: True)
    lines = list(service.install(fake, [("local.listen", replace(LISTEN, port=1081))]))
    assert lines[0] == "Started again."
    assert fake.steps == ["restart"]


def test_a_start_that_fails_says_why(fake: Fake) -> None:
    fake.fails = "it ended with exit-code 1"
    with pytest.raises(ServiceError, match="it does not start, and is tried again: `systemctl start` failed"):
        installed(fake)
    fake.log = "Nov 26 vm python[1]: ropeway: exit.users: nobody may use this exit\nNov 26 vm systemd[1]: Failed\n"
    with pytest.raises(ServiceError, match=r"tried again: exit.users: nobody may use this exit$"):
        installed(fake)


def test_a_supervisor_that_does_not_wait_is_waited_for(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """launchd and Windows say that it is started when there is a process."""
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            fake.runs = b"new"

    monkeypatch.setattr("time.sleep", sleep)
    monkeypatch.setattr(fake, "start", lambda: None)
    assert "Started." in installed(fake)
    assert len(looks) == 3


@pytest.mark.parametrize("fails", ["it ended with status 1", ""])
def test_one_that_never_listens_is_told(fake: Fake, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    monkeypatch.setattr("time.sleep", lambda seconds: None)

    def start() -> None:
        fake.fails = fails

    monkeypatch.setattr(fake, "start", start)
    with pytest.raises(ServiceError, match=f"it was started, but does not run: {fails or 'nobody listens'}"):
        installed(fake)


def test_it_is_started_and_stopped(fake: Fake) -> None:
    for step in (lambda: list(service.start(fake, PLACES)), lambda: service.stop(fake)):
        with pytest.raises(ServiceError, match="nothing is installed"):
            step()
    installed(fake)
    service.stop(fake)
    assert list(service.start(fake, PLACES)) == ["Started."]
    assert list(service.start(fake, PLACES)) == ["It runs already, and nothing had to change."]


def test_a_start_looks_at_the_port_as_well(fake: Fake, port: dict[Listen, Holder]) -> None:
    installed(fake)
    service.stop(fake)
    port[LISTEN] = Holder(7, "nginx")
    with pytest.raises(ConfigError, match="nginx"):
        list(service.start(fake, PLACES))


def test_it_is_taken_away(fake: Fake) -> None:
    assert list(service.uninstall(fake)) == ["Nothing is installed."]
    installed(fake)
    fake.steps.clear()
    assert list(service.uninstall(fake)) == [f"Removed: {fake.unit}"]
    assert (fake.steps, fake.runs, fake.unit.exists()) == (["forget", "unload"], None, False)
    assert list(service.uninstall(fake)) == ["Nothing is installed."]


def test_its_status(fake: Fake) -> None:
    fake.log = "one\ntwo\n"
    assert list(service.status(fake)) == ["Not installed; `ropeway service install` does it."]
    installed(fake)
    assert list(service.status(fake)) == ["Running since today, process 42"]
    service.stop(fake)
    assert list(service.status(fake)) == ["Stopped; `ropeway service start` starts it."]
    fake.fails = "it ended with signal 9"
    assert list(service.status(fake)) == ["Not running: it ended with signal 9", "one", "two"]


def test_a_unit_that_cannot_be_written_leaves_nothing_behind(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied", str(target))

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(PermissionError):
        installed(fake)
    assert list((tmp_path / "units").iterdir()) == []


# ---- which one


@pytest.mark.parametrize(("platform", "kind"), [("darwin", Launchd), ("win32", TaskScheduler), ("linux", Systemd)])
def test_each_system_has_its_own(platform: str, kind: type, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.delenv("SUDO_USER", raising=False)
    made = service.local_service(tmp_path / "config.toml", LISTEN)
    assert isinstance(made, kind)
    assert any(b"config.toml" in (content or b"").replace(b"\0", b"") for content in made.files.values())
    if platform != "linux":
        with pytest.raises(ServiceError, match="needs systemd"):
            service.local_service(tmp_path / "config.toml", LISTEN, socket_activation=True)


@pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")
def test_the_socket_is_there_where_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    for listen, text in ((LISTEN, b"ListenStream=127.0.0.1:1080\n"), (Listen("", 1080), b"ListenStream=1080\n")):
        files = service.local_service(tmp_path / "c", listen, socket_activation=True).files
        assert text in next(content or b"" for path, content in files.items() if path.suffix == ".socket")
    files = service.local_service(tmp_path / "c", LISTEN).files
    assert [content for path, content in files.items() if path.suffix == ".socket"] == [None]


@pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")
def test_with_sudo_it_would_be_the_service_of_the_wrong_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("SUDO_USER", "anna")
    with pytest.raises(ServiceError, match="leave sudo out"):
        service.local_service(tmp_path / "c", LISTEN)


def test_a_real_port_in_use(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    from proxy.port_holder import holder_of

    monkeypatch.setattr(service, "holder_of", holder_of)
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = Listen("127.0.0.1", server.getsockname()[1])
        with pytest.raises(ConfigError, match="in use by"):
            list(service.install(fake, [("local.listen", place)]))
