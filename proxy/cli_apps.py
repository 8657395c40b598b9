"""The commands about apps: what is known of them, and whether their hosts answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .terminal import PLAIN, ConfigOption, config_path, fixed_port, say, until_interrupted, width

if TYPE_CHECKING:
    from .address import Address
    from .presets import Preset
    from .probe import Finding
    from .protocol.socks import Credentials

apps_commands = typer.Typer(
    help="Apps: which are known, what works, what has to be set.",
    invoke_without_command=True,
    **(PLAIN | {"no_args_is_help": False}),
)
AppName = Annotated[str, typer.Argument(metavar="NAME", help="The app's name, as `ropeway apps` prints it.")]
AppOrBrowser = Annotated[
    str,
    typer.Argument(metavar="NAME", help="An app, as `ropeway apps` prints it, or chromium, chrome, edge or firefox."),
]
OpenOption = Annotated[bool, typer.Option("--open", help="Open the link, or start the program.")]
PasswordOption = Annotated[
    bool,
    typer.Option("--with-password", help="With the user name and password of the port in what is printed."),
]
ProgramOption = Annotated[
    Path | None, typer.Option("--program", metavar="PATH", help="The app's program, where it is not found by itself.")
]


@apps_commands.callback()
def list_apps(context: typer.Context) -> None:
    """List the apps that are known, and how far they work."""
    if context.invoked_subcommand is not None:
        return
    from .guide import table
    from .presets import load_presets

    print(table(load_presets().values()))
    say("?: not verified. `ropeway apps show NAME` says what has to be set.")


@apps_commands.command("show")
def show_app(name: AppName, config: ConfigOption = None) -> None:
    """Say what works of an app, and what has to be set where."""
    from .guide import described
    from .presets import load_presets

    preset = load_presets().find(name)
    port, credentials = local_port(config)
    print(described(preset, port, credentials=credentials is not None, width=width()))


@apps_commands.command("setup")
def set_up_app(
    name: AppOrBrowser,
    open_it: OpenOption = False,
    with_password: PasswordOption = False,
    program: ProgramOption = None,
    config: ConfigOption = None,
) -> None:
    """Say what an app needs on this computer, or do it.

    A browser gets a profile of its own whose pages come through the local port, Telegram a link, Signal a command that starts it so."""
    from .app_program import Computer
    from .app_setup import Port, set_up
    from .system_proxy import listens

    port, credentials = local_port(config)
    setup = set_up(name, Port(port, credentials, with_password), Computer.of_user(), program)
    tell = say if setup.printed else print  # what is a result goes to standard output
    for line in setup.steps:
        tell(line)
    if setup.printed:
        print(setup.printed)
    if not listens(port):
        say(f"Nothing listens on {port} yet: start `ropeway run`, or `ropeway service install`.")
    if open_it:
        setup.act()


@apps_commands.command("check")
def check_app(name: AppName, config: ConfigOption = None) -> None:
    """Connect to the hosts of an app, through the local port, and say which answer."""
    from functools import partial

    import trio

    from .presets import load_presets
    from .probe import probe_all
    from .socks_client import connect_through

    preset = load_presets().find(name)
    port, credentials = local_port(config)
    say(_what_is_checked(preset, port))
    longest = max(len(str(address)) for address in preset.hosts)
    reached = []

    def tell(finding: Finding) -> None:
        reached.append(finding.reached)
        print(f"{str(finding.address).ljust(longest)}  {finding}", flush=True)

    connect = partial(connect_through, port, credentials)
    until_interrupted(trio.run, probe_all, connect, preset.hosts, tell)
    say(f"{sum(reached)} of {len(preset.hosts)} answered.")
    if sum(reached) < len(preset.hosts):
        raise typer.Exit(1)


def _what_is_checked(preset: Preset, port: Address) -> str:
    hosts = f"{len(preset.hosts)} hosts of {preset.label}, asked through {port}"
    if preset.route == "direct":
        return f"{hosts}; by the rules of home-direct they go direct, and your own rules come first."
    return f"{hosts}; your rules decide which way each goes."


def local_port(option: Path | None) -> tuple[Address, Credentials | None]:
    """Where apps connect, and what they have to say there, by the configuration or, where there is none, by default. Raises ConfigError."""
    from .config import load, parse

    path = config_path(option)
    settings = (load(path) if option or path.exists() else parse({}, path)).local
    return fixed_port(settings, option), settings.credentials
