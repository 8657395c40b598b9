"""What a measurement takes on its command line, beside --short: each option is an argument of `measure`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, TypeAlias

from figures import show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from figures import Result

#: In the words of argparse.
Option: TypeAlias = dict[str, Any]
#: In the place of a measurement's own, where it is not 0.
INTEGER: Option = {"type": int, "default": 0}
DURATION: Option = {"type": float, "default": 0.0}
#: Of both kernels.
CONGESTION: Option = {"default": "reno"}


def some_of(names: Iterable[str], default: Sequence[str] = ()) -> Option:
    choices = list(names)
    return {
        "nargs": "*",
        "default": list(default),
        "choices": choices,
        "metavar": "NAME",
        "help": ", ".join(choices).replace("%", "%%"),
    }


def show_measured(
    document: str | None, measure: Callable[..., Result], arguments: Sequence[str] | None = None, **options: Option
) -> None:
    """Measures as the command line says, and prints the figures."""
    parser = argparse.ArgumentParser(description=document, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true")
    for name, option in options.items():
        parser.add_argument(f"--{name}", **option)
    show(measure(**vars(parser.parse_args(arguments))))
