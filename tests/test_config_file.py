"""The file itself: the example and the settings say the same, changes keep what users wrote, writing is all or nothing."""

from __future__ import annotations

import stat
import sys
import tomllib
from pathlib import Path

import msgspec
import pytest

from proxy import config, config_file
from proxy.config_file import replace_file, with_settings, with_user, without_user, without_users
from proxy.config_tables import FileTable, UserTable
from proxy.errors import ConfigError

EXAMPLE = Path(__file__).parent.parent / "config.example.toml"
ANNA = UserTable("anna", "01" * 8, "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI")
BEN = UserTable("ben", "02" * 8, "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM")
TABLES = {field.name: field.default for field in msgspec.structs.fields(FileTable)}

WRITTEN = """\
# mine
[exit]
host = "exit.example.com"  # at home
# the next line matters
port = 8443

[local]
listen = "127.0.0.1:1090" # not 1080
"""


def users(text: str) -> list[str]:
    return [user.name for user in config.check(text, Path("config.toml")).exit.users]


# The example and the settings.


@pytest.mark.parametrize("table", TABLES)
def test_every_setting_is_in_the_example_with_its_default(table: str) -> None:
    example = tomllib.loads(EXAMPLE.read_text())
    for field in msgspec.structs.fields(TABLES[table]):
        if field.name != "users":
            default = list(field.default) if isinstance(field.default, tuple) else field.default
            assert example[table][field.name] == default, field.name


def test_everything_in_the_example_is_a_setting() -> None:
    example = tomllib.loads(EXAMPLE.read_text())
    assert set(example) == set(TABLES)
    for table, settings in example.items():
        names = {field.name for field in msgspec.structs.fields(TABLES[table])}
        assert set(settings) == names - {"users"}


def test_the_example_is_a_configuration_and_changes_nothing() -> None:
    path = Path("config.toml")
    assert config.check(EXAMPLE.read_text(), path) == config.check("", path)


def test_every_setting_of_the_example_has_its_comment() -> None:
    for line in EXAMPLE.read_text().splitlines():
        if " = " in line:
            assert len(line.partition("  # ")[2]) > 10, line
        assert len(line) <= 120


def test_the_example_shows_a_user() -> None:
    lines = EXAMPLE.read_text().splitlines()
    assert "# [[exit.users]]" in lines
    for field in msgspec.structs.fields(UserTable):
        assert any(line.startswith(f"# {field.name} = ") for line in lines)


def test_the_example_is_what_the_tables_say() -> None:
    assert EXAMPLE.read_text() == config_file.example(), "write proxy.config_file.example() to config.example.toml"


# Changes.


def test_a_new_table_comes_with_all_its_settings() -> None:
    text = with_settings("", "local", {"exit": "x", "exits": ["y", "z"], "max_connections": 5})
    assert tomllib.loads(text) == {"local": {"exit": "x", "exits": ["y", "z"], "max_connections": 5}}
    for field in msgspec.structs.fields(TABLES["local"]):
        assert f"{field.name} = " in text


def test_changed_settings_leave_the_rest_as_it_was() -> None:
    text = with_settings(WRITTEN, "local", {"listen": "[::1]:1", "exit": 'a"b'})
    assert tomllib.loads(text)["local"] == {"listen": "[::1]:1", "exit": 'a"b'}
    for line in ("# mine", 'host = "exit.example.com"  # at home', "# the next line matters", "port = 8443"):
        assert line in text.splitlines()
    assert 'listen = "[::1]:1" # not 1080' in text.splitlines()
    more = with_settings(text, "log", {"level": "debug"})
    assert more.startswith(text.rstrip())
    assert tomllib.loads(more) == tomllib.loads(text) | {"log": {"level": "debug"}}


@pytest.mark.parametrize(
    "text",
    [
        "[exit]\n",
        WRITTEN,
        "exit.port = 1\n[local]\n",
        "exit = {port = 1}\n",
        "[exit]\nusers = []\n",
        EXAMPLE.read_text(),
    ],
)
def test_users_come_and_go_wherever_the_table_stands(text: str) -> None:
    before = tomllib.loads(text)
    text = with_user(with_user(text, ANNA), BEN)
    assert users(text) == ["anna", "ben"]
    assert users(without_user(text, "zoe")) == ["anna", "ben"]
    text = without_user(text, "anna")
    assert users(text) == ["ben"]
    text = with_user(text, ANNA)
    assert users(text) == ["ben", "anna"]
    assert users(without_user(without_user(text, "anna"), "ben")) == []
    after = tomllib.loads(without_users(text))
    before["exit"].pop("users", None)
    assert after == before


def test_there_is_nothing_to_take_away() -> None:
    assert without_users("# mine\n") == "# mine\n"


@pytest.mark.parametrize("text", ["", "exit = 5\n", "[[exit]]\n"])
def test_users_need_the_table(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^exit: "):
        with_user(text, ANNA)


def test_settings_need_a_table() -> None:
    with pytest.raises(ConfigError, match=r"^local: "):
        with_settings("local = 5\n", "local", {"exit": "x"})


# Writing.


def test_a_file_is_written_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "config.toml"
    replace_file(path, b"one")
    replace_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert [entry.name for entry in path.parent.iterdir()] == ["config.toml"]
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.touch(mode=0o644)
    replace_file(path, b"secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(sys.platform == "win32", reason="Windows asks for a right to make symbolic links")
def test_a_link_to_the_file_stays(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target, path = tmp_path / "there" / "config.toml", tmp_path / "config.toml"
    path.symlink_to(target)
    replace_file(path, b"text")
    assert path.is_symlink()
    assert target.read_bytes() == b"text"


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ConfigError, match=r"config\.toml cannot be written: No space left on device"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        replace_file(tmp_path / "file" / "config.toml", b"")
