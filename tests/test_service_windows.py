"""The task's text against the schema of the Task Scheduler, and its programs as stand-ins."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from proxy.errors import ServiceError
from proxy.service_program import Program
from proxy.service_windows import NAMESPACE, TaskScheduler, task
from proxy.supervisor import State
from tests.standins import Standins, needs_a_shell

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = Program(r"C:\a b\python.exe", ("service", "run", "--log", r"C:\Users\ä & <b>\ropeway.log"), version="1.2.3")

#: [MS-TSCH], section 2.5: the elements that may stand in each, in an order that holds for its sequences.
SCHEMA = {
    "Task": ["RegistrationInfo", "Triggers", "Principals", "Settings", "Actions"],
    "RegistrationInfo": ["Description", "URI"],
    "Triggers": ["LogonTrigger"],
    "LogonTrigger": ["Repetition", "UserId"],
    "Repetition": ["Interval", "StopAtDurationEnd"],
    "Principals": ["Principal"],
    "Principal": ["UserId", "LogonType", "RunLevel"],
    "Settings": [
        "MultipleInstancesPolicy",
        "DisallowStartIfOnBatteries",
        "StopIfGoingOnBatteries",
        "AllowHardTerminate",
        "StartWhenAvailable",
        "RunOnlyIfNetworkAvailable",
        "AllowStartOnDemand",
        "Enabled",
        "Hidden",
        "RunOnlyIfIdle",
        "WakeToRun",
        "RestartOnFailure",
        "ExecutionTimeLimit",
        "Priority",
    ],
    "RestartOnFailure": ["Interval", "Count"],
    "Actions": ["Exec"],
    "Exec": ["Command", "Arguments", "WorkingDirectory"],
}
BOOLEANS = {"true", "false"}


def tag(element: ET.Element) -> str:
    namespace, _, name = element.tag.rpartition("}")
    assert namespace == f"{{{NAMESPACE}"
    return name


def text_of(root: ET.Element, name: str) -> str:
    found = root.find(f".//{{{NAMESPACE}}}{name}")
    assert found is not None
    assert found.text is not None
    return found.text


def check(element: ET.Element) -> None:
    allowed = SCHEMA.get(tag(element), [])
    names = [tag(child) for child in element]
    assert sorted(names, key=allowed.index) == names, tag(element)
    assert len(set(names)) == len(names)
    assert bool(names) != bool((element.text or "").strip())
    for child in element:
        check(child)


@pytest.mark.parametrize("root", ["", r"C:\src"])
def test_it_is_what_the_schema_allows(root: str) -> None:
    data = task(Program(PROGRAM.python, PROGRAM.words, root), r"HOME\anna")
    assert data.startswith(b"\xff\xfe")  # UTF-16, as schtasks wants it
    document = ET.fromstring(data)
    assert document.get("version") == "1.2"
    check(document)
    for name in SCHEMA["Settings"]:
        if "If" in name or name in ("Enabled", "Hidden", "WakeToRun", "AllowHardTerminate", "AllowStartOnDemand"):
            assert text_of(document, name) in BOOLEANS
    assert (text_of(document, "ExecutionTimeLimit"), text_of(document, "MultipleInstancesPolicy")) == (
        "PT0S",
        "IgnoreNew",
    )
    assert 0 <= int(text_of(document, "Priority")) <= 10
    principal = document.find(f".//{{{NAMESPACE}}}Principal")
    actions = document.find(f"{{{NAMESPACE}}}Actions")
    assert principal is not None
    assert actions is not None
    assert principal.get("id") == actions.get("Context")


def test_it_runs_this_program_with_no_more_rights_than_its_user() -> None:
    document = ET.fromstring(task(PROGRAM, r"HOME\anna"))
    assert text_of(document, "Command") == r"C:\a b\python.exe"
    assert text_of(document, "Arguments") == r'-P -m proxy service run --log "C:\Users\ä & <b>\ropeway.log"'
    assert text_of(document, "RunLevel") == "LeastPrivilege"
    assert text_of(document, "UserId") == r"HOME\anna"


def test_a_program_that_is_not_installed_runs_in_its_folder() -> None:
    document = ET.fromstring(task(Program("python", ("run",), r"C:\src"), "anna"))
    assert (text_of(document, "Arguments"), text_of(document, "WorkingDirectory")) == ("-m proxy run", r"C:\src")


@pytest.fixture
def standins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Standins:
    made = Standins(tmp_path, monkeypatch)
    made.answer("schtasks")
    return made


@pytest.fixture
def service(tmp_path: Path) -> TaskScheduler:
    return TaskScheduler(PROGRAM, tmp_path, tmp_path / "ropeway.log", user="anna")


@needs_a_shell
class TestTaskScheduler:
    @pytest.mark.parametrize(
        ("out", "state"),
        [
            ("4\r\n2026-11-26T08:00:00\r\n267009\r\n", State(True, True, 42, "2026-11-26T08:00:00")),
            ("3\r\n2026-11-26T08:00:00\r\n1\r\n", State(True, failure="it ended with status 1")),
            ("1\r\n1999-11-30T00:00:00\r\n267011\r\n", State(True)),
        ],
    )
    def test_its_state(
        self, standins: Standins, service: TaskScheduler, tmp_path: Path, out: str, state: State
    ) -> None:
        (tmp_path / "ropeway.pid").write_text("42")
        standins.answer("powershell", out=out)
        assert service.state() == state

    def test_nothing_is_installed(self, standins: Standins, service: TaskScheduler) -> None:
        standins.answer("powershell", err="Get-ScheduledTask : No MSFT_ScheduledTask objects found", code=1)
        assert service.state() == State(False)
        service.forget()
        assert standins.calls("schtasks") == []

    def test_a_process_that_is_not_known(self, standins: Standins, service: TaskScheduler) -> None:
        standins.answer("powershell", out="4\n2026-11-26T08:00:00\n267009\n")
        assert service.state() == State(True, True, 0, "2026-11-26T08:00:00")

    def test_each_step(self, standins: Standins, service: TaskScheduler, tmp_path: Path) -> None:
        standins.answer("powershell", out="4\n2026-11-26T08:00:00\n267009\n")
        for step in (service.load, service.start, service.stop, service.restart, service.forget, service.unload):
            step()
        assert standins.calls("schtasks") == [
            f"schtasks /Create /TN Ropeway /XML {tmp_path / 'service.xml'} /F",
            "schtasks /Change /TN Ropeway /ENABLE",
            "schtasks /Run /TN Ropeway",
            "schtasks /Change /TN Ropeway /DISABLE",
            "schtasks /End /TN Ropeway",
            "schtasks /End /TN Ropeway",
            "schtasks /Change /TN Ropeway /ENABLE",
            "schtasks /Run /TN Ropeway",
            "schtasks /End /TN Ropeway",
            "schtasks /Delete /TN Ropeway /F",
        ]

    def test_a_refusal(self, standins: Standins, service: TaskScheduler) -> None:
        standins.answer("schtasks", err="ERROR: Access is denied.\r\n", code=1)
        with pytest.raises(ServiceError, match="refuses /Create: ERROR: Access is denied"):
            service.load()

    def test_the_log(self, service: TaskScheduler, tmp_path: Path) -> None:
        (tmp_path / "ropeway.log").write_text("one\ntwo\n")
        assert service.last_lines(1) == "two\n"
        assert "ropeway.log' -Tail 50 -Wait" in service.follow()[-1]
        assert list(service.remarks())


def test_the_interpreter_without_a_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.service_windows.Path.exists", lambda path: str(path) == r"C:\a b\pythonw.exe")
    assert text_of(ET.fromstring(task(PROGRAM, "anna")), "Command") == r"C:\a b\pythonw.exe"
    for domain, user in (("HOME", r"HOME\anna"), ("", "anna")):
        monkeypatch.setenv("USERDOMAIN", domain)
        monkeypatch.setenv("USERNAME", "anna")
        (content,) = TaskScheduler(PROGRAM, tmp_path, tmp_path / "log").files.values()
        assert content is not None
        assert text_of(ET.fromstring(content), "UserId") == user
