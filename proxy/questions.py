"""What `ropeway exit init` asks on a terminal, where no option says it."""

from __future__ import annotations

import contextlib
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from .address import Address
from .config import parse
from .dialer import source_towards
from .errors import ConfigError
from .settings import Folder
from .share import check_label
from .terminal import say

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Addresses that are meant for examples (RFC 5737, RFC 3849), and to which nothing is sent: which of ours would be the sender's?
_FAR = (ipaddress.IPv4Address("192.0.2.1"), ipaddress.IPv6Address("2001:db8::1"))


@dataclass(frozen=True, slots=True)
class Answers:
    host: str
    website: str
    users: tuple[str, ...]


def ask(path: Path, port: int, *, website: str = "", users: tuple[str, ...] = ()) -> Answers:
    """Each question until its answer will do; an empty one is the default. What is given is not asked for. `path` is where the
    configuration will be.
    """
    default = next(iter(own_addresses()), "")
    say("Enter takes what stands in brackets.")
    host = _ask(
        "Name or address under which users reach this machine",
        default,
        lambda text: Address.make(text, port),
    )
    website = website or _ask(
        "What others see here: page (built in), folder:PATH or server:HOST:PORT",
        "page",
        lambda text: _check_website(text, path),
    )
    users = users or (_ask("Name of the first user", "first", check_label),)
    return Answers(host, website, users)


def _ask(question: str, default: str, check: Callable[[str], object]) -> str:
    while True:
        answer = str(typer.prompt(question, default or None, err=True)).strip()
        try:
            check(answer)
        except ValueError as error:
            say(f"That cannot be used: {error}")
        else:
            return answer


def _check_website(text: str, path: Path) -> None:
    try:
        website = parse({"exit": {"website": text}}, path).exit.website
        if isinstance(website, Folder):
            website.check()
    except ConfigError as error:  # of a setting in a file, which nobody has written yet
        raise ValueError(str(error).removeprefix(f"{error.field}: ").removesuffix(f" (in {path})")) from None


def own_addresses() -> list[str]:
    """Under which this machine is on the Internet, as far as it can know: none behind a NAT. Nothing is sent to find out."""
    found = []
    for far in _FAR:
        with contextlib.suppress(OSError):  # no such family here
            found.append(source_towards(far))
    return [str(address) for address in found if address is not None and address.is_global]
