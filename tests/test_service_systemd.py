"""systemd, as a stand-in that writes down what it is asked; `tests/e2e/test_supervised.py` does it with the real one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.errors import ServiceError
from proxy.service_systemd import Systemd
from proxy.supervisor import State
from tests.standins import Standins, needs_a_shell

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_a_shell


@pytest.fixture
def standins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Standins:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    made = Standins(tmp_path, monkeypatch)
    made.answer("systemctl")
    return made


def service(*, socket: bool = False) -> Systemd:
    made = Systemd("ropeway", {"ropeway.service": "[Service]\n", "ropeway.socket": "" if socket else None}, user=True)
    for path, content in made.files.items():
        if content is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return made


def shown(active: str, *, pid: int = 0, result: str = "success", status: int = 0, sub: str = "running") -> str:
    since = "ActiveEnterTimestamp=Thu 2026-11-26 08:00:00 UTC\n"
    return f"ActiveState={active}\nSubState={sub}\nMainPID={pid}\n{since}Result={result}\nExecMainStatus={status}\n"


def test_where_the_units_are(standins: Standins, tmp_path: Path) -> None:
    assert set(service().files) == {tmp_path / "systemd/user/ropeway.service", tmp_path / "systemd/user/ropeway.socket"}
    (path,) = Systemd("ropeway-exit", {"ropeway-exit.service": ""}, user=False).files
    assert str(path) == "/etc/systemd/system/ropeway-exit.service"


@pytest.mark.parametrize(
    ("text", "state"),
    [
        (shown("active", pid=42), State(True, True, 42, "Thu 2026-11-26 08:00:00 UTC")),
        (shown("inactive", sub="dead"), State(True, since="Thu 2026-11-26 08:00:00 UTC")),
        (
            shown("activating", result="exit-code", status=1, sub="auto-restart"),
            State(True, since="Thu 2026-11-26 08:00:00 UTC", failure="it ended with exit-code 1, and is started again"),
        ),
        (
            shown("failed", result="watchdog", sub="failed"),
            State(True, since="Thu 2026-11-26 08:00:00 UTC", failure="it ended with watchdog"),
        ),
    ],
)
def test_its_state(standins: Standins, text: str, state: State) -> None:
    standins.answer("systemctl", "--user show ropeway.service *", text)
    assert service().state() == state


def test_its_state_with_a_socket(standins: Standins) -> None:
    standins.answer("systemctl", "--user show ropeway.service *", shown("inactive"))
    standins.answer("systemctl", "--user show ropeway.socket *", shown("active", sub="listening"))
    assert service(socket=True).state().listening
    assert not service(socket=True).state().running


def test_each_step(standins: Standins) -> None:
    for socket, units in ((False, "ropeway.service"), (True, "ropeway.socket ropeway.service")):
        made = service(socket=socket)
        for step in (made.load, made.start, made.stop, made.restart, made.forget, made.unload):
            step()
        assert standins.calls() == [
            "systemctl --user daemon-reload",
            f"systemctl --user enable --quiet {units}",
            f"systemctl --user start {units}",
            f"systemctl --user stop {units}",
            f"systemctl --user stop {units}",
            f"systemctl --user enable --quiet {units}",
            f"systemctl --user start {units}",
            f"systemctl --user disable --quiet --now {units}",
            "systemctl --user daemon-reload",
            "systemctl --user reset-failed ropeway.service",
        ]


def test_what_is_not_on_disk_is_not_asked_for(standins: Standins) -> None:
    Systemd("ropeway", {"ropeway.service": "x"}, user=True).forget()
    assert standins.calls() == []


@pytest.mark.parametrize(
    ("says", "words"),
    [
        ("Failed to connect to bus: No medium found", "log in at the screen or by SSH as this user"),
        ("System has not been booted with systemd as init system (PID 1). Can't operate.", "does not run systemd"),
        ("Unit ropeway.service is masked.", "`systemctl daemon-reload` failed: Unit ropeway.service is masked."),
    ],
)
def test_what_it_complains_of_is_one_clear_line(standins: Standins, says: str, words: str) -> None:
    standins.answer("systemctl", err=says, code=1)
    with pytest.raises(ServiceError, match="(?s)" + words.replace("`", ".")) as caught:
        service().load()
    assert "\n" not in str(caught.value)


def test_the_log(standins: Standins) -> None:
    standins.answer("journalctl", out="one\ntwo\n")
    assert service().last_lines(2) == "one\ntwo\n"
    assert standins.calls() == ["journalctl --quiet --user --unit=ropeway.service --lines=2 --no-pager"]
    assert service().follow()[-1] == "--follow"
    standins.answer("journalctl", err="No journal files were opened due to insufficient permissions.\n", code=1)
    assert "insufficient permissions" in service().last_lines(2)


@pytest.mark.parametrize(("linger", "said"), [("no\n", 1), ("yes\n", 0), ("", 0)])
def test_lingering_is_explained_where_it_is_off(standins: Standins, linger: str, said: int) -> None:
    standins.answer("loginctl", out=linger)
    remarks = list(service().remarks())
    assert len(remarks) == said
    assert all("loginctl enable-linger" in line for line in remarks)
    assert list(Systemd("ropeway-exit", {}, user=False).remarks()) == []


def test_a_path_that_is_not_utf_8(standins: Standins) -> None:
    with pytest.raises(ServiceError, match="UTF-8"):
        Systemd("ropeway", {"ropeway.service": "ExecStart=/caf\udce9"}, user=True)
