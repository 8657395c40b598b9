"""Codes in pictures: as the exit prints them, as cameras see them, and what is no picture."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import pytest
import segno

from proxy import qr, qr_picture
from proxy.errors import ConfigError
from proxy.qr_picture import read_codes

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("zxingcpp")

if TYPE_CHECKING:
    from pathlib import Path

LINK = "ropeway://" + "k" * 54 + "@exit.example.com:443?pin=" + "p" * 43 + "#anna"


def png(text: str, **options: object) -> bytes:
    drawing = io.BytesIO()
    segno.make_qr(text, error="l").save(drawing, kind="png", scale=4, **options)
    return drawing.getvalue()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "code"  # what it is stands in it, not in its name
    path.write_bytes(png(LINK))
    return path


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_formats(picture: Path, kind: str) -> None:
    Image.open(picture).convert("RGB").save(picture, format=kind)
    assert read_codes(picture) == [LINK]


def test_a_screenshot_of_what_the_exit_prints(picture: Path) -> None:
    """Two rows of modules a line, light on dark, small in a large window."""
    lines = qr.draw(LINK).splitlines()
    rows = [[part in "█" + half for part in line] for line in lines for half in "▀▄"]
    window = Image.new("L", (800, 700), 0)
    for y, row in enumerate(rows):
        for x, light in enumerate(row):
            window.paste(255 if light else 0, (100 + 6 * x, 50 + 6 * y, 106 + 6 * x, 56 + 6 * y))
    window.save(picture, format="PNG")
    assert read_codes(picture) == [LINK]


def test_a_picture_of_a_camera(picture: Path) -> None:
    """Turned, dim, and compressed."""
    code = (
        Image.open(picture)
        .convert("RGB")
        .rotate(17, expand=True, fillcolor="white")
        .point(lambda value: 40 + value // 2)
    )
    code.save(picture, format="JPEG", quality=40)
    assert read_codes(picture) == [LINK]


def test_a_code_without_a_background(picture: Path) -> None:
    picture.write_bytes(png(LINK, light=None))
    assert read_codes(picture) in ([LINK], [])  # it depends on the viewer what it looks like: never an error


def test_several_codes_and_none(picture: Path) -> None:
    both = Image.new("L", (1000, 500), 255)
    both.paste(Image.open(io.BytesIO(png(LINK))), (10, 10))
    both.paste(Image.open(io.BytesIO(png("https://example.com"))), (500, 10))
    both.save(picture, format="PNG")
    assert sorted(read_codes(picture)) == ["https://example.com", LINK]
    Image.new("L", (100, 100), 255).save(picture, format="PNG")
    assert read_codes(picture) == []


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"<svg xmlns='http://www.w3.org/2000/svg'/>"])
def test_what_is_no_picture(picture: Path, content: bytes) -> None:
    picture.write_bytes(content)
    with pytest.raises(ConfigError, match=r"LINK: .* cannot be read: it is none of PNG"):
        read_codes(picture)


def test_pictures_that_are_cut_or_damaged(picture: Path) -> None:
    whole = picture.read_bytes()
    for size in range(0, len(whole), 23):
        for content in (whole[:size], whole[:size] + bytes([whole[size] ^ 0x55]) + whole[size + 1 :]):
            picture.write_bytes(content)
            assert outcome(picture) in ([LINK], [], "refused")


def outcome(picture: Path) -> list[str] | str:
    try:
        return read_codes(picture)
    except ConfigError:
        return "refused"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_codes(tmp_path / "nowhere.png")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_codes(tmp_path)


def test_pictures_have_a_bound(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qr_picture, "_MAX_PIXELS", 100)
    with pytest.raises(ConfigError, match="larger than 100 pixels"):
        read_codes(picture)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(ConfigError, match="larger than 100 pixels"):
        read_codes(picture)


@pytest.mark.parametrize("module", ["zxingcpp", "PIL"])
def test_without_the_packages_it_says_what_to_install(
    picture: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=r"pip install 'ropeway\[qr\]'"):
        read_codes(picture)
