"""The drawing is read back, module by module, and held against the symbol."""

from __future__ import annotations

import re

import pytest
import segno

from proxy import qr
from proxy.qr import draw

LINK = (
    "ropeway://AAECAwQFBgdkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ent8fX5_gIGCgw@exit.example.com:443?pin=" + "_" * 42 + "8#anna"
)

# The upper and the lower half of each character: True is light.
HALVES = {"█": (True, True), "▀": (True, False), "▄": (False, True), " ": (False, False)}


def light_modules(drawing: str) -> list[list[bool]]:
    rows: list[list[bool]] = []
    for line in drawing.splitlines():
        rows += [[HALVES[character][half] for character in line] for half in (0, 1)]
    return rows


@pytest.mark.parametrize("text", [LINK, "ropeway", "x" * 1000])
def test_the_drawing_is_the_symbol_with_a_quiet_zone(text: str) -> None:
    rows = light_modules(draw(text))
    symbol = [[not module for module in row] for row in segno.make_qr(text, error="l").matrix_iter(border=4)]
    assert all(all(row) for row in symbol[:4] + symbol[-4:])
    assert rows[: len(symbol)] == symbol
    assert not any(any(row) for row in rows[len(symbol) :])  # the half of the last line that no module needs


def test_a_link_fits_on_a_terminal() -> None:
    lines = draw(LINK).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 40


def test_colours_add_nothing_but_colours() -> None:
    coloured = draw(LINK, colour=True)
    assert all(line.startswith("\x1b[97;40m") and line.endswith("\x1b[0m") for line in coloured.splitlines())
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == draw(LINK)


def test_a_picture_for_a_page_is_of_the_same_code() -> None:
    picture = qr.svg("ropeway://x")
    assert picture.startswith("<svg ")
    assert picture.endswith("</svg>")
    assert "viewBox" in picture
    assert "script" not in picture
    assert picture != qr.svg("ropeway://y")
