"""The commands of the background services: the local side's of this user, and the exit's of the system."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import ServiceError
from .terminal import PLAIN, ConfigOption, config_path, say, until_interrupted

if TYPE_CHECKING:
    from .settings import Listen
    from .supervisor import Supervisor

service_commands = typer.Typer(help="Run the local side in the background, from log-in on.", **PLAIN)

SocketOption = Annotated[
    bool,
    typer.Option(
        "--socket-activation", help="Let systemd hold the port, so that apps wait while Ropeway is started again."
    ),
]
FollowOption = Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is added, until Ctrl-C.")]
LinesOption = Annotated[int, typer.Option("--lines", "-n", min=1, max=100_000, metavar="COUNT", help="How many lines.")]
LogOption = Annotated[Path, typer.Option("--log", metavar="FILE", help="Where the log goes.")]
ReplaceOption = Annotated[
    bool, typer.Option("--force", help="Replace an exit that was installed before, with its keys and users.")
]


@service_commands.command("install")
def install(socket_activation: SocketOption = False, config: ConfigOption = None) -> None:
    """Install and start it, or bring it up to date."""
    from . import service
    from .config import load
    from .local_side import check_exits

    path = config_path(config)
    loaded = load(path)
    check_exits(loaded)
    settings = loaded.local
    found = service.local_service(path, settings.listen, socket_activation=socket_activation)
    for line in service.install(found, [("local.listen", settings.listen)]):
        say(line)
    say(f"Apps connect at {settings.listen}. `ropeway service logs` shows what it does.")


@service_commands.command("uninstall")
def uninstall() -> None:
    """Stop it and take it away; the configuration stays."""
    from . import service

    for line in service.uninstall(_local()):
        say(line)


@service_commands.command("start")
def start(config: ConfigOption = None) -> None:
    """Start it."""
    from . import service

    for line in service.start(_local(), _places(config)):
        say(line)


@service_commands.command("stop")
def stop() -> None:
    """Stop it, until it is started or the next log-in."""
    from . import service

    say(service.stop(_local()))


@service_commands.command("status")
def status() -> None:
    """Show whether it runs; ends with 1 unless it does."""
    from . import service

    found = _local()
    for line in service.status(found):
        print(line)
    if not found.state().running:
        raise typer.Exit(1)


@service_commands.command("logs")
def logs(follow: FollowOption = False, lines: LinesOption = 50) -> None:
    """Show its log."""
    found = _local()
    if not follow:
        text = found.last_lines(lines)
        if not text and not found.state().installed:
            raise ServiceError("there is no log, as the service is not installed; `ropeway service install` does that")
        print(text, end="")
        return
    until_interrupted(_show, found.follow())


@service_commands.command("run", hidden=True)
def run(log: LogOption, config: ConfigOption = None) -> None:
    """For supervisors that keep no log: as `ropeway run`, with all it says in a file that stays small."""
    from . import app, telemetry
    from .config import load
    from .log_file import LogFile

    sys.stderr = sys.stdout = LogFile(log)
    log.with_suffix(".pid").write_text(str(os.getpid()))
    telemetry.configure()
    path = config_path(config)
    until_interrupted(app.run_local, load(path), path)


def add_to(program: typer.Typer, exit_commands: typer.Typer) -> None:
    """Makes them part of the program, and of its commands for the exit."""
    program.add_typer(service_commands, name="service")
    exit_commands.command("install")(install_exit)
    exit_commands.command("uninstall")(uninstall_exit)


# --- The exit. -----------------------------------------------------------------------------------------------------


def install_exit(force: ReplaceOption = False, config: ConfigOption = None) -> None:
    """Run the exit in the background, with systemd; needs root."""
    from . import service_exit

    service_exit.check_system("exit install")
    found = service_exit.origin(config or service_exit.default_origin(config_path(None)))
    for line in service_exit.install(found, force=force):
        say(line)


def uninstall_exit() -> None:
    """Take the exit's service away; its keys stay."""
    from . import service, service_exit

    service_exit.check_system("exit uninstall")
    for line in service.uninstall(service_exit.exit_service(None)):
        say(line)
    if service_exit.FOLDER.exists():
        say(f"Its configuration and keys are still in {service_exit.FOLDER}; without them all links are dead.")


def _show(argv: list[str]) -> None:
    import subprocess

    subprocess.run(argv, check=False)  # noqa: S603  (our own words, and no shell)


def _local() -> Supervisor:
    """To be looked at, started, stopped or taken away: what its files should say does not matter."""
    from .service import local_service
    from .settings import Listen

    return local_service(config_path(None), Listen("127.0.0.1", 0))


def _places(config: Path | None) -> list[tuple[str, Listen]]:
    from .config import load

    return [("local.listen", load(config_path(config)).local.listen)]
