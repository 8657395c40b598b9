"""Lists that change while they are used."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

import pytest
import trio

from proxy.address import Address
from proxy.errors import ConfigError
from proxy.rule_files import LOOK_EVERY, RuleFiles
from proxy.rule_terms import Network
from proxy.rules import RuleSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trio.testing import MockClock

    from proxy.ruleset import Ruleset

ENOUGH = 2 * LOOK_EVERY + 0.1  # for a change to be seen, and seen again

T = TypeVar("T")


async def inline(call: Callable[[], T], /) -> T:
    """So that virtual time does not run ahead of a thread."""
    await trio.lowlevel.checkpoint()
    return call()


def settings(folder: Path, *rules: str) -> RuleSettings:
    return RuleSettings.parse(rules, "all", "cn", "tunnel", folder=folder)


class Files:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "list"
        self.path.write_text("one.example\n")
        self.files = RuleFiles(settings(folder, "direct list:list"), {}, in_thread=inline)
        self.now = self.files.read()
        self.applied = 0

    def apply(self, ruleset: Ruleset) -> None:
        self.now = ruleset
        self.applied += 1

    def goes_direct(self, name: str) -> bool:
        return str(self.now.decide(Address.make(name, 443), Network.TCP).route) == "direct"


@pytest.fixture
async def files(tmp_path: Path, nursery: trio.Nursery) -> Files:
    made = Files(tmp_path)
    await nursery.start(made.files.run, made.apply)
    return made


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ropeway.rules")


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_list_that_changes_is_read_again(files: Files, autojump_clock: MockClock) -> None:
    assert files.goes_direct("one.example")
    await trio.sleep(100)
    assert files.applied == 0
    files.path.write_text("two.example\nthree.example\n")
    await trio.sleep(ENOUGH)
    assert not files.goes_direct("one.example")
    assert files.goes_direct("two.example")
    await trio.sleep(100)
    assert files.applied == 1


async def test_a_list_that_is_being_written_is_left_alone(files: Files, autojump_clock: MockClock) -> None:
    await trio.sleep(LOOK_EVERY / 2)
    for number in range(5):
        files.path.write_text("more.example\n" * (number + 2))
        await trio.sleep(LOOK_EVERY)
        assert files.applied == 0
    await trio.sleep(LOOK_EVERY)
    assert files.applied == 1


async def test_a_broken_list_leaves_the_rules_as_they_were(
    files: Files, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    files.path.write_text("two.example\n-broken-\n")
    await trio.sleep(100)
    assert files.applied == 0
    assert files.goes_direct("one.example")
    assert complaints(caplog) == [
        (
            "the rules stay as they were, as a list cannot be used: "
            f"rules.rules: rule 1: {files.path}, line 2: '-broken-' is no name"
        )
    ]
    files.path.write_text("two.example\n")
    await trio.sleep(ENOUGH)
    assert files.goes_direct("two.example")


async def test_a_list_that_vanishes_and_comes_back(
    files: Files, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    files.path.unlink()
    await trio.sleep(100)
    assert files.goes_direct("one.example")
    assert len(complaints(caplog)) == 1
    assert "cannot be read: No such file or directory" in complaints(caplog)[0]
    files.path.write_text("one.example\nback.example\n")
    await trio.sleep(ENOUGH)
    assert files.goes_direct("back.example")


async def test_files_that_lists_include_are_watched_too(files: Files, autojump_clock: MockClock) -> None:
    files.path.write_text("include:other\n")
    (files.folder / "other").write_text("other.example\n")
    await trio.sleep(ENOUGH)
    assert files.goes_direct("other.example")
    (files.folder / "other").write_text("another.example\n")
    await trio.sleep(ENOUGH)
    assert files.goes_direct("another.example")
    assert not files.goes_direct("other.example")


async def test_other_settings_have_other_lists(files: Files, autojump_clock: MockClock) -> None:
    (files.folder / "second").write_text("second.example\n")
    files.now = await files.files.change(settings(files.folder, "direct list:second"))
    assert files.goes_direct("second.example")
    files.path.write_text("-")  # which nobody uses any more
    (files.folder / "second").write_text("changed.example\n")
    await trio.sleep(ENOUGH)
    assert files.goes_direct("changed.example")
    with pytest.raises(ConfigError, match="missing cannot be read"):
        await files.files.change(settings(files.folder, "direct list:missing"))
    (files.folder / "second").write_text("again.example\n")
    await trio.sleep(ENOUGH)
    assert files.goes_direct("again.example")


async def test_without_lists_there_is_nothing_to_watch(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    files = RuleFiles(settings(tmp_path, "direct port:1"), {}, in_thread=inline)
    files.read()
    await nursery.start(files.run, lambda _: pytest.fail("nothing changed"))
    await trio.sleep(100)


async def test_what_a_list_leaves_out_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "list").write_text("DOMAIN,a.example\nPROCESS-NAME,curl\n")
    RuleFiles(settings(tmp_path, "direct list:list"), {}).read()
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'list'}: left out, as they mean nothing here: 1 of PROCESS-NAME"
    ]


async def test_lists_are_read_in_a_thread(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("one.example\n")
    files = RuleFiles(settings(tmp_path), {})
    files.read()
    made = await files.change(settings(tmp_path, "direct list:list"))
    assert str(made.decide(Address.make("one.example", 1), Network.TCP).route) == "direct"
