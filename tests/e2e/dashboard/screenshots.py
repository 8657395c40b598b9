"""The pictures of docs/dashboard.md, with connections that nobody has.

python -m tests.e2e.dashboard.screenshots FOLDER
"""

from __future__ import annotations

import io
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from tests.e2e import machine
from tests.e2e.browser import Browser, open_browser
from tests.e2e.dashboard.invented import Invented
from tests.e2e.dashboard.stand_in import TOKEN, StandIn

COUNT = 160
DESK, WHOLE, PHONE = (1280, 800), (1280, 1110), (390, 844)
COLOURS = 192  # enough for a page without photographs, and half the bytes
#: A face that reads well small, where it is installed (Debian: fonts-inter, fonts-noto-cjk).
FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>/usr/share/fonts</dir><cachedir prefix="cwd">build/fonts</cachedir>
<alias binding="same"><family>system-ui</family><prefer><family>Inter</family><family>Noto Sans CJK SC</family></prefer></alias>
</fontconfig>"""


@dataclass(frozen=True)
class Picture:
    name: str
    view: str
    theme: str = "light"
    language: str = "en"
    size: tuple[int, int] = DESK
    press: str = ""


PICTURES = [
    Picture("overview", "overview", size=WHOLE),
    Picture("overview-dark", "overview", "dark", size=WHOLE),
    Picture("connections", "connections", press=".connections .c-rate button"),
    Picture("chats-dark", "chats", "dark"),
    Picture("chinese", "usage", language="zh"),
    Picture("phone", "overview", size=PHONE),
    Picture("phone-dark", "connections", "dark", size=PHONE),
]


def take(browser: Browser, url: str, picture: Picture) -> bytes:
    width, height = picture.size
    browser.devtools(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=height,
        deviceScaleFactor=2,
        mobile=picture.size == PHONE,
    )
    kept = {"theme": picture.theme, "language": picture.language, "view": picture.view}
    for name, value in kept.items():
        browser.run(f"localStorage.setItem('ropeway.{name}', '{value}')")
    browser.load(f"{url}?{picture.name}")
    time.sleep(2)
    if picture.press:
        browser.run(f"document.querySelector('{picture.press}').click()")
    time.sleep(2)  # what moves has a rate by then
    return smaller(browser.screenshot())


def smaller(png: bytes) -> bytes:
    """With the colours that it has most of: those of surfaces and of text stay as they are."""
    whole = Image.open(io.BytesIO(png)).convert("RGB")
    counted = Counter(zip(*[iter(whole.tobytes())] * 3, strict=True)).most_common(COLOURS)
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for colour, _ in counted for part in colour])
    drawn = io.BytesIO()
    whole.quantize(palette=palette, dither=Image.Dither.NONE).save(drawn, "PNG", optimize=True)
    return drawn.getvalue()


def main() -> None:
    (target,) = map(Path, sys.argv[1:])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "fonts.conf").write_text(FONTS)
        machine.ENVIRONMENT["FONTCONFIG_FILE"] = str(folder / "fonts.conf")
        programs = machine.Programs(folder)
        server = StandIn(machine.free_port(), Invented(COUNT, now=time.time()))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with open_browser(programs, folder, None) as browser:
                browser.devtools("Emulation.setTimezoneOverride", timezoneId="UTC")
                browser.load(f"{server.url}#token={TOKEN}")
                for picture in PICTURES:
                    data = take(browser, server.url, picture)
                    (target / f"{picture.name}.png").write_bytes(data)
                    print(f"{picture.name}.png {len(data):,} bytes", flush=True)
        finally:
            server.silent.set()
            programs.stop_all()


if __name__ == "__main__":
    main()
