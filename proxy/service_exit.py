"""The exit as a service of the system: its files in a folder that systemd gives to the exit's own user, and its unit."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import service, service_systemd
from .config import check
from .config_file import read_text, replace_file, with_settings
from .errors import ConfigError, ServiceError
from .service_program import check_readable_by_services, this_program
from .settings import Folder
from .systemd_unit import exit_unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .settings import ExitSettings
    from .supervisor import Supervisor

NAME = "ropeway-exit"
#: systemd makes it a link to a folder that belongs to the exit's user (DynamicUser= in systemd.exec(5)).
FOLDER = Path("/var/lib") / NAME
CONFIG = FOLDER / "exit.toml"
_CERTIFICATE, _KEY = "exit-cert.pem", "exit-key.pem"
MEGABYTE = 1_000_000  # bytes


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the exit was set up: the file, its text and what it says."""

    path: Path
    text: str
    settings: ExitSettings


def check_system(words: str) -> None:
    """Raises ServiceError where there can be no such service, or not by this user."""
    if sys.platform != "linux" or not Path("/run/systemd/system").is_dir():  # sd_booted(3)
        text = "this system does not run systemd; run `ropeway exit run` under what supervises services here"
        raise ServiceError(text)
    if os.geteuid() != 0:
        raise ServiceError(f"a service of the system needs root: sudo ropeway {words}")


def origin(path: Path) -> Origin:
    """Raises ConfigError where no exit was set up there that could run."""
    text = read_text(path)
    settings = check(text or "", path).exit
    if text is None or not settings.users:
        raise ConfigError(
            "", f"no exit was set up in {path}; `ropeway exit init --host HOST` does it, or name the file with --config"
        )
    for field, file in (("exit.certificate", settings.certificate), ("exit.key", settings.key)):
        if not file.is_file():
            raise ConfigError(field, f"there is no file {file}; `ropeway exit init` makes one")
    return Origin(path, text, settings)


def default_origin(default: Path) -> Path:
    """The installed one, once there is one that this user may read."""
    try:
        return CONFIG if CONFIG.exists() else default
    except PermissionError:
        return default


def administered(default: Path) -> Path:
    """The exit that commands are about which name none: the installed one where this user may read it, and not what it was installed from."""
    return default_origin(default) if (service_systemd.SYSTEM_UNITS / f"{NAME}.service").exists() else default


def exit_service(settings: ExitSettings | None) -> Supervisor:
    """What is installed, or is to be. Without settings it can be looked at and taken away."""
    text = "" if settings is None else _unit(settings)
    return service_systemd.Systemd(NAME, {f"{NAME}.service": text}, user=False)


def _unit(settings: ExitSettings) -> str:
    program = this_program("exit", "run", "--config", str(CONFIG))
    ports = [listen.port for listen in settings.listen]
    return exit_unit(program, NAME, NAME, memory=settings.memory * MEGABYTE, ports=ports)


def install(found: Origin, *, force: bool = False) -> Iterator[str]:
    """Puts the exit's files where the service reads them, unless they are there, and installs and starts it. Says what changed, line by line.

    Raises as `service.install` does, and ConfigError where there is another exit already, unless `force` replaces it.
    """
    check_readable_by_services(this_program())
    moved = found.path.resolve() != CONFIG.resolve()
    if moved and CONFIG.exists() and not force:
        text = f"there is an exit in {CONFIG} already, with users of its own; leave --config out to keep it, or replace it with --force"
        raise ConfigError("--config", text)
    places = [("exit.listen", listen) for listen in found.settings.listen]
    supervisor = exit_service(found.settings)
    service.check_ports(places, supervisor.state())
    if moved:
        yield from _move(found)
    yield from _readable_website(found.settings)
    yield from service.install(supervisor, places)
    yield f"From now on the commands `ropeway exit user`, `link` and `certificate` are, as root, about {CONFIG}."
    yield from firewall_hints(sorted({listen.port for listen in found.settings.listen} - {0}))


def _move(found: Origin) -> Iterator[str]:
    """A copy: what is in the other place stays, for somebody who thinks better of it."""
    values: dict[str, object] = {"certificate": _CERTIFICATE, "key": _KEY}
    if isinstance(found.settings.website, Folder):
        values["website"] = f"folder:{found.settings.website.path}"
    text = with_settings(found.text, "exit", values)
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = {
        _KEY: found.settings.key.read_bytes(),
        _CERTIFICATE: found.settings.certificate.read_bytes(),
        CONFIG.name: text.encode(),
    }
    owner = FOLDER.stat()
    for name, data in content.items():
        replace_file(FOLDER / name, data)
        if sys.platform != "win32":  # a file that was not there before is root's
            os.chown(FOLDER / name, owner.st_uid, owner.st_gid)
    yield f"Copied: {found.path}, its certificate and key to {FOLDER}. The exit uses these; {found.path} is not used any more."


def _readable_website(settings: ExitSettings) -> Iterator[str]:
    if isinstance(settings.website, Folder) and settings.website.path.is_relative_to("/home"):
        yield f"The website in {settings.website.path} cannot be read by the service: put it below /srv, and set `website`."


def firewall_hints(ports: Sequence[int]) -> list[str]:
    """The command that opens the ports, for the firewall that this machine has; nothing is run."""
    commands = {
        "ufw": [f"ufw allow {port}/tcp" for port in ports],
        "firewall-cmd": [f"firewall-cmd --permanent --add-port={port}/tcp && firewall-cmd --reload" for port in ports],
        "nft": [f"nft add rule inet filter input tcp dport {port} accept" for port in ports],
    }
    for tool, lines in commands.items():
        if shutil.which(tool):
            return [f"If the firewall does not let it through yet: {line}" for line in lines]
    return []
