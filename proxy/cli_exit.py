"""The commands of the exit: set it up, run it, give links to its users."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .cli_certificate import der_in, show_certificate
from .completion import user_names
from .errors import ConfigError
from .terminal import (
    PLAIN,
    AllowPrivateOption,
    ConfigOption,
    ExitConfigOption,
    command,
    config_path,
    exit_config_path,
    say,
    until_interrupted,
)

if TYPE_CHECKING:
    from .exit_setup import OwnCertificate
    from .settings import ExitSettings
    from .share import Link

exit_commands = typer.Typer(help="The exit: set it up, run it, give links to its users.", **PLAIN)
user_commands = typer.Typer(help="The users of the exit.", **PLAIN)
exit_commands.add_typer(user_commands, name="user")
exit_commands.command("certificate")(show_certificate)

HostOption = Annotated[
    str | None,
    typer.Option(
        "--host", metavar="HOST", help="Name or address under which users reach the exit; asked for if not given."
    ),
]
PortOption = Annotated[
    int, typer.Option("--port", min=1, max=65535, metavar="PORT", help="Port under which users reach the exit.")
]
AlsoOption = Annotated[
    list[str] | None,
    typer.Option("--also", metavar="HOST:PORT", help="Another address under which users reach it; can be repeated."),
]
UsersOption = Annotated[
    list[str] | None, typer.Option("--user", metavar="NAME", help="A user; can be repeated.  [default: first]")
]
ExitListenOption = Annotated[
    str | None,
    typer.Option(
        "--listen", metavar="ADDRESS", help="Where the exit listens.  [default: all addresses, port as above]"
    ),
]
WebsiteOption = Annotated[
    str | None,
    typer.Option(
        "--website",
        metavar="WEBSITE",
        help='What others see: "page", "folder:PATH" or "server:HOST:PORT".  [default: page]',
    ),
]
CertificateOption = Annotated[
    Path | None,
    typer.Option("--cert", metavar="FILE", help="A certificate of your own, PEM with its chain; stays where it is."),
]
KeyOption = Annotated[Path | None, typer.Option("--key", metavar="FILE", help="Its key, PEM without a password.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace keys and users of an exit that was set up before.")]
UserName = Annotated[str, typer.Argument(metavar="NAME", help="The user's name.", autocompletion=user_names)]
NewUserName = Annotated[str, typer.Argument(metavar="NAME", help="The user's name.")]


@exit_commands.command("run")
def run_exit(config: ConfigOption = None) -> None:
    """Run the exit, until Ctrl-C."""
    from . import app

    until_interrupted(app.run_exit, config_path(config))


@exit_commands.command("init")
def set_up_exit(  # over the budget of parameters: each is an option of the command line
    context: typer.Context,
    host: HostOption = None,
    port: PortOption = 443,
    also: AlsoOption = None,
    user: UsersOption = None,
    listen: ExitListenOption = None,
    website: WebsiteOption = None,
    cert: CertificateOption = None,
    key: KeyOption = None,
    allow_private: AllowPrivateOption = False,
    force: ForceOption = False,
    config: ConfigOption = None,
) -> None:
    """Set up the exit on this machine. Makes keys, certificate and first user, prints the user's link and its QR code, and asks for what is needed
    where no --host is given.
    """
    from .exit_setup import NewExit, check_free, set_up

    path, own, names = config_path(config), _own(cert, key), tuple(user or ())
    if host is None and sys.stdin.isatty():
        from .questions import ask

        if not force:
            check_free(path, own)  # before anybody thinks about answers
        answers = ask(path, port, website=website or "", users=names)
        host, website, names = answers.host, answers.website, answers.users
    elif host is None:
        raise typer.BadParameter("it is needed where there is no terminal to ask at", context, param_hint="--host")
    if not host.strip():
        raise ConfigError("--host", "links need it: the name or address under which users reach this exit")
    names = names or ("first",)
    new = NewExit(host, port, tuple(also or ()), names, listen or "", website or "", allow_private, own)
    settings, links = set_up(path, new, force=force)
    for link in links:
        _show(link, with_code=True)
    say(f"Written to {path}. The link is a key: give it to {settings.users[0].name} over a channel that you trust.")
    say(f"Now start the exit: {command('exit run', config)}")


def _own(certificate: Path | None, key: Path | None) -> OwnCertificate | None:
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise ConfigError("--key" if key is None else "--cert", "a certificate and its key go together: give both")
    from .exit_setup import OwnCertificate

    return OwnCertificate(certificate, key)


@exit_commands.command("link")
def show_link(name: UserName, config: ExitConfigOption = None) -> None:
    """Print the link of a user, and on a terminal its QR code."""
    from .config import load

    settings = load(exit_config_path(config)).exit
    for user in settings.users:
        if user.name == name:
            return _show(settings.link(user, _pin(settings)))
    raise _no_user(name, settings)


@user_commands.command("add")
def add_user(name: NewUserName, config: ExitConfigOption = None) -> None:
    """Add a user with a new key, and print the link."""
    from .config import change, load
    from .config_file import with_user
    from .keys import UserKey
    from .settings import User

    path = exit_config_path(config)
    _check_name(name)
    settings = load(path).exit
    if any(user.name == name for user in settings.users):
        again = command(f"exit link {shlex.quote(name)}", config)
        raise ConfigError("NAME", f"there is a user {name!r} already; `{again}` prints the link again")
    user = User(name, UserKey.new())
    link = settings.link(user, _pin(settings))
    change(path, lambda text: with_user(text, user.table()))
    _show(link)
    say(f"{name} was added. An exit that is running knows it within seconds.")


@user_commands.command("remove")
def remove_user(name: UserName, config: ExitConfigOption = None) -> None:
    """Remove a user; the links of that user stop working."""
    from .config import change, load
    from .config_file import without_user

    path = exit_config_path(config)
    settings = load(path).exit
    if all(user.name != name for user in settings.users):
        raise _no_user(name, settings)
    change(path, lambda text: without_user(text, name))
    say(f"{name} was removed. An exit that is running ends its connections within seconds.")


@user_commands.command("list")
def list_users(config: ExitConfigOption = None) -> None:
    """Print the name of every user, one a line."""
    from .config import load

    users = load(exit_config_path(config)).exit.users
    for user in users:
        print(user.name)
    if not users:
        say(f"There are none: `{command('exit user add NAME', config)}` adds one.")


def _pin(settings: ExitSettings) -> bytes:
    from .keys import pin_of

    return pin_of(der_in(settings.certificate))


def _check_name(name: str) -> None:
    from .share import check_label

    try:
        check_label(name)
    except ValueError as error:
        raise ConfigError("NAME", str(error)) from None


def _no_user(name: str, settings: ExitSettings) -> ConfigError:
    names = ", ".join(user.name for user in settings.users)
    return ConfigError("", f"there is no user {name!r}; " + (f"there is: {names}" if names else "this exit has none"))


def _show(link: Link, *, with_code: bool = False) -> None:
    """The link, alone on its line, and on a terminal or where it is asked for a QR code, if the encoding has the blocks."""
    print(link, flush=True)
    terminal = sys.stdout.isatty()
    if terminal or with_code:
        from .qr import draw

        try:
            code = draw(str(link), colour=terminal)
            code.encode(sys.stdout.encoding or "ascii")
        except UnicodeEncodeError:
            return say("The QR code is left out: this output cannot show it.")
        except ValueError:  # segno's; the encoding's is one as well
            return say("The QR code is left out: the link is too long for one.")
        print(code)
    return None
