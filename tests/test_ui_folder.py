"""The files of a dashboard of others: what a browser gets, and what nobody gets."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import ui_folder
from proxy.own_site import OwnSite
from proxy.ui_folder import POLICY, UiFolder
from tests.test_own_site import USUAL, asked, get

if TYPE_CHECKING:
    from pathlib import Path

HERE = b"Host: 127.0.0.1:1080"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "dist"
    (made / "assets").mkdir(parents=True)
    (made / "index.html").write_text("<!doctype html>")
    (made / "assets" / "index-Ab_1.js").write_text("export {};")
    (made / "assets" / "a b é.woff2").write_bytes(b"font")
    (made / "assets" / "unknown.xyz").write_bytes(b"bytes")
    (made / ".hidden").write_text("secret")
    (tmp_path / "secret.txt").write_text("secret")
    return made


async def ask(folder: Path, path: bytes, *fields: bytes, method: bytes = b"GET") -> tuple[bytes, bytes]:
    """Head and content."""
    site = OwnSite({}, own=UiFolder(folder).pages)
    head, _, content = (await asked(site, get(HERE, *fields, target=path, method=method))).partition(b"\r\n\r\n")
    return head, content


async def test_the_page_and_its_files(folder: Path) -> None:
    head, content = await ask(folder, b"/ui/?x=1")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"Content-Type: text/html; charset=utf-8" in head
    assert b"Content-Security-Policy: " + POLICY in head
    assert b"connect-src 'self'" in POLICY
    assert content == b"<!doctype html>"
    of_page = [b"Sec-Fetch-Site: same-origin", b"Origin: http://127.0.0.1:1080"]
    head, content = await ask(folder, b"/ui/assets/index-Ab_1.js", *of_page)
    assert b"Content-Type: text/javascript; charset=utf-8" in head
    assert content == b"export {};"
    head, content = await ask(folder, b"/ui/assets/a%20b%20%C3%A9.woff2")
    assert b"Content-Type: font/woff2" in head
    assert content == b"font"
    head, content = await ask(folder, b"/ui/assets/unknown.xyz")
    assert b"Content-Type: application/octet-stream" in head
    head, content = await ask(folder, b"/ui/", method=b"HEAD")
    assert b"Content-Length: 15" in head
    assert content == b""
    whole, missing = await ask(folder, b"/ui/nowhere")
    assert missing
    assert await ask(folder, b"/ui/nowhere", method=b"HEAD") == (whole, b"")


async def test_what_it_names_is_beside_the_page(folder: Path) -> None:
    head, _ = await ask(folder, b"/ui")
    assert head.startswith(b"HTTP/1.1 308 ")
    assert b"Location: /ui/" in head


async def test_it_can_only_be_read(folder: Path) -> None:
    assert (await ask(folder, b"/ui/", method=b"PUT"))[0].startswith(b"HTTP/1.1 405 ")


async def test_a_page_of_others_sees_nothing_of_it(folder: Path) -> None:
    site = OwnSite({}, own=UiFolder(folder).pages)
    for path in (b"/ui/index.html", b"/ui", b"/ui/none"):
        assert await asked(site, get(HERE, b"Sec-Fetch-Site: cross-site", target=path)) == USUAL


OUTSIDE = [
    "none.js",
    "../secret.txt",
    "..%2fsecret.txt",
    "%2e%2e/secret.txt",
    "assets/../../secret.txt",
    "..\\secret.txt",
    "..%5csecret.txt",
    "/secret.txt",
    "//secret.txt",
    ".hidden",
    "%2ehidden",
    "assets//index-Ab_1.js",
    "index.html/x",
    "index.html%00",
    "c:%2fwindows",
    "%ff",
    "a" * 300,
    "assets/link.txt",
    "out/secret.txt",
    "loop",
]


@pytest.mark.parametrize("path", OUTSIDE)
async def test_nothing_else_is_given_out(folder: Path, path: str) -> None:
    (folder / "assets" / "link.txt").symlink_to(folder.parent / "secret.txt")
    (folder / "out").symlink_to(folder.parent, target_is_directory=True)
    (folder / "loop").symlink_to(folder / "loop")
    head, content = await ask(folder, b"/ui/" + path.encode())
    assert head.startswith(b"HTTP/1.1 404 ")
    assert b"secret" not in content


async def test_a_link_that_stays_inside_is_followed(folder: Path) -> None:
    (folder / "again.html").symlink_to(folder / "index.html")
    assert (await ask(folder, b"/ui/again.html"))[1] == b"<!doctype html>"


async def test_a_folder_that_is_a_link_itself(folder: Path) -> None:
    (folder.parent / "current").symlink_to(folder, target_is_directory=True)
    assert (await ask(folder.parent / "current", b"/ui/"))[1] == b"<!doctype html>"


if sys.platform != "win32":

    async def test_a_pipe_is_no_file(folder: Path) -> None:
        os.mkfifo(folder / "pipe.js")
        assert (await ask(folder, b"/ui/pipe.js"))[0].startswith(b"HTTP/1.1 404 ")


async def test_a_file_that_is_too_large(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ui_folder, "LARGEST", 15)
    assert (await ask(folder, b"/ui/index.html"))[0].startswith(b"HTTP/1.1 200 ")
    (folder / "index.html").write_text("<!doctype html>!")
    assert (await ask(folder, b"/ui/index.html"))[0].startswith(b"HTTP/1.1 404 ")


async def test_there_is_no_folder_any_more(folder: Path) -> None:
    assert (await ask(folder / "gone", b"/ui/"))[0].startswith(b"HTTP/1.1 404 ")


@given(
    st.lists(st.sampled_from(["..", ".", "/", "\\", "%2e", "%2f", "assets", "secret.txt", "a", "\0", "%"]), max_size=8)
)
def test_no_name_leads_out_of_the_folder(parts: list[str]) -> None:
    found = ui_folder._parts_of("".join(parts).encode())
    assert found is None or not any(part in ("", ".", "..") or set(part) & set("/\\\0") for part in found)


def test_nothing_else_is_a_page() -> None:
    assert all("/" in kind and "html" not in kind for end, kind in ui_folder._TYPES.items() if end != "html")
