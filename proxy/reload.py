"""The exit's files: its configuration, certificate and key. They are read again when they have changed, or when SIGHUP asks for it."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import trio

from .challenge import FILE_NAME
from .config import load
from .errors import ConfigError
from .exit import Identity
from .keys import channel_binding, der_of, pin_of
from .settings import Folder
from .telemetry import logger
from .tls import exit_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from .settings import Config

log = logger("reload")

#: Takes over what was read.
Apply: TypeAlias = "Callable[[Settings], None]"
#: What tells a file from the one that was there before: when it was written, its size and its inode; None where there is none.
_Mark: TypeAlias = tuple[int, int, int] | None

#: Our choice, in seconds: how often the files are looked at. They are read when two looks see the same, so that nobody is caught writing.
LOOK_EVERY = 2.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What the files say; `pin` is that of the certificate."""

    config: Config
    identity: Identity
    pin: bytes

    @property
    def for_whom(self) -> str:
        """How many users, for people."""
        users = len(self.config.exit.users)
        return f"{users} user{'s' * (users != 1)}"


class Reload:
    """Call `read` once, then `run`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._marks: dict[Path, _Mark] = {}  # of the files as they were when they were read
        self._settings: Settings | None = None
        self._complaint = ""

    def read(self) -> Settings:
        """Raises ConfigError where a file or the website's folder is missing or of no use, or the certificate does not go with the key."""
        # Before they are read: what is written meanwhile shows at the next look.
        self._marks = _marks({self._path, *self._marks})
        config = load(self._path)
        if isinstance(config.exit.website, Folder):
            config.exit.website.check()
        files = (config.exit.certificate, config.exit.key)
        self._marks = _marks(files) | self._marks
        identity, pin = _read_identity(*files)
        self._marks = {path: self._marks[path] for path in (self._path, *files)}
        self._settings = Settings(config, identity, pin)
        return self._settings

    async def run(self, apply: Apply, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until it is cancelled, `apply` is called with what the files say, each time they were read anew. Where they cannot be used the log says
        why, once, and nothing changes.
        """
        async with trio.open_nursery() as nursery:
            if sys.platform != "win32":  # it knows no such signal
                await nursery.start(self._obey, apply)
            task_status.started()
            await self._watch(apply)

    async def _obey(self, apply: Apply, *, task_status: trio.TaskStatus[None]) -> None:
        if sys.platform != "win32":
            with trio.open_signal_receiver(signal.SIGHUP) as signals:
                task_status.started()
                async for _ in signals:
                    self._read_again(apply, asked=True)

    async def _watch(self, apply: Apply) -> None:
        last = self._marks
        while True:
            await trio.sleep(LOOK_EVERY)
            marks = _marks(self._marks)
            if marks == last and marks != self._marks:
                self._read_again(apply, asked=False)
            last = marks

    def _read_again(self, apply: Apply, *, asked: bool) -> None:
        before = self._settings
        try:
            settings = self.read()
        except ConfigError as exc:
            if asked or str(exc) != self._complaint:
                log.error("the exit goes on with what it had, as its files cannot be used: %s", exc)
            self._complaint = str(exc)
            return
        self._complaint = ""
        apply(settings)
        if before is not None:
            for remark in remarks(before, settings):
                log.warning(remark)
        log.info("the configuration and the certificate were read again, for %s", settings.for_whom)


def remarks(before: Settings, now: Settings) -> Iterator[str]:
    """What a change brings about that may not be meant, and what it does not bring about, each in a line."""
    if now.config.exit.listen != before.config.exit.listen:
        places = ", ".join(map(str, now.config.exit.listen))
        yield f"exit.listen is {places} now: that takes a restart of the exit"
    if now.pin != before.pin:
        yield "the certificate has another key than before: links given out stop working, so give all users new ones"
    if not now.config.exit.users:
        yield "nobody may use this exit any more; add a user with `ropeway exit user add NAME`"


def _marks(paths: Iterable[Path]) -> dict[Path, _Mark]:
    return {path: _mark(path) for path in paths}


def _mark(path: Path) -> _Mark:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read_identity(certificate: Path, key: Path) -> tuple[Identity, bytes]:
    """And the pin. The library reads the files itself, and the binding must be that of the very certificate that it took."""
    text = _text_of(certificate)
    context = exit_context(certificate, key)
    if _text_of(certificate) != text:
        raise ConfigError("exit.certificate", f"{certificate} was replaced while it was read; it is tried again")
    try:
        der = der_of(text)
        return Identity(context, channel_binding(der), certificate.with_name(FILE_NAME)), pin_of(der)
    except ValueError:
        raise ConfigError("exit.certificate", f"there is no certificate in {certificate}") from None


def _text_of(certificate: Path) -> bytes:
    try:
        return certificate.read_bytes()
    except OSError as exc:
        text = f"{certificate} cannot be used: {exc.strerror}; `ropeway exit init` makes one"
        raise ConfigError("exit.certificate", text) from None
