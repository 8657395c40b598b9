"""A link as a QR code for a phone to read from a terminal."""

from __future__ import annotations

import io

import segno

# ISO/IEC 18004, section 9.1: four modules of light around the symbol.
_QUIET_ZONE = 4

_WHITE_ON_BLACK, _PLAIN = "\x1b[97;40m", "\x1b[0m"


def draw(text: str, *, colour: bool = False) -> str:
    """Lines of half blocks, two rows of modules each. Blocks are the light modules, as fits a dark terminal.

    With `colour` the lines say white on black themselves, so that it can be read on every terminal.
    """
    drawing = io.StringIO()
    # Errors of level L are plenty on a screen, and a smaller symbol fits on more terminals.
    segno.make_qr(text, error="l").terminal(drawing, border=_QUIET_ZONE, compact=True)
    lines = drawing.getvalue().splitlines()
    return "\n".join(f"{_WHITE_ON_BLACK}{line}{_PLAIN}" for line in lines) if colour else "\n".join(lines)


def svg(text: str) -> str:
    """A picture for a page: dark on light, whatever is around it, and as large as its place."""
    drawing = io.BytesIO()
    segno.make_qr(text, error="l").save(
        drawing, kind="svg", border=_QUIET_ZONE, dark="#000", light="#fff", xmldecl=False, omitsize=True, nl=False
    )
    return drawing.getvalue().decode("ascii")
