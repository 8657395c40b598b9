"""A browser visits pages, where a test cannot drive it from its own process: on another network.

python -m tests.e2e.visit BROWSER FOLDER PROXY URL ...

BROWSER is one of BROWSERS, FOLDER is for its profile, and PROXY a URL, or `none`. For each page it says `saw`, or `failed`, and what.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.browser import Browser, BrowserError, open_browser
from tests.e2e.firefox import Firefox, open_firefox
from tests.e2e.machine import Programs

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

BROWSERS: dict[str, Callable[[Programs, Path, str | None], AbstractContextManager[Browser | Firefox]]] = {
    "chromium": open_browser,
    "firefox": open_firefox,
}


def main() -> None:
    name, place, proxy, *urls = sys.argv[1:]
    folder = Path(place)
    programs = Programs(folder)
    try:
        with BROWSERS[name](programs, folder, None if proxy == "none" else proxy) as browser:
            for url in urls:
                try:
                    browser.load(url)
                    print(f"saw {browser.run('document.body.innerText')}", flush=True)
                except BrowserError as exc:
                    print(f"failed {exc}", flush=True)
    finally:
        programs.stop_all()


if __name__ == "__main__":
    main()
