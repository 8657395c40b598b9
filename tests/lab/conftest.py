"""Two hosts and a bad link between them, for each test that asks."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from tests.e2e.servers import Authority
from tests.lab.faults import HEAD, Row, with_rows
from tests.lab.hosts import Lab, open_lab

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Told the fault, what apps see of it, and the figures.
Measured: TypeAlias = Callable[[str, str, str], None]

_ROWS = pytest.StashKey[list[Row]]()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def lab(folder: Path) -> Iterator[Lab]:
    """Between continents: 20 Mbit/s and 100 ms."""
    with open_lab(folder) as lab:
        yield lab


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Measured:
    """Call it before figures are judged: those that are too high are worth knowing."""
    rows = request.config.stash.setdefault(_ROWS, [])
    command = f"scripts/lab {request.node.nodeid.partition('[')[0]}"

    def add(fault: str, apps_see: str, figures: str) -> None:
        rows.append(Row(fault, apps_see, figures, command))
        print(rows[-1])

    return add


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Shows the table, and puts what was measured into the document that LAB_TABLE names."""
    rows = config.stash.get(_ROWS, [])
    if not rows:
        return
    terminalreporter.section("what apps saw")
    terminalreporter.write_line("\n".join([HEAD, *map(str, rows)]))
    if name := os.environ.get("LAB_TABLE"):
        document = Path(name)
        document.write_text(with_rows(document.read_text(), rows))
