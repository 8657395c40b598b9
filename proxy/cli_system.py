"""The commands that point other programs at Ropeway: the system's proxy, and the variables of a shell."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from .cli_apps import local_port
from .environment import Shell
from .terminal import PLAIN, ConfigOption, say

if TYPE_CHECKING:
    from .login_repair import LoginRepair
    from .system_proxy import SystemProxy

system_proxy_commands = typer.Typer(help="Point the system's proxy settings at the local port.", **PLAIN)
ShellOption = Annotated[
    Shell | None, typer.Option("--shell", metavar="SHELL", help="sh, fish or powershell.  [default: the one you use]")
]
PasswordOption = Annotated[
    bool,
    typer.Option("--with-password", help="With the user name and password of the port, which then stand in the lines."),
]
WaitOption = Annotated[
    float, typer.Option("--wait", min=0, max=600, metavar="SECONDS", help="How long Ropeway may take to start.")
]


@system_proxy_commands.command("on")
def turn_on(config: ConfigOption = None) -> None:
    """Set it to the local port; what was set before is kept."""
    from .system_proxy import listens

    port, credentials = local_port(config)
    proxy = _system_proxy()
    _login_repair().install()
    try:
        for line in proxy.turn_on(port):
            say(line)
    finally:
        _forget_repair()
    if credentials is not None:
        say("The port wants a user name and a password: browsers will ask for them, and many other programs cannot.")
    if not listens(port):
        say(f"Nothing listens on {port} yet: start `ropeway run`, or `ropeway service install`.")


@system_proxy_commands.command("off")
def turn_off() -> None:
    """Bring back what was set before."""
    for line in _system_proxy().turn_off():
        say(line)
    _forget_repair()


@system_proxy_commands.command("status")
def show_status() -> None:
    """Show whether it is on.

    Ends with 1 where it leads to a port at which nobody listens."""
    from .system_proxy import listens

    proxy = _system_proxy()
    for line in proxy.status(listens):
        print(line)
    if proxy.is_dead(listens):
        raise typer.Exit(1)


@system_proxy_commands.command("repair")
def repair(wait: WaitOption = 0) -> None:
    """Bring back what was set before, where nobody listens.

    It comes back on when Ropeway runs again."""
    import time

    from .system_proxy import listens

    proxy = _system_proxy()
    deadline = time.monotonic() + wait
    while proxy.is_dead(listens) and time.monotonic() < deadline:
        time.sleep(1)
    for line in proxy.repair(listens) or ["Nothing has to be mended."]:
        say(line)
    _forget_repair()


def print_environment(
    shell: ShellOption = None, with_password: PasswordOption = False, config: ConfigOption = None
) -> None:
    """Print lines for a shell that set the proxy of its programs."""
    from .environment import exports, variables

    port, credentials = local_port(config)
    chosen = shell or Shell.guess(os.environ.get("SHELL", ""), windows=sys.platform == "win32")
    for line in exports(chosen, variables(port, credentials if with_password else None)):
        print(line)
    if credentials is not None and not with_password:
        say("The port wants a user name and a password; `ropeway env --with-password` has them in the lines.")
    if sys.stdout.isatty():
        say(_USE[chosen])


_USE = {
    Shell.SH: 'To use them: eval "$(ropeway env)"',
    Shell.FISH: "To use them: ropeway env --shell fish | source",
    Shell.POWERSHELL: "To use them: ropeway env --shell powershell | Out-String | Invoke-Expression",
}


def add_to(program: typer.Typer) -> None:
    """Makes them part of the program."""
    program.add_typer(system_proxy_commands, name="system-proxy")
    program.command("env")(print_environment)


def _system_proxy() -> SystemProxy:
    from .system_proxy import memory_of_this_user, of_this_user

    return of_this_user(memory_of_this_user())


def _login_repair() -> LoginRepair:
    from .login_repair import PATIENCE, LoginRepair
    from .service_program import this_program

    program = this_program("system-proxy", "repair", "--wait", str(PATIENCE))
    return LoginRepair.of(sys.platform, os.environ, program.argv, program.root)


def _forget_repair() -> None:
    """Where nothing is remembered there is nothing to mend."""
    from .system_proxy import memory_of_this_user

    if not memory_of_this_user().read():
        _login_repair().remove()
