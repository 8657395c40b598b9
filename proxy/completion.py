"""What a shell offers for names, when Tab is pressed. It never fails: there is nothing to offer then."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import typer  # noqa: TC002  (it reads the types of these functions when it calls them)

from .errors import RopewayError
from .terminal import config_path, exit_config_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from .settings import Config


def user_names(context: typer.Context, incomplete: str) -> list[str]:
    """Of the exit."""
    config = _config(context, exit_config_path)
    names = [user.name for user in config.exit.users] if config else []
    return [name for name in names if name.startswith(incomplete)]


def exit_names(context: typer.Context, incomplete: str) -> list[str]:
    """That the local side has joined: names, and the hosts of those that have none, or not for themselves."""
    config = _config(context)
    links = [each.link for each in config.local.exits] if config else []
    names = [link.name for link in links]
    found = [
        name if name and names.count(name) == 1 else str(link.address) for name, link in zip(names, links, strict=True)
    ]
    return [name for name in found if name.startswith(incomplete)]


def _config(context: typer.Context, path_of: Callable[[Path | None], Path] = config_path) -> Config | None:
    from .config import check
    from .config_file import read_text

    with contextlib.suppress(RopewayError, OSError):
        given = context.params.get("config")  # a string still, as nothing is run
        path = path_of(Path(given).expanduser() if given else None)
        return check(read_text(path) or "", path)
    return None
