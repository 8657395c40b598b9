"""Two hosts and a bad link between them, for each test that asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.servers import Authority
from tests.lab.hosts import Lab, open_lab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
