"""A new exit: its configuration, certificate and key are written all, or none of them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .config import check
from .config_file import locked, read_text, replace_file, with_settings, with_user, without_users
from .errors import ConfigError
from .keys import UserKey, check_pair, der_of, new_certificate, pin_of
from .settings import ExitSettings, Folder, User

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .share import Link


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """Files of a certificate that is there already, and of its key. They stay where they are, so that the exit sees when they are renewed."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class NewExit:
    """What it is to be, as it was typed; what is empty stays as it is in the file, or is the default."""

    host: str
    port: int = 443
    also: tuple[str, ...] = ()
    users: tuple[str, ...] = ("first",)
    listen: str = ""
    website: str = ""
    allow_private: bool = False
    own: OwnCertificate | None = None

    def values(self, before: ExitSettings) -> dict[str, object]:
        """The settings to be written, for a file that says `before`."""
        values: dict[str, object] = {"host": self.host, "port": self.port}
        if self.own is None:
            values |= {"certificate": "exit-cert.pem", "key": "exit-key.pem"}
        else:
            values |= {"certificate": str(self.own.certificate.absolute()), "key": str(self.own.key.absolute())}
        if self.also:
            values["addresses"] = list(self.also)
        if self.listen or all(self.port != each.port for each in before.listen):
            values["listen"] = self.listen or f":{self.port}"
        if self.website:
            values["website"] = self.website
        if self.allow_private:
            values["allow_private"] = True
        return values


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be written, and what follows from it."""

    settings: ExitSettings
    links: tuple[Link, ...]
    files: Mapping[Path, bytes]


def set_up(path: Path, new: NewExit, *, force: bool = False) -> tuple[ExitSettings, tuple[Link, ...]]:
    """Writes the exit and returns it with the links of its users. With `force` an exit that is there already loses its keys and users.

    Raises ConfigError, and nothing has changed then.
    """
    _plan(path, new, force=force)  # what cannot be makes no folder, and waits for nobody
    with locked(path):
        plan = _plan(path, new, force=force)
        _write_all(plan.files)
    return plan.settings, plan.links


def _plan(path: Path, new: NewExit, *, force: bool) -> _Plan:
    if not force:
        check_free(path, new.own)
    text = read_text(path) or ""
    before = check(text, path).exit
    text = with_settings(without_users(text), "exit", new.values(before))
    for name in new.users:
        text = with_user(text, User(name, UserKey.new()).table())
    settings = check(text, path).exit
    if isinstance(settings.website, Folder):
        settings.website.check()
    files: dict[Path, bytes] = {}
    if new.own is None:
        certificate, key = new_certificate(settings.server_name or settings.host)
        files = {settings.key: key, settings.certificate: certificate}
    else:
        certificate = _checked(new.own)
    pin = pin_of(der_of(certificate))
    links = tuple(settings.link(user, pin) for user in settings.users)
    return _Plan(settings, links, files | {path: text.encode()})  # last: it speaks of the others


def check_free(path: Path, own: OwnCertificate | None) -> None:
    """Raises ConfigError where there is an exit already, or a key that would be replaced."""
    before = check(read_text(path) or "", path).exit
    there = before.host or before.users
    if there or (own is None and before.key.exists()):
        what = f"{path} has an exit already" if there else f"{before.key} is the key of an exit already"
        ways = "`ropeway exit user add NAME` adds a user; --force makes new keys, and all links given out stop working"
        raise ConfigError("", f"{what}; {ways}")


def _checked(own: OwnCertificate) -> bytes:
    """The certificate. Raises ConfigError where it cannot be read, or does not go with the key."""
    content = {}
    for option, file in (("--cert", own.certificate), ("--key", own.key)):
        try:
            content[option] = file.read_bytes()
        except OSError as error:
            raise ConfigError(option, f"{file} cannot be read: {error.strerror}") from None
    try:
        check_pair(content["--cert"], content["--key"])
    except ValueError as error:
        raise ConfigError("--cert", f"{own.certificate} and {own.key} cannot be used: {error}") from None
    return content["--cert"]


def _write_all(files: Mapping[Path, bytes]) -> None:
    """In this order. Where one cannot be written, those before it are what they were: a key that stayed would be in the way of the next attempt."""
    with contextlib.ExitStack() as undo:
        for path, content in files.items():
            undo.callback(_put_back, path, path.read_bytes() if path.exists() else None)
            replace_file(path, content)
        undo.pop_all()


def _put_back(path: Path, content: bytes | None) -> None:
    with contextlib.suppress(ConfigError, OSError):  # what went wrong first is what the user has to know
        if content is None:
            path.unlink(missing_ok=True)
        else:
            replace_file(path, content)
