"""What holds for every test: how hard hypothesis tries, and that what is fast and small runs first."""

from __future__ import annotations

import compileall
import functools
import gc
import logging
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import hypothesis
import pytest
import typer

import proxy
from proxy import cli
from proxy.keys import new_certificate
from tests.command_line import Done
from tests.effort import EXAMPLES, PROFILE
from tests.memory import Identity, identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from proxy.share import Link

# Tests start our programs hundreds of times, and where nothing is kept of what was compiled each start takes four times as long.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Times depend on the machine, and two cores may be busy: no example fails for being slow. In CI the examples are the same each time, so that
# nothing fails there by chance; whoever works on the project tries others each time.
hypothesis.settings.register_profile("default", deadline=None, max_examples=EXAMPLES)
hypothesis.settings.register_profile(
    "ci", deadline=None, max_examples=EXAMPLES, print_blob=True, derandomize=True, database=None
)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=EXAMPLES)
hypothesis.settings.load_profile(PROFILE)


def rank(item: pytest.Item) -> int:
    if item.get_closest_marker("last"):
        return 2
    return 1 if item.get_closest_marker("e2e") else 0


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "last: collects what began when the session did; the arguments name its fixtures"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Unit tests, end-to-end tests, and then those that wait for minutes anyway (the sort is stable)."""
    items.sort(key=rank)


def set_aside() -> None:
    """What is there stays to the end: the collector looks from now on only at what the next tests make."""
    gc.collect()
    gc.freeze()


def pytest_collection_finish(session: pytest.Session) -> None:
    set_aside()
    if any(item.get_closest_marker("e2e") for item in session.items):
        # Once for all programs: users of the tests who may not write here start some of them.
        compileall.compile_dir(Path(proxy.__file__).parent, quiet=1)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Each module leaves a thousand reports."""
    if nextitem is None or nextitem.path != item.path:
        set_aside()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """What the exit of a world of memory shows to everybody."""
    return identity(tmp_path_factory.mktemp("server"), *new_certificate("exit.example"))


@pytest.fixture
def rare_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """For worlds in which hours go by and memory is never short: they would be spent on the exit's looks at it, several a second."""
    monkeypatch.setattr("proxy.exit.RELIEVE_EVERY", 60.0)
    monkeypatch.setattr("proxy.waiting_room.LOOK_EVERY", 1.0)


@pytest.fixture
def log_as_before() -> Iterator[None]:
    """For tests of what configures the log."""
    root = logging.getLogger("ropeway")
    handlers, level, raising = root.handlers, root.level, logging.raiseExceptions
    yield
    root.handlers, logging.raiseExceptions = handlers, raising
    root.setLevel(level)


# The command line.


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "settings" / "config.toml"


#: Each call of the program makes all of its commands anew, which is most of what a short one does.
commands = functools.cache(typer.main.get_command)


@pytest.fixture
def ropeway(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    monkeypatch.setattr("typer.main.get_command", commands)

    def run(*arguments: str | Path) -> Done:
        monkeypatch.setattr("sys.argv", ["ropeway", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        assert isinstance(caught.value.code, int)
        return Done(caught.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def exit_of_anna(ropeway: Callable[..., Done], path: Path) -> Link:
    done = ropeway("exit", "init", "--host", "exit.example.com", "--user", "anna", "--config", path)
    assert done.code == 0
    (link,) = done.links
    return link


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What was handed to the program itself, which does not run here."""
    calls: list[tuple[object, ...]] = []
    names = ("run_local", "run_exit", "run_demo")
    parts = {name: lambda *arguments, name=name: calls.append((name, *arguments)) for name in names}
    monkeypatch.setattr(proxy, "app", SimpleNamespace(**parts), raising=False)
    return calls


@pytest.fixture
def no_bug(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """It would be logged as an error."""
    caplog.set_level(logging.DEBUG, "ropeway")
    yield
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
