"""The agent's file as macOS reads it, and launchd as a stand-in."""

from __future__ import annotations

import plistlib
import sys
from pathlib import Path

import pytest

from proxy.errors import ServiceError
from proxy.service_launchd import Launchd, agent
from proxy.service_program import Program
from proxy.supervisor import State
from tests.standins import Standins

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are shell scripts")

PROGRAM = Program("/opt/a b/python", ("service", "run", "--log", "/Users/ä & <b>/log"), version="1.2.3")
#: launchd.plist(5): every key that we write, and the type of its value.
KEYS = {
    "Label": str,
    "ProgramArguments": list,
    "RunAtLoad": bool,
    "KeepAlive": dict,
    "ThrottleInterval": int,
    "ProcessType": str,
    "ExitTimeOut": int,
    "Umask": int,
    "StandardOutPath": str,
    "StandardErrorPath": str,
    "EnvironmentVariables": dict,
}
RUNNING = "gui/501/ropeway.local = {\n\tstate = running\n\tpid = 42\n\tlast exit code = (never exited)\n}\n"
FAILED = "gui/501/ropeway.local = {\n\tstate = spawn scheduled\n\tlast exit code = 1\n}\n"


@pytest.fixture
def standins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Standins:
    made = Standins(tmp_path, monkeypatch)
    made.answer("launchctl")
    made.answer("ps", out="Thu Nov 26 08:00:00 2026\n")
    return made


@pytest.fixture
def service(tmp_path: Path) -> Launchd:
    made = Launchd(PROGRAM, tmp_path / "logs" / "ropeway.log", home=tmp_path)
    for path, content in made.files.items():
        path.parent.mkdir(parents=True)
        assert content is not None
        path.write_bytes(content)
    return made


def words(standins: Standins) -> list[str]:
    """The calls, without the number of the user."""
    return [" ".join("gui/N" + word[word.index("/", 4) :] if word.startswith("gui/") and word.count("/") > 1 else word for word in call.split()) for call in standins.calls()]  # fmt: skip


def test_the_file_has_the_keys_of_its_schema() -> None:
    data = agent(PROGRAM, Path("/Users/ä/Library/Logs/ropeway/start.log"))
    assert data.startswith(b'<?xml version="1.0" encoding="UTF-8"?>')
    found = plistlib.loads(data)
    assert {name: type(value) for name, value in found.items()} == KEYS
    assert found["ProgramArguments"] == list(PROGRAM.argv)
    assert found["KeepAlive"] == {"SuccessfulExit": False}
    assert found["RunAtLoad"] is True
    assert found["Umask"] == 0o077
    assert all(type(value) is str for value in found["EnvironmentVariables"].values())


def test_an_update_and_another_place_are_changes() -> None:
    log = Path("/log")
    texts = {agent(Program("/p", (), root, version), log) for root in ("", "/src") for version in ("1", "2")}
    assert len(texts) == 4
    assert plistlib.loads(agent(Program("/p", (), "/src"), log))["EnvironmentVariables"]["PYTHONPATH"] == "/src"


def test_its_state(standins: Standins, service: Launchd) -> None:
    standins.answer("launchctl", "print *", RUNNING)
    assert service.state() == State(True, True, 42, "Thu Nov 26 08:00:00 2026")
    standins.answer("launchctl", "print *", FAILED)
    assert service.state() == State(True, failure="it ended with status 1")
    standins.answer("launchctl", "print *", err="Could not find service", code=113)
    assert service.state() == State(True)
    next(iter(service.files)).unlink()
    assert service.state() == State(False)


def test_each_step(standins: Standins, service: Launchd) -> None:
    path = next(iter(service.files))
    for step in (service.load, service.start, service.restart, service.forget, service.unload):
        step()
    begin = ["enable gui/N/ropeway.local", "bootstrap gui", "kickstart gui/N/ropeway.local"]
    calls = [call.removeprefix("launchctl ") for call in words(standins)]
    assert [call.split("/0")[0].split("/5")[0] if call.startswith("bootstrap") else call for call in calls] == [
        "bootout gui/N/ropeway.local",
        *begin,
        "bootout gui/N/ropeway.local",
        *begin,
        "bootout gui/N/ropeway.local",
    ]
    assert any(call.endswith(str(path)) for call in calls)


def test_what_is_loaded_already_is_started(standins: Standins, service: Launchd) -> None:
    standins.answer("launchctl", "bootstrap *", err="Bootstrap failed: 5: Input/output error", code=5)
    service.start()
    assert any("kickstart" in call for call in standins.calls())
    standins.answer("launchctl", "print *", code=113)
    with pytest.raises(ServiceError, match="does not take the agent: Bootstrap failed"):
        service.start()


def test_what_does_not_run_need_not_be_stopped(standins: Standins, service: Launchd) -> None:
    standins.answer("launchctl", "bootout *", err="Boot-out failed: 3: No such process", code=3)
    service.stop()
    standins.answer("launchctl", "bootout *", err="Boot-out failed: 150: Operation not permitted", code=150)
    with pytest.raises(ServiceError, match="not permitted"):
        service.stop()


def test_the_log_or_what_came_before_there_was_one(service: Launchd, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "start.log").write_text("python: not found\n")
    assert service.last_lines(5) == "python: not found\n"
    (tmp_path / "logs" / "ropeway.log").write_text("one\ntwo\n")
    assert service.last_lines(1) == "two\n"
    assert service.follow()[-1] == str(tmp_path / "logs" / "ropeway.log")
    assert list(service.remarks())
