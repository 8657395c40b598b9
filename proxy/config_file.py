"""The configuration's file: how it is read, and the changes that commands make to it.

Changes are from text to text; what a user wrote and remarked stays as it is.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import tomllib
from collections.abc import MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from . import telemetry
from .config_tables import FileTable, UserTable
from .errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tomlkit import TOMLDocument


def read_text(path: Path) -> str | None:
    """The text of the file, or None where there is no file."""
    try:
        return path.read_text("utf-8-sig")  # editors of Windows begin a file with a byte order mark
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise ConfigError("", f"{path} is not UTF-8 text") from None
    except OSError as error:
        raise ConfigError("", f"{path} cannot be read: {error.strerror}") from None


def read_tables(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("", f"{path} is not TOML: {telemetry.one_line(str(error))}") from None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Between reading a file and replacing it: one command at a time, or the last one undoes what the others did. Waits for its turn.

    The folder is what is locked, as the file itself is replaced. On Windows, where only `join` changes it, nothing is. Raises ConfigError.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    folder = path.resolve().parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ConfigError("", f"{folder} cannot be used: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file that only its owner can read, whole or not at all, and makes its folder where there is none.

    Raises ConfigError where the system does not allow it.
    """
    try:
        target = path.resolve()  # a link to a file stays a link
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
                _keep_owner(target, descriptor)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError("", f"{path} cannot be written: {error.strerror}") from None
    except RuntimeError:  # what pathlib makes of ELOOP before Python 3.13
        raise ConfigError("", f"{path} cannot be written: it is a link to itself") from None


def _keep_owner(target: Path, descriptor: int) -> None:
    """Where root changes the file of the user under whom the exit runs, that user goes on owning it. By descriptor: in that user's folder
    the name may mean another file by now.
    """
    if sys.platform != "win32" and os.geteuid() == 0:
        with contextlib.suppress(FileNotFoundError):
            status = target.stat()
            os.fchown(descriptor, status.st_uid, status.st_gid)


def example() -> str:
    """Every setting with its default and its comment: the text of `config.example.toml`."""
    parts = ["# Every setting with its default. [exit] is for the exit abroad, the others are for your computer.\n"]
    parts += [_rendered(table, None) for table in ("log", "local", "rules", "dns", "dashboard", "exit")]
    user = "".join(f'# {field.name} = "..."  # {_comment(field)}\n' for field in msgspec.structs.fields(UserTable))
    parts.append(f"# One for each user; `ropeway exit user add NAME` writes these lines.\n# [[exit.users]]\n{user}")
    return "\n".join(parts)


def with_settings(text: str, table: str, values: Mapping[str, object]) -> str:
    """The file's text with these settings in that table. A table that was not there comes with all its comments.

    Raises ConfigError where the text has something else in the table's place.
    """
    document = _document(text)
    if table not in document:
        return f"{text.rstrip()}\n\n{_rendered(table, values)}\n".lstrip()
    _table(document, table).update(values)
    return document.as_string()


def with_user(text: str, user: UserTable) -> str:
    """The text with one more user of the exit. Raises ConfigError where there is no table of an exit."""
    import tomlkit  # only the commands that change the file wait for it

    document = _document(text)
    table = _table(document, "exit")
    if "users" not in table:
        table["users"] = tomlkit.array() if isinstance(table, tomlkit.items.InlineTable) else tomlkit.aot()
    users = table["users"]
    entry = tomlkit.table() if isinstance(users, tomlkit.items.AoT) else tomlkit.inline_table()
    entry.update(msgspec.to_builtins(user))
    if isinstance(entry, tomlkit.items.Table):
        entry.add(tomlkit.nl())  # an empty line between users
    users.append(entry)
    return document.as_string()


def without_user(text: str, name: str) -> str:
    """The text without the user of that name, if there is one."""
    document = _document(text)
    users = _table(document, "exit").get("users", [])
    for index in reversed(range(len(users))):
        if users[index].get("name") == name:
            del users[index]
    return document.as_string()


def without_users(text: str) -> str:
    document = _document(text)
    if "exit" in document:
        _table(document, "exit").pop("users", None)
    return document.as_string()


def _document(text: str) -> TOMLDocument:
    import tomlkit  # only the commands that change the file wait for it

    return tomlkit.parse(text)


def _table(document: TOMLDocument, name: str) -> MutableMapping[str, Any]:
    table = document.get(name)
    if not isinstance(table, MutableMapping):
        raise ConfigError(name, f"there is no [{name}] in the file, or something else has its name")
    return table


def _rendered(name: str, values: Mapping[str, object] | None) -> str:
    """The table as text, with these values and the other settings as remarks; without values, with every default."""
    import tomlkit  # only the commands that change the file wait for it

    lines = [f"[{name}]"]
    for field in msgspec.structs.fields(type(getattr(FileTable(), name))):
        if field.name != "users":
            value = field.default if values is None else values.get(field.name, field.default)
            value = list(value) if isinstance(value, tuple) else value
            remark = "" if values is None or field.name in values else "# "
            lines.append(f"{remark}{field.name} = {tomlkit.item(value).as_string()}  # {_comment(field)}")
    return "\n".join(lines) + "\n"


def _comment(field: msgspec.structs.FieldInfo) -> str:
    return str(get_args(field.type)[1].description)
