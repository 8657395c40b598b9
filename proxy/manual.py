"""The manual page, made from the commands' own help: `scripts/manual` writes it, and a test compares."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import typer
import typer.main

from .cli import program

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = r""".\" Made by scripts/manual from the help of the commands: change it there.
.TH ROPEWAY 1 "" Ropeway "User Commands"
.SH NAME
ropeway \- a local proxy whose traffic goes through one TLS connection to an exit of your own
.SH SYNOPSIS
.B ropeway
.I COMMAND
.RI [ OPTION ...]
.SH DESCRIPTION
"""
_TAIL = r""".SH FILES
.TP
.I ~/.config/ropeway/config.toml
The configuration, on Linux; \fB\-\-config\fR names another one.
.SH EXIT STATUS
0: done. 1: failed, with one line that says why. 2: wrong usage.
.SH SIGNALS
\fBropeway run\fR and \fBropeway exit run\fR end with SIGTERM and SIGINT, and read their files again with SIGHUP.
"""


def page() -> str:
    """In the language of man(7). It is the same on every system, however wide the terminal."""
    root: Any = typer.main.get_command(program)
    lines = [_HEAD + _text(root.help), ".SH COMMANDS"]
    lines += [
        line for name, command in sorted(root.commands.items()) for line in _described(command, f"ropeway {name}")
    ]
    return "\n".join(lines) + "\n" + _TAIL


def _described(command: Any, words: str) -> Iterator[str]:
    """A command, or the commands of a group."""
    if command.hidden:
        return
    children = getattr(command, "commands", None) or {}
    if not children or getattr(command, "invoke_without_command", False):
        yield from _alone(command, words)
    for name, child in sorted(children.items()):
        yield from _described(child, f"{words} {name}")


def _alone(command: Any, words: str) -> Iterator[str]:
    context: Any = command.context_class(command, info_name=words, help_option_names=[])
    parameters = [each for each in command.params if not getattr(each, "hidden", False)]
    arguments = [each.make_metavar(context) for each in parameters if each.param_type_name == "argument"]
    yield f".SS {_text(' '.join([words, *arguments]))}"
    yield _text(command.help)
    for each in parameters:
        names, told = each.get_help_record(context) or ("", "")
        if names:
            yield f".TP\n.B {_text(names)}\n{_text(told)}"


def _text(text: str) -> str:
    """As words, of which none means anything to the formatter: on one line, so it cannot begin one with a dot."""
    plain = " ".join((text or "").split()).replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{plain}" if plain.startswith((".", "'")) else plain


def main() -> None:
    sys.stdout.write(page())
