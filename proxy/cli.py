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

from . import cli_rules, cli_service, cli_system, telemetry
from .cli_apps import apps_commands
from .cli_exit import exit_commands
from .errors import RopewayError
from .terminal import PLAIN, AllowPrivateOption, ConfigOption, command, config_path, say, until_interrupted

_MAX_LINK = 8192  # of what is read from standard input; share.py has the true limit

program = typer.Typer(
    help="A local SOCKS and HTTP proxy; one TLS connection to an exit of your own carries all.", **PLAIN
)
program.add_typer(apps_commands, name="apps")
program.add_typer(exit_commands, name="exit")
cli_service.add_to(program, exit_commands)

LinkArgument = Annotated[
    str,
    typer.Argument(
        metavar="LINK",
        help='The link that the exit printed; "-" reads it from standard input, '
        "because everybody on this computer can see the arguments of a command.",
    ),
]
AddOption = Annotated[
    bool, typer.Option("--add", help="Keep the other exits; a link of the same exit and user is replaced.")
]
LocalListenOption = Annotated[
    str | None,
    typer.Option("--listen", metavar="ADDRESS", help="Where apps connect.  [default: 127.0.0.1:1080]"),
]
ModeOption = Annotated[
    str | None,
    typer.Option(
        "--mode",
        metavar="MODE",
        help='"home-direct": domestic and private destinations go direct; "all": nothing does.',
    ),
]
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


@program.command()
def join(
    link: LinkArgument,
    add: AddOption = False,
    listen: LocalListenOption = None,
    mode: ModeOption = None,
    config: ConfigOption = None,
) -> None:
    """Set up the local side for the exit of this link."""
    from .config import change, with_exit
    from .config_file import with_settings
    from .share import Link

    parsed = Link.parse(sys.stdin.readline(_MAX_LINK) if link == "-" else link)
    values = ({} if add else {"exit": str(parsed)}) | ({"listen": listen} if listen else {})
    path = config_path(config)

    def edit(text: str) -> str:
        text = with_exit(text, path, parsed) if add else text
        text = with_settings(text, "local", values)
        return with_settings(text, "rules", {"mode": mode}) if mode else text

    settings = change(path, edit).local
    number = len(settings.exits)
    exits = f"the exit is {parsed.address}" if number == 1 else f"{parsed.address} is one of {number} exits"
    say(f"Written to {path}. Apps will connect at {settings.listen}, {exits}.")
    say(f"Now start it: {command('run', config)}")


@program.command()
def demo(port: LocalPortOption = 1080, allow_private: AllowPrivateOption = False, config: ConfigOption = None) -> None:
    """Try it on this computer, with nothing to set up. From a configuration it takes what stands in [log] and the local credentials."""
    from . import app
    from .config import load, parse

    settings = load(config) if config else parse({}, Path("demo.toml"))
    until_interrupted(app.run_demo, settings, port, allow_private)


program.command("route")(cli_rules.route)
cli_system.add_to(program)
