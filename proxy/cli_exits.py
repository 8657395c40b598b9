"""The commands of the local side about its exits: join one, list them, and choose between them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .completion import exit_names
from .errors import ConfigError
from .terminal import PLAIN, ConfigOption, command, config_path, say

if TYPE_CHECKING:
    from .exit_links import JoinedExits
    from .settings import Config, LocalSettings
    from .share import Link

_MAX_LINK = 8192  # of what is read from standard input; share.py has the true limit

exits_commands = typer.Typer(help="The exits that this computer has joined.", **PLAIN)

LinkArgument = Annotated[
    str,
    typer.Argument(
        metavar="LINK",
        help='The link that the exit printed, or a file with a picture of its QR code; "-" reads the link from '
        "standard input, because everybody on this computer can see the arguments of a command.",
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
ExitName = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="Its name, address or number, as `ropeway exits list` has it.", autocompletion=exit_names
    ),
]
NewName = Annotated[str, typer.Argument(metavar="NEW", help="The new name.")]


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
    from .exit_links import links_of, with_address_for_lost

    parsed = _link(link)
    values = ({} if add else {"exit": str(parsed)}) | ({"listen": listen} if listen else {})
    path = config_path(config)
    had_one = False
    before: list[Link] = []
    after: list[Link] = []
    lost: tuple[str, ...] = ()

    def edit(text: str) -> str:
        nonlocal had_one, before, after, lost
        had_one, before = bool(text), links_of(text, path)
        text = with_exit(text, path, parsed) if add else text
        text = with_settings(text, "local", values)
        text, lost = with_address_for_lost(text, path, parsed, before)
        after = links_of(text, path)
        return with_settings(text, "rules", {"mode": mode}) if mode else text

    written = change(path, edit)
    settings = written.local
    say(f"Written to {path}. Apps will connect at {settings.listen}, {_place_of(parsed, settings)}.")
    there = {each.pin for each in after}  # an exit may have moved to another address
    for gone in (each.address for each in before if each.pin not in there):
        say(f"{gone} is no exit of this computer any more; `ropeway join --add LINK` with its link has both.")
    if lost:
        say(f"What `prefer` and `only` say of {', '.join(lost)} they say of {parsed.address} now.")
    _say_whether_it_starts(written, config, had_one=had_one)


def _place_of(link: Link, settings: LocalSettings) -> str:
    """What the exit of this link is to the local side, in words."""
    if all(each.link.pin != link.pin for each in settings.exits):
        return f"and not by way of {link.address}, which `local.only` leaves out"
    number = len(settings.exits)
    return f"the exit is {link.address}" if number == 1 else f"{link.address} is one of {number} exits"


def _say_whether_it_starts(written: Config, config: Path | None, *, had_one: bool) -> None:
    from .local_side import check_exits

    try:
        check_exits(written)
    except ConfigError as error:
        say(f"It does not start so: {error}; correct the rule, or `ropeway join --add LINK` with that exit's link.")
    else:
        say(f"Now start it: {command('run', config)}" + (f". {_HOW_TO_TELL}" if had_one else ""))


def _link(text: str) -> Link:
    from .share import SCHEME, Link

    if text == "-":
        text = sys.stdin.readline(_MAX_LINK).strip()
        if not text:
            raise ConfigError("LINK", "there is none on standard input")
        return Link.parse(text)
    if "://" not in text and _is_file(text):
        from .qr_picture import read_codes

        codes = read_codes(Path(text))
        links = [code for code in codes if code.lower().startswith(f"{SCHEME}://")]
        if not links:
            what = "has a QR code, but of something else" if codes else "shows no QR code that can be read"
            raise ConfigError("LINK", f"{text} {what}; take a sharp picture of the whole code that the exit printed")
        return Link.parse(links[0])
    if "://" not in text:  # and is not repeated: it may be half of a link
        raise ConfigError("LINK", f"it is neither a link, which begins with {SCHEME}://, nor a file that is there")
    return Link.parse(text)


def _is_file(text: str) -> bool:
    """A half of a link may be too long for a name, or have characters that none has."""
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        return False


# A process that runs with this very file is known to nobody but its supervisor, if it has one.
_HOW_TO_TELL = (
    "One that runs is to be started again."
    if sys.platform == "win32"
    else "One that runs takes it when it gets SIGHUP (the service on Linux: systemctl --user reload ropeway)."
)


@exits_commands.command("list")
def list_exits(config: ConfigOption = None) -> None:
    """Print the exits. Each has number, name and address, and whether it is preferred or was in use last."""
    from .address_book import AddressBook

    joined = _joined(config)
    last = next(iter(AddressBook.of_user().order()), b"")
    rows = [
        (str(number), link.name or "-", str(link.address), ", ".join(_remarks(joined, link, last=last)))
        for number, link in enumerate(joined.links, 1)
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip())


def _remarks(joined: JoinedExits, link: Link, *, last: bytes) -> list[str]:
    remarks = [
        ("preferred", joined.is_preferred(link)),
        ("in use last", link.pin == last),
        ("never used, by local.only", not joined.is_allowed(link)),
    ]
    return [remark for remark, holds in remarks if holds]


@exits_commands.command("use")
def use_exit(name: ExitName, config: ConfigOption = None) -> None:
    """Let this exit go first, whenever it works."""
    from .config import change
    from .exit_links import JoinedExits, shown

    path = config_path(config)
    link = _joined(config).find(name)
    change(path, lambda text: JoinedExits.read(text, path).preferring(name))
    say(f"{shown(link)} goes first. {_HOW_TO_TELL}")


@exits_commands.command("remove")
def remove_exit(name: ExitName, config: ConfigOption = None) -> None:
    """Forget this exit; its link is needed to join it again."""
    from .config import change
    from .exit_links import JoinedExits, shown

    path = config_path(config)
    link = _joined(config).find(name)
    left = change(path, lambda text: JoinedExits.read(text, path).without(name)).local.exits
    say(f"{shown(link)} was removed. {_HOW_TO_TELL if left else 'There is none left; join another one.'}")


@exits_commands.command("rename")
def rename_exit(name: ExitName, new: NewName, config: ConfigOption = None) -> None:
    """Give this exit another name, on this computer."""
    from .config import change
    from .exit_links import JoinedExits

    path = config_path(config)
    link = _joined(config).find(name)
    change(path, lambda text: JoinedExits.read(text, path).renamed(name, new))
    say(f"{link.address} is {new} now.")


def _joined(config: Path | None) -> JoinedExits:
    from .config import load
    from .config_file import read_text
    from .exit_links import JoinedExits

    path = config_path(config)
    load(path)  # what is wrong with the file is said as everywhere
    joined = JoinedExits.read(read_text(path) or "", path)
    if not joined.links:
        raise ConfigError("", f"there is no exit in {path}; `ropeway join LINK` adds one")
    return joined
