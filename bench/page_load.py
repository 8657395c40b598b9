"""One load of a page by a browser with an empty profile, as one line of JSON: when what happened, in milliseconds. For pages.py.

python bench/page_load.py URL PROXY

A PROXY of `direct://` is none.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.e2e.browser import open_browser
from tests.e2e.machine import Programs

#: The navigation's end is set when the load event has run, which is when WebDriver returns.
_TIMES = """new Promise(done => {
  const tell = () => {
    const [page] = performance.getEntriesByType('navigation');
    if (!page.loadEventEnd) return setTimeout(tell, 10);
    done(JSON.stringify([page, ...performance.getEntriesByType('resource')]));
  };
  tell();
})"""
_KEPT = ("name", "startTime", "connectStart", "secureConnectionStart", "connectEnd", "requestStart", "responseStart",
         "responseEnd", "loadEventEnd", "nextHopProtocol", "transferSize", "decodedBodySize")  # fmt: skip


def load(url: str, proxy: str, folder: Path) -> list[dict[str, Any]]:
    """The page's times, then those of each resource (W3C Resource Timing). Raises BrowserError."""
    with open_browser(Programs(folder), folder, None if proxy == "direct://" else proxy) as browser:
        browser.load(url)
        entries = json.loads(browser.run(_TIMES))
    return [{name: entry[name] for name in _KEPT if name in entry} for entry in entries]


def main() -> None:
    url, proxy = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(load(url, proxy, Path(folder))))


if __name__ == "__main__":
    main()
