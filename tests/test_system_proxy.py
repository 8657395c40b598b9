"""Turned on and off, again, with a crash at any step, with settings that the user changes in between: a desktop in memory, what is remembered on disk."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.address import Address
from proxy.desktop_gnome import Gnome
from proxy.desktop_kde import Kde
from proxy.desktop_macos import MacOS
from proxy.errors import DesktopError
from proxy.system_proxy import Memory, SystemProxy, desktops_here, listens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from proxy.desktop import Values

PLACE = Address.make("127.0.0.1", 1080)
OTHER = Address.make("127.0.0.1", 1081)
NOTHING: Values = {"host": None, "ignore": None, "mode": None}
OFFICE: Values = {"host": "office:3128", "ignore": "*.office", "mode": "manual"}
UNUSED: Values = {"host": "office:3128", "ignore": None, "mode": "none"}


class PowerCutError(Exception):
    pass


class Fake:
    """Three settings; the power goes when `steps` changes have been made."""

    name = "Fake"

    def __init__(self, values: Values) -> None:
        self.values = dict(values)
        self.steps = -1
        self.deaf = False

    def step(self) -> None:
        if self.steps == 0:
            raise PowerCutError
        self.steps -= 1

    def read(self) -> dict[str, str | None]:
        return dict(self.values)

    def wanted(self, place: Address) -> dict[str, str | None]:
        return {"host": str(place), "ignore": "loopback", "mode": "manual"}

    def write(self, values: Values) -> None:
        for key, value in values.items():
            self.step()
            if not self.deaf:
                self.values[key] = value

    def leads_to(self, place: Address, found: Values) -> bool:
        return found["mode"] == "manual" and found["host"] == str(place)

    def agree(self, wanted: str | None, found: str | None) -> bool:
        return wanted == found


class FragileMemory(Memory):
    """The same power is what the disk has. The cut comes before or after the file is changed."""

    def __init__(self, path: Path, desktop: Fake) -> None:
        super().__init__(path)
        self._desktop = desktop

    def put(self, *arguments: object) -> None:
        self._desktop.step()
        super().put(*arguments)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "system-proxy.json"


def nobody(_place: Address) -> bool:
    return False


def somebody(_place: Address) -> bool:
    return True


def proxy_of(desktop: Fake, path: Path) -> SystemProxy:
    return SystemProxy([desktop], Memory(path))


@pytest.mark.parametrize("before", [NOTHING, OFFICE, UNUSED])
def test_on_and_off(before: Values, path: Path) -> None:
    desktop = Fake(before)
    proxy = proxy_of(desktop, path)
    assert proxy.turn_on(PLACE) == ["Fake: programs that follow the system's proxy go to 127.0.0.1:1080."]
    assert desktop.leads_to(PLACE, desktop.values)
    assert path.stat().st_mode & 0o077 == 0
    assert proxy.turn_off() == ["Fake: the settings from before are back."]
    assert desktop.values == before
    assert not path.exists()
    assert proxy.turn_off() == ["The system's proxy was not turned on by Ropeway; nothing was changed."]


def test_on_twice_does_not_forget_what_was_before(path: Path) -> None:
    desktop = Fake(OFFICE)
    proxy = proxy_of(desktop, path)
    proxy.turn_on(PLACE)
    proxy.turn_on(PLACE)
    proxy.turn_on(OTHER)
    assert desktop.leads_to(OTHER, desktop.values)
    proxy.turn_off()
    assert desktop.values == OFFICE


def test_what_was_there_is_on_disk_before_anything_changes(path: Path) -> None:
    desktop = Fake(OFFICE)
    desktop.steps = 0
    with pytest.raises(PowerCutError):
        proxy_of(desktop, path).turn_on(PLACE)
    assert desktop.values == OFFICE
    entry = json.loads(path.read_text())["desktops"]["Fake"]
    assert (entry["before"], entry["phase"]) == (OFFICE, "turning on")


def test_settings_that_lead_here_and_are_not_remembered_do_not_come_back(path: Path) -> None:
    desktop = Fake(OFFICE)
    proxy = proxy_of(desktop, path)
    proxy.turn_on(PLACE)
    path.unlink()
    proxy.turn_on(PLACE)
    proxy.turn_off()
    assert desktop.values == NOTHING


@pytest.mark.parametrize("act", ["turn_off", "repair", "resume"])
def test_what_the_user_has_set_meanwhile_stays(act: str, path: Path) -> None:
    desktop = Fake(NOTHING)
    proxy = proxy_of(desktop, path)
    proxy.turn_on(PLACE)
    desktop.values["host"] = "office:3128"
    acts: dict[str, Callable[[], list[str]]] = {
        "turn_off": proxy.turn_off,
        "repair": lambda: proxy.repair(nobody),
        "resume": lambda: proxy.resume(PLACE),
    }
    (line,) = acts[act]()
    assert "set to something else meanwhile, and stays as it is" in line
    assert desktop.values == {"host": "office:3128", "ignore": "loopback", "mode": "manual"}
    assert not path.exists()


def test_turned_off_in_the_settings_of_the_desktop_it_stays_off(path: Path) -> None:
    desktop = Fake(UNUSED)
    proxy = proxy_of(desktop, path)
    proxy.turn_on(PLACE)
    desktop.values["mode"] = "none"
    assert proxy.status(somebody) == ["Fake: off; the proxy was set to something else meanwhile"]
    proxy.resume(PLACE)
    assert desktop.values["mode"] == "none"


def test_a_change_beside_it_stays_and_is_told(path: Path) -> None:
    desktop = Fake(NOTHING)
    proxy = proxy_of(desktop, path)
    proxy.turn_on(PLACE)
    desktop.values["ignore"] = "*.office"
    proxy.turn_on(PLACE)
    desktop.values["ignore"] = "*.home"
    assert proxy.turn_off() == ["Fake: the settings from before are back; what was changed meanwhile stays."]
    assert desktop.values == {**NOTHING, "ignore": "*.home"}


def test_paused_while_it_does_not_run(path: Path) -> None:
    desktop = Fake(OFFICE)
    proxy = proxy_of(desktop, path)
    assert proxy.pause() == []
    assert proxy.resume(PLACE) == []
    proxy.turn_on(PLACE)
    assert proxy.resume(PLACE) == []
    assert proxy.pause() == ["Fake: the settings from before are back."]
    assert proxy.pause() == []
    assert desktop.values == OFFICE
    assert proxy.status(nobody) == ["Fake: on when Ropeway runs, at 127.0.0.1:1080"]
    assert proxy.resume(OTHER) == ["Fake: the system's proxy leads to 127.0.0.1:1081 again."]
    assert desktop.leads_to(OTHER, desktop.values)
    proxy.pause()
    assert proxy.turn_off() == ["Fake: the settings are those from before already."]
    assert (desktop.values, path.exists()) == (OFFICE, False)


def test_what_the_user_sets_while_it_is_paused_stays(path: Path) -> None:
    desktop = Fake(NOTHING)
    proxy = proxy_of(desktop, path)
    proxy.turn_on(PLACE)
    proxy.pause()
    desktop.values.update(OFFICE)
    proxy.resume(PLACE)
    assert (desktop.values, path.exists()) == (OFFICE, False)


def test_no_dead_proxy_is_left(path: Path) -> None:
    desktop = Fake(OFFICE)
    proxy = proxy_of(desktop, path)
    proxy.turn_on(PLACE)
    assert proxy.status(nobody) == [
        "Fake: on, but nothing listens on 127.0.0.1:1080; `ropeway run`, or `ropeway system-proxy off`"
    ]
    assert proxy.repair(somebody) == []
    assert proxy.status(somebody) == ["Fake: on, at 127.0.0.1:1080"]
    assert proxy.repair(nobody) == ["Nothing listens on 127.0.0.1:1080. Fake: the settings from before are back."]
    assert desktop.values == OFFICE
    assert proxy.repair(nobody) == []


ACTS = st.sampled_from(["turn_on", "turn_on other", "turn_off", "pause", "resume", "resume other", "repair"])


@given(
    before=st.sampled_from([NOTHING, OFFICE, UNUSED]),
    acts=st.lists(st.tuples(ACTS, st.integers(-1, 12)), max_size=8),
)
def test_after_any_power_cuts_the_settings_from_before_come_back(
    before: Values, acts: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("state") / "system-proxy.json"
    desktop = Fake(before)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _descriptor: None)  # the power is not cut for real
        undergo(desktop, path, acts)
        proxy = proxy_of(desktop, path)
        proxy.repair(nobody)
        assert desktop.values == before
        proxy.turn_off()
    assert (desktop.values, path.exists()) == (before, False)


def undergo(desktop: Fake, path: Path, acts: list[tuple[str, int]]) -> None:
    for act, steps in acts:
        proxy = SystemProxy([desktop], FragileMemory(path, desktop))
        desktop.steps = steps
        try:
            perform(proxy, act)
        except PowerCutError:
            continue
    desktop.steps = -1


def perform(proxy: SystemProxy, act: str) -> None:
    name, _, other = act.partition(" ")
    place = OTHER if other else PLACE
    if name in ("turn_on", "resume"):
        getattr(proxy, name)(place)
    elif name == "repair":
        proxy.repair(nobody)
    else:
        getattr(proxy, name)()


@given(steps=st.integers(0, 5))
def test_what_was_begun_is_brought_to_its_end_at_the_start(
    steps: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("state") / "system-proxy.json"
    desktop = Fake(OFFICE)
    desktop.steps = steps
    try:
        SystemProxy([desktop], FragileMemory(path, desktop)).turn_on(PLACE)
    except PowerCutError:
        status = proxy_of(desktop, path).status(nobody)
        assert status in (["Fake: off"], [f"Fake: half changed; {HALF}"])
    desktop.steps = -1
    proxy_of(desktop, path).resume(PLACE)
    assert desktop.leads_to(PLACE, desktop.values) == path.exists()
    proxy_of(desktop, path).turn_off()
    assert desktop.values == OFFICE


HALF = "`ropeway system-proxy off` brings back what was there before"


def test_a_desktop_that_does_not_take_settings_is_told(path: Path) -> None:
    desktop = Fake(OFFICE)
    desktop.deaf = True
    with pytest.raises(DesktopError, match="Fake: the settings were written and are not what was written"):
        proxy_of(desktop, path).turn_on(PLACE)
    proxy_of(desktop, path).turn_off()
    assert (desktop.values, path.exists()) == (OFFICE, False)


def test_no_desktop(path: Path) -> None:
    proxy = SystemProxy([], Memory(path))
    with pytest.raises(DesktopError, match="no GNOME, KDE, macOS or Windows"):
        proxy.turn_on(PLACE)
    assert proxy.status(nobody) == ["No GNOME, KDE, macOS or Windows was found here"]


BROKEN = [
    b"",
    b"[]",
    b"null",
    b"{}",
    b'{"version": 2, "desktops": {}}',
    b'{"version": 1, "desktops": []}',
    b'{"version": 1, "desktops": {"Fake": {}}}',
    b'{"version": 1, "desktops": {"Fake": null}}',
    b'{"version": 1, "desktops": {"Fake": {"phase": "on", "place": "127.0.0.1:1", "before": {"a": 1}, "ours": {}}}}',
    b'{"version": 1, "desktops": {"Fake": {"phase": "no", "place": "127.0.0.1:1", "before": {}, "ours": {}}}}',
    b"[" * 100_000,
    b"\xff",
]


@pytest.mark.parametrize("content", BROKEN)
def test_nothing_is_changed_where_the_memory_is_broken(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "system-proxy.json"
    path.write_bytes(content)
    desktop = Fake(OFFICE)
    with pytest.raises(DesktopError, match="set it by hand and remove the file"):
        proxy_of(desktop, path).turn_on(PLACE)
    assert desktop.values == OFFICE


@given(junk=st.binary(max_size=200), where=st.integers(0, 400))
def test_a_damaged_memory_is_an_error_for_people_or_none(
    junk: bytes, where: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("state") / "system-proxy.json"
    proxy_of(Fake(OFFICE), path).turn_on(PLACE)
    content = path.read_bytes()
    path.write_bytes(content[:where] + junk + content[where + len(junk) :])
    with contextlib.suppress(DesktopError):
        Memory(path).read()


@pytest.fixture
def answering() -> Iterator[tuple[Address, list[bytes]]]:
    """A server that answers one connection with what it is given."""
    answers: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(answers[0])

        thread = threading.Thread(target=serve)
        thread.start()
        yield Address.make(*server.getsockname()), answers
        thread.join()


@pytest.mark.parametrize(("answer", "expected"), [(b"\x05\xff", True), (b"HTTP/1.1 400", False), (b"", False)])
def test_only_a_proxy_counts_as_listening(
    answer: bytes, expected: bool, answering: tuple[Address, list[bytes]]
) -> None:
    place, answers = answering
    answers.append(answer)
    assert listens(place) is expected


def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and does not listen
        assert not listens(Address.make(*unused.getsockname()))


def test_the_desktops_of_a_session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "gsettings").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    kde = {"XDG_CURRENT_DESKTOP": "KDE", "HOME": "/home/anna"}

    def kinds(environ: dict[str, str], *remembered: str) -> list[type]:
        return [type(each) for each in desktops_here("linux", environ, remembered)]

    assert kinds(kde) == [Gnome, Kde]
    assert kinds({"XDG_CURRENT_DESKTOP": "ubuntu:GNOME"}) == [Gnome]
    assert kinds({}) == []
    assert kinds({"HOME": "/home/anna"}, "KDE") == [Kde]
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert kinds(kde) == [Kde]
    assert [type(each) for each in desktops_here("darwin", {})] == [MacOS]
