"""The configuration's file: its tables as they are written in TOML, and the changes that commands make to them.

Each setting stands once, here, with its type, range, default and the comment that users read in `config.example.toml`.
Changes are from text to text; what a user wrote and remarked stays as it is.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import sys
import tempfile
import tomllib
from collections.abc import MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, get_args

import msgspec
from msgspec import Meta, Struct

from . import telemetry
from .errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tomlkit import TOMLDocument


# Our choices: at two days, or a terabyte (a day at 100 Mbit/s), a connection stands out and replacing it hides nothing.
_Age: TypeAlias = Annotated[float, Meta(ge=1, le=172_800)]
_Volume: TypeAlias = Annotated[float, Meta(ge=1, le=1_000_000)]
#: Half of the least is the program itself.
_Memory: TypeAlias = Annotated[
    int, Meta(ge=128, le=65536, description="MB that the program may take, whatever apps and networks do")
]


class LogTable(Struct, frozen=True, forbid_unknown_fields=True):
    level: Annotated[str, Meta(description="debug, info, warning or error")] = "info"
    destinations: Annotated[bool, Meta(description="whether the log says where connections go")] = False
    format: Annotated[str, Meta(description="text, or json: one object a line")] = "text"


class LocalTable(Struct, frozen=True, forbid_unknown_fields=True):
    listen: Annotated[str, Meta(description="where apps connect, with SOCKS or HTTP")] = "127.0.0.1:1080"
    username: Annotated[str, Meta(description="what apps have to say; needed to listen beyond this computer")] = ""
    password: Annotated[str, Meta(description="goes with username")] = ""
    exit: Annotated[str, Meta(description="the link of the exit; `ropeway join LINK` writes it")] = ""
    exits: Annotated[
        tuple[str, ...], Meta(max_length=15, description="links of other exits; `ropeway join --add LINK` writes them")
    ] = ()
    prefer: Annotated[tuple[str, ...], Meta(description="HOST or HOST:PORT of what goes first whenever it works")] = ()
    only: Annotated[tuple[str, ...], Meta(description="HOST or HOST:PORT; where set, nothing else is ever used")] = ()
    connect_wait: Annotated[
        float, Meta(ge=0, le=300, description="seconds that a new connection waits while the tunnel is down")
    ] = 5.0
    waiting_time: Annotated[
        float, Meta(ge=1, le=86400, description="seconds that open connections wait for an exit that is not reached")
    ] = 600.0
    rotation_age: Annotated[
        tuple[_Age, _Age], Meta(description="least and most seconds until a connection to the exit is replaced")
    ] = (600.0, 2400.0)
    rotation_volume: Annotated[
        tuple[_Volume, _Volume], Meta(description="the same in MB that it has carried, 1,000,000 bytes each")
    ] = (1000.0, 4000.0)
    max_connections: Annotated[int, Meta(ge=1, le=65536, description="connections of apps at the same time")] = 8192
    memory: _Memory = 256


class UserTable(Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(description="for people: commands, links and the log")]
    id: Annotated[str, Meta(description="8 random bytes in hexadecimal")]
    key: Annotated[str, Meta(description="32 random bytes in base64; secret")]


class ExitTable(Struct, frozen=True, forbid_unknown_fields=True):
    listen: Annotated[
        str | tuple[str, ...], Meta(description='":443": all addresses of the machine; [":443", ":8443"]: two ports')
    ] = ":443"
    host: Annotated[str, Meta(description="name or address under which users reach the exit; goes into links")] = ""
    port: Annotated[int, Meta(ge=1, le=65535, description="port under which users reach it; goes into links")] = 443
    addresses: Annotated[
        tuple[str, ...], Meta(max_length=8, description="other HOST:PORT under which they reach it; go into links")
    ] = ()
    server_name: Annotated[str, Meta(description="name that TLS asks for, where that is not host; goes into links")] = (
        ""
    )
    certificate: Annotated[str, Meta(description="PEM, with its chain; relative to the folder of this file")] = (
        "exit-cert.pem"
    )
    key: Annotated[str, Meta(description="PEM; keep the key when you renew the certificate, links depend on it")] = (
        "exit-key.pem"
    )
    roots: Annotated[bool, Meta(description="whether links say: check the system's roots too (not if self-signed)")] = (
        False
    )
    website: Annotated[
        str, Meta(description='what others see: "page" (built in), "folder:PATH" or "server:HOST:PORT"')
    ] = "page"
    allow_private: Annotated[
        bool, Meta(description="whether users may connect to private addresses and the exit itself")
    ] = False
    waiting_time: Annotated[
        float, Meta(ge=1, le=86400, description="seconds that a session waits for a broken connection to come back")
    ] = 600.0
    waiting_memory_user: Annotated[
        int,
        Meta(ge=1, le=65536, description="MB that waiting sessions of one user may keep; who waits longest goes first"),
    ] = 64
    waiting_memory: Annotated[
        int, Meta(ge=1, le=65536, description="MB that all waiting sessions together may keep")
    ] = 128
    max_sessions: Annotated[int, Meta(ge=1, le=1024, description="devices of one user at the same time")] = 16
    max_streams: Annotated[int, Meta(ge=1, le=65536, description="connections of one device at the same time")] = 8192
    memory: _Memory = 256
    users: tuple[UserTable, ...] = ()


class FileTable(Struct, frozen=True, forbid_unknown_fields=True):
    log: LogTable = LogTable()
    local: LocalTable = LocalTable()
    exit: ExitTable = ExitTable()


def convert(tables: Mapping[str, Any], path: Path) -> FileTable:
    """Raises ConfigError that names the setting and the file."""
    try:
        return msgspec.convert(tables, FileTable)
    except msgspec.ValidationError as error:
        name, text = _fault(str(error))
        raise ConfigError(name, f"{text} (in {path})") from None


# msgspec's words for types, in those of people who write TOML.
_TYPES = {
    "`object`": "a table",
    "`array`": "a list",
    "`str | array`": "text in quotes, or a list of it",
    "`str`": "text in quotes",
    "`int`": "a whole number",
    "`float`": "a number",
    "`bool`": "true or false",
}
_FAULT = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<where>[^`]*)`)?", re.DOTALL)
_FIELD_FAULT = re.compile(r"Object (?P<what>contains unknown|missing required) field `(?P<name>.*)`", re.DOTALL)


def _fault(message: str) -> tuple[str, str]:
    """The setting that msgspec's message is about, and what to tell people."""
    match = _FAULT.fullmatch(message)
    assert match is not None  # it matches every text
    what, where = match["what"], match["where"] or ""
    about = _FIELD_FAULT.fullmatch(what)
    if about is None:
        for word, meaning in _TYPES.items():
            what = what.replace(word, meaning)
        return where, what[:1].lower() + what[1:]
    name = telemetry.one_line(f"{where}.{about['name']}".removeprefix("."))
    if about["what"] == "missing required":
        return name, "it is missing"
    like = difflib.get_close_matches(about["name"], _all_names(), n=1)
    return name, "there is no such setting" + (f"; {like[0]} is meant?" if like else "")


def _all_names() -> list[str]:
    tables = (FileTable, LogTable, LocalTable, ExitTable, UserTable)
    return [field.name for table in tables for field in msgspec.structs.fields(table)]


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
    parts = ["# Every setting with its default. One file serves both sides: [local] on your computer, [exit] abroad.\n"]
    parts += [_rendered(table, None) for table in ("log", "local", "exit")]
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
