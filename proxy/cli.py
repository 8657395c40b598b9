"""The command line. It ends with 0: done, 1: failed, with one line that says why, 2: wrong usage.

What is a result goes to standard output, everything else to standard error. What takes long to import is imported in the
commands that need it, so that help comes at once.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from . import telemetry
from .errors import ConfigError, RopewayError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .settings import ExitSettings
    from .share import Link

_MAX_LINK = 8192  # of what is read from standard input; share.py has the true limit

_PLAIN: dict[str, Any] = {  # rich would take half of the time that `ropeway --help` may take
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "no_args_is_help": True,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}
program = typer.Typer(
    help="A local SOCKS and HTTP proxy; one TLS connection to an exit of your own carries all.", **_PLAIN
)
exit_commands = typer.Typer(help="The exit: set it up, run it, give links to its users.", **_PLAIN)
user_commands = typer.Typer(help="The users of the exit.", **_PLAIN)
program.add_typer(exit_commands, name="exit")
exit_commands.add_typer(user_commands, name="user")

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="The configuration.  [default: config.toml in your folder for settings]"
    ),
]
HostOption = Annotated[
    str, typer.Option("--host", metavar="HOST", help="Name or address under which users reach the exit.")
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
AllowPrivateOption = Annotated[
    bool, typer.Option("--allow-private", help="Allow connections to private addresses and to the exit's own machine.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace keys and users of an exit that was set up before.")]
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
LocalPortOption = Annotated[
    int, typer.Option("--port", min=0, max=65535, metavar="PORT", help="Where apps connect, on this computer.")
]
UserName = Annotated[str, typer.Argument(metavar="NAME", help="The user's name.")]


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


def _say(text: str) -> None:
    print(text, file=sys.stderr)


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

    path = _path(config)
    _until_interrupted(app.run_local, load(path), path)


@program.command()
def join(
    link: LinkArgument,
    add: AddOption = False,
    listen: LocalListenOption = None,
    config: ConfigOption = None,
) -> None:
    """Set up the local side for the exit of this link."""
    from .config import change, with_exit
    from .config_file import with_settings
    from .share import Link

    parsed = Link.parse(sys.stdin.readline(_MAX_LINK) if link == "-" else link)
    values = ({} if add else {"exit": str(parsed)}) | ({"listen": listen} if listen else {})
    path = _path(config)

    def edit(text: str) -> str:
        text = with_exit(text, path, parsed) if add else text
        return with_settings(text, "local", values)

    settings = change(path, edit).local
    number = len(settings.exits)
    exits = f"the exit is {parsed.address}" if number == 1 else f"{parsed.address} is one of {number} exits"
    _say(f"Written to {path}. Apps will connect at {settings.listen}, {exits}.")
    _say(f"Now start it: {_command('run', config)}")


@program.command()
def demo(port: LocalPortOption = 1080, allow_private: AllowPrivateOption = False, config: ConfigOption = None) -> None:
    """Try it on this computer, with nothing to set up. From a configuration it takes what stands in [log] and the local credentials."""
    from . import app
    from .config import load, parse

    settings = load(config) if config else parse({}, Path("demo.toml"))
    _until_interrupted(app.run_demo, settings, port, allow_private)


# --- The exit. -----------------------------------------------------------------------------------------------------


@exit_commands.command("run")
def run_exit(config: ConfigOption = None) -> None:
    """Run the exit, until Ctrl-C."""
    from . import app

    _until_interrupted(app.run_exit, _path(config))


@exit_commands.command("init")
def set_up_exit(  # over the budget of parameters: each is an option of the command line
    host: HostOption,
    port: PortOption = 443,
    also: AlsoOption = None,
    user: UsersOption = None,
    listen: ExitListenOption = None,
    website: WebsiteOption = None,
    allow_private: AllowPrivateOption = False,
    force: ForceOption = False,
    config: ConfigOption = None,
) -> None:
    """Set up the exit on this machine: keys, certificate, first user. Prints the user's link and its QR code."""
    from .config import check
    from .config_file import read_text, replace_file, with_settings, with_user, without_users
    from .keys import UserKey, der_of, new_certificate, pin_of
    from .settings import User

    path = _path(config)
    if not host.strip():
        raise ConfigError("--host", "links need it: the name or address under which users reach this exit")
    text = read_text(path) or ""
    old = check(text, path).exit
    if not force:
        _refuse_to_replace(old, path)
    values: dict[str, object] = {"host": host, "port": port, "certificate": "exit-cert.pem", "key": "exit-key.pem"}
    if also:
        values["addresses"] = also
    if listen or all(port != each.port for each in old.listen):
        values["listen"] = listen or f":{port}"
    if website:
        values["website"] = website
    if allow_private:
        values["allow_private"] = True
    text = with_settings(without_users(text), "exit", values)
    for name in user or ["first"]:
        text = with_user(text, User(name, UserKey.new()).table())
    settings = check(text, path).exit
    certificate, key = new_certificate(settings.server_name or settings.host)
    replace_file(settings.key, key)
    replace_file(settings.certificate, certificate)
    replace_file(path, text.encode())
    for each in settings.users:
        _show(settings.link(each, pin_of(der_of(certificate))), with_code=True)
    _say(f"Written to {path}. The link is a key: give it to {settings.users[0].name} over a channel that you trust.")
    _say(f"Now start the exit: {_command('exit run', config)}")


