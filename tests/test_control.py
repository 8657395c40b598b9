"""Changes while the program runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from proxy.address import Address
from proxy.config import load
from proxy.config_file import replace_file
from proxy.connections import BY_HAND, AppProtocol
from proxy.control import Control
from proxy.errors import ConfigError
from proxy.local_side import LocalSide
from tests.dashboard_world import ONE, TWO

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("log_as_before")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "config.toml"
    text = f'# mine\n[local]\nexits = ["{ONE}", "{TWO}"]  # two\n[rules]\nmode = "all"\n'
    replace_file(file, text.encode())
    return file


def control_of(path: Path) -> tuple[LocalSide, Control]:
    config = load(path)
    side = LocalSide(config.local, config.rules)
    return side, Control(side, path)


def written(path: Path) -> str:
    return path.read_text()


async def test_what_is_to_last_stands_in_the_file_and_holds_at_once(path: Path) -> None:
    side, control = control_of(path)
    await control.use_exit("two.example")
    await control.set_mode("home-direct")
    await control.keep_usage(False)
    text = written(path)
    assert text.startswith("# mine\n")
    assert 'prefer = ["two.example"]' in text
    assert load(path).dashboard.usage is False
    assert [view.route.name for view in side.exits.views()] == ["two.example:443", "one.example:443"]
    assert side.routing.router.ruleset.settings.mode.value == "home-direct"
    assert str(await control.link("1")) == str(ONE)


async def test_what_others_have_written_is_read(path: Path) -> None:
    side, control = control_of(path)
    replace_file(path, written(path).replace('"all"', '"home-direct"').encode())
    await control.read_again()
    assert side.routing.router.ruleset.settings.mode.value == "home-direct"
    replace_file(path, b"nonsense")
    with pytest.raises(ConfigError):
        await control.read_again()


async def test_what_cannot_be_changes_nothing(path: Path) -> None:
    _, control = control_of(path)
    before = written(path)
    with pytest.raises(LookupError, match="no exit is 'three'"):
        await control.use_exit("three")
    with pytest.raises(LookupError):
        await control.link("")
    with pytest.raises(ConfigError, match=r"rules\.mode"):
        await control.set_mode("other")
    assert written(path) == before


async def test_connections_are_ended(path: Path) -> None:
    side, control = control_of(path)
    made = [
        side.connections.opened(AppProtocol.CONNECT, Address("example.com", 443), trio.current_time())
        for _ in range(150)
    ]
    assert control.close(made[3].id)
    assert not control.close(1000)
    assert [each.ending for each in made[2:5]] == ["", BY_HAND, ""]
    await control.close_all()
    assert {each.ending for each in made} == {BY_HAND}
