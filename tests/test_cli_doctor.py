"""`ropeway doctor`, `test` and `status`, as a user types them."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import typer

from proxy import api_client, cli_doctor, doctor, service, system_proxy
from proxy.api_client import ApiClient, Carrier, History
from proxy.config import parse
from proxy.errors import ConfigError, DesktopError, ServiceError
from proxy.finding import Finding, Kind, Text
from proxy.keys import UserKey
from proxy.share import Link
from proxy.supervisor import State
from proxy.system_proxy import Memory, SystemProxy
from proxy.terminal import PLAIN
from tests.command_line import Done
from tests.planted import LOOPBACK, unused_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("log_as_before")

LINK = Link(LOOPBACK, 1, UserKey.new(), bytes(32))  # nothing listens at port 1


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Done]:
    program = typer.Typer(**PLAIN)
    cli_doctor.add_to(program)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(service, "local_service", _no_service)
    monkeypatch.setattr(system_proxy, "of_this_user", lambda _: SystemProxy([], Memory(tmp_path / "none")))
    for name in ("all_proxy", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)

    def command(*words: object) -> Done:
        code = 0
        try:
            code = program([str(word) for word in words], standalone_mode=False) or 0
        except SystemExit as exc:
            code = int(exc.code or 0)
        return Done(code, *capsys.readouterr())

    return command


def _no_service(*_: object) -> None:
    raise ServiceError("this system has none")


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(f'[local]\nexit = "{LINK}"\nlisten = "{LOOPBACK}:{unused_port()}"\n')
    path.chmod(0o600)
    return path


def test_a_fault_is_told_with_its_mend_and_ends_with_1(run: Callable[..., Done], settings: Path) -> None:
    done = run("doctor", "--config", settings)
    assert done.code == 1
    assert f"FAULT  connection     {LOOPBACK}:1 refuses connections" in done.out
    assert "mend: at the exit" in done.out
    assert "1 fault; each says how to mend it." in done.err


@pytest.mark.parametrize(
    ("notes", "said"), [(0, "Nothing is wrong."), (1, "No fault, 1 note."), (2, "No fault, 2 notes.")]
)
def test_no_fault_is_not_all_well_where_there_are_notes(
    run: Callable[..., Done], settings: Path, monkeypatch: pytest.MonkeyPatch, notes: int, said: str
) -> None:
    async def examine(_path: Path, _book: object, tell: Callable[[Finding], None], _around: object) -> None:
        tell(Finding.ok("port", Text("answers")))
        for _ in range(notes):
            tell(Finding.note("port", Text("is free")))

    monkeypatch.setattr(doctor, "examine", examine)
    done = run("doctor", "--config", settings)
    assert (done.code, done.err.splitlines()[-1]) == (0, said)


def test_for_programs(run: Callable[..., Done], settings: Path) -> None:
    done = run("doctor", "--json", "--config", settings)
    findings = json.loads(done.out)["findings"]
    assert (done.code, done.err) == (1, "")
    assert {finding["check"]: finding["kind"] for finding in findings}["connection"] == "fault"
    assert all(set(finding) == {"check", "kind", "what", "why", "mend"} for finding in findings)


def test_no_key_is_told(run: Callable[..., Done], settings: Path) -> None:
    secret = str(LINK).partition("@")[0].removeprefix("ropeway://")
    for words in (["doctor"], ["doctor", "--json"], ["status"], ["test", "example.com"]):
        done = run(*words, "--config", settings)
        assert secret not in done.out + done.err


def test_a_configuration_that_is_not_there(run: Callable[..., Done], tmp_path: Path) -> None:
    done = run("doctor", "--config", tmp_path / "none.toml")
    assert (done.code, "ropeway join LINK" in done.out) == (1, True)


def test_where_one_destination_ends(run: Callable[..., Done], settings: Path) -> None:
    done = run("test", "example.com:80", "--config", settings)
    assert done.code == 1
    assert done.out.splitlines()[0].startswith("ok  rule    example.com:80 over TCP goes through the tunnel")
    assert done.out.splitlines()[1].startswith("END port    nothing listens")
    assert "ropeway run" in done.out.splitlines()[2]
    steps = json.loads(run("test", "example.com", "--json", "--config", settings).out)["steps"]
    assert [step["step"] for step in steps] == ["rule", "port"]


@pytest.mark.parametrize("where", ["example.com:0", "a b"])
def test_what_is_no_destination(run: Callable[..., Done], settings: Path, where: str) -> None:
    with pytest.raises(ConfigError, match="HOST"):
        run("test", where, "--config", settings)


def test_a_port_that_is_another_one_each_time(run: Callable[..., Done], settings: Path) -> None:
    settings.write_text(f'[local]\nexit = "{LINK}"\nlisten = "{LOOPBACK}:0"\n')
    with pytest.raises(ConfigError, match="port 0"):
        run("test", "example.com", "--config", settings)
    assert run("status", "--config", settings).code == 1


def test_the_status_where_it_does_not_run(run: Callable[..., Done], settings: Path) -> None:
    done = run("status", "--config", settings)
    assert (done.code, "Ropeway does not run" in done.out) == (1, True)
    told = json.loads(run("status", "--json", "--config", settings).out)
    assert (told["connected"], told["findings"][-1]["check"]) == (False, "port")


@pytest.mark.parametrize(
    ("state", "kinds", "words"),
    [
        (State(installed=False), [], ""),
        (State(installed=True, running=True, since="yesterday"), [Kind.OK], "since yesterday"),
        (State(installed=True), [Kind.NOTE], "stopped"),
        (State(installed=True, failure="exit code 1"), [Kind.FAULT], "exit code 1"),
    ],
)
def test_the_service(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state: State, kinds: list[Kind], words: str
) -> None:
    found = SimpleNamespace(state=lambda: state, last_lines=lambda _count: "x ropeway: the port is in use\n")
    monkeypatch.setattr(service, "local_service", lambda *_: found)
    findings = cli_doctor.look_at_service(parse({}, tmp_path / "config.toml"))
    assert [finding.kind for finding in findings] == kinds
    assert all(words in finding.what for finding in findings)
    assert all(finding.why == "the port is in use" for finding in findings if finding.kind is Kind.FAULT)


@pytest.mark.parametrize(("dead", "kind"), [(True, Kind.FAULT), (False, Kind.OK)])
def test_the_systems_proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dead: bool, kind: Kind) -> None:
    found = SimpleNamespace(status=lambda _: ["GNOME: on, at 127.0.0.1:1080"], is_dead=lambda _: dead)
    monkeypatch.setattr(system_proxy, "of_this_user", lambda _: found)
    (finding,) = cli_doctor.look_at_system_proxy(parse({}, tmp_path / "config.toml"))
    assert (finding.kind, finding.what) == (kind, "GNOME: on, at 127.0.0.1:1080")
    assert not dead or "ropeway system-proxy off" in finding.mend


def test_a_systems_proxy_that_cannot_be_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fails(_: object) -> None:
        raise DesktopError("no session")

    monkeypatch.setattr(system_proxy, "of_this_user", fails)
    (finding,) = cli_doctor.look_at_system_proxy(parse({}, tmp_path / "config.toml"))
    assert (finding.kind, "no session" in finding.what) == (Kind.NOTE, True)


def test_the_speed_is_what_a_program_that_runs_has_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = parse({}, tmp_path / "config.toml")
    monkeypatch.setattr("proxy.cli_dashboard.check_is_ours", lambda *_: None)
    seen = History(up=(0.0, 0.0), down=(1e6, 0.0), rtt_ms=(90.0, None))
    monkeypatch.setattr(ApiClient, "history", lambda _: seen)
    (finding,) = cli_doctor.look_at_speed(settings)
    assert (finding.check, "8.0 Mbit/s came in" in finding.what) == ("speed", True)
    monkeypatch.setattr(ApiClient, "history", lambda _: History(up=(0.0,), down=(1e6,)))
    assert cli_doctor.look_at_speed(settings) == []  # of an answer that makes no sense


def test_there_is_no_speed_where_nothing_of_ours_listens(tmp_path: Path) -> None:
    settings = parse({"local": {"listen": f"127.0.0.1:{unused_port()}"}}, tmp_path / "config.toml")
    assert cli_doctor.look_at_speed(settings) == []


def test_how_it_is_connected_is_what_a_program_that_runs_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = parse({}, tmp_path / "config.toml")
    monkeypatch.setattr("proxy.cli_dashboard.check_is_ours", lambda *_: None)
    monkeypatch.setattr(
        ApiClient, "state", lambda _: api_client.State(now=1.0, carrier=Carrier(state="up", rtt_ms=12.0))
    )
    assert cli_doctor.ask_program(settings) == Carrier(state="up", rtt_ms=12.0)


def test_who_has_not_proved_to_be_ours_is_not_told_the_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = parse({"local": {"listen": f"127.0.0.1:{unused_port()}"}}, tmp_path / "config.toml")
    monkeypatch.setattr(ApiClient, "_ask", lambda *_: pytest.fail("asked"))
    assert cli_doctor.ask_program(settings) is None
