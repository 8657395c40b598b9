"""What the commands share: how they are shown, where the configuration is, what they say."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .errors import ConfigError, RopewayError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .address import Address
    from .settings import LocalSettings

_WIDEST = 110  # characters; longer lines are hard to read
PLAIN: dict[str, Any] = {  # rich would take half of the time that `ropeway --help` may take
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "no_args_is_help": True,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="The configuration.  [default: config.toml in your folder for settings]"
    ),
]
ExitConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="The configuration.  [default: as root the installed exit's, else your own]"
    ),
]
DestinationArgument = Annotated[
    str,
    typer.Argument(
        metavar="HOST[:PORT]", help="A name, an address or a URL; the port is 443 where neither it nor http:// is said."
    ),
]
AllowPrivateOption = Annotated[
    bool, typer.Option("--allow-private", help="Allow connections to private addresses and to the exit's own machine.")
]


def say(text: str) -> None:
    print(text, file=sys.stderr)


def config_path(option: Path | None) -> Path:
    if option is not None:
        return option
    import platformdirs

    return platformdirs.user_config_path("ropeway", appauthor=False) / "config.toml"


def exit_config_path(option: Path | None) -> Path:
    """For what is done with an exit that there is: as root that is the installed one."""
    if option is not None:
        return option
    from .service_exit import administered

    return administered(config_path(None))


def command(words: str, option: Path | None) -> str:
    """What the user has to type for the same configuration."""
    import shlex

    return f"ropeway {words}" + (f" --config {shlex.quote(str(option))}" if option else "")


def destination(text: str) -> Address:
    """HOST[:PORT], or where a URL leads that was copied whole. Raises ConfigError."""
    from urllib.parse import urlsplit

    from .address import Address

    try:
        url = urlsplit(text) if "://" in text else None
        place = url.netloc.rpartition("@")[2] if url else text
        return Address.parse(place, 80 if url and url.scheme in ("http", "ws") else 443)
    except ValueError as error:
        raise ConfigError("HOST[:PORT]", str(error)) from None


def until_interrupted(part: Callable[..., None], *arguments: object) -> None:
    """Runs the program until it fails or is told to stop, which is no failure, even before it listens for signals.

    Not with `except*`: before Python 3.11.4 what is raised there comes out in a group.
    """
    try:
        part(*arguments)
    except KeyboardInterrupt:
        pass
    except BaseExceptionGroup as group:
        _, errors = group.split(KeyboardInterrupt)
        if errors is None:
            return
        known, others = errors.split((OSError, RopewayError))
        if known is None or others is not None:
            raise
        raise _first(known) from None  # of the nurseries: one clear line is for the first of them


def _first(group: BaseExceptionGroup) -> BaseException:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


def width() -> int:
    """How many characters a line may have."""
    import shutil

    return min(shutil.get_terminal_size().columns, _WIDEST)


def fixed_port(settings: LocalSettings, option: Path | None) -> Address:
    """Where apps of this computer connect. Raises ConfigError where that is another port each time."""
    here = settings.listen.here
    if here is None:
        text = "with port 0 it is another one each time; set one, and start"
        raise ConfigError("local.listen", f"{text} `{command('run', option)}` again")
    return here
