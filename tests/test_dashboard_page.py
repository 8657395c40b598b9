"""The files of the dashboard, as a browser gets them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.dashboard_page import PREFIX, serve_file
from proxy.own_site import OwnSite
from proxy.protocol import fault_answer, own_answer
from tests.test_own_site import asked, get

if TYPE_CHECKING:
    from pathlib import Path

HERE = b"Host: 127.0.0.1:1080"
SITE = OwnSite({}, own={b"/": serve_file, PREFIX: serve_file})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stands in place of the package."""
    (tmp_path / "dashboard").mkdir()
    (tmp_path / "dashboard" / "index.html").write_text("<!doctype html>")
    (tmp_path / "dashboard" / "live.js").write_text("export {};")
    (tmp_path / "dashboard" / "notes.txt").write_text("nothing for a browser")
    (tmp_path / "secret.js").write_text("secret")
    monkeypatch.setattr("importlib.resources.files", lambda _: tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
async def test_the_page_and_its_files() -> None:
    head, _, body = (await asked(SITE, get(HERE, target=b"/?x"))).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"Content-Type: text/html; charset=utf-8" in head
    assert b"Content-Security-Policy: " + own_answer.PAGE in head
    assert body == b"<!doctype html>"
    of_page = [HERE, b"Sec-Fetch-Site: same-origin", b"Referer: http://127.0.0.1:1080/"]
    answer = await asked(SITE, get(*of_page, target=b"/dashboard/live.js"))
    assert b"Content-Type: text/javascript; charset=utf-8" in answer
    assert answer.endswith(b"\r\n\r\nexport {};")
    answer = await asked(SITE, get(HERE, target=b"/dashboard/live.js", method=b"HEAD"))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"Content-Length: 10\r\n\r\n")
    assert (await asked(SITE, get(HERE, target=b"/", method=b"DELETE"))).startswith(b"HTTP/1.1 405 ")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "path",
    [
        "none.js",
        "notes.txt",
        "../secret.js",
        "..%2fsecret.js",
        "%2e%2e/secret.js",
        "",
        ".",
        "live.js/",
        "LIVE.js",
        "a\\b.js",
    ],
)
async def test_nothing_else_is_given_out(path: str) -> None:
    assert await asked(SITE, get(HERE, target=b"/dashboard/" + path.encode())) == own_answer.own_page()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("path", [b"/", b"/dashboard/live.js", b"/dashboard/none.js"])
@pytest.mark.parametrize(
    "fields",
    [
        [b"Host: rebound.example:1080"],
        [HERE, b"Sec-Fetch-Site: cross-site", b"Sec-Fetch-Mode: navigate"],
        [HERE, b"Sec-Fetch-Site: same-site", b"Sec-Fetch-Dest: script"],
        [HERE, b"Referer: https://evil.example/"],
        [HERE, b"Origin: null"],
    ],
)
async def test_pages_of_others_see_no_difference(path: bytes, fields: list[bytes]) -> None:
    assert await asked(SITE, get(*fields, target=path)) == fault_answer.nameless_answer()
