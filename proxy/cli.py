"""The command line. It ends with 0: done, 1: failed, with one line that says why, 2: wrong usage.

What is a result goes to standard output, everything else to standard error. What takes long to import is imported in the
commands that need it, so that help comes at once.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from . import cli_dashboard, cli_doctor, cli_rules, cli_service, cli_system, cli_top, telemetry
from .cli_apps import apps_commands
from .cli_exit import exit_commands
from .cli_exits import exits_commands, join
from .errors import RopewayError
from .terminal import PLAIN, AllowPrivateOption, ConfigOption, config_path, until_interrupted

program = typer.Typer(
    help="A local SOCKS and HTTP proxy; one TLS connection to an exit of your own carries all.", **PLAIN
)
program.add_typer(apps_commands, name="apps")
program.add_typer(exit_commands, name="exit")
program.add_typer(exits_commands, name="exits")
cli_service.add_to(program, exit_commands)

LocalPortOption = Annotated[
    int, typer.Option("--port", min=0, max=65535, metavar="PORT", help="Where apps connect, on this computer.")
]


def main() -> None:
    """The program. Every way in which it can fail ends in one line and a status."""
    _mend_streams()
    telemetry.configure()
    try:
        program(prog_name="ropeway")
    except RopewayError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error))
    except Exception as error:
        telemetry.logger("cli").debug("the traceback of a bug", exc_info=error)
        _fail(f"this is a bug of Ropeway: {telemetry.described(error)}")


def _mend_streams() -> None:
    """A program started with a stream closed has none of that name, and one in another encoding must not fail for a user's name."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115  (it lives as long as the process)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _fail(text: str) -> NoReturn:
    print(f"ropeway: {telemetry.one_line(text)}", file=sys.stderr)
    sys.exit(1)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        try:
            print(f"ropeway {metadata.version('ropeway')}")
        except metadata.PackageNotFoundError:
            print("ropeway, run from its source without being installed")
        raise typer.Exit


@program.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    pass


# --- The local side. -----------------------------------------------------------------------------------------------


@program.command()
def run(config: ConfigOption = None) -> None:
    """Run the local side, until Ctrl-C."""
    from . import app
    from .config import load

    path = config_path(config)
    until_interrupted(app.run_local, load(path), path)


program.command("join")(join)


@program.command()
def demo(port: LocalPortOption = 1080, allow_private: AllowPrivateOption = False, config: ConfigOption = None) -> None:
    """Try it on this computer, with nothing to set up. From a configuration it takes what stands in [log] and the local credentials."""
    from . import app
    from .config import load, parse

    settings = load(config) if config else parse({}, Path("demo.toml"))
    until_interrupted(app.run_demo, settings, port, allow_private)


program.command("dashboard")(cli_dashboard.dashboard)
program.command("top")(cli_top.top)
program.command("route")(cli_rules.route)
cli_doctor.add_to(program)
cli_system.add_to(program)