def _refuse_to_replace(old: ExitSettings, path: Path) -> None:
    if old.host or old.users or old.key.exists():
        what = f"{path} has an exit already" if old.host or old.users else f"{old.key} is the key of an exit already"
        ways = "`ropeway exit user add NAME` adds a user; --force makes new keys, and all links given out stop working"
        raise ConfigError("", f"{what}; {ways}")


@exit_commands.command("link")
def show_link(name: UserName, config: ConfigOption = None) -> None:
    """Print the link of a user, and on a terminal its QR code."""
    from .config import load

    settings = load(_path(config)).exit
    for user in settings.users:
        if user.name == name:
            return _show(settings.link(user, _pin(settings)))
    raise _no_user(name, settings)


@user_commands.command("add")
def add_user(name: UserName, config: ConfigOption = None) -> None:
    """Add a user with a new key, and print the link."""
    from .config import change, load
    from .config_file import with_user
    from .keys import UserKey
    from .settings import User

    path = _path(config)
    _check_name(name)
    settings = load(path).exit
    user = User(name, UserKey.new())
    link = settings.link(user, _pin(settings))
    change(path, lambda text: with_user(text, user.table()))
    _show(link)
    _say(f"{name} was added. An exit that is running knows it within seconds.")


@user_commands.command("remove")
def remove_user(name: UserName, config: ConfigOption = None) -> None:
    """Remove a user; the links of that user stop working."""
    from .config import change, load
    from .config_file import without_user

    path = _path(config)
    settings = load(path).exit
    if all(user.name != name for user in settings.users):
        raise _no_user(name, settings)
    change(path, lambda text: without_user(text, name))
    _say(f"{name} was removed. An exit that is running ends its connections within seconds.")


@user_commands.command("list")
def list_users(config: ConfigOption = None) -> None:
    """Print the name of every user, one a line."""
    from .config import load

    for user in load(_path(config)).exit.users:
        print(user.name)


# --- Shared by the commands. ---------------------------------------------------------------------------------------


def _path(option: Path | None) -> Path:
    if option is not None:
        return option
    import platformdirs

    return platformdirs.user_config_path("ropeway", appauthor=False) / "config.toml"


def _command(words: str, option: Path | None) -> str:
    """What the user has to type for the same configuration."""
    import shlex

    return f"ropeway {words}" + (f" --config {shlex.quote(str(option))}" if option else "")


def _until_interrupted(part: Callable[..., None], *arguments: object) -> None:
    """Runs the program until it fails or is told to stop, which is no failure, even before it listens for signals."""
    try:
        part(*arguments)
    except* KeyboardInterrupt:
        pass
    except* OSError as group:  # of the nurseries: one clear line is for the first of them
        raise _first(group) from None


def _first(group: BaseExceptionGroup[OSError]) -> OSError:
    inner = group.exceptions[0]
    return inner if isinstance(inner, OSError) else _first(inner)


def _pin(settings: ExitSettings) -> bytes:
    from .keys import der_of, pin_of

    try:
        return pin_of(der_of(settings.certificate.read_bytes()))
    except OSError as error:
        text = f"{settings.certificate} cannot be read: {error.strerror}; `ropeway exit init` makes one"
        raise ConfigError("exit.certificate", text) from None
    except ValueError:
        raise ConfigError("exit.certificate", f"there is no certificate in {settings.certificate}") from None


def _check_name(name: str) -> None:
    from .share import check_label

    try:
        check_label(name)
    except ValueError as error:
        raise ConfigError("NAME", str(error)) from None


def _no_user(name: str, settings: ExitSettings) -> ConfigError:
    names = ", ".join(user.name for user in settings.users) or "nobody"
    return ConfigError("", f"there is no user {name!r}; there is: {names}")


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
            return _say("The QR code is left out: this output cannot show it.")
        except ValueError:  # segno's; the encoding's is one as well
            return _say("The QR code is left out: the link is too long for one.")
        print(code)
    return None
