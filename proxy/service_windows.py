"""The Windows Task Scheduler: a task of the user, which starts at log-on and is looked after once a minute.

The elements are those of the schema `http://schemas.microsoft.com/windows/2004/02/mit/task` ([MS-TSCH], section 2.5), in its order.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from . import supervisor
from .errors import ServiceError
from .finding import Text
from .log_file import tail
from .supervisor import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .service_program import Program

TASK = "Ropeway"
NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"
#: TASK_STATE of taskschd.h. The words of schtasks are in the system's language, these numbers are not.
_DISABLED, _RUNNING = "1", "4"
#: Results that are no failure: SCHED_S_TASK_HAS_NOT_RUN, SCHED_S_TASK_RUNNING, and 0x4131C, "terminated by the user".
_NO_FAILURE = {"0", "267011", "267009", "267014"}
_LOOK = (
    f"$task = Get-ScheduledTask -TaskName {TASK} -TaskPath '\\' -ErrorAction Stop; $info = $task | Get-ScheduledTaskInfo; "
    "[int]$task.State; $info.LastRunTime.ToString('s'); $info.LastTaskResult"
)


class TaskScheduler:
    """`folder` is where the task's text and the log are kept."""

    def __init__(self, program: Program, folder: Path, log: Path, *, user: str = "") -> None:
        self._log = log
        self._path = folder / "service.xml"
        self.files: Mapping[Path, bytes | None] = {self._path: task(program, user or _user())}

    def state(self) -> State:
        answer = supervisor.ask("powershell", "-NoProfile", "-NonInteractive", "-Command", _LOOK)
        found = answer.out.split()
        if answer.code or len(found) != 3:
            return State(installed=False)
        state, since, result = found
        if state == _RUNNING:
            return State(True, True, self._pid(), since)
        return State(True, failure="" if result in _NO_FAILURE else Text("it ended with status {code}", code=result))

    def _pid(self) -> int:
        """The program writes it into its log folder when it starts; the scheduler does not say."""
        try:
            return int(self._log.with_suffix(".pid").read_text())
        except (OSError, ValueError):
            return 0

    def load(self) -> None:
        self._schtasks("/Create", "/XML", str(self._path), "/F")

    def start(self) -> None:
        self._schtasks("/Change", "/ENABLE")
        self._schtasks("/Run")

    def restart(self) -> None:
        self._schtasks("/End")
        self.start()

    def stop(self) -> None:
        """Disabled first: the task is looked after once a minute."""
        self._schtasks("/Change", "/DISABLE")
        self._schtasks("/End")

    def forget(self) -> None:
        if self.state().installed:
            self._schtasks("/End")
            self._schtasks("/Delete", "/F")

    def unload(self) -> None:
        pass

    def last_lines(self, count: int) -> str:
        return tail(self._log, count)

    def follow(self) -> list[str]:
        quoted = str(self._log).replace("'", "''")
        return ["powershell", "-NoProfile", "-Command", f"Get-Content -LiteralPath '{quoted}' -Tail 50 -Wait"]

    def remarks(self) -> Iterator[str]:
        yield "It runs from your log-on to your log-off. A stop holds until `ropeway service start`."

    def _schtasks(self, verb: str, *words: str) -> None:
        answer = supervisor.ask("schtasks", verb, "/TN", TASK, *words)
        if answer.code:
            raise ServiceError(f"the Task Scheduler refuses {verb}: {supervisor.complaint(answer)}")


def task(program: Program, user: str) -> bytes:
    """In UTF-16, as schtasks wants it."""
    root = ET.Element("Task", {"version": "1.2", "xmlns": NAMESPACE})
    version = f" {program.version}" if program.version else ""
    _add(root, "RegistrationInfo", Description=f"Ropeway{version}, a local SOCKS and HTTP proxy", URI=f"\\{TASK}")
    trigger = _add(_add(root, "Triggers"), "LogonTrigger")
    # RestartOnFailure is for tasks that could not start. One that has crashed is started by the next turn, and one that runs is left alone.
    _add(trigger, "Repetition", Interval="PT1M", StopAtDurationEnd="false")
    _add(trigger, UserId=user)
    principal = _add(
        _add(root, "Principals"), "Principal", UserId=user, LogonType="InteractiveToken", RunLevel="LeastPrivilege"
    )
    principal.set("id", "Author")
    _add(root, "Settings", **_SETTINGS).insert(11, _restart())
    actions = _add(root, "Actions")
    actions.set("Context", "Author")
    # Without -P where the package is found in the folder that it runs in: a task has no environment of its own.
    python, _safe, *words = program.argv
    arguments = words if program.root else ["-P", *words]
    action = _add(actions, "Exec", Command=_windowless(python), Arguments=subprocess.list2cmdline(arguments))
    if program.root:
        _add(action, WorkingDirectory=program.root)
    text: bytes = ET.tostring(root, encoding="utf-16", xml_declaration=True)
    return text


_SETTINGS = {
    "MultipleInstancesPolicy": "IgnoreNew",
    "DisallowStartIfOnBatteries": "false",
    "StopIfGoingOnBatteries": "false",
    "AllowHardTerminate": "true",
    "StartWhenAvailable": "true",
    "RunOnlyIfNetworkAvailable": "false",
    "AllowStartOnDemand": "true",
    "Enabled": "true",
    "Hidden": "true",
    "RunOnlyIfIdle": "false",
    "WakeToRun": "false",
    "ExecutionTimeLimit": "PT0S",  # none
    "Priority": "5",  # normal; the default is below that
}


def _restart() -> ET.Element:
    element = ET.Element("RestartOnFailure")
    _add(element, Interval="PT1M", Count="999")  # the least and the most that the schema allows
    return element


def _add(parent: ET.Element, tag: str = "", /, **children: str) -> ET.Element:
    """A new element in `parent`, or `parent` itself where there is no tag, with children that are texts."""
    element = ET.SubElement(parent, tag) if tag else parent
    for name, text in children.items():
        ET.SubElement(element, name).text = text
    return element


def _windowless(python: str) -> str:
    """`pythonw.exe` beside it: the other one opens a window."""
    path = PureWindowsPath(python)
    other = str(path.with_name("pythonw.exe"))
    return other if path.name.lower() == "python.exe" and Path(other).exists() else python


def _user() -> str:
    domain, name = os.environ.get("USERDOMAIN", ""), os.environ.get("USERNAME", "")
    return f"{domain}\\{name}" if domain else name
